//! How processes end: told to in stages, killed, or by themselves; and what follows.

use std::time::Duration;

use super::{Action, Hook, Machine, Outcome, Phase, Sequence, Stage, Then};
use crate::host::supervisor::event::{Event, Exit, WhyKilled};
use crate::model::HOOK_LIMIT;

/// A command that is killed at its limit has so long to say so; then it goes on without its word.
const HOOK_WORD: Duration = Duration::from_secs(2);

impl Machine {
    /// The process stops without having been told to.
    pub(super) fn leaving(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Ready { since, .. } => self.note_health(now, since),
            Phase::Starting { .. } => {}
            _ => return Vec::new(),
        }
        self.phase = Phase::Stopping {
            stage: Stage::Told,
            until: now + self.limits.stop,
            then: Then::Pause,
        };
        vec![Action::Tell(Event::Leaving { pid: self.pid })]
    }

    pub(super) fn exited(&mut self, now: Duration, exit: Exit) -> Vec<Action> {
        let status = self.status.take();
        self.last_exit = Some(exit);
        let mut actions = vec![
            Action::Tell(Event::Exited {
                pid: self.pid,
                exit,
                status: status.clone(),
            }),
            Action::KillRest,
        ];
        let pid = self.pid;
        actions.extend(match self.phase {
            Phase::Ready { since, .. }
            | Phase::Reloading {
                ready_since: since, ..
            } => {
                self.note_health(now, since);
                self.result = outcome(exit);
                self.failed(now, format!("process {pid} {exit}"))
            }
            Phase::Starting { since, .. } if self.limits.task => {
                self.result = outcome(exit);
                self.start_took = Some(now - since);
                match exit {
                    Exit::Code(0) => [self.job_done(now - since), self.end(0)].concat(),
                    _ => {
                        let failed = self.job_failed(&format!("process {pid} {exit}"));
                        [failed, self.end(code(exit))].concat()
                    }
                }
            }
            Phase::Starting { .. } => {
                self.result = outcome(exit);
                self.failed(now, format!("process {pid} {exit} before it was ready"))
            }
            Phase::Stopping { stage, then, .. } => {
                let hook = matches!(stage, Stage::Quiet | Stage::Drain | Stage::Told);
                let mut actions = Vec::new();
                if hook && self.limits.sequence.has_hooks() {
                    actions.push(Action::EndHook);
                }
                actions.extend(self.stopped(now, then, exit, status));
                actions
            }
            Phase::Inactive | Phase::Failed | Phase::Launching | Phase::Pausing { .. } => {
                Vec::new()
            }
        });
        actions
    }

    pub(super) fn stopped(
        &mut self,
        now: Duration,
        then: Then,
        exit: Exit,
        status: Option<String>,
    ) -> Vec<Action> {
        match then {
            Then::Start => {
                if let Some(job) = &mut self.job {
                    job.stop = now - job.began;
                    job.status = status;
                }
                self.launch()
            }
            Then::Pause => {
                if self.result == Outcome::Success {
                    self.result = outcome(exit);
                }
                self.failed(now, format!("process {} {exit}", self.pid))
            }
            Then::End => {
                // It was told to: however it did that, it is stopped.
                self.result = Outcome::Success;
                self.end(code(exit))
            }
        }
    }

    pub(super) fn hook_ended(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Stopping {
                stage: stage @ (Stage::Quiet | Stage::Drain),
                then,
                ..
            } => self.next_stage(now, stage, then),
            _ => Vec::new(),
        }
    }

    pub(super) fn begin_stop(&mut self, now: Duration, then: Then) -> Vec<Action> {
        let sequence = self.limits.sequence;
        if sequence.quiet {
            self.phase = Phase::Stopping {
                stage: Stage::Quiet,
                until: now + HOOK_LIMIT + HOOK_WORD,
                then,
            };
            return vec![Action::Run(Hook::Quiet, HOOK_LIMIT)];
        }
        self.next_stage(now, Stage::Quiet, then)
    }

    pub(super) fn next_stage(&mut self, now: Duration, after: Stage, then: Then) -> Vec<Action> {
        let sequence = self.limits.sequence;
        if after == Stage::Quiet && !sequence.drain_limit.is_zero() {
            let limit = sequence.drain_limit;
            let (until, run) = match sequence.drain {
                true => (limit + HOOK_WORD, Some(Action::Run(Hook::Drain, limit))),
                false => (limit, None),
            };
            self.phase = Phase::Stopping {
                stage: Stage::Drain,
                until: now + until,
                then,
            };
            return run.into_iter().collect();
        }
        self.phase = Phase::Stopping {
            stage: Stage::Told,
            until: now + self.limits.stop,
            then,
        };
        match sequence.command {
            true => vec![Action::Run(Hook::Stop, HOOK_LIMIT)],
            false => vec![Action::Terminate],
        }
    }

    pub(super) fn stop(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if std::mem::take(&mut self.queued) | self.job.take().is_some() {
            actions.push(Action::Settle(Err("it is being stopped".to_owned())));
        }
        let pid = self.pid;
        let told = Action::Tell(Event::Stopping { pid });
        match self.phase {
            Phase::Inactive | Phase::Failed => {
                self.phase = Phase::Inactive;
                self.result = Outcome::Success;
                actions.push(Action::End(0));
            }
            Phase::Launching | Phase::Pausing { .. } => {
                self.result = Outcome::Success;
                actions.extend(self.end(0));
            }
            Phase::Stopping {
                then: Then::End, ..
            } => {}
            Phase::Stopping { stage, until, .. } => {
                self.phase = Phase::Stopping {
                    stage,
                    until,
                    then: Then::End,
                };
                actions.push(told);
            }
            Phase::Starting { .. } | Phase::Ready { .. } | Phase::Reloading { .. } => {
                actions.push(told);
                actions.extend(match self.limits.task {
                    // It knows no drain.
                    true => self.kill_now(now),
                    false => self.begin_stop(now, Then::End),
                });
            }
        }
        actions
    }

    pub(super) fn kill_now(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Inactive | Phase::Failed | Phase::Launching | Phase::Pausing { .. } => {
                self.end(0)
            }
            _ => {
                self.phase = Phase::Stopping {
                    stage: Stage::Killed,
                    until: now,
                    then: Then::End,
                };
                self.killed(WhyKilled::Asked)
            }
        }
    }

    pub(super) fn kill(
        &mut self,
        now: Duration,
        ready_since: Duration,
        why: WhyKilled,
    ) -> Vec<Action> {
        self.note_health(now, ready_since);
        self.phase = Phase::Stopping {
            stage: Stage::Killed,
            until: now,
            then: Then::Pause,
        };
        self.killed(why)
    }

    pub(super) fn killed(&self, why: WhyKilled) -> Vec<Action> {
        let pid = self.pid;
        vec![Action::Tell(Event::Killed { pid, why }), Action::Kill]
    }

    pub(super) fn note_health(&mut self, now: Duration, ready_since: Duration) {
        if now - ready_since >= self.limits.restarts.healthy {
            self.forget_failures();
        }
    }

    pub(super) fn forget_failures(&mut self) {
        self.failures = 0;
        self.again.clear();
    }

    /// Nothing serves now; tries again after a pause, unless that was done too often.
    pub(super) fn failed(&mut self, now: Duration, why: String) -> Vec<Action> {
        if self.limits.task {
            let failed = self.job_failed(&why);
            return [failed, self.end(1)].concat();
        }
        let mut actions = self.job_failed(&why);
        let policy = self.limits.restarts;
        if let Some(within) = policy.within {
            let counts = |at: &Duration| now.saturating_sub(*at) < within;
            self.again.retain(counts);
        }
        if let Some(limit) = policy.limit
            && self.again.len() >= usize::try_from(limit).unwrap_or(usize::MAX)
        {
            self.phase = Phase::Failed;
            if limit > 0 {
                self.result = Outcome::Limit;
            }
            let code = self.last_exit.map_or(1, code);
            actions.push(Action::Tell(Event::GaveUp {
                why,
                restarts: limit,
            }));
            actions.push(Action::End(code));
            return actions;
        }
        if policy.limit.is_some() {
            self.again.push_back(now);
        }
        let factor = policy.factor.saturating_pow(self.failures);
        let pause = policy.pause.saturating_mul(factor).min(policy.longest);
        let pause = pause.max(policy.pause.min(policy.longest));
        self.failures += 1;
        self.phase = Phase::Pausing { until: now + pause };
        actions.push(Action::Tell(Event::Pausing { pause }));
        actions
    }

    pub(super) fn end(&mut self, code: u8) -> Vec<Action> {
        self.phase = Phase::Inactive;
        self.served = false;
        vec![Action::Tell(Event::Ended { code }), Action::End(code)]
    }
}

impl Sequence {
    fn has_hooks(self) -> bool {
        self.quiet || self.drain || self.command
    }
}

fn outcome(exit: Exit) -> Outcome {
    match exit {
        Exit::Code(0) | Exit::Unknown => Outcome::Success,
        Exit::Code(_) => Outcome::ExitCode,
        Exit::Signal(_) => Outcome::Signal,
    }
}

/// The status of a shell's command, except that ending by the `SIGTERM` that it was sent is clean.
fn code(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Exit::Signal(15) | Exit::Unknown => 0,
        Exit::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
    }
}
