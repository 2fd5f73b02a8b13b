//! Carries out a plan. The only loop over steps, and it makes no choices: order,
//! limits and the way back are in the plan.

mod roll_out;

use std::cell::Cell;

use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};

pub use roll_out::roll_out;

use crate::event::{Event, EventKind, Outcome, Phase};
use crate::host::{Effect, Failure, Host};
use crate::model::span;
use crate::plan::{OnFailure, Plan, Step, by_hand};

/// One carrying-out of a plan.
#[derive(Debug)]
pub struct Run<'a> {
    pub plan: &'a Plan,
    pub restart_id: &'a str,
    /// What a person calls the manager by: `systemctl`, or `systemctl --user`.
    pub systemctl: &'a str,
    pub interrupts: &'a mut Interrupts,
}

/// Ctrl-C, each time it is pressed: the current step fails. So the first one
/// starts the way back, and one during the way back ends everything at once.
#[derive(Debug)]
pub struct Interrupts(broadcast::Receiver<()>);

impl Interrupts {
    /// The sender may be dropped; then there are none.
    pub fn channel() -> (broadcast::Sender<()>, Self) {
        let (sender, receiver) = broadcast::channel(8);
        (sender, Self(receiver))
    }

    /// Those from now on, for another plan that is carried out at the same time.
    pub fn also(&self) -> Self {
        Self(self.0.resubscribe())
    }

    pub(crate) async fn next(&mut self) {
        if let Err(broadcast::error::RecvError::Closed) = self.0.recv().await {
            std::future::pending::<()>().await;
        }
    }
}

/// Runs the plan on `host`, sending every event to `sink`.
pub async fn execute<H: Host>(run: Run<'_>, host: &mut H, sink: &mut dyn FnMut(Event)) -> Outcome {
    let started = Instant::now();
    let (restart_id, service) = (run.restart_id, run.plan.service.as_str());
    let killed = Cell::new(false);
    let mut emit = |kind| {
        killed.set(killed.get() || matches!(kind, EventKind::Killed { .. }));
        sink(Event::new(restart_id, service, started.elapsed(), kind));
    };
    let tool = host.tool();
    emit(EventKind::planned(run.plan, false).by(tool));

    let mut walk = Walk {
        host,
        interrupts: run.interrupts,
        emit: &mut emit,
        changed: false,
        left: Vec::new(),
        broken_off: false,
        look_after: Vec::new(),
    };
    let outcome = match walk
        .there_and_back(&run.plan.steps, &run.plan.rollback)
        .await
    {
        Outcome::Completed if killed.get() => Outcome::Lossy,
        outcome => outcome,
    };
    let watched = &run.plan.watched;
    let others = !watched.beside.is_empty() || !watched.companions.is_empty();
    if outcome == Outcome::LookNow || (outcome == Outcome::RolledBack && others) {
        walk.tell_how_it_was_left(run.plan).await;
    }
    if walk.broken_off {
        emit(EventKind::BrokenOff);
    } else if outcome == Outcome::LookNow {
        let commands = by_hand(&walk.left, run.systemctl);
        if !commands.is_empty() {
            emit(EventKind::ByHand { commands });
        }
    }
    emit(EventKind::Finished { outcome });
    outcome
}

/// Carries out `steps`, and `rollback` where a step's failure asks for it.
pub async fn carry_out<H: Host>(
    steps: &[Step],
    rollback: &[Step],
    host: &mut H,
    interrupts: &mut Interrupts,
    emit: &mut dyn FnMut(EventKind),
) -> Outcome {
    let mut killed = false;
    let mut emit = |kind| {
        killed |= matches!(kind, EventKind::Killed { .. });
        emit(kind);
    };
    let mut walk = Walk {
        host,
        interrupts,
        emit: &mut emit,
        changed: false,
        left: Vec::new(),
        broken_off: false,
        look_after: Vec::new(),
    };
    match walk.there_and_back(steps, rollback).await {
        Outcome::Completed if killed => Outcome::Lossy,
        outcome => outcome,
    }
}

