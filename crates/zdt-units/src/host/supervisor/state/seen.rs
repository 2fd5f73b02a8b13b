//! What a machine shows of itself.

use std::time::Duration;

use super::{Exit, Machine, Outcome, Phase, Stage};
use crate::observe::Active;

impl Machine {
    /// How often a process was started, the one being started included.
    pub(in crate::host::supervisor) fn generation(&self) -> u64 {
        self.generation
    }

    pub(in crate::host::supervisor) fn start_took(&self) -> Option<Duration> {
        self.start_took
    }

    /// How often it was started again by itself.
    pub(in crate::host::supervisor) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(in crate::host::supervisor) fn status(&self) -> &str {
        self.status.as_deref().unwrap_or_default()
    }

    pub(in crate::host::supervisor) fn has_served(&self) -> bool {
        self.served
    }

    /// Nothing is going on, and nobody waits for anything.
    pub(in crate::host::supervisor) fn is_settled(&self) -> bool {
        let rests = matches!(
            self.phase,
            Phase::Inactive | Phase::Failed | Phase::Ready { .. } | Phase::Pausing { .. }
        );
        rests && self.job.is_none() && !self.queued
    }

    /// The exit status of the last process that ended.
    pub(in crate::host::supervisor) fn exit_status(&self) -> i32 {
        match self.last_exit {
            Some(Exit::Code(code) | Exit::Signal(code)) => code,
            Some(Exit::Unknown) | None => 0,
        }
    }

    /// In systemd's words: the coarse state, the finer one, and how the last process ended.
    pub(in crate::host::supervisor) fn state(&self) -> (Active, &'static str, &'static str) {
        let (active, sub) = match self.phase {
            Phase::Inactive => match self.result {
                Outcome::Success => (Active::Inactive, "dead"),
                _ => (Active::Failed, "failed"),
            },
            Phase::Failed => (Active::Failed, "failed"),
            Phase::Launching | Phase::Starting { .. } => (Active::Activating, "start"),
            Phase::Ready { .. } => (Active::Active, "running"),
            Phase::Reloading { .. } => (Active::Reloading, "reload"),
            Phase::Stopping { stage, .. } => (
                Active::Deactivating,
                match stage {
                    Stage::Quiet | Stage::Drain => "stop",
                    Stage::Told => "stop-sigterm",
                    Stage::Killed => "stop-sigkill",
                },
            ),
            Phase::Pausing { .. } => (Active::Activating, "auto-restart"),
        };
        let result = match self.result {
            Outcome::Success => "success",
            Outcome::ExitCode => "exit-code",
            Outcome::Signal => "signal",
            Outcome::Timeout => "timeout",
            Outcome::Watchdog => "watchdog",
            Outcome::NotStarted => "resources",
            Outcome::Limit => "start-limit-hit",
        };
        (active, sub, result)
    }
}
