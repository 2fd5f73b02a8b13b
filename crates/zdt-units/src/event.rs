//! What happens during a restart, as data. A contract: readers skip kinds they do not know.

mod alias;
mod record;
mod select;
mod stored;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::VariantNames;

use crate::install;
use crate::model::{Name, Reach, ReleaseName, UnitName};
use crate::observe::{Active, Instance, Observed, UnitState, Watched};
use crate::plan::{Plan, Refused, Step};
use crate::tool::Tool;
pub use alias::Alias;
pub use record::{Context, Record, Records};
pub use select::{Level, is_wanted};
pub use stored::Stored;

/// The version of the format; it stays 1 while changes only add.
pub const VERSION: u32 = 1;

/// The names of all kinds.
pub const KINDS: &[&str] = EventKind::VARIANTS;

/// One thing that happened. The wall clock is added by whoever writes it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub v: u32,
    /// Joins what the launcher, the journal and the program say about one restart.
    pub restart_id: String,
    /// As in `zdt.toml`; empty where it is about all of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Since the restart began.
    #[serde(rename = "elapsed_ms", with = "milliseconds")]
    pub elapsed: Duration,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(
    Clone, Debug, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// What will be done; with `dry_run` the only event.
    Planned {
        /// `restart`, `deploy`, `roll_back` or `recover`.
        #[serde(default = "restart")]
        operation: String,
        /// The release that is to serve.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<String>,
        strategy: String,
        /// What is not as the strategy alone would have it, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        steps: Vec<String>,
        rollback: Vec<String>,
        dry_run: bool,
        /// Who carries it out; absent: systemd.
        #[serde(default, skip_serializing_if = "Tool::is_systemd")]
        manager: Tool,
    },
    /// There is no plan, and nothing was touched.
    Refused {
        reasons: Vec<Reason>,
    },
    StepStarted {
        phase: Phase,
        /// As printed by `--dry-run`.
        step: usize,
        action: String,
        text: String,
        #[serde(with = "milliseconds")]
        limit_ms: Duration,
    },
    /// What an installation will do; with `dry_run` the only event.
    InstallPlanned {
        units: Vec<UnitPlanned>,
        notes: Vec<String>,
        refused: Vec<Reason>,
        /// Services that have to be restarted for all of it to count.
        restarts: Vec<String>,
        gaps: Vec<String>,
        steps: Vec<String>,
        rollback: Vec<String>,
        dry_run: bool,
    },
    /// What an uninstallation will do; with `dry_run` the only event.
    UninstallPlanned {
        units: Vec<String>,
        gaps: Vec<String>,
        steps: Vec<String>,
        dry_run: bool,
    },
    /// Something that counts later than it could.
    Note {
        text: String,
    },
    /// How long nobody listened, as measured from outside. Absent times: never.
    Gap {
        addresses: Vec<String>,
        connections: u32,
        refused: u32,
        /// The last connection before, and the first one after; since the beginning.
        from_ms: Option<f64>,
        until_ms: Option<f64>,
    },
    /// A unit went into another state.
    UnitState {
        unit: String,
        active: Active,
        sub: String,
    },
    /// The process did not end by itself in time, so the manager killed it:
    /// requests that were still in it are lost.
    Killed {
        unit: String,
    },
    /// Another process runs now.
    Replaced {
        unit: String,
        before: Option<Instance>,
        now: Instance,
    },
    /// The program's own words about itself.
    Status {
        unit: String,
        text: String,
    },
    /// Connections that the new process was handed and did not take; they were closed.
    Untaken {
        unit: String,
        pid: u32,
        connections: usize,
    },
    /// A probe was not answered as wanted; told again only when the answer changes.
    NotReady {
        answer: String,
    },
    /// The answers do not say which process gave them, so they are taken on trust.
    Unidentified {
        url: String,
    },
    /// New requests go elsewhere.
    OutOfRotation {
        /// `BACKEND/SERVER`.
        server: String,
        balancer: String,
        /// It was not so before.
        changed: bool,
        /// What the balancer says of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        says: Option<String>,
        /// What was not over when the time was: requests, and of nginx workers of before the reload.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_flight: Option<u64>,
        /// What the change at the balancer may have cost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// The balancer sends it requests again.
    InRotation {
        server: String,
        balancer: String,
        changed: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        says: Option<String>,
    },
    StepCompleted {
        phase: Phase,
        step: usize,
    },
    StepFailed {
        phase: Phase,
        step: usize,
        reason: String,
        hint: Option<String>,
        /// The last words of what failed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        output: Vec<String>,
    },
    /// How the units were left, when a restart did not succeed.
    LeftAs {
        service: Left,
        /// The standby, or the other instances.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<Left>,
        /// How long a standby lives at most, from its start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        standby_limit_ms: Option<u64>,
        sockets: Vec<Left>,
        /// What is replaced together with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        companions: Vec<Left>,
        /// Whose units they are; absent: systemd.
        #[serde(default, skip_serializing_if = "Tool::is_systemd")]
        manager: Tool,
    },
    /// What is left to do for a person, as commands.
    ByHand {
        commands: Vec<String>,
    },
    /// The way back was interrupted, and can be gone again from its beginning.
    BrokenOff,
    /// Nothing was done, because nothing has changed since the process was started.
    Unchanged,
    /// Not begun, because another service failed before.
    Skipped,
    Finished {
        outcome: Outcome,
    },
}

/// What is said of connections that process `pid` was handed and did not take.
pub(crate) fn untaken(pid: u32, connections: usize) -> String {
    let connections = match connections {
        1 => "1 connection".to_owned(),
        more => format!("{more} connections"),
    };
    format!(
        "closed {connections} that process {pid} was handed and did not take; does it know hand-over?"
    )
}

/// Steps have numbers of their own in each phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    Forward,
    Rollback,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub message: String,
    pub hint: String,
}

