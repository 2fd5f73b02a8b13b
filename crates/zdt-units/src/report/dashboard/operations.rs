//! What events, one after the other, say about operations: those under way, and how the last ones went. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::event::{EventKind, Outcome, Phase, Record};
use crate::observe::Active;

/// So many that have ended are kept.
const PAST: usize = 20;

/// More than this never began and did not end; the oldest are forgotten.
const UNDER_WAY: usize = 64;

/// One operation on one service, as far as it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub restart_id: String,
    /// Empty for an installation.
    pub service: String,
    /// `restart`, `deploy`, … or `install`.
    pub operation: String,
    pub release: Option<String>,
    pub strategy: String,
    pub began: SystemTime,
    pub steps: Vec<Step>,
    pub end: End,
    /// Until the last event.
    pub took: Duration,
    pub pause: Pause,
    /// When that pause was, after the beginning.
    pub paused_at: Option<(Duration, Duration)>,
    /// What was lost, in words.
    pub lost: Vec<String>,
    pub failure: Option<String>,
    down: BTreeMap<String, Duration>,
}

/// How it ended, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    UnderWay,
    Ended(Outcome),
    /// Whoever carried it out is gone.
    BrokeOff,
}

/// How long nobody accepted, so that a new connection waited in the socket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pause {
    /// Nothing was stopped.
    None,
    /// From the end of one process to the readiness of the next one.
    AtMost(Duration),
    /// Another process accepted meanwhile.
    Covered,
    /// The socket itself was closed: connections were refused.
    Closed(Duration),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub phase: Phase,
    /// Counted from 1, in each phase.
    pub number: usize,
    pub text: String,
    pub progress: Progress,
    /// After the beginning of the operation, where it is known.
    pub began: Option<Duration>,
    pub took: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Waiting,
    Running,
    Done,
    Failed(String),
}

/// By restart and service.
type Key = (String, String);

#[derive(Debug, Default)]
pub struct Operations {
    under_way: BTreeMap<Key, Operation>,
    past: VecDeque<Operation>,
}

impl Operations {
    pub fn take(&mut self, record: &Record) {
        let event = &record.event;
        let key = (event.restart_id.clone(), event.service.clone());
        let planned = match &event.kind {
            EventKind::Planned { dry_run, steps, .. }
            | EventKind::InstallPlanned { dry_run, steps, .. }
            | EventKind::UninstallPlanned { dry_run, steps, .. }
                if !dry_run =>
            {
                Some(Operation::planned(record, steps))
            }
            _ => None,
        };
        if let Some(operation) = planned {
            self.under_way.insert(key, operation);
            self.forget_the_oldest();
            return;
        }
        let Some(operation) = self.under_way.get_mut(&key) else {
            return;
        };
        operation.take(record);
        if operation.end != End::UnderWay {
            self.ended(&key);
        }
    }

    pub fn under_way(&self) -> impl Iterator<Item = &Operation> {
        self.under_way.values()
    }

    /// The youngest first.
    pub fn past(&self) -> impl Iterator<Item = &Operation> {
        self.past.iter().rev()
    }

    /// Nobody carries it on.
    pub fn broke_off(&mut self, restart_id: &str, service: &str) {
        let key = (restart_id.to_owned(), service.to_owned());
        if let Some(operation) = self.under_way.get_mut(&key) {
            operation.end = End::BrokeOff;
            self.ended(&key);
        }
    }

    fn ended(&mut self, key: &Key) {
        self.past.extend(self.under_way.remove(key));
        self.past.drain(..self.past.len().saturating_sub(PAST));
    }

    fn forget_the_oldest(&mut self) {
        while self.under_way.len() > UNDER_WAY {
            let oldest = self
                .under_way
                .iter()
                .min_by_key(|(_, operation)| operation.began);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.under_way.remove(&key);
        }
    }
}

impl Operation {
    fn planned(record: &Record, steps: &[String]) -> Self {
        let step = |(number, text): (usize, &String)| Step::new(Phase::Forward, number, text);
        let context = &record.context;
        let operation = match context.is_of_service() {
            true => context.operation.replace('_', " "),
            false => record.event.kind.name().replace("_planned", ""),
        };
        Self {
            restart_id: record.event.restart_id.clone(),
            service: record.event.service.clone(),
            operation,
            release: context.release.clone(),
            strategy: context.strategy.clone(),
            began: record.time,
            steps: (1..).zip(steps).map(step).collect(),
            end: End::UnderWay,
            took: Duration::ZERO,
            pause: Pause::None,
            paused_at: None,
            lost: Vec::new(),
            failure: None,
            down: BTreeMap::new(),
        }
    }

