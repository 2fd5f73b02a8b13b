//! Decides what a unit does next: an input comes in, actions go out.
//! Pure: no I/O, no clock; every time is handed in, counted from the start.

mod deadline;
mod end;
mod job;
mod seen;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::job::Job;
use super::event::{Event, Exit, RestartReport, WhyKilled};
use crate::model::{Ready, Restarts};

/// How long what may take, and what a stop is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) start: Duration,
    /// From the signal to `SIGKILL`.
    pub(super) stop: Duration,
    pub(super) sequence: Sequence,
    pub(super) restarts: Restarts,
    pub(super) watchdog: Option<Duration>,
    pub(super) ready: Ready,
    /// It does one thing and ends, with 0 if that went well.
    pub(super) task: bool,
    /// It is stopped when it was ready for so long.
    pub(super) life: Option<Duration>,
}

/// What comes before the signal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    pub(super) quiet: bool,
    pub(super) drain: bool,
    /// Of the drain, or of the wait for an end without one; zero: there is neither.
    pub(super) drain_limit: Duration,
    /// In the place of the signal.
    pub(super) command: bool,
}

/// A command of the stop sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    Quiet,
    Drain,
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The answer to [`Action::Launch`].
    Started(u32),
    NotStarted(String),
    Ready,
    Reloading,
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
    /// The command of the stop sequence has ended, well or not.
    HookEnded,
    /// The deadline has passed.
    Due,
    Start,
    Restart,
    Reload,
    Stop,
    Kill,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Launch,
    /// Runs a command of the stop sequence, and kills it after the limit.
    Run(Hook, Duration),
    /// Kills such a command, if one runs.
    EndHook,
    /// The stop signal to the main process.
    Terminate,
    /// `SIGHUP` to the main process.
    Hangup,
    /// `SIGKILL` to the main process and its group.
    Kill,
    /// `SIGKILL` to what the main process left behind.
    KillRest,
    /// The process is ready, and whatever it was handed and did not take it never will.
    CloseUntaken,
    Tell(Event),
    /// Whoever asked is answered: for a start, a restart or a reload with what it did.
    Settle(Result<RestartReport, String>),
    /// Comes too late: it is being stopped.
    Refuse,
    /// No process is left and none follows; what a program that stands for it would exit with.
    End(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Nothing was started, or it was stopped.
    Inactive,
    /// It ended by itself more often than it may.
    Failed,
    /// Between [`Action::Launch`] and its answer.
    Launching,
    Starting {
        since: Duration,
        until: Duration,
    },
    Ready {
        since: Duration,
        fed_until: Option<Duration>,
    },
    Reloading {
        ready_since: Duration,
        until: Duration,
        /// It said `RELOADING=1`.
        begun: bool,
    },
    Stopping {
        stage: Stage,
        until: Duration,
        then: Then,
    },
    Pausing {
        until: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Quiet,
    Drain,
    /// It was told to end.
    Told,
    /// It was killed, and there is nothing more to do to it.
    Killed,
}

/// What follows the end of a process that stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Then {
    Start,
    Pause,
    End,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    #[serde(skip, default = "no_limits")]
    limits: Limits,
    phase: Phase,
    pid: u32,
    launched: Duration,
    /// From the launch to its readiness.
    start_took: Option<Duration>,
    generation: u64,
    /// Starts that failed in a row.
    failures: u32,
    /// When it was started again by itself, as far as that counts.
    again: VecDeque<Duration>,
    restarts: u32,
    job: Option<Job>,
    queued: bool,
    status: Option<String>,
    last_exit: Option<Exit>,
    result: Outcome,
    /// A process of it was ready and may have requests in it.
    served: bool,
}

/// How the last process ended, in the words of systemd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    #[default]
    Success,
    ExitCode,
    Signal,
    Timeout,
    Watchdog,
    NotStarted,
    /// As `start-limit-hit`.
    Limit,
}

fn no_limits() -> Limits {
    Limits {
        start: Duration::ZERO,
        stop: Duration::ZERO,
        sequence: Sequence::default(),
        restarts: Restarts::default(),
        watchdog: None,
        ready: Ready::Notify,
        task: false,
        life: None,
    }
}

impl Machine {
    /// Nothing runs until it is told to start.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Inactive,
            pid: 0,
            launched: Duration::ZERO,
            start_took: None,
            generation: 0,
            failures: 0,
            again: VecDeque::new(),
            restarts: 0,
            job: None,
            queued: false,
            status: None,
            last_exit: None,
            result: Outcome::Success,
            served: false,
        }
    }

    /// A process that was ready before this machine was there.
    pub(super) fn of_ready(limits: Limits, pid: u32, generation: u64) -> Self {
        let fed_until = limits.watchdog;
        Self {
            phase: Phase::Ready {
                since: Duration::ZERO,
                fed_until,
            },
            pid,
            generation,
            served: true,
            ..Self::new(limits)
        }
    }

    /// For what is begun from now on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn step(&mut self, now: Duration, input: Input) -> Vec<Action> {
        match input {
            Input::Started(pid) => self.started(now, pid),
            Input::NotStarted(why) => {
                self.result = Outcome::NotStarted;
                let told = Action::Tell(Event::NotStarted { why: why.clone() });
                [vec![told], self.failed(now, why)].concat()
            }
            Input::Ready => self.ready(now),
            Input::Reloading => {
                if let Phase::Reloading { begun, .. } = &mut self.phase {
                    *begun = true;
                }
                Vec::new()
            }
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
            Input::HookEnded => self.hook_ended(now),
            Input::Due => self.due(now),
            Input::Start => self.start(now),
            Input::Restart => self.restart(now),
            Input::Reload => self.reload(now),
            Input::Stop => self.stop(now),
            Input::Kill => self.kill_now(now),
        }
    }

    fn started(&mut self, now: Duration, pid: u32) -> Vec<Action> {
        self.pid = pid;
        self.launched = now;
        self.status = None;
        self.start_took = None;
        self.served = false;
        self.phase = Phase::Starting {
            since: now,
            until: now + self.limits.start,
        };
        let told = vec![Action::Tell(Event::Started {
            pid,
            generation: self.generation,
        })];
        match self.limits.ready {
            Ready::Started if !self.limits.task => [told, self.ready(now)].concat(),
            Ready::Started | Ready::Notify => told,
        }
    }

    fn ready(&mut self, now: Duration) -> Vec<Action> {
        match self.phase {
            Phase::Starting { since, .. } if !self.limits.task => self.serves(now, now - since),
            Phase::Reloading {
                ready_since,
                begun: true,
                ..
            } => self.reloaded(now, ready_since),
            _ => Vec::new(),
        }
    }

    fn serves(&mut self, now: Duration, after: Duration) -> Vec<Action> {
        self.phase = Phase::Ready {
            since: now,
            fed_until: self.limits.watchdog.map(|limit| now + limit),
        };
        self.start_took = Some(after);
        self.served = true;
        self.result = Outcome::Success;
        let ready = Action::Tell(Event::Ready {
            pid: self.pid,
            after,
            status: self.status.clone(),
        });
        let mut actions = vec![ready, Action::CloseUntaken];
        actions.extend(self.job_done(after));
        if std::mem::take(&mut self.queued) {
            actions.extend(self.begin_restart(now));
        }
        actions
    }

    fn launch(&mut self) -> Vec<Action> {
        self.phase = Phase::Launching;
        self.generation += 1;
        vec![Action::Launch]
    }
}

#[cfg(test)]
mod tests;