/// One unit of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitPlanned {
    pub unit: String,
    /// `create`, `update`, `replace`, `unchanged` or `remove`.
    pub change: String,
    pub cost: String,
    pub directives: Vec<DirectivePlanned>,
}

/// One directive of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectivePlanned {
    pub section: String,
    pub key: String,
    pub old: Vec<String>,
    pub new: Vec<String>,
    pub cost: String,
}

/// The state in which a unit was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub unit: String,
    pub active: Active,
    pub sub: String,
    pub result: String,
    /// Addresses of a socket at which connections are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// How a restart ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    Completed,
    /// It serves, but the old process was killed with requests in it.
    Lossy,
    /// Before anything was changed.
    Stopped,
    RolledBack,
    /// No way back, or it failed too.
    LookNow,
}

impl Event {
    pub fn new(restart_id: &str, service: &str, elapsed: Duration, kind: EventKind) -> Self {
        Self {
            v: VERSION,
            restart_id: restart_id.to_owned(),
            service: service.to_owned(),
            elapsed,
            kind,
        }
    }
}

/// What was planned before there was anything else.
fn restart() -> String {
    "restart".to_owned()
}

impl EventKind {
    /// Its `kind`.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    pub fn planned(plan: &Plan, dry_run: bool) -> Self {
        let texts = |steps: &[Step]| steps.iter().map(Step::to_string).collect();
        Self::Planned {
            operation: plan.operation.name().to_owned(),
            release: plan.operation.release().map(ReleaseName::to_string),
            strategy: match plan.strategy {
                Some(strategy) => strategy.to_string(),
                None => "foreign".to_owned(),
            },
            notes: plan.notes.clone(),
            steps: texts(&plan.steps),
            rollback: plan.rollback_texts(),
            dry_run,
            manager: Tool::default(),
        }
    }

    /// The same, of the units of another manager.
    pub fn by(mut self, tool: Tool) -> Self {
        if let Self::Planned { manager, .. } | Self::LeftAs { manager, .. } = &mut self {
            *manager = tool;
        }
        self
    }

    pub fn refused(refused: &Refused, tool: Tool) -> Self {
        let reason = |refusal: &crate::plan::Refusal| Reason {
            message: refusal.message(tool),
            hint: refusal.hint_for(tool),
        };
        Self::Refused {
            reasons: refused.reasons.iter().map(reason).collect(),
        }
    }

    pub fn install_planned(plan: &install::Plan, dry_run: bool) -> Self {
        Self::InstallPlanned {
            units: plan.units.iter().map(UnitPlanned::from).collect(),
            notes: plan.drift.iter().map(install::Drift::to_string).collect(),
            refused: plan
                .refused
                .iter()
                .map(|refusal| Reason {
                    message: refusal.to_string(),
                    hint: refusal.hint(),
                })
                .collect(),
            restarts: plan.restarts.iter().map(Name::to_string).collect(),
            gaps: plan.gaps.iter().map(|gap| gap.why.clone()).collect(),
            steps: plan.steps.iter().map(Step::to_string).collect(),
            rollback: plan.rollback.iter().map(Step::to_string).collect(),
            dry_run,
        }
    }

    pub fn uninstall_planned(plan: &install::Uninstall, dry_run: bool) -> Self {
        Self::UninstallPlanned {
            units: plan.units.iter().map(UnitName::to_string).collect(),
            gaps: plan.gaps.iter().map(|gap| gap.why.clone()).collect(),
            steps: plan.steps.iter().map(Step::to_string).collect(),
            dry_run,
        }
    }

    pub fn left_as(watched: &Watched, observed: &Observed) -> Self {
        Self::LeftAs {
            service: Left::from(&observed.service),
            beside: observed.beside.iter().map(Left::from).collect(),
            standby_limit_ms: watched
                .standby_limit
                .and_then(|limit| u64::try_from(limit.as_millis()).ok()),
            sockets: observed.sockets.iter().map(Left::from).collect(),
            companions: observed
                .companions
                .iter()
                .flat_map(|seen| std::iter::once(&seen.service).chain(&seen.beside))
                .map(Left::from)
                .collect(),
            manager: Tool::default(),
        }
    }
}

