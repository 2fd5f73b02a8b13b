//! What the unit says about a server, by environment variables.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge at which `serve` reads the environment"
)]

use std::time::Duration;

use super::outcome::ServeError;
use crate::drain::Knobs;

/// The environment replaces what the program says: the unit that sets it also
/// sets the time after which systemd kills.
pub(super) fn knobs(knobs: Knobs) -> Result<Knobs, ServeError> {
    Ok(Knobs {
        grace: read("ZDT_DRAIN_GRACE", knobs.grace)?,
        limit: read("ZDT_DRAIN_LIMIT", knobs.limit)?,
        linger: read("ZDT_DRAIN_LINGER", knobs.linger)?,
    })
}

/// How long a new process may take until it could serve in place of this one. The unit that sets it also
/// sets the time after which systemd gives a reload up.
pub(super) fn replace_limit() -> Result<Duration, ServeError> {
    read("ZDT_RELOAD_LIMIT", REPLACE_LIMIT)
}

pub(super) const REPLACE_LIMIT: Duration = Duration::from_secs(60);

fn read(variable: &'static str, default: Duration) -> Result<Duration, ServeError> {
    match std::env::var(variable) {
        Err(_) => Ok(default),
        Ok(value) => {
            humantime::parse_duration(&value).map_err(|_| ServeError::Knob { variable, value })
        }
    }
}

/// Whether `SIGHUP` starts the program again: the strategy of the unit.
pub(super) fn replaces() -> bool {
    std::env::var("ZDT_RELOAD").is_ok_and(|value| value == "1")
}
