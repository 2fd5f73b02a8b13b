//! All effects. A host observes and performs; it never decides what comes next.

pub mod any;
mod ask;
pub mod balancer;
mod beside;
mod check;
pub mod diag;
pub mod facts;
pub(crate) mod files;
pub mod gap;
pub(crate) mod handover;
pub mod image;
mod kept;
pub mod launcher;
mod listeners;
pub mod lock;
pub mod look;
mod newer;
mod open_socket;
mod prove;
mod ready;
pub mod record;
pub mod releases;
pub mod sinks;
pub mod state;
pub mod supervisor;
pub mod systemd;

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::event::EventKind;
use crate::observe::{Observed, Watched};
use crate::plan::Action;
use crate::tool::Tool;

/// A service manager that can carry out the steps of a plan.
#[expect(
    async_fn_in_trait,
    reason = "one task drives a host from start to end, so the futures need not be Send"
)]
pub trait Host {
    /// What a person mends with what it did not do.
    fn tool(&self) -> Tool {
        Tool::default()
    }

    /// Reads the state of `watched` and changes nothing.
    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure>;

    /// `action` in words, with what only the host knows: the port that a process was given.
    async fn words(&mut self, action: &Action) -> String {
        action.to_string()
    }

    /// Does one thing, telling what it sees meanwhile. May be dropped at any
    /// moment: every wait in it has a limit that the caller keeps.
    async fn perform(
        &mut self,
        action: &Action,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure>;
}

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
    /// What to look at or to do.
    pub hint: Option<String>,
    pub effect: Effect,
    /// The last words of what failed, line by line.
    pub output: Vec<String>,
}

/// Whether a failed action may have changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Surely not: it was refused as a whole.
    None,
    Possible,
}

impl Failure {
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
            effect: Effect::Possible,
            output: Vec::new(),
        }
    }

    /// What the system refused, with the way out. Nothing that counts was changed by it.
    pub(crate) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        let text = error.to_string();
        // `tempfile` adds the name of a file that nobody ever sees.
        let why = text.split(" at path \"").next().unwrap_or_default();
        let failure = Self::new(format!("failed to {what} `{}`: {why}", path.display()));
        let hint = match error.kind() {
            ErrorKind::PermissionDenied => "run it as root",
            ErrorKind::ReadOnlyFilesystem => {
                "see `findmnt --target` with this path for who mounted it so"
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
            ErrorKind::AlreadyExists | ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
                "something else has this name, or that of a directory above: move it away"
            }
            _ => return failure.without_effect(),
        };
        failure.hint(hint).without_effect()
    }

    pub fn without_effect(mut self) -> Self {
        self.effect = Effect::None;
        self
    }

    pub fn output(mut self, lines: Vec<String>) -> Self {
        self.output = lines;
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Where nothing better is known.
    pub(crate) fn or_hint(self, hint: impl Into<String>) -> Self {
        match self.hint {
            Some(_) => self,
            None => self.hint(hint),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

/// Waits for what somebody else does, but not for ever. What was dropped here is open until no process that another test
/// is just starting has its copy any more.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "most of its tests have no runtime"
)]
fn until(what: &str, mut found: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !found() {
        assert!(began.elapsed().as_secs() < 60, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