    /// The step that runs, or the last one that did.
    pub fn at(&self) -> Option<&Step> {
        let begun = |step: &&Step| step.progress != Progress::Waiting;
        self.steps.iter().rfind(begun)
    }

    fn take(&mut self, record: &Record) {
        let elapsed = record.event.elapsed;
        self.took = self.took.max(elapsed);
        match &record.event.kind {
            EventKind::StepStarted {
                phase, step, text, ..
            } => {
                let begun = self.step(*phase, *step, text);
                begun.progress = Progress::Running;
                begun.began = Some(elapsed);
                // Without the limit, which only a plan has to say.
                begun.text.clone_from(text);
            }
            EventKind::StepCompleted { phase, step } => {
                self.step(*phase, *step, "").end(elapsed, Progress::Done);
            }
            EventKind::StepFailed {
                phase,
                step,
                reason,
                ..
            } => {
                let failed = Progress::Failed(reason.clone());
                self.step(*phase, *step, "").end(elapsed, failed);
            }
            EventKind::UnitState { unit, active, .. } => self.unit(unit, *active, elapsed),
            EventKind::Killed { unit } => self
                .lost
                .push(format!("what `{unit}` had in flight when it was killed")),
            EventKind::Untaken { connections, .. } if *connections > 0 => self
                .lost
                .push(format!("{connections} connections that were not taken")),
            EventKind::Gap {
                refused,
                from_ms,
                until_ms,
                ..
            } => {
                if let (Some(from), Some(until)) = (from_ms, until_ms)
                    && let Ok(closed) = Duration::try_from_secs_f64((until - from) / 1000.0)
                {
                    self.pause = Pause::Closed(closed);
                }
                if *refused > 0 {
                    self.lost.push(format!("{refused} connections refused"));
                }
            }
            EventKind::Finished { outcome } => {
                for since in std::mem::take(&mut self.down).into_values() {
                    self.paused(since, elapsed);
                }
                self.failure.clone_from(&record.context.failure);
                self.end = End::Ended(*outcome);
            }
            _ => {}
        }
    }

    /// One that was not planned is a step of the way back.
    fn step(&mut self, phase: Phase, number: usize, text: &str) -> &mut Step {
        let is_it = |step: &Step| (step.phase, step.number) == (phase, number);
        let place = self.steps.iter().position(is_it);
        let place = place.unwrap_or_else(|| {
            self.steps.push(Step::new(phase, number, text));
            self.steps.len() - 1
        });
        &mut self.steps[place]
    }

    fn unit(&mut self, unit: &str, active: Active, elapsed: Duration) {
        match active {
            Active::Active | Active::Reloading => {
                if let Some(since) = self.down.remove(unit) {
                    self.paused(since, elapsed);
                }
            }
            _ => {
                self.down.entry(unit.to_owned()).or_insert(elapsed);
            }
        }
    }

    /// Nobody accepted from `since` to `until`.
    fn paused(&mut self, since: Duration, until: Duration) {
        let pause = until.saturating_sub(since);
        match (self.strategy.as_str(), self.operation.as_str(), self.pause) {
            ("standby" | "rolling" | "reload", ..) => self.pause = Pause::Covered,
            // That nobody accepts is what was asked for, or is told otherwise.
            (_, "stop" | "start" | "install" | "uninstall", _) => {}
            (_, _, Pause::AtMost(longest)) if longest >= pause => {}
            _ => {
                self.pause = Pause::AtMost(pause);
                self.paused_at = Some((since, until));
            }
        }
    }
}

impl Step {
    pub(super) fn new(phase: Phase, number: usize, text: &str) -> Self {
        Self {
            phase,
            number,
            text: text.to_owned(),
            progress: Progress::Waiting,
            began: None,
            took: None,
        }
    }

    fn end(&mut self, elapsed: Duration, progress: Progress) {
        self.took = self.began.map(|began| elapsed.saturating_sub(began));
        self.progress = progress;
    }
}

#[cfg(test)]
mod tests;