impl From<&install::UnitChange> for UnitPlanned {
    fn from(change: &install::UnitChange) -> Self {
        Self {
            unit: change.unit.to_string(),
            change: change.change.to_string(),
            cost: change.cost.to_string(),
            directives: change
                .directives
                .iter()
                .map(|directive| DirectivePlanned {
                    section: directive.section.clone(),
                    key: directive.key.clone(),
                    old: directive.old.clone(),
                    new: directive.new.clone(),
                    cost: directive.cost.to_string(),
                })
                .collect(),
        }
    }
}

impl From<&UnitState> for Left {
    fn from(state: &UnitState) -> Self {
        Self {
            unit: state.unit.to_string(),
            active: state.active,
            sub: state.sub.clone(),
            result: state.result.clone(),
            refused: state.refused.iter().map(Reach::to_string).collect(),
        }
    }
}

/// Durations as milliseconds with a fraction.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let micros = u32::try_from(duration.as_micros());
        match micros {
            Ok(micros) => serializer.serialize_f64(f64::from(micros) / 1000.0),
            // Past an hour nobody asks for a fraction.
            Err(_) => serializer.serialize_u128(duration.as_millis()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let milliseconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(milliseconds / 1000.0).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_and_reads_back() {
        let event = Event {
            v: VERSION,
            restart_id: "5f0c".to_owned(),
            service: "shop".to_owned(),
            elapsed: Duration::from_micros(1250),
            kind: EventKind::StepStarted {
                phase: Phase::Forward,
                step: 1,
                action: "restart_unit".to_owned(),
                text: "restart `shop.service`".to_owned(),
                limit_ms: Duration::from_secs(30),
            },
        };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(
            line,
            r#"{"v":1,"restart_id":"5f0c","service":"shop","elapsed_ms":1.25,"kind":"step_started","phase":"forward","step":1,"action":"restart_unit","text":"restart `shop.service`","limit_ms":30000.0}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
