//! Names of events that other tools know.

use serde::Serialize;

use super::{Context, EventKind, Outcome, Phase};

/// What an event means to a reader that only asks whether a restart began, went well, or was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Alias {
    ServiceRestartStart,
    ServiceRestartSuccess,
    ServiceRestartFailed,
    RollbackStart,
    RollbackSuccess,
    RollbackFailed,
}

impl Alias {
    /// `context` includes the event itself. Installations have none.
    pub fn of(kind: &EventKind, context: &Context) -> Option<Self> {
        match kind {
            EventKind::Planned { dry_run: false, .. } => Some(Self::ServiceRestartStart),
            EventKind::StepStarted {
                phase: Phase::Rollback,
                step: 1,
                ..
            } if context.is_of_service() => Some(Self::RollbackStart),
            EventKind::Finished { outcome } if context.is_of_service() => Some(match outcome {
                Outcome::Completed | Outcome::Lossy => Self::ServiceRestartSuccess,
                Outcome::RolledBack => Self::RollbackSuccess,
                Outcome::LookNow if context.went_back => Self::RollbackFailed,
                Outcome::Stopped | Outcome::LookNow => Self::ServiceRestartFailed,
            }),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::event::{Event, Records};

    fn aliases(kinds: &[EventKind]) -> Vec<Option<&'static str>> {
        let mut records = Records::default();
        let mut alias = |kind: &EventKind| {
            let event = Event::new("5f0c", "shop", Duration::ZERO, kind.clone());
            let record = records.take(event, SystemTime::UNIX_EPOCH);
            record.alias.map(Alias::name)
        };
        kinds.iter().map(&mut alias).collect()
    }

    fn planned(dry_run: bool) -> EventKind {
        EventKind::Planned {
            operation: "restart".to_owned(),
            release: None,
            strategy: "queue".to_owned(),
            notes: Vec::new(),
            steps: Vec::new(),
            rollback: Vec::new(),
            dry_run,
            manager: crate::tool::Tool::default(),
        }
    }

    fn step(phase: Phase, step: usize) -> EventKind {
        EventKind::StepStarted {
            phase,
            step,
            action: "restart_unit".to_owned(),
            text: "restart `shop.service`".to_owned(),
            limit_ms: Duration::from_secs(30),
        }
    }

    fn finished(outcome: Outcome) -> EventKind {
        EventKind::Finished { outcome }
    }

    #[test]
    fn each_restart_has_a_beginning_and_an_end() {
        let begin = planned(false);
        let lossy = [
            begin.clone(),
            step(Phase::Forward, 1),
            finished(Outcome::Lossy),
        ];
        assert_eq!(
            aliases(&lossy),
            [
                Some("SERVICE_RESTART_START"),
                None,
                Some("SERVICE_RESTART_SUCCESS")
            ]
        );
        for outcome in [Outcome::LookNow, Outcome::Stopped] {
            let failed = aliases(&[begin.clone(), finished(outcome)]);
            assert_eq!(failed[1], Some("SERVICE_RESTART_FAILED"));
        }
        for (outcome, alias) in [
            (Outcome::RolledBack, "ROLLBACK_SUCCESS"),
            (Outcome::LookNow, "ROLLBACK_FAILED"),
        ] {
            let kinds = [
                begin.clone(),
                step(Phase::Rollback, 1),
                step(Phase::Rollback, 2),
                finished(outcome),
            ];
            assert_eq!(
                aliases(&kinds)[1..],
                [Some("ROLLBACK_START"), None, Some(alias)]
            );
        }
    }

    #[test]
    fn plans_alone_and_installations_have_none() {
        assert_eq!(aliases(&[planned(true)]), [None]);
        let installed = [step(Phase::Rollback, 1), finished(Outcome::Completed)];
        assert_eq!(aliases(&installed), [None, None]);
    }
}
