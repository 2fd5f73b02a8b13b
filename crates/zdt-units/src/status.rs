//! How services are right now. Pure: what was looked at in, one value out, for people and programs.

use std::time::Duration;

use serde::Serialize;

use crate::doctor::{self, Facts, ServiceUnit, SocketUnit, Subject};
use crate::event::{Event, EventKind};
use crate::host::supervisor::protocol::{Child, MemoryReport, UnitReport};
use crate::model::Address;
use crate::observe::Active;
use crate::sockets::Queue;
use crate::tool::Tool;

/// All services at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Whose services they are.
    pub manager: String,
    /// New TCP connections a second, on the whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_connections: Option<f64>,
    pub services: Vec<ServiceStatus>,
    /// What could not be seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One service, with all its instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceStatus {
    pub name: String,
    pub unit: String,
    pub state: State,
    /// Instances that serve, where more than one is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<(usize, usize)>,
    /// A standby serves beside it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_seconds: Option<u64>,
    /// Who or what started the process that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// `200`, another status, or why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Without those that only probes use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketStatus>,
    /// What only a launcher knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitStatus>,
    /// Of all its processes and their children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// From where on somebody is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_warn_bytes: Option<u64>,
    /// Operations are refused, because too many failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub breaker_open: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One unit of a launcher with a process, or one that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UnitStatus {
    pub unit: String,
    /// `active`, `failed` and the like.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Starts after it had ended by itself.
    pub crash_restarts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryReport>,
    /// All of its processes, the main one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
}

impl UnitStatus {
    pub fn of(report: &UnitReport) -> Self {
        let state = &report.state;
        Self {
            unit: state.unit.to_string(),
            state: state.active.to_string(),
            pid: state.instance.as_ref().map(|instance| instance.pid),
            port: report.port,
            crash_restarts: state.restarts,
            memory: report.memory.clone(),
            children: report.children.clone(),
        }
    }

    /// `120.0 MiB of memory in 3 processes, port 4001, 2 restarts after crashes, 1 because of memory`.
    pub fn text(&self) -> Option<String> {
        let mut said = Vec::new();
        if let Some(memory) = &self.memory {
            let amount = size(memory.bytes);
            said.push(match self.children.len() {
                0 | 1 => format!("{amount} of memory"),
                several => format!("{amount} of memory in {several} processes"),
            });
        }
        said.extend(self.port.map(|port| format!("port {port}")));
        let times = |count: u32, why: &str| match count {
            0 => None,
            1 => Some(format!("1 restart {why}")),
            more => Some(format!("{more} restarts {why}")),
        };
        said.extend(times(self.crash_restarts, "after crashes"));
        let of_memory = self.memory.as_ref().map_or(0, |memory| memory.restarts);
        said.extend(times(of_memory, "because of memory"));
        (!said.is_empty()).then(|| said.join(", "))
    }
}

fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let (unit, name) = match bytes {
        0..MIB => (KIB, "KiB"),
        MIB..GIB => (MIB, "MiB"),
        _ => (GIB, "GiB"),
    };
    let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
    format!("{whole}.{tenths} {name}")
}

/// One socket unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SocketStatus {
    pub unit: String,
    /// Connections that were accepted and are open.
    pub live: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_limit: Option<u32>,
    /// How long nobody need accept until the queue is full, if every new connection of the machine
    /// came here. Not for Unix sockets, whose connections nobody counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds_seconds: Option<f64>,
}

/// What it does, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Serving,
    Starting,
    /// Finishes what it has; new connections wait.
    Draining,
    Reloading,
    /// It ended by itself, and is started again after a pause.
    Crashing,
    Failed,
    /// Nothing runs, and the first connection starts it.
    Waiting,
    #[default]
    Stopped,
}

/// What is known of a service besides its units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    pub health: Option<String>,
    pub release: Option<String>,
    pub generation: Option<String>,
    /// By the records of restarts.
    pub started_by: Option<String>,
    /// They are there, and cannot be read.
    pub records_unread: bool,
    /// Whom the units belong to.
    pub tool: Tool,
    pub units: Vec<UnitStatus>,
    pub memory_bytes: Option<u64>,
    pub memory_warn_bytes: Option<u64>,
    pub breaker_open: bool,
}

