//! What is known about the units of a service at one moment. Data only; a host fills it in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::balancer::{Pool, State, Trouble};
use crate::model::{
    AbsolutePath, Address, Foreign, Name, Reach, Rotation, Service, Strategy, UnitName,
};
use crate::release::Releases;

/// The units that a restart looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// What starts when a connection comes and nothing runs.
    pub service: UnitName,
    /// What else serves on the same sockets: the standby, or the other instances.
    pub beside: Vec<UnitName>,
    /// Whose further instances are looked for too.
    pub template: Option<Name>,
    /// How long a standby lives at most.
    pub standby_limit: Option<Duration>,
    pub sockets: Vec<WatchedSocket>,
    /// Where copies of its unit files are kept.
    pub keeps: Option<PathBuf>,
    /// Below which directory its releases are.
    pub releases: Option<AbsolutePath>,
    /// Where it is asked how its balancer has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Other services that are replaced together with it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<Self>,
}

/// A socket unit, and where its clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedSocket {
    pub unit: UnitName,
    pub reach: Vec<Reach>,
}

impl Watched {
    pub fn of(service: &Service) -> Self {
        let rolling = matches!(service.strategy, Strategy::Rolling { .. });
        let standby = service.strategy == Strategy::Standby;
        let mut beside = service.instances().split_off(1);
        beside.extend(standby.then(|| UnitName::standby(&service.name)));
        Self {
            service: service.activated(),
            beside,
            template: rolling.then(|| service.name.clone()),
            standby_limit: standby.then(|| service.standby_timeout()),
            keeps: None,
            sockets: service
                .sockets
                .iter()
                .map(|socket| WatchedSocket {
                    unit: socket.unit.clone(),
                    reach: socket
                        .listen
                        .addresses()
                        .iter()
                        .map(Address::reach)
                        .collect(),
                })
                .collect(),
            releases: service.release.as_ref().map(|release| release.root.clone()),
            rotation: None,
            companions: Vec::new(),
        }
    }
}

impl Watched {
    /// A unit of others, which has no sockets of ours.
    pub fn foreign(foreign: &Foreign) -> Self {
        Self {
            service: foreign.unit.clone(),
            beside: Vec::new(),
            template: None,
            standby_limit: None,
            sockets: Vec::new(),
            keeps: None,
            releases: None,
            rotation: None,
            companions: Vec::new(),
        }
    }

    /// The same, with a look at its balancer.
    pub fn in_rotation(mut self, service: &Service) -> Self {
        self.rotation.clone_from(&service.rotation);
        self
    }

    /// The same, with copies of unit files below `state`.
    pub fn keeping(mut self, state: &Path, service: &Name) -> Self {
        self.keeps = Some(keeps(state, service));
        self
    }
}

/// Where copies of the unit files of `service` are kept.
pub fn keeps(state: &Path, service: &Name) -> PathBuf {
    state.join(service.as_str()).join("units")
}

/// A snapshot: what a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub service: UnitState,
    /// As watched, and then further instances that run.
    pub beside: Vec<UnitState>,
    /// Files that are younger than the run of the service and that it does not know.
    pub newer: Vec<String>,
    /// The program on disk is not the one that runs.
    pub program_is_newer: bool,
    pub sockets: Vec<UnitState>,
    /// Where copies are kept.
    pub files: Option<UnitFiles>,
    pub releases: Option<Releases>,
    /// `None` where nobody was asked.
    pub rotation: Option<Standing>,
    /// As watched.
    pub companions: Vec<Self>,
    /// When all of this was so.
    pub at: SystemTime,
}

/// The files that say how processes are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFiles {
    /// The directory of the copies.
    pub place: PathBuf,
    pub now: Vec<UnitCopy>,
    /// Those that were last known to be good.
    pub kept: Option<Vec<UnitCopy>>,
    /// One of them is younger than the process that runs.
    pub are_newer: bool,
    /// Where they are put back, the manager still has to be told to read them.
    pub need_reload: bool,
}

/// A unit file or a drop-in, whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitCopy {
    pub path: PathBuf,
    pub text: String,
}

/// How a server is at its balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    In,
    /// And no other one is up.
    LastUp,
    Out,
    /// The balancer only does.
    Untold,
}

impl Standing {
    /// Of the server of that name.
    pub fn of(pool: &Pool, server: &str) -> Result<Self, Trouble> {
        Ok(match pool.server(server)?.state {
            State::Out => Self::Out,
            State::Up | State::Down if pool.is_last_up(server) => Self::LastUp,
            State::Up | State::Down => Self::In,
        })
    }
}

impl Observed {
    /// Whether a process that is started now would be like the one that runs.
    pub fn is_unchanged(&self) -> bool {
        let releases = self.releases.as_ref();
        let moved = releases.is_some_and(|seen| {
            seen.serving()
                .is_some_and(|serving| Some(serving) != seen.current.as_ref())
        });
        let files = self.files.as_ref().is_some_and(|files| files.are_newer);
        // A unit of others may have no process: it holds other units together.
        let runs = matches!(self.service.active, Active::Active | Active::Reloading);
        runs && self.newer.is_empty() && !self.program_is_newer && !files && !moved
    }
}

