//! Decides what a supervisor does next: an input comes in, actions go out.
//! Pure: no I/O, no clock; every time is handed in, counted from the start.

use std::time::Duration;

use super::event::{Event, Exit, RestartReport, WhyKilled};

/// A process that was ready for so long was no failed start.
const HEALTHY: Duration = Duration::from_secs(10);

/// The longest pause between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) start: Duration,
    pub(super) stop: Duration,
    /// After the first failure; it doubles with each one.
    pub(super) pause: Duration,
    pub(super) watchdog: Option<Duration>,
    pub(super) ready: Readiness,
}

/// How a process becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It says `READY=1`.
    Notify,
    /// It counts as ready once it was started.
    Started,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The answer to [`Action::Start`].
    Started(u32),
    NotStarted(String),
    Ready,
    Stopping,
    Status(String),
    MainPid(u32),
    /// From now on, so much time is left.
    Extend(Duration),
    /// The process is alive.
    Watchdog,
    /// The process says that it is not well.
    WatchdogTrigger,
    Exited(Exit),
    /// The deadline has passed.
    Due,
    Restart,
    Stop,
    Kill,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    /// `SIGTERM` to the main process.
    Terminate,
    /// `SIGKILL` to the main process and its group.
    Kill,
    /// `SIGKILL` to what the main process left behind.
    KillRest,
    /// The process is ready, and whatever it was handed and did not take it never will.
    CloseUntaken,
    Tell(Event),
    Refuse,
    End(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between [`Action::Start`] and its answer.
    Launching,
    Starting {
        since: Duration,
        until: Duration,
    },
    Ready {
        since: Duration,
        fed_until: Option<Duration>,
    },
    Stopping {
        /// `None`: it was killed, and there is nothing more to do to it.
        until: Option<Duration>,
        then: Then,
    },
    Pausing {
        until: Duration,
    },
    Ended,
}

/// What follows the end of a process that stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Start,
    Pause,
    End,
}

/// A restart from its signal to `READY=1`.
#[derive(Clone, Debug)]
struct Restart {
    old_pid: Option<u32>,
    began: Duration,
    stop: Duration,
    killed: bool,
    status: Option<String>,
}

#[derive(Debug)]
pub(super) struct Machine {
    limits: Limits,
    phase: Phase,
    pid: u32,
    launched: Duration,
    generation: u64,
    /// Starts that failed in a row.
    failures: u32,
    restart: Option<Restart>,
    queued: bool,
    status: Option<String>,
}

