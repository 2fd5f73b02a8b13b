//! Decides what a restart will do. Pure: no I/O, no clock, no `async`.

mod act;
mod refuse;

use std::fmt;
use std::time::Duration;

pub use act::{Act, File, Link, SocketOption};
pub use refuse::{Refusal, Refused};

use crate::model::{Name, Reach, Service, Strategy, UnitName, span};
use crate::observe::{Active, Instance, Observed, Watched, WatchedSocket};

/// What was asked for, resolved against the model.
#[derive(Clone, Copy, Debug)]
pub struct Request<'m> {
    pub service: &'m Service,
}

/// Everything a restart may do.
///
/// `--dry-run` prints this value and `execute` consumes it; there is no other
/// description of a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub service: Name,
    pub strategy: Strategy,
    /// Whose state is told when a person has to look.
    pub watched: Watched,
    pub steps: Vec<Step>,
    /// Run in this order when a step marked [`OnFailure::RollBack`] fails.
    pub rollback: Vec<Step>,
}

/// One action, how long it may take, and what its failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub action: Action,
    pub limit: Duration,
    pub on_failure: OnFailure,
}

/// What a failed step means, once something may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing has changed yet, so there is nothing to take back.
    Stop,
    RollBack,
    /// Things have changed and there is no way back: a person has to look.
    LookNow,
}

/// The closed set of things the executor knows how to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    StartUnit {
        unit: UnitName,
    },
    RestartUnit {
        unit: UnitName,
    },
    /// The unit runs as another instance than `before`, and its sockets are open.
    ConfirmInstance {
        unit: UnitName,
        before: Option<Instance>,
        sockets: Vec<WatchedSocket>,
    },
    /// The instance that `unit` runs now answers 200, so many times in a row.
    AwaitReady {
        unit: UnitName,
        reach: Reach,
        path: String,
        successes: u32,
        interval: Duration,
    },
    /// Connections that the process of `unit` was handed and did not take are closed, or their clients would wait for
    /// as long as it lives.
    CloseUntaken {
        unit: UnitName,
    },
    /// A step of an installation.
    Install(Act),
}

/// Reading a few properties takes milliseconds; the manager may be busy.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

/// What a restart of `request.service` takes in the state `observed`.
pub fn plan(request: &Request<'_>, observed: &Observed) -> Result<Plan, Refused> {
    let service = request.service;
    refuse::check(observed)?;
    let steps = match service.strategy {
        Strategy::Queue => queue(service, observed),
        strategy => {
            let unit = service.unit();
            let reasons = vec![Refusal::Strategy { strategy, unit }];
            return Err(Refused { reasons });
        }
    };
    Ok(Plan {
        service: service.name.clone(),
        strategy: service.strategy,
        watched: Watched::of(service),
        steps,
        // The stopped process was the only one, and its release is the one that is started again.
        rollback: Vec::new(),
    })
}

/// Stop, then start; connections wait in the kernel meanwhile.
fn queue(service: &Service, observed: &Observed) -> Vec<Step> {
    let unit = service.unit();
    let running = observed.service.instance.clone();
    let stopped = matches!(observed.service.active, Active::Inactive | Active::Failed);
    let (action, limit) = match stopped {
        true => (
            Action::StartUnit { unit: unit.clone() },
            service.start_timeout,
        ),
        false => (
            Action::RestartUnit { unit: unit.clone() },
            service.stop_timeout() + service.start_timeout,
        ),
    };
    // The manager has the same limits and is to report first.
    let mut steps = vec![step(limit + CONFIRM_LIMIT, action)];
    steps.extend(prove(service, running.as_ref()));
    steps
}

/// Another process than `before` runs in each unit, its sockets are open, and it is ready.
pub(crate) fn prove(service: &Service, before: Option<&Instance>) -> Vec<Step> {
    let mut steps = Vec::new();
    for unit in service.instances() {
        steps.push(step(
            CONFIRM_LIMIT,
            Action::ConfirmInstance {
                unit: unit.clone(),
                before: before.cloned(),
                sockets: Watched::of(service).sockets,
            },
        ));
        if service.handover {
            let unit = unit.clone();
            steps.push(step(CONFIRM_LIMIT, Action::CloseUntaken { unit }));
        }
        steps.extend(service.health.as_ref().map(|health| {
            step(
                health.timeout,
                Action::AwaitReady {
                    unit,
                    reach: health.reach.clone(),
                    path: health.path.clone(),
                    successes: health.successes,
                    interval: health.interval,
                },
            )
        }));
    }
    steps
}

fn step(limit: Duration, action: Action) -> Step {
    Step {
        action,
        limit,
        on_failure: OnFailure::LookNow,
    }
}

impl Action {
    /// Whether it may leave anything else than it was.
    pub fn changes(&self) -> bool {
        match self {
            Self::StartUnit { .. }
            | Self::RestartUnit { .. }
            | Self::CloseUntaken { .. }
            | Self::Install(_) => true,
            Self::ConfirmInstance { .. } | Self::AwaitReady { .. } => false,
        }
    }

    /// Its name in events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StartUnit { .. } => "start_unit",
            Self::RestartUnit { .. } => "restart_unit",
            Self::ConfirmInstance { .. } => "confirm_instance",
            Self::AwaitReady { .. } => "await_ready",
            Self::CloseUntaken { .. } => "close_untaken",
            Self::Install(act) => act.kind(),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Standby => "standby",
            Self::Rolling { .. } => "rolling",
            Self::Reload => "reload",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(act) => act.fmt(f),
            Self::StartUnit { unit } => write!(f, "start `{unit}` and wait until it is ready"),
            Self::RestartUnit { unit } => write!(f, "restart `{unit}` and wait until it is ready"),
            Self::ConfirmInstance {
                unit,
                before,
                sockets,
            } => {
                let new = if before.is_some() {
                    "a new process"
                } else {
                    "a process"
                };
                let sockets: Vec<_> = sockets.iter().map(|socket| socket.unit.as_str()).collect();
                let sockets = crate::config::list(&sockets);
                write!(
                    f,
                    "confirm that `{unit}` runs {new} and that {sockets} stayed open"
                )
            }
            Self::CloseUntaken { unit } => write!(
                f,
                "close connections that the process of `{unit}` was handed and did not take"
            ),
            Self::AwaitReady {
                unit,
                reach,
                path,
                successes,
                ..
            } => {
                write!(
                    f,
                    "wait until `{reach}{path}` answers 200 from the process of `{unit}`"
                )?;
                match successes {
                    1 => Ok(()),
                    _ => write!(f, " {successes} times in a row"),
                }
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (limit {})", self.action, span(self.limit))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "restart `{}` (strategy `{}`)",
            self.service, self.strategy
        )?;
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number}. {step}")?;
        }
        if self.rollback.is_empty() {
            return writeln!(
                f,
                "on failure: there is nothing to roll back to; the sockets stay open and connections wait"
            );
        }
        writeln!(f, "on failure:")?;
        for (number, step) in (1..).zip(&self.rollback) {
            writeln!(f, "   {number}. {step}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
