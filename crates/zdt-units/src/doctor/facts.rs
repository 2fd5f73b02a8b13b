//! What is examined: units as the manager has loaded them, their processes, and the machine.
//! Data only; the hosts fill it in.

use std::path::PathBuf;
use std::time::Duration;

use crate::balancer::State;
use crate::install::Drift;
use crate::model::{Address, UnitName};
use crate::observe::UnitState;
use crate::sockets::Queue;
use crate::tool::Tool;

/// Everything that was looked at, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whom the units belong to.
    pub tool: Tool,
    pub subjects: Vec<Subject>,
    pub machine: Machine,
    pub drift: Vec<Drift>,
    /// Units whose files are not what `zdt.toml` gives.
    pub outdated: Vec<UnitName>,
    /// What this systemd does not know of what `zdt.toml` asks for.
    pub too_old: Vec<String>,
    pub disks: Vec<Disk>,
    pub unseen: Vec<Unseen>,
}

/// One service: the units that serve, and the sockets that they serve on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    pub services: Vec<ServiceUnit>,
    pub sockets: Vec<SocketUnit>,
    /// What `zdt.toml` says; `None` where the units alone are examined.
    pub wished: Option<Wished>,
}

/// What only `zdt.toml` knows, and what there is of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wished {
    pub handover: bool,
    pub instances: usize,
    /// Why the health endpoint gave no answer.
    pub unhealthy: Option<String>,
    pub release: Option<ReleaseSeen>,
    /// What an operation that broke off was doing.
    pub broken_off: Option<String>,
    /// An operation is going on.
    pub busy: bool,
    /// How its balancer has it; `None` where there is none, or one that says nothing.
    pub rotation: Option<RotationSeen>,
}

/// What a balancer said of the server that this service is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationSeen {
    Told {
        /// `BACKEND/SERVER`.
        server: String,
        balancer: String,
        state: State,
        /// In the balancer's words.
        says: String,
    },
    /// It could not be asked.
    Untold { why: String, fix: String },
}

/// Where `current` points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseSeen {
    pub link: PathBuf,
    /// `None` where there is no link.
    pub target: Option<PathBuf>,
    pub exists: bool,
    /// Below `releases`.
    pub is_release: bool,
}

/// A service unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUnit {
    pub state: UnitState,
    /// `enabled`, `disabled`, `static` and the like.
    pub file_state: String,
    /// `Requires=`, `Requisite=` and `BindsTo=`.
    pub needs: Vec<String>,
    pub part_of: Vec<String>,
    pub triggered_by: Vec<UnitName>,
    /// `ConditionPathExists` and the like, also `ExecCondition`.
    pub conditions: Vec<String>,
    pub start_limit: Limit,
    /// `Type=`.
    pub kind: String,
    pub restart: String,
    pub kill_mode: String,
    /// `None`: for ever.
    pub start_timeout: Option<Duration>,
    pub stop_timeout: Option<Duration>,
    /// Grace, limit and linger, by the variables that the library reads.
    pub drain: Option<Duration>,
    pub exec: Vec<String>,
    pub open_files: u64,
    /// `FileDescriptorStoreMax=`.
    pub store: u32,
    pub process: Option<Process>,
    /// It stands in while another unit is replaced.
    pub is_standby: bool,
    /// When the main process started, in microseconds since 1970.
    pub since: Option<u64>,
    /// How long the last start took.
    pub start_took: Option<Duration>,
    pub at_boot: bool,
}

/// The main process of a unit, and what all its processes hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub program: String,
    pub has_children: bool,
    /// Inodes of sockets; `None` where that may not be seen.
    pub sockets: Option<Vec<u64>>,
}

/// A socket unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketUnit {
    pub state: UnitState,
    pub file_state: String,
    pub needs: Vec<String>,
    pub part_of: Vec<String>,
    /// What it starts.
    pub triggers: Vec<UnitName>,
    pub addresses: Vec<Address>,
    pub accept: bool,
    pub backlog: u32,
    pub flush_pending: bool,
    pub reuse_port: bool,
    pub trigger_limit: Limit,
    pub queue: Option<Queue>,
    /// Connections that were accepted there and are open.
    pub live: usize,
    /// Only probes come here.
    pub is_health: bool,
    /// Of the sockets that listen at its addresses.
    pub inodes: Vec<u64>,
    /// Who listens at its addresses besides it: processes, and other socket units.
    pub strangers: Vec<String>,
    pub rivals: Vec<UnitName>,
}

/// So many times in so long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub burst: u32,
    pub interval: Duration,
}

impl Limit {
    pub fn counts(self) -> bool {
        self.burst > 0 && !self.interval.is_zero()
    }
}

/// Settings and counters of the kernel; `None` where they cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub somaxconn: Option<u32>,
    pub abort_on_overflow: Option<bool>,
    /// Connections that found a queue full, since boot.
    pub overflows: Option<u64>,
    pub rate: Option<Rate>,
}

/// New connections in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    /// Counted on the whole machine: an upper bound for one service. Else it was given.
    pub measured: bool,
}

/// A directory that has to take more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub path: PathBuf,
    /// What is kept there.
    pub holds: &'static str,
    pub free_bytes: u64,
    pub free_percent: u64,
    /// `None` on file systems that do not count them.
    pub free_inodes_percent: Option<u64>,
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    pub what: String,
    pub why: String,
    /// What to do to see it.
    pub fix: String,
}
