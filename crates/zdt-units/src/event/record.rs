//! An event with what went before it: enough to tell somebody who saw nothing else.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{Alias, Event, EventKind, Phase};

/// An event as it is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub time: SystemTime,
    pub event: Event,
    pub alias: Option<Alias>,
    pub context: Context,
}

/// What the events of one operation on one service said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// `restart`, `deploy`, …; empty for installations.
    pub operation: String,
    pub release: Option<String>,
    pub strategy: String,
    /// The last one that began.
    pub step: Option<(Phase, usize)>,
    /// Whether the way back began.
    pub went_back: bool,
    /// Why the first step that failed did.
    pub failure: Option<String>,
}

/// Puts events into their context, one after the other.
#[derive(Debug, Default)]
pub struct Records {
    under_way: BTreeMap<(String, String), Context>,
}

impl Records {
    pub fn take(&mut self, event: Event, time: SystemTime) -> Record {
        let key = (event.restart_id.clone(), event.service.clone());
        let context = self.under_way.entry(key.clone()).or_default();
        context.take(&event.kind);
        let context = context.clone();
        if matches!(event.kind, EventKind::Finished { .. }) {
            self.under_way.remove(&key);
        }
        Record {
            time,
            alias: Alias::of(&event.kind, &context),
            event,
            context,
        }
    }
}

impl Context {
    /// An operation on a service, not an installation.
    pub fn is_of_service(&self) -> bool {
        !self.operation.is_empty()
    }

    fn take(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Planned {
                operation,
                release,
                strategy,
                ..
            } => {
                *self = Self {
                    operation: operation.clone(),
                    release: release.clone(),
                    strategy: strategy.clone(),
                    ..Self::default()
                };
            }
            EventKind::StepStarted { phase, step, .. } => {
                self.step = Some((*phase, *step));
                self.went_back |= *phase == Phase::Rollback;
            }
            EventKind::StepFailed { reason, .. } if self.failure.is_none() => {
                self.failure = Some(reason.clone());
            }
            _ => {}
        }
    }
}

impl Record {
    /// What programs that are told by name and value get, besides the text.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let event = &self.event;
        let step = self.context.step.map(|(_, step)| step.to_string());
        let phase = self.context.step.map(|(phase, _)| {
            let phase: &str = phase.into();
            phase.to_owned()
        });
        let outcome = match &event.kind {
            EventKind::Finished { outcome } => {
                let outcome: &str = outcome.into();
                Some(outcome.to_owned())
            }
            _ => None,
        };
        let fields = [
            ("ZDT_KIND", Some(event.kind.name().to_owned())),
            ("ZDT_SERVICE", Some(event.service.clone())),
            ("ZDT_RESTART_ID", Some(event.restart_id.clone())),
            (
                "ZDT_ELAPSED_MS",
                Some(event.elapsed.as_millis().to_string()),
            ),
            ("ZDT_OPERATION", Some(self.context.operation.clone())),
            ("ZDT_RELEASE", self.context.release.clone()),
            ("ZDT_PHASE", phase),
            ("ZDT_STEP", step),
            ("ZDT_OUTCOME", outcome),
            ("ZDT_ALIAS", self.alias.map(|alias| alias.name().to_owned())),
        ];
        let given = |(name, value): (_, Option<String>)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some((name, value))
        };
        fields.into_iter().filter_map(given).collect()
    }
}
