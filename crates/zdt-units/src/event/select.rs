//! Who wants to know of an event, and how bad it is.

use super::{EventKind, Outcome};
use crate::model::Wanted;

/// Whether any of `wanted` names this event.
pub fn is_wanted(wanted: &[Wanted], kind: &EventKind) -> bool {
    wanted.iter().any(|wanted| match wanted {
        Wanted::All => true,
        Wanted::Started => has_started(kind),
        Wanted::Finished => matches!(kind, EventKind::Finished { .. }),
        Wanted::Failed => match kind {
            EventKind::Refused { .. } | EventKind::StepFailed { .. } => true,
            EventKind::Finished { outcome } => *outcome != Outcome::Completed,
            _ => false,
        },
        Wanted::Kind(name) => kind.name() == *name,
    })
}

fn has_started(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Planned { dry_run: false, .. }
            | EventKind::InstallPlanned { dry_run: false, .. }
            | EventKind::UninstallPlanned { dry_run: false, .. }
    )
}

/// How bad it is, as in `syslog(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

impl EventKind {
    pub fn level(&self) -> Level {
        match self {
            Self::Refused { .. } | Self::StepFailed { .. } => Level::Error,
            Self::Finished { outcome } => match outcome {
                Outcome::Completed => Level::Notice,
                Outcome::Lossy | Outcome::RolledBack => Level::Warning,
                Outcome::Stopped | Outcome::LookNow => Level::Error,
            },
            Self::Killed { .. } | Self::Unidentified { .. } | Self::LeftAs { .. } => Level::Warning,
            Self::Untaken { connections, .. } if *connections > 0 => Level::Warning,
            kind if has_started(kind) => Level::Notice,
            _ => Level::Info,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_its_kinds() {
        let finished = |outcome| EventKind::Finished { outcome };
        let killed = EventKind::Killed {
            unit: "shop.service".to_owned(),
        };
        let check = |wanted: &[Wanted], expected: [bool; 4]| {
            let kinds = [
                finished(Outcome::Completed),
                finished(Outcome::Lossy),
                EventKind::Refused {
                    reasons: Vec::new(),
                },
                killed.clone(),
            ];
            let told: Vec<bool> = kinds.iter().map(|kind| is_wanted(wanted, kind)).collect();
            assert_eq!(told, expected, "{wanted:?}");
        };
        check(&[Wanted::All], [true, true, true, true]);
        check(&[Wanted::Finished], [true, true, false, false]);
        check(&[Wanted::Failed], [false, true, true, false]);
        check(&[Wanted::Started], [false; 4]);
        check(
            &[Wanted::Kind("killed"), Wanted::Finished],
            [true, true, false, true],
        );
    }
}
