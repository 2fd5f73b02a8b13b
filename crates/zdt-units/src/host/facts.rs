//! Looks at services from all sides, and changes nothing: no connection is made to a socket whose
//! service does not run, because that would start it.

#![expect(
    clippy::disallowed_methods,
    reason = "hosts read files and start commands"
)]

mod files;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::files::{broken_off, is_locked, release_seen};
pub use self::files::{current_release, disk, machine};

use super::Host as _;
use super::any::AnyHost;
use super::{Failure, check, diag, listeners};
use crate::doctor::{Process, ServiceUnit, SocketUnit, Subject, Unseen, Wished};
use crate::model::{Address, Health, Reach, Service, Strategy, UnitName};
use crate::observe::{Active, Claim, Load, UnitState, Watched};
use crate::sockets::Sockets;
use crate::tool::Tool;

/// How long an answer of a health endpoint is waited for.
const HEALTH_LIMIT: Duration = Duration::from_millis(300);

/// One look at everything.
#[derive(Debug)]
pub struct Looking<'a> {
    host: &'a AnyHost,
    sockets: Sockets,
    /// Inodes that the manager has open; `None` where that may not be seen.
    held: Option<BTreeSet<u64>>,
    /// Socket units that are open, or will be after a boot, and their addresses.
    others: Vec<(UnitName, Vec<Address>)>,
    pub unseen: Vec<Unseen>,
}

/// What a health endpoint said.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// `ok`, or what is not.
    pub text: String,
    pub is_well: bool,
    pub claim: Claim,
}

/// Where operations leave their records.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    pub state: &'a Path,
    pub runtime: &'a Path,
}

impl<'a> Looking<'a> {
    pub fn start(host: &'a AnyHost) -> Self {
        let sockets = diag::sockets();
        let manager = host.manager_pid();
        let held = socket_inodes(manager).map(|inodes| inodes.into_iter().collect());
        let mut unseen = Vec::new();
        if held.is_none() {
            unseen.push(Unseen {
                what: format!("the sockets of the manager (`/proc/{manager}/fd`)"),
                why: "not permitted".to_owned(),
                fix: "run it as root".to_owned(),
            });
        }
        unseen.extend(sockets.lacks.clone().map(|why| Unseen {
            what: "the queues of sockets".to_owned(),
            why,
            fix: "run it as root, outside of a sandbox".to_owned(),
        }));
        Self {
            host,
            sockets,
            held,
            others: Vec::new(),
            unseen,
        }
    }

    /// Looks at the other socket units of the machine too, for those with the same address.
    pub async fn among_others(mut self) -> Result<Self, Failure> {
        for unit in self.host.sockets().await {
            let (socket, is_here) = self.host.socket_facts(&unit).await?;
            let counts = socket.state.active != Active::Inactive || socket.file_state == "enabled";
            if counts && is_here && socket.state.load == Load::Loaded {
                self.others.push((unit, socket.addresses));
            }
        }
        Ok(self)
    }

    /// A service of `zdt.toml`.
    pub async fn service(
        &self,
        service: &Service,
        records: Records<'_>,
    ) -> Result<(Subject, Option<Answered>), Failure> {
        let watched = Watched::of(service);
        let standby = UnitName::standby(&service.name);
        let mut services = vec![self.service_unit(&watched.service).await?];
        for unit in self.host.others(&watched).await? {
            let mut seen = self.service_unit(&unit).await?;
            seen.is_standby = unit == standby;
            services.push(seen);
        }
        let mut sockets = Vec::new();
        let probed = service
            .health
            .as_ref()
            .and_then(|health| health.probe.reach());
        for (index, socket) in service.sockets.iter().enumerate() {
            let addresses = socket.listen.addresses();
            let is_probed = addresses
                .iter()
                .any(|address| Some(&address.reach()) == probed);
            let mut seen = self.socket_unit(&socket.unit, Some(addresses)).await?;
            seen.is_health = is_probed && index > 0;
            sockets.push(seen);
        }
        let serving = services.iter().find(|unit| unit.state.serves());
        let answered = match (&service.health, serving) {
            (Some(health), Some(unit)) => {
                let mut health = health.clone();
                if matches!(health.probe.reach(), Some(Reach::OwnPort(_)))
                    && let Some(port) = self.host.port(&unit.state.unit).await
                {
                    health.probe = health.probe.on_port(port);
                }
                Some(ask_health(&health, &unit.state, self.host.tool()).await)
            }
            _ => None,
        };
        let unhealthy = answered.as_ref().filter(|answer| !answer.is_well);
        let name = service.name.as_str();
        let busy = is_locked(&records.runtime.join(format!("{name}.lock")));
        let wished = Wished {
            handover: service.handover,
            instances: match service.strategy {
                Strategy::Rolling { instances, .. } => instances as usize,
                _ => 1,
            },
            unhealthy: unhealthy.map(|answer| answer.text.clone()),
            release: service
                .release
                .as_ref()
                .map(|release| release_seen(&release.root)),
            broken_off: match busy {
                true => None,
                false => broken_off(records.state, &service.name),
            },
            busy,
            rotation: None,
        };
        let subject = Subject {
            name: name.to_owned(),
            services,
            sockets,
            wished: Some(wished),
        };
        Ok((subject, answered))
    }