/// When something was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Microseconds since 1970.
    pub now: u64,
    pub rate: Option<f64>,
}

/// Findings that are about now, not about the next restart.
const NOW: &[&str] = &[
    "ZDT-D006", "ZDT-D007", "ZDT-D008", "ZDT-D010", "ZDT-D011", "ZDT-D032", "ZDT-D046", "ZDT-D061",
    "ZDT-D062", "ZDT-D064", "ZDT-D065", "ZDT-D066",
];

impl ServiceStatus {
    pub fn of(subject: &Subject, beside: Beside, moment: Moment) -> Self {
        let units = || subject.services.iter().filter(|unit| !unit.is_standby);
        let shown = units()
            .find(|unit| unit.state.serves())
            .or_else(|| units().next());
        let serving = units().filter(|unit| unit.state.serves()).count();
        let wanted = subject.wished.as_ref().map_or(1, |wished| wished.instances);
        let open = subject
            .sockets
            .iter()
            .any(|socket| socket.state.active == Active::Active);
        let own = Facts {
            subjects: vec![subject.clone()],
            tool: beside.tool,
            ..Facts::default()
        };
        let problems = doctor::examine(&own)
            .into_iter()
            .filter(|found| NOW.contains(&found.code));
        Self {
            name: subject.name.clone(),
            unit: shown
                .map(|unit| unit.state.unit.to_string())
                .unwrap_or_default(),
            state: shown.map_or(State::Stopped, |unit| State::of(unit, open)),
            instances: (wanted > 1).then_some((serving, wanted)),
            standby: subject
                .services
                .iter()
                .any(|unit| unit.is_standby && unit.state.serves()),
            release: beside.release,
            generation: beside.generation,
            pid: shown.and_then(|unit| Some(unit.state.instance.as_ref()?.pid)),
            up_seconds: shown.and_then(|unit| up(unit, moment.now)),
            started_by: shown
                .filter(|unit| unit.state.instance.is_some())
                .map(|unit| {
                    let by = || started_by(unit, beside.tool, beside.records_unread);
                    beside.started_by.unwrap_or_else(by)
                }),
            health: beside.health,
            sockets: subject
                .sockets
                .iter()
                .filter(|socket| !socket.is_health)
                .map(|socket| SocketStatus::of(socket, moment.rate))
                .collect(),
            units: beside.units,
            memory_bytes: beside.memory_bytes,
            memory_warn_bytes: beside.memory_warn_bytes,
            breaker_open: beside.breaker_open,
            problems: problems
                .map(|found| format!("{}: {}; {}", found.what, found.why, found.fix))
                .collect(),
        }
    }
}

impl SocketStatus {
    fn of(socket: &SocketUnit, rate: Option<f64>) -> Self {
        let is_tcp = |address: &Address| matches!(address, Address::Tcp(_));
        let counted = socket.queue.filter(|_| socket.addresses.iter().any(is_tcp));
        Self {
            unit: socket.state.unit.to_string(),
            live: socket.live,
            waiting: socket.queue.map(|queue| queue.waiting),
            waiting_limit: socket.queue.and_then(|queue| queue.limit),
            holds_seconds: counted.and_then(|queue| holds(queue, rate)),
        }
    }
}

fn up(unit: &ServiceUnit, now: u64) -> Option<u64> {
    unit.state.instance.as_ref()?;
    Some(now.saturating_sub(unit.since?) / 1_000_000)
}

/// Below this nobody can tell a rate from chance.
const LEAST_RATE: f64 = 1.0;

fn holds(queue: Queue, rate: Option<f64>) -> Option<f64> {
    let rate = rate.filter(|rate| *rate >= LEAST_RATE)?;
    let seconds = f64::from(queue.room()?) / rate;
    Some((seconds * 10.0).round() / 10.0)
}

/// As far as the manager knows it.
fn started_by(unit: &ServiceUnit, tool: Tool, records_unread: bool) -> String {
    let manager = tool.manager();
    match unit.state.restarts {
        0 if tool == Tool::Launcher => manager.to_owned(),
        0 if unit.at_boot => "the boot".to_owned(),
        0 if records_unread => "`zdt-units`, `systemctl`, or a connection".to_owned(),
        0 => "`systemctl`, or a connection".to_owned(),
        1 => format!("{manager}, after it had ended by itself"),
        more => format!("{manager}, after it had ended by itself for the {more}th time"),
    }
}