struct Walk<'w, H> {
    host: &'w mut H,
    interrupts: &'w mut Interrupts,
    emit: &'w mut dyn FnMut(EventKind),
    /// Whether any step so far may have changed something.
    changed: bool,
    /// What was not done of the list that failed last, from the failure on.
    left: Vec<Step>,
    /// The way back was interrupted.
    broken_off: bool,
    /// What failed, and did not end it, and is not to be left so.
    look_after: Vec<Step>,
}

impl<H: Host> Walk<'_, H> {
    async fn there_and_back(&mut self, steps: &[Step], rollback: &[Step]) -> Outcome {
        let outcome = match self.steps(Phase::Forward, steps).await {
            Ok(()) => Outcome::Completed,
            Err(OnFailure::Stop | OnFailure::GoOn | OnFailure::LookAfter) => Outcome::Stopped,
            Err(OnFailure::LookNow) => Outcome::LookNow,
            Err(OnFailure::RollBack) => self.back(rollback).await,
            Err(OnFailure::TakeBack(steps)) => self.back(&steps).await,
        };
        if self.look_after.is_empty() {
            return outcome;
        }
        if outcome != Outcome::LookNow {
            self.left.clear();
        }
        self.left.append(&mut self.look_after);
        Outcome::LookNow
    }

    async fn back(&mut self, steps: &[Step]) -> Outcome {
        match self.steps(Phase::Rollback, steps).await {
            Ok(()) => Outcome::RolledBack,
            Err(_) => Outcome::LookNow,
        }
    }

    async fn steps(&mut self, phase: Phase, steps: &[Step]) -> Result<(), OnFailure> {
        for (number, step) in (1..).zip(steps) {
            let words = timeout(WORDS_LIMIT, self.host.words(&step.action)).await;
            (self.emit)(EventKind::StepStarted {
                phase,
                step: number,
                action: step.action.kind().to_owned(),
                text: words.unwrap_or_else(|_| step.action.to_string()),
                limit_ms: step.limit,
            });
            let Err(failure) = self.step(phase, step).await else {
                self.changed |= step.action.changes();
                (self.emit)(EventKind::StepCompleted {
                    phase,
                    step: number,
                });
                continue;
            };
            (self.emit)(EventKind::StepFailed {
                phase,
                step: number,
                reason: failure.reason,
                hint: failure.hint,
                output: failure.output,
            });
            match step.on_failure {
                OnFailure::GoOn => continue,
                OnFailure::LookAfter => {
                    self.look_after.push(step.clone());
                    continue;
                }
                _ => {}
            }
            self.left = steps[number - 1..].to_vec();
            let untouched = failure.effect == Effect::None || !step.action.changes();
            return Err(match untouched && !self.changed {
                true => OnFailure::Stop,
                false => step.on_failure.clone(),
            });
        }
        Ok(())
    }

    /// The failure of a step that ran out of time or was interrupted may have changed anything.
    async fn step(&mut self, phase: Phase, step: &Step) -> Result<(), Failure> {
        let limit = step.limit + step.action.time_to_tell();
        let performed = timeout(limit, self.host.perform(&step.action, self.emit));
        tokio::select! {
            done = performed => done.unwrap_or_else(|_| {
                Err(Failure::new(format!("it took longer than {}", span(step.limit))))
            }),
            () = self.interrupts.next() => {
                self.broken_off = phase == Phase::Rollback;
                Err(Failure::new("it was interrupted"))
            }
        }
    }

    async fn tell_how_it_was_left(&mut self, plan: &Plan) {
        let observed = timeout(OBSERVE_LIMIT, self.host.observe(&plan.watched));
        tokio::select! {
            observed = observed => {
                if let Ok(Ok(observed)) = observed {
                    let left = EventKind::left_as(&plan.watched, &observed);
                    (self.emit)(left.by(self.host.tool()));
                }
            }
            () = self.interrupts.next() => {}
        }
    }
}

/// A manager that takes longer to say how a step is called is in trouble, which the step itself has to tell.
const WORDS_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);
const OBSERVE_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests;