    /// A unit of anybody, and the units that belong to it.
    pub async fn unit(&self, unit: &UnitName) -> Result<Subject, Failure> {
        let mut subject = Subject {
            name: unit.to_string(),
            ..Subject::default()
        };
        if unit.as_str().ends_with(".socket") {
            let socket = self.socket_unit(unit, None).await?;
            for triggered in &socket.triggers {
                subject.services.push(self.service_unit(triggered).await?);
            }
            subject.sockets.push(socket);
        } else {
            let service = self.service_unit(unit).await?;
            let sockets = service
                .triggered_by
                .iter()
                .filter(|unit| unit.as_str().ends_with(".socket"));
            for socket in sockets {
                subject.sockets.push(self.socket_unit(socket, None).await?);
            }
            subject.services.push(service);
        }
        Ok(subject)
    }

    pub async fn service_unit(&self, unit: &UnitName) -> Result<ServiceUnit, Failure> {
        let (mut seen, mut pids) = self.host.service_facts(unit).await?;
        seen.process = seen.state.instance.as_ref().map(|instance| {
            pids.insert(instance.pid);
            let sockets: Option<Vec<Vec<u64>>> =
                pids.iter().map(|pid| socket_inodes(*pid)).collect();
            Process {
                program: comm(instance.pid).unwrap_or_default(),
                has_children: pids.len() > 1,
                sockets: sockets.map(|each| each.concat()),
            }
        });
        Ok(seen)
    }

    async fn socket_unit(
        &self,
        unit: &UnitName,
        wanted: Option<Vec<Address>>,
    ) -> Result<SocketUnit, Failure> {
        let (mut seen, is_here) = self.host.socket_facts(unit).await?;
        if let Some(wanted) = wanted {
            seen.addresses = wanted;
        }
        if seen.state.load != Load::Loaded || !is_here {
            return Ok(seen);
        }
        for address in seen.addresses.clone() {
            let listeners: Vec<_> = self.sockets.at(&address).collect();
            // Without netlink there is nothing about Unix sockets.
            let is_known = self.sockets.lacks.is_none() || matches!(address, Address::Tcp(_));
            if listeners.is_empty() && seen.state.active == Active::Active && is_known {
                seen.state.refused.push(address.reach());
            }
            seen.live += self.sockets.live(&address);
            if let Some(queue) = self.sockets.queue(&address) {
                seen.queue = Some(seen.queue.map_or(queue, |sum| sum.and(queue)));
            }
            for listener in listeners {
                seen.inodes.push(listener.inode);
                if self
                    .held
                    .as_ref()
                    .is_some_and(|held| !held.contains(&listener.inode))
                {
                    seen.strangers.extend(stranger(listener.inode, &seen));
                }
            }
        }
        let collide = |own: &Address| seen.addresses.iter().any(|address| address.collides(own));
        let rivals = self.others.iter().filter(|(other, _)| other != unit);
        let rivals = rivals.filter(|(_, addresses)| addresses.iter().any(collide));
        seen.rivals = rivals.map(|(other, _)| other.clone()).collect();
        Ok(seen)
    }

    /// Who was asked.
    pub async fn manager(&self) -> String {
        self.host.describe().await
    }
}

/// Who else listens there; a service that outlived its socket unit is none.
fn stranger(inode: u64, socket: &SocketUnit) -> Option<String> {
    let pid = listeners::holders(&[inode]).into_iter().min()?;
    let unit = listeners::unit_of(pid);
    if unit
        .as_ref()
        .is_some_and(|unit| socket.triggers.contains(unit))
    {
        return None;
    }
    let program = comm(pid).unwrap_or_default();
    Some(match unit {
        Some(unit) => format!("`{program}` (process {pid} of `{unit}`)"),
        None => format!("`{program}` (process {pid})"),
    })
}

fn comm(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Those of the group itself; groups below it are the program's own.
pub(super) fn processes(group: &str) -> BTreeSet<u32> {
    let path = format!("/sys/fs/cgroup{group}/cgroup.procs");
    let text = match group.is_empty() {
        true => String::new(),
        false => fs::read_to_string(path).unwrap_or_default(),
    };
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Of the unit of process `pid`, as the kernel counts it.
pub fn memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let bytes = fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.current")).ok()?;
    bytes.trim_end().parse().ok()
}

/// `None` where that may not be seen.
fn socket_inodes(pid: u32) -> Option<Vec<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |target: PathBuf| {
        let text = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse();
        text.ok()
    };
    Some(targets.filter_map(inode).collect())
}

/// One question to `state`, and not much patience.
pub async fn ask_health(health: &Health, state: &UnitState, tool: Tool) -> Answered {
    let answer = check::once(&health.probe, HEALTH_LIMIT, state, tool).await;
    Answered {
        is_well: answer.wrong.is_none(),
        text: answer.wrong.unwrap_or_else(|| "ok".to_owned()),
        claim: answer.claim,
    }
}