/// What the records, oldest first, say about the start of the run `invocation`.
pub fn recorded_start(records: &[(String, Event)], invocation: &str) -> Option<String> {
    let this = |event: &Event| match &event.kind {
        EventKind::Replaced { now, .. } => now.invocation == invocation,
        _ => false,
    };
    let (time, event) = records.iter().rev().find(|(_, event)| this(event))?;
    let planned = records.iter().find_map(|(_, other)| match &other.kind {
        EventKind::Planned {
            operation, release, ..
        } if other.restart_id == event.restart_id => {
            Some((operation.replace('_', " "), release.clone()))
        }
        _ => None,
    });
    let what = match planned {
        Some((operation, Some(release))) => format!("{operation} `{release}`"),
        Some((operation, None)) => operation,
        None => "restart".to_owned(),
    };
    Some(format!("zdt-units: {what} of {time}"))
}

impl State {
    fn of(unit: &ServiceUnit, socket_is_open: bool) -> Self {
        let state = &unit.state;
        match state.active {
            Active::Active if state.status.starts_with("draining") => Self::Draining,
            Active::Active => Self::Serving,
            Active::Reloading => Self::Reloading,
            Active::Activating if state.sub == "auto-restart" => Self::Crashing,
            Active::Activating => Self::Starting,
            Active::Deactivating | Active::Maintenance => Self::Draining,
            Active::Failed => Self::Failed,
            Active::Inactive if socket_is_open => Self::Waiting,
            Active::Inactive => Self::Stopped,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Reloading => "reloading",
            Self::Crashing => "crashing",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

/// `3 s`, `12 min`, `5 h`, `40 d`.
pub fn age(seconds: u64) -> String {
    let (number, unit) = match Duration::from_secs(seconds).as_secs() {
        seconds @ 0..120 => (seconds, "s"),
        seconds @ 120..7200 => (seconds / 60, "min"),
        seconds @ 7200..172_800 => (seconds / 3600, "h"),
        seconds => (seconds / 86_400, "d"),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Instance;

    #[test]
    fn a_queue_holds_what_is_free_at_the_rate_of_now() {
        let queue = |waiting| Queue {
            waiting,
            limit: Some(4096),
        };
        assert_eq!(holds(queue(0), Some(1000.0)), Some(4.1));
        assert_eq!(holds(queue(4097), Some(1000.0)), Some(0.0));
        assert_eq!(holds(queue(0), Some(0.2)), None);
        assert_eq!(
            holds(
                Queue {
                    waiting: 0,
                    limit: None
                },
                Some(1000.0)
            ),
            None
        );
    }

    #[test]
    fn the_records_tell_which_operation_started_a_run() {
        let event = |id: &str, kind| {
            (
                "2026-11-20T20:29:15Z".to_owned(),
                Event::new(id, "shop", Duration::ZERO, kind),
            )
        };
        let planned = |operation: &str, release: Option<&str>| EventKind::Planned {
            operation: operation.to_owned(),
            release: release.map(str::to_owned),
            strategy: "queue".to_owned(),
            notes: Vec::new(),
            steps: Vec::new(),
            rollback: Vec::new(),
            dry_run: false,
            manager: crate::tool::Tool::default(),
        };
        let replaced = |invocation: &str| EventKind::Replaced {
            unit: "shop.service".to_owned(),
            before: None,
            now: Instance {
                pid: 7,
                invocation: invocation.to_owned(),
            },
        };
        let records = [
            event("a", planned("deploy", Some("v2"))),
            event("a", replaced("a1")),
            event("b", planned("restart", None)),
            event("b", replaced("b2")),
        ];
        let said = ["a1", "b2", "c3"].map(|invocation| recorded_start(&records, invocation));
        assert_eq!(
            said,
            [
                Some("zdt-units: deploy `v2` of 2026-11-20T20:29:15Z".to_owned()),
                Some("zdt-units: restart of 2026-11-20T20:29:15Z".to_owned()),
                None,
            ]
        );
    }

    #[test]
    fn an_age_is_short() {
        let ages = [0, 119, 120, 7199, 7200, 172_800].map(age);
        assert_eq!(ages, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
