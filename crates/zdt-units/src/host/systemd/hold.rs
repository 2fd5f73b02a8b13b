//! A service that stays down while connections come.
//!
//! Its sockets start it at the first connection, and whatever makes such a start fail (a mask, a
//! condition) closes them. So the start is let in and made to wait: by a transient unit that is
//! ordered before the service and whose own start does not end before the hold does, whichever
//! way that happens. Nothing else is written, so nothing is left.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use zbus::Variant;

use super::{MANAGER, PATH, Systemd, unread};
use crate::event::EventKind;
use crate::host::Failure;
use crate::model::UnitName;

/// How often it is looked whether a process has gone.
const SOON: Duration = Duration::from_millis(20);

/// What holds the starts of units back.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The transient unit.
    pub unit: UnitName,
    pub held: Vec<UnitName>,
    /// It ends at the latest with this process.
    pub pid: u32,
    /// Or then, if that process hangs.
    pub limit: Duration,
}

impl Systemd {
    /// From here on the units start only when the hold has ended; `program` is what waits.
    pub async fn hold_back(&self, hold: &Hold, program: &Path) -> Result<(), Failure> {
        let program = program.to_string_lossy().into_owned();
        let command = vec![program.clone(), "held".to_owned(), hold.pid.to_string()];
        let held: Vec<String> = hold.held.iter().map(UnitName::to_string).collect();
        let limit = u64::try_from(hold.limit.as_micros()).unwrap_or(u64::MAX);
        let properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", "holds a service down".into()),
            ("Type", "oneshot".into()),
            ("CollectMode", "inactive-or-failed".into()),
            ("Before", held.into()),
            ("TimeoutStartUSec", limit.into()),
            ("ExecStart", vec![(program, command, false)].into()),
        ];
        let none: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let body = (hold.unit.as_str(), "fail", properties, none);
        let started = self.call(PATH, MANAGER, "StartTransientUnit", &body).await;
        started.map(drop).map_err(|error| {
            Failure::new(format!("systemd did not start `{}`: {error}", hold.unit))
                .hint("run it as root")
                .without_effect()
        })
    }

    /// Restarts them, so that connections in the descriptor store outlive it. With a hold before
    /// them that ends half-way: the old processes have gone.
    pub async fn take_down(
        &self,
        units: &[UnitName],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        for unit in units {
            self.call(PATH, MANAGER, "RestartUnit", &(unit.as_str(), "replace"))
                .await
                .map_err(|error| Failure::new(format!("failed to stop `{unit}`: {error}")))?;
        }
        let down = async |unit: &UnitName| loop {
            let state = self
                .state(unit)
                .await
                .map_err(|error| unread(unit, &error))?;
            if state.is_stopped() {
                return Ok(EventKind::UnitState {
                    unit: unit.to_string(),
                    active: state.active,
                    sub: state.sub,
                });
            }
            sleep(SOON).await;
        };
        for state in join_all(units.iter().map(down)).await {
            tell(state?);
        }
        Ok(())
    }

    /// Ends the hold.
    pub async fn let_go(&self, hold: &Hold) -> Result<(), Failure> {
        self.stop(std::slice::from_ref(&hold.unit), &mut |_| ())
            .await
    }
}