impl Machine {
    /// Waits for the answer to a first [`Action::Start`].
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Launching,
            pid: 0,
            launched: Duration::ZERO,
            generation: 1,
            failures: 0,
            restart: None,
            queued: false,
            status: None,
        }
    }

    /// How often a process was started, the one being started included.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// When [`Input::Due`] is wanted.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Starting { until, .. } | Phase::Pausing { until } => Some(until),
            Phase::Ready { fed_until, .. } => fed_until,
            Phase::Stopping { until, .. } => until,
            Phase::Launching | Phase::Ended => None,
        }
    }

    pub(super) fn step(&mut self, now: Duration, input: Input) -> Vec<Action> {
        match input {
            Input::Started(pid) => self.started(now, pid),
            Input::NotStarted(why) => {
                let told = Action::Tell(Event::NotStarted { why: why.clone() });
                [vec![told], self.failed(now, why)].concat()
            }
            Input::Ready => self.ready(now),
            Input::Stopping => self.leaving(now),
            Input::Status(text) => {
                self.status = Some(text);
                Vec::new()
            }
            Input::MainPid(pid) => {
                self.pid = pid;
                vec![Action::Tell(Event::MainProcess { pid })]
            }
            Input::Extend(time) => {
                self.extend(now + time);
                Vec::new()
            }
            Input::Watchdog => {
                if let Phase::Ready { fed_until, .. } = &mut self.phase {
                    *fed_until = self.limits.watchdog.map(|limit| now + limit);
                }
                Vec::new()
            }
            Input::WatchdogTrigger => match (self.phase, self.limits.watchdog) {
                (Phase::Ready { since, .. }, Some(limit)) => {
                    self.kill(now, since, WhyKilled::Watchdog(limit))
                }
                _ => Vec::new(),
            },
            Input::Exited(exit) => self.exited(now, exit),
            Input::Due => self.due(now),
            Input::Restart => self.restart(now),
            Input::Stop => self.stop(now),
            Input::Kill => self.kill_now(),
        }
    }

    fn started(&mut self, now: Duration, pid: u32) -> Vec<Action> {
        self.pid = pid;
        self.launched = now;
        self.status = None;
        self.phase = Phase::Starting {
            since: now,
            until: now + self.limits.start,
        };
        let told = vec![Action::Tell(Event::Started {
            pid,
            generation: self.generation,
        })];
        match self.limits.ready {
            Readiness::Notify => told,
            Readiness::Started => [told, self.ready(now)].concat(),
        }
    }

    fn ready(&mut self, now: Duration) -> Vec<Action> {
        let Phase::Starting { since, .. } = self.phase else {
            return Vec::new();
        };
        self.phase = Phase::Ready {
            since: now,
            fed_until: self.limits.watchdog.map(|limit| now + limit),
        };
        let after = now - since;
        let ready = Action::Tell(Event::Ready {
            pid: self.pid,
            after,
            status: self.status.clone(),
        });
        let mut actions = vec![ready, Action::CloseUntaken];
        if let Some(restart) = self.restart.take() {
            actions.push(Action::Tell(Event::Restarted(RestartReport {
                old_pid: restart.old_pid,
                new_pid: self.pid,
                stop: restart.stop,
                start: after,
                killed: restart.killed,
                status: restart.status,
            })));
        }
        if std::mem::take(&mut self.queued) {
            actions.extend(self.begin_restart(now));
        }
        actions
    }

    /// The process stops without having been told to.
    fn leaving(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Ready { since, .. } => self.note_health(now, since),
            Phase::Starting { .. } => {}
            _ => return Vec::new(),
        }
        self.phase = Phase::Stopping {
            until: Some(now + self.limits.stop),
            then: Then::Pause,
        };
        vec![Action::Tell(Event::Leaving { pid: self.pid })]
    }

    fn extend(&mut self, to: Duration) {
        match &mut self.phase {
            Phase::Starting { until, .. } => *until = to.max(*until),
            Phase::Stopping {
                until: Some(until), ..
            } => *until = to.max(*until),
            _ => {}
        }
    }

    fn exited(&mut self, now: Duration, exit: Exit) -> Vec<Action> {
        let status = self.status.take();
        let mut actions = vec![
            Action::Tell(Event::Exited {
                pid: self.pid,
                exit,
                status: status.clone(),
            }),
            Action::KillRest,
        ];
        actions.extend(match self.phase {
            Phase::Ready { since, .. } => {
                self.note_health(now, since);
                self.failed(now, format!("process {} {exit}", self.pid))
            }
            Phase::Starting { .. } => self.failed(
                now,
                format!("process {} {exit} before it was ready", self.pid),
            ),
            Phase::Stopping { then, .. } => match then {
                Then::Start => {
                    if let Some(restart) = &mut self.restart {
                        restart.stop = now - restart.began;
                        restart.status = status;
                    }
                    self.launch()
                }
                Then::Pause => self.failed(now, format!("process {} {exit}", self.pid)),
                Then::End => self.end(code(exit)),
            },
            Phase::Launching | Phase::Pausing { .. } | Phase::Ended => Vec::new(),
        });
        actions
    }

    fn due(&mut self, now: Duration) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match self.phase {
            Phase::Starting { .. } => self.kill(now, now, WhyKilled::Start(now - self.launched)),
            Phase::Ready { since, .. } => {
                let limit = self.limits.watchdog.unwrap_or_default();
                self.kill(now, since, WhyKilled::Watchdog(limit))
            }
            Phase::Stopping { then, .. } => {
                self.phase = Phase::Stopping { until: None, then };
                if let Some(restart) = &mut self.restart {
                    restart.killed = true;
                }
                let why = WhyKilled::Stop(self.limits.stop);
                self.killed(why)
            }
            Phase::Pausing { .. } => self.launch(),
            Phase::Launching | Phase::Ended => Vec::new(),
        }
    }

    fn restart(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Stopping {
                then: Then::End, ..
            }
            | Phase::Ended => vec![Action::Refuse],
            _ if self.restart.is_some() => {
                self.queued = true;
                vec![Action::Tell(Event::Queued)]
            }
            Phase::Starting { .. } | Phase::Ready { .. } => self.begin_restart(now),
            Phase::Stopping { until, .. } => {
                self.phase = Phase::Stopping {
                    until,
                    then: Then::Start,
                };
                self.note_restart(now, Some(self.pid))
            }
            Phase::Pausing { .. } => {
                let told = self.note_restart(now, None);
                [told, self.launch()].concat()
            }
            Phase::Launching => Vec::new(),
        }
    }

    fn begin_restart(&mut self, now: Duration) -> Vec<Action> {
        if let Phase::Ready { since, .. } = self.phase {
            self.note_health(now, since);
        }
        self.phase = Phase::Stopping {
            until: Some(now + self.limits.stop),
            then: Then::Start,
        };
        let mut actions = self.note_restart(now, Some(self.pid));
        actions.push(Action::Terminate);
        actions
    }

    fn note_restart(&mut self, now: Duration, old_pid: Option<u32>) -> Vec<Action> {
        self.restart = Some(Restart {
            old_pid,
            began: now,
            stop: Duration::ZERO,
            killed: false,
            status: None,
        });
        vec![Action::Tell(Event::Restarting { pid: old_pid })]
    }

    fn stop(&mut self, now: Duration) -> Vec<Action> {
        let (until, signal) = match self.phase {
            Phase::Launching | Phase::Pausing { .. } => return self.end(0),
            Phase::Ended
            | Phase::Stopping {
                then: Then::End, ..
            } => return Vec::new(),
            Phase::Stopping { until, .. } => (until, None),
            Phase::Starting { .. } | Phase::Ready { .. } => {
                (Some(now + self.limits.stop), Some(Action::Terminate))
            }
        };
        self.phase = Phase::Stopping {
            until,
            then: Then::End,
        };
        let told = Action::Tell(Event::Stopping { pid: self.pid });
        [told].into_iter().chain(signal).collect()
    }

    fn kill_now(&mut self) -> Vec<Action> {
        match self.phase {
            Phase::Launching | Phase::Pausing { .. } => self.end(0),
            Phase::Ended => Vec::new(),
            _ => {
                self.phase = Phase::Stopping {
                    until: None,
                    then: Then::End,
                };
                self.killed(WhyKilled::Asked)
            }
        }
    }

    fn kill(&mut self, now: Duration, ready_since: Duration, why: WhyKilled) -> Vec<Action> {
        self.note_health(now, ready_since);
        self.phase = Phase::Stopping {
            until: None,
            then: Then::Pause,
        };
        self.killed(why)
    }

    fn killed(&self, why: WhyKilled) -> Vec<Action> {
        let pid = self.pid;
        vec![Action::Tell(Event::Killed { pid, why }), Action::Kill]
    }

    fn note_health(&mut self, now: Duration, ready_since: Duration) {
        if now - ready_since >= HEALTHY {
            self.failures = 0;
        }
    }

    /// Nothing serves now; tries again after a pause.
    fn failed(&mut self, now: Duration, why: String) -> Vec<Action> {
        let factor = 1 << self.failures.min(16);
        let longest = LONGEST_PAUSE.max(self.limits.pause);
        let pause = (self.limits.pause * factor).min(longest);
        self.failures += 1;
        self.phase = Phase::Pausing { until: now + pause };
        let mut actions = Vec::new();
        // The next start serves a queued restart as well.
        let queued = std::mem::take(&mut self.queued);
        if self.restart.take().is_some() || queued {
            actions.push(Action::Tell(Event::RestartFailed { why }));
        }
        actions.push(Action::Tell(Event::Pausing { pause }));
        actions
    }

    fn launch(&mut self) -> Vec<Action> {
        self.phase = Phase::Launching;
        self.generation += 1;
        vec![Action::Start]
    }

    fn end(&mut self, code: u8) -> Vec<Action> {
        self.phase = Phase::Ended;
        vec![Action::Tell(Event::Ended { code }), Action::End(code)]
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

#[cfg(test)]
mod tests;
