//! How a test program behaves before it serves; the tests set it from
//! outside.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: reads the environment and files of the machine"
)]

use std::fs::read_to_string;
use std::time::Duration;

use crate::fault::{Fault, is_here};
use crate::machine::{Error, Machine};

/// The release is broken: it cannot start.
#[derive(Debug)]
pub struct Crash;

/// Nothing starts while this file is there. A process that another one starts
/// has the environment of that one, so a variable could not break it.
const BROKEN: &str = "/etc/app.broken";

/// Nothing gets ready while this file is there, or only the unit that is named
/// in it does not.
const GATE: &str = "/etc/app.gate";

const LOOK: Duration = Duration::from_millis(10);

/// A start that takes as long as the test wants it to: whatever the test does
/// until it opens the gate, it does during the start.
#[derive(Debug)]
#[must_use = "nobody starts until it is opened"]
pub struct Gate<'a>(&'a Machine);

impl<'a> Gate<'a> {
    /// Holds each process that `unit` starts from now on.
    pub fn shut(machine: &'a Machine, unit: &str) -> Result<Self, Error> {
        machine.write_file(GATE, unit, 0o644)?;
        Ok(Self(machine))
    }

    pub fn open(self) -> Result<(), Error> {
        self.0.run(&["rm", GATE])?.ok()?;
        Ok(())
    }
}

/// Waits at the gate and then `WARMUP_MS`, or fails at once with `CRASH=1`, or
/// after the wait with `CRASH=warm`.
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
    while is_shut() {
        tokio::time::sleep(LOOK).await;
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

fn is_shut() -> bool {
    let Ok(file) = read_to_string(GATE) else {
        return false;
    };
    file.split_ascii_whitespace().next().is_none_or(is_here)
}
