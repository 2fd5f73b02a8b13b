//! What the commands that change services have in common: where they run, how they
//! are interrupted, what they tell, and what they exit with.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read files and stamp events with the wall clock"
)]

use std::io::{self, Write};
use std::time::SystemTime;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::Failed;
use crate::event::{Event, Outcome};
use crate::execute::Interrupts;
use crate::exit_code;
use crate::host::Failure;
use crate::report::{human, json};

pub(super) fn runtime() -> Result<Runtime, Failed> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failed::unexpected(format!("failed to start the runtime: {source}")))
}

pub(super) fn restart_id() -> Result<String, Failed> {
    let source = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(source)
        .map_err(|error| Failed::unexpected(format!("failed to read `{source}`: {error}")))?;
    Ok(uuid.chars().filter(char::is_ascii_hexdigit).collect())
}

/// SIGINT and SIGTERM, each time; from here on neither ends this process by itself.
pub(super) fn interrupts() -> Result<Interrupts, Failed> {
    let failed =
        |source: io::Error| Failed::unexpected(format!("failed to listen for signals: {source}"));
    let (sender, interrupts) = Interrupts::channel();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = interrupt.recv() => {}
                Some(()) = terminate.recv() => {}
                else => return,
            }
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(interrupts)
}

/// The report must not stop a restart that has begun, so a closed terminal is nothing here.
pub(super) fn write(as_json: bool, event: &Event) {
    if as_json {
        let line = json::line(event, SystemTime::now());
        let _ = io::stdout().write_all(line.as_bytes());
    } else {
        let _ = io::stderr().write_all(human::lines(event).as_bytes());
    }
}

pub(super) fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Completed => exit_code::DONE,
        Outcome::Lossy => exit_code::LOST,
        Outcome::Stopped => exit_code::STOPPED,
        Outcome::RolledBack => exit_code::ROLLED_BACK,
        Outcome::LookNow => exit_code::LOOK_NOW,
    }
}

pub(super) fn stopped(failure: Failure) -> Failed {
    let failed = Failed::said(exit_code::STOPPED, failure.reason);
    match failure.hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
