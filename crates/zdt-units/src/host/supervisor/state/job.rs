//! What is asked of a machine: a start, a restart, a reload; and what whoever asked is told in the end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Machine, Phase, Then};
use crate::host::supervisor::event::{Event, RestartReport};

/// What somebody waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    kind: JobKind,
    old_pid: Option<u32>,
    pub(super) began: Duration,
    pub(super) stop: Duration,
    pub(super) killed: bool,
    pub(super) status: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum JobKind {
    Start,
    Restart,
    Reload,
}

impl Machine {
    pub(super) fn start(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Stopping {
                then: Then::End, ..
            } => vec![Action::Refuse],
            Phase::Ready { .. } | Phase::Reloading { .. } => {
                self.note_job(now, JobKind::Start, None);
                self.job_done(Duration::ZERO)
            }
            Phase::Inactive | Phase::Failed => {
                self.forget_failures();
                self.note_job(now, JobKind::Start, None);
                self.launch()
            }
            Phase::Pausing { .. } => {
                self.note_job(now, JobKind::Start, None);
                self.launch()
            }
            // Whoever asked waits for what is going on.
            Phase::Launching | Phase::Starting { .. } | Phase::Stopping { .. } => {
                if self.job.is_none() {
                    self.note_job(now, JobKind::Start, None);
                }
                Vec::new()
            }
        }
    }

    pub(super) fn restart(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Stopping {
                then: Then::End, ..
            } => vec![Action::Refuse],
            _ if self
                .job
                .as_ref()
                .is_some_and(|job| job.kind != JobKind::Start) =>
            {
                self.queued = true;
                vec![Action::Tell(Event::Queued)]
            }
            Phase::Starting { .. } | Phase::Ready { .. } | Phase::Reloading { .. } => {
                self.begin_restart(now)
            }
            Phase::Stopping { stage, until, .. } => {
                self.phase = Phase::Stopping {
                    stage,
                    until,
                    then: Then::Start,
                };
                self.note_restart(now, Some(self.pid))
            }
            Phase::Inactive | Phase::Failed | Phase::Pausing { .. } => {
                self.forget_failures();
                let told = self.note_restart(now, None);
                [told, self.launch()].concat()
            }
            Phase::Launching => Vec::new(),
        }
    }

    pub(super) fn begin_restart(&mut self, now: Duration) -> Vec<Action> {
        if let Phase::Ready { since, .. } = self.phase {
            self.note_health(now, since);
        }
        let mut actions = self.note_restart(now, Some(self.pid));
        actions.extend(self.begin_stop(now, Then::Start));
        actions
    }

    fn note_restart(&mut self, now: Duration, old_pid: Option<u32>) -> Vec<Action> {
        self.note_job(now, JobKind::Restart, old_pid);
        vec![Action::Tell(Event::Restarting { pid: old_pid })]
    }

    fn note_job(&mut self, now: Duration, kind: JobKind, old_pid: Option<u32>) {
        self.job = Some(Job {
            kind,
            old_pid,
            began: now,
            stop: Duration::ZERO,
            killed: false,
            status: None,
        });
    }

    pub(super) fn reload(&mut self, now: Duration) -> Vec<Action> {
        let Phase::Ready { since, .. } = self.phase else {
            return vec![Action::Refuse];
        };
        self.phase = Phase::Reloading {
            ready_since: since,
            until: now + self.limits.start,
            begun: false,
        };
        self.note_job(now, JobKind::Reload, Some(self.pid));
        vec![
            Action::Tell(Event::Reloading { pid: self.pid }),
            Action::Hangup,
        ]
    }

    pub(super) fn reloaded(&mut self, now: Duration, since: Duration) -> Vec<Action> {
        self.phase = Phase::Ready {
            since,
            fed_until: self.limits.watchdog.map(|limit| now + limit),
        };
        self.job_done(Duration::ZERO)
    }

    pub(super) fn job_done(&mut self, start: Duration) -> Vec<Action> {
        let Some(job) = self.job.take() else {
            return Vec::new();
        };
        let report = RestartReport {
            old_pid: job.old_pid,
            new_pid: self.pid,
            stop: job.stop,
            start,
            killed: job.killed,
            status: job.status,
        };
        let told = match job.kind {
            JobKind::Start => None,
            JobKind::Restart => Some(Event::Restarted(report.clone())),
            JobKind::Reload => Some(Event::Reloaded {
                before: job.old_pid.unwrap_or_default(),
                now: self.pid,
            }),
        };
        let told = told.map(Action::Tell).into_iter();
        told.chain([Action::Settle(Ok(report))]).collect()
    }

    pub(super) fn job_failed(&mut self, why: &str) -> Vec<Action> {
        // The next start serves a queued restart as well.
        let queued = std::mem::take(&mut self.queued);
        let job = self.job.take();
        if job.is_none() && !queued {
            return Vec::new();
        }
        let is_restart = queued || job.is_some_and(|job| job.kind == JobKind::Restart);
        let why = why.to_owned();
        let told = is_restart.then(|| Action::Tell(Event::RestartFailed { why: why.clone() }));
        let settled = Action::Settle(Err(why));
        told.into_iter().chain([settled]).collect()
    }
}
