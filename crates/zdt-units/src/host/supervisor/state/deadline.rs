//! How long what may take, and what follows when it takes longer.

use std::time::Duration;

use super::{Action, Machine, Outcome, Phase, Stage, Then};
use crate::host::supervisor::event::{Event, WhyKilled};

impl Machine {
    /// When [`Input::Due`] is wanted.
    pub(in crate::host::supervisor) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Starting { until, .. }
            | Phase::Pausing { until }
            | Phase::Reloading { until, .. } => Some(until),
            Phase::Ready { since, fed_until } => {
                let life = self.limits.life.map(|life| since + life);
                fed_until.into_iter().chain(life).min()
            }
            Phase::Stopping { stage, until, .. } => (stage != Stage::Killed).then_some(until),
            Phase::Inactive | Phase::Failed | Phase::Launching => None,
        }
    }

    pub(super) fn extend(&mut self, to: Duration) {
        match &mut self.phase {
            Phase::Starting { until, .. }
            | Phase::Reloading { until, .. }
            | Phase::Stopping {
                stage: Stage::Told | Stage::Drain,
                until,
                ..
            } => *until = to.max(*until),
            _ => {}
        }
    }

    pub(super) fn due(&mut self, now: Duration) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match self.phase {
            Phase::Starting { .. } if self.limits.task => {
                self.result = Outcome::Timeout;
                let why = WhyKilled::Task(now - self.launched);
                self.phase = Phase::Stopping {
                    stage: Stage::Killed,
                    until: now,
                    then: Then::Pause,
                };
                self.killed(why)
            }
            Phase::Starting { .. } => {
                self.result = Outcome::Timeout;
                self.kill(now, now, WhyKilled::Start(now - self.launched))
            }
            Phase::Ready { since, fed_until } => {
                if fed_until.is_none_or(|until| now < until) {
                    let told = Action::Tell(Event::Expired { pid: self.pid });
                    return [vec![told], self.stop(now)].concat();
                }
                self.result = Outcome::Watchdog;
                let limit = self.limits.watchdog.unwrap_or_default();
                self.kill(now, since, WhyKilled::Watchdog(limit))
            }
            Phase::Reloading { ready_since, .. } => {
                self.phase = Phase::Ready {
                    since: ready_since,
                    fed_until: self.limits.watchdog.map(|limit| now + limit),
                };
                let why = format!("process {} did not finish its reload in time", self.pid);
                let told = Action::Tell(Event::ReloadFailed { why: why.clone() });
                [vec![told], self.job_failed(&why)].concat()
            }
            Phase::Stopping { stage, then, .. } => match stage {
                Stage::Quiet | Stage::Drain => {
                    let next = self.next_stage(now, stage, then);
                    [vec![Action::EndHook], next].concat()
                }
                Stage::Told | Stage::Killed => {
                    self.phase = Phase::Stopping {
                        stage: Stage::Killed,
                        until: now,
                        then,
                    };
                    if let Some(job) = &mut self.job {
                        job.killed = true;
                    }
                    let hook = self.limits.sequence.command.then_some(Action::EndHook);
                    let killed = self.killed(WhyKilled::Stop(self.limits.stop));
                    hook.into_iter().chain(killed).collect()
                }
            },
            Phase::Pausing { .. } => {
                self.restarts += 1;
                self.launch()
            }
            Phase::Inactive | Phase::Failed | Phase::Launching => Vec::new(),
        }
    }
}