/// One unit, as its manager sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    pub unit: UnitName,
    pub load: Load,
    pub active: Active,
    /// It has been active since the manager knows it.
    pub was_active: bool,
    /// The finer state, such as `stop-sigterm`.
    pub sub: String,
    /// Why it ended, such as `success` or `service-start-limit-hit`.
    pub result: String,
    /// The file on disk is not the one that the manager has read.
    pub needs_reload: bool,
    /// The running main process; sockets have none.
    pub instance: Option<Instance>,
    /// How often the manager restarted it by itself.
    pub restarts: u32,
    /// The last `STATUS=` of the program.
    pub status: String,
    /// The exit status of the last main process that ended.
    pub exit_status: i32,
    /// Addresses of a socket at which the kernel refuses connections. A unit
    /// whose `ListenStream=` changed is active and closed.
    pub refused: Vec<Reach>,
}

impl UnitState {
    /// A unit in which nothing has run yet.
    pub fn stopped(unit: UnitName) -> Self {
        Self {
            unit,
            load: Load::Loaded,
            active: Active::Inactive,
            was_active: false,
            sub: "dead".to_owned(),
            result: "success".to_owned(),
            needs_reload: false,
            instance: None,
            restarts: 0,
            status: String::new(),
            exit_status: 0,
            refused: Vec::new(),
        }
    }

    /// Nothing runs, and nothing is about to.
    pub fn is_stopped(&self) -> bool {
        matches!(self.active, Active::Inactive | Active::Failed)
    }

    /// A process of it is ready, by the word of the manager.
    pub fn serves(&self) -> bool {
        matches!(self.active, Active::Active | Active::Reloading) && self.instance.is_some()
    }

    /// Whether clients of this socket can connect.
    pub fn is_open(&self) -> bool {
        self.active == Active::Active && self.refused.is_empty()
    }
}

/// Whether the manager could read the unit's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    Loaded,
    NotFound,
    Masked,
    /// `bad-setting`, `error` and the like.
    Other(String),
}

/// The coarse state that every kind of unit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Active {
    Active,
    Reloading,
    Inactive,
    Failed,
    Activating,
    Deactivating,
    Maintenance,
}

impl Active {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "active" => Self::Active,
            "reloading" | "refreshing" => Self::Reloading,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            "maintenance" => Self::Maintenance,
            _ => return None,
        })
    }
}

impl fmt::Display for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Maintenance => "maintenance",
        })
    }
}

/// One run of a service: the process, and the id that the manager gave to this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub pid: u32,
    /// 32 hexadecimal digits, as in `$INVOCATION_ID`.
    pub invocation: String,
}

impl Instance {
    /// Whether it is another process in another run.
    pub fn replaces(&self, before: &Self) -> bool {
        self.pid != before.pid && self.invocation != before.invocation
    }
}

/// Who a server says it is, in the `x-zdt-instance` header of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub pid: Option<u32>,
    pub invocation: Option<String>,
    pub release: Option<String>,
    pub generation: Option<String>,
}

/// What a claim says about an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Same,
    Other,
    /// The answer does not say who gave it.
    Nothing,
}

impl Claim {
    /// Reads `pid=123 invocation=… release=… generation=…`; what it does not know is skipped.
    pub fn parse(header: &str) -> Self {
        let mut claim = Self::default();
        for word in header.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("pid", pid)) => claim.pid = pid.parse().ok(),
                Some(("invocation", id)) => claim.invocation = Some(id.to_owned()),
                Some(("release", name)) => claim.release = Some(name.to_owned()),
                Some(("generation", number)) => claim.generation = Some(number.to_owned()),
                _ => {}
            }
        }
        claim
    }

    /// The invocation decides where both sides know it: a worker of the
    /// instance has another pid, and a pid may come again.
    pub fn tells(&self, instance: &Instance) -> Told {
        let same = match (&self.invocation, self.pid) {
            (Some(invocation), _) if !instance.invocation.is_empty() => {
                *invocation == instance.invocation
            }
            (_, Some(pid)) => pid == instance.pid,
            _ => return Told::Nothing,
        };
        if same { Told::Same } else { Told::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_without_a_process_is_unchanged_while_it_is_active() {
        let unit = UnitName::parse("postgresql.service").unwrap();
        let mut observed = Observed {
            service: UnitState {
                active: Active::Active,
                sub: "exited".to_owned(),
                ..UnitState::stopped(unit.clone())
            },
            beside: Vec::new(),
            newer: Vec::new(),
            program_is_newer: false,
            sockets: Vec::new(),
            files: None,
            releases: None,
            rotation: None,
            companions: Vec::new(),
            at: SystemTime::UNIX_EPOCH,
        };
        assert!(observed.is_unchanged());
        observed.service = UnitState::stopped(unit);
        assert!(!observed.is_unchanged());
    }

    #[test]
    fn an_answer_is_told_apart_by_invocation_and_then_by_pid() {
        let instance = Instance {
            pid: 7,
            invocation: "a1".repeat(16),
        };
        let told = [
            "pid=7 invocation=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 release=v2 generation=3",
            "pid=8 invocation=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
            "pid=7 invocation=00000000000000000000000000000000",
            "pid=7",
            "pid=8",
            "release=v2",
            "",
        ]
        .map(|header| Claim::parse(header).tells(&instance));
        assert_eq!(
            told,
            [
                Told::Same,
                Told::Same,
                Told::Other,
                Told::Same,
                Told::Other,
                Told::Nothing,
                Told::Nothing,
            ]
        );
    }
}
