//! How a test program behaves before it serves; the tests set it from
//! outside.
#![expect(clippy::disallowed_methods, reason = "the edge: reads the environment")]

use std::time::Duration;

use crate::fault::Fault;

/// The release is broken: it cannot start.
#[derive(Debug)]
pub struct Crash;

/// Nothing starts while this file is there. A process that another one starts
/// has the environment of that one, so a variable could not break it.
const BROKEN: &str = "/etc/app.broken";

/// Waits `WARMUP_MS`, or fails at once with `CRASH=1`, or after the wait with
/// `CRASH=warm`.
pub async fn start_up() -> Result<(), Crash> {
    let crash = std::env::var("CRASH").unwrap_or_default();
    match Fault::here() {
        Some(Fault::Exit) => return Err(Crash),
        Some(Fault::Hang) => std::future::pending().await,
        _ => {}
    }
    if crash == "1" || std::path::Path::new(BROKEN).exists() {
        return Err(Crash);
    }
    let warm_up = std::env::var("WARMUP_MS")
        .ok()
        .and_then(|ms| ms.parse().ok());
    tokio::time::sleep(Duration::from_millis(warm_up.unwrap_or(0))).await;
    match crash == "warm" {
        true => Err(Crash),
        false => Ok(()),
    }
}
