//! `zdt.toml` as meant. After [`Model::new`] nothing checks again: the types carry the rules.
//! Pure: text in, data out.

mod address;
mod balancer;
mod build;
mod cross;
mod events;
mod health;
mod mistake;
mod process;
mod proxy;
mod text;
mod value;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use address::{Address, Reach, TcpAddress};
pub use balancer::{Balancer, Control, Member, Rotation};
pub use events::{Dsn, EventFile, Events, Format, Hook, Url, Wanted, Webhook};
pub use health::{Expected, Health, HttpProbe, Probe};
pub use mistake::Mistake;
pub use process::{
    Companion, HOOK_LIMIT, Kind, Launcher, Memory, Output, Ports, Ready, Restarts, Stop,
};
pub use proxy::{Domain, Proxy, Server, ServerName};
pub use text::{Piece, Slot, Text, Unfilled, Values};
pub use value::{
    AbsolutePath, CredentialName, DocUri, Exec, Name, PathText, ReleaseName, Task, UnitName,
    UserName, span,
};

use crate::config::{Config, Mistakes};

/// All services of one file, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub services: Vec<Service>,
    /// Units of others, under names of this file.
    pub foreign: Vec<Foreign>,
    pub breaker: Breaker,
    /// Where it is written down what was done.
    pub events: Events,
    pub launcher: Launcher,
}

/// When operations of a service that failed are no longer tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// In a row; 0: it is never so.
    pub failures: u32,
    /// All of them.
    pub within: Duration,
    /// The first one; it doubles with each failure after it.
    pub pause: Duration,
}

/// A unit that is not generated from this file and takes part in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    pub name: Name,
    pub unit: UnitName,
    pub after: Vec<UnitName>,
    pub health: Option<Health>,
}

/// One program that serves on sockets which outlive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Name,
    pub kind: Kind,
    pub exec: Exec,
    /// Where its operators read more.
    pub documentation: Vec<DocUri>,
    /// The main one first, the health listener last; empty for none but [`Kind::Web`].
    pub sockets: Vec<Socket>,
    pub health: Option<Health>,
    pub drain: Drain,
    pub strategy: Strategy,
    /// Other units to start before this one.
    pub after: Vec<UnitName>,
    /// In the order of the text.
    pub environment: Vec<(String, Text)>,
    pub environment_files: Vec<EnvironmentFile>,
    /// Secrets: files that only this process can read, in `$CREDENTIALS_DIRECTORY`.
    pub credentials: Vec<(CredentialName, PathText)>,
    pub user: User,
    pub working_directory: Option<PathText>,
    pub sandbox: Sandbox,
    /// Where it is taken out of rotation while its processes are replaced.
    pub rotation: Option<Rotation>,
    /// How long a new process may take until it says that it is ready.
    pub start_timeout: Duration,
    pub ready: Ready,
    pub stop: Stop,
    pub restarts: Restarts,
    pub memory: Option<Memory>,
    pub ports: Option<Ports>,
    pub watchdog: Option<Duration>,
    /// How many files the process may have open.
    pub open_files: u64,
    /// Whether the program gives its connections to the next process.
    pub handover: bool,
    pub release: Option<Release>,
    pub companion: Option<Companion>,
    pub check: Option<Errand>,
    pub migrate: Option<Migrate>,
    pub warm: Option<Errand>,
    /// What its tasks are given in the place of what the process is.
    pub given_next: Given,
    /// How long a new process has to stay up until a restart counts as done.
    pub bake: Duration,
    /// What a reverse proxy in front of it has to know, if the file says so.
    pub proxy: Option<Proxy>,
}

/// Where releases are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Releases go to `releases/NAME` below it, and `current` points to the one that runs.
    pub root: AbsolutePath,
    /// How many are kept at least.
    pub keep: u32,
    /// Older ones are removed after so many days; `None`: never for their age.
    pub keep_days: Option<u32>,
}

/// A program that does one thing and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    pub command: Exec,
    pub timeout: Duration,
}

/// What a release does to its data before it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrate {
    pub command: Exec,
    /// Takes it back, run from the newer release.
    pub down: Option<Exec>,
    /// Keeps what the migration may spoil.
    pub backup: Option<Exec>,
    /// Of each of them.
    pub timeout: Duration,
}

/// What a process is given, as far as a release may be named in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub environment: Vec<(String, Text)>,
    pub environment_files: Vec<EnvironmentFile>,
    pub credentials: Vec<(CredentialName, PathText)>,
    pub working_directory: Option<PathText>,
}

/// One socket: what is bound together and handed over under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// As in `LISTEN_FDNAMES`.
    pub name: Name,
    pub unit: UnitName,
    pub listen: Listen,
    pub backlog: u32,
}

/// Where a socket listens; one descriptor for each address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp {
        addresses: Vec<TcpAddress>,
        /// What the IPv6 wildcard takes; `None` where there is none.
        ipv6: Option<Ipv6>,
        /// Hand a connection over only when its first byte has arrived.
        defer_accept: bool,
    },
    Unix {
        paths: Vec<AbsolutePath>,
        mode: u32,
        user: Option<UserName>,
        group: Option<UserName>,
    },
}

/// What a socket on `[::]` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// IPv4 too.
    Both,
    /// Only IPv6, because another socket has the port for IPv4.
    Only,
}

/// How long a process that was told to stop goes on; see the library's `serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    pub grace: Duration,
    pub limit: Duration,
    pub linger: Duration,
}

/// How a service is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Stop, then start; new connections wait in the kernel meanwhile.
    Queue,
    /// A second process serves while the first one is replaced.
    Standby,
    /// Several equal processes on the same sockets, replaced one after the other.
    Rolling { instances: u32, pace: Pace },
    /// The process replaces itself when it is told to reload.
    Reload,
}

/// How many instances are replaced at a time, and with how much care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// At a time; never above the instances.
    pub batch: u32,
    /// Instances of the new release that are started before the first old one is stopped.
    pub surge: u32,
    /// Between two batches.
    pub pause: Duration,
    /// The first of them is alone, and has to stay up for [`Service::bake`].
    pub canary: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFile {
    pub path: PathText,
    /// Written with a leading `-`: may be missing.
    pub optional: bool,
}

/// Who the process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// Made by systemd for this service, under this name.
    Dynamic(UserName),
    Named(UserName),
    /// Only without a sandbox.
    Root,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    Off,
    On {
        network: Network,
        /// `/var/lib/NAME`, the one place the process may write to.
        state: Option<Name>,
        /// It may compile while it runs.
        jit: bool,
    },
}

/// What the process can reach by itself; inherited sockets always work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Nothing,
    Outbound,
}

/// Time between the drain's own end and the manager's `SIGKILL`.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// A standby that nobody stops is gone after a quarter of an hour, or later.
const LEAST_STANDBY: Duration = Duration::from_secs(15 * 60);

impl Model {
    /// Reads `text`, which came from `file`, or says everything that is wrong with it.
    pub fn read(file: &str, text: &str) -> Result<Self, Mistakes> {
        Self::new(Config::read(text)).map_err(|problems| Mistakes::new(file, text, problems))
    }

    /// As [`read`](Self::read), for systemd: what only the launcher can do is wrong too.
    pub fn for_systemd(file: &str, text: &str) -> Result<Self, Mistakes> {
        let (model, elsewhere) = build::model(Config::read(text));
        let problems = match model {
            Ok(model) if elsewhere.is_empty() => return Ok(model),
            Ok(_) => elsewhere,
            Err(problems) => [problems, elsewhere].concat(),
        };
        Err(Mistakes::new(file, text, problems))
    }

    /// Gives every value its meaning; the error also has what the reading found.
    pub fn new(config: Config) -> Result<Self, Vec<crate::config::Problem>> {
        build::model(config).0
    }

    /// Services that run with the releases of `head`, each after those of them that it needs.
    pub fn companions(&self, head: &Name) -> Vec<&Service> {
        let is_with = |service: &&Service| {
            let companion = service.companion.as_ref();
            companion.is_some_and(|companion| companion.of == *head)
        };
        let mut left: Vec<&Service> = self.services.iter().filter(is_with).collect();
        let mut sorted = Vec::new();
        while !left.is_empty() {
            let waits = |service: &Service| {
                let others = left.iter().filter(|other| other.name != service.name);
                others
                    .map(|other| other.unit())
                    .any(|unit| service.after.contains(&unit))
            };
            // None waits for itself: that would be a mistake.
            let next = left.iter().position(|service| !waits(service)).unwrap_or(0);
            sorted.push(left.remove(next));
        }
        sorted
    }

    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services
            .iter()
            .find(|service| service.name.as_str() == name)
    }
}

impl Service {
    /// What operators start and stop, and what other units wait for.
    pub fn unit(&self) -> UnitName {
        match self.strategy {
            Strategy::Rolling { .. } => UnitName::target(&self.name),
            Strategy::Queue | Strategy::Standby | Strategy::Reload => UnitName::service(&self.name),
        }
    }

    /// Where the releases are that it runs with, its own or those of another service.
    pub fn releases(&self) -> Option<&AbsolutePath> {
        let own = self.release.as_ref().map(|release| &release.root);
        let of_another = self.companion.as_ref().map(|companion| &companion.root);
        own.or(of_another)
    }

    /// What starts when a connection comes and nothing runs.
    pub fn activated(&self) -> UnitName {
        self.instances().swap_remove(0)
    }

    /// The units whose processes serve in the long run.
    pub fn instances(&self) -> Vec<UnitName> {
        match self.strategy {
            Strategy::Rolling { instances, .. } => (1..=instances)
                .map(|number| UnitName::instance(&self.name, number))
                .collect(),
            Strategy::Queue | Strategy::Standby | Strategy::Reload => vec![self.unit()],
        }
    }

    /// What is run for `task`.
    pub fn errand(&self, task: Task) -> Option<Errand> {
        let migrate = self.migrate.as_ref();
        let command = match task {
            Task::Check => return self.check.clone(),
            Task::Warm => return self.warm.clone(),
            Task::Backup => migrate?.backup.clone(),
            Task::Migrate => Some(migrate?.command.clone()),
            Task::MigrateDown => migrate?.down.clone(),
        };
        Some(Errand {
            command: command?,
            timeout: migrate?.timeout,
        })
    }

    /// What is run besides it, in the order of a deployment.
    pub fn tasks(&self) -> Vec<(Task, Errand)> {
        let all = Task::ALL.into_iter();
        all.filter_map(|task| Some((task, self.errand(task)?)))
            .collect()
    }

    /// How long a process may take to end, with all that is done to it before: always longer than its drain.
    pub fn stop_timeout(&self) -> Duration {
        let after_command = match self.stop.command {
            Some(_) => self.drain.stop_timeout(),
            None => Duration::ZERO,
        };
        self.stop.before_the_end() + after_command + self.end_timeout()
    }

    /// How long a process is waited for that was told to end, until it is killed: longer than each command before it
    /// may take, because systemd has one time for all of them.
    pub fn end_timeout(&self) -> Duration {
        let longest = self.stop.longest_command() + STOP_SLACK;
        longest.max(self.drain.stop_timeout())
    }

    /// Whether there is something to run for `task`.
    pub fn has(&self, task: Task) -> bool {
        self.errand(task).is_some()
    }

    /// How long `task` may take.
    pub fn task_timeout(&self, task: Task) -> Duration {
        self.errand(task)
            .map_or(self.start_timeout, |errand| errand.timeout)
    }

    /// How long a standby lives at most: longer than the restart it stands in for.
    pub fn standby_timeout(&self) -> Duration {
        let restart = self.stop_timeout() + 2 * self.start_timeout + self.bake;
        (2 * restart).max(LEAST_STANDBY)
    }

    /// The directory, below that of the manager, where processes that serve at the same time hand over to each other.
    pub fn handover_directory(&self) -> Option<String> {
        let overlap = matches!(self.strategy, Strategy::Standby | Strategy::Rolling { .. });
        (self.handover && overlap).then(|| format!("{}-handover", self.name))
    }

    /// What the `zdt` library reads from its environment.
    pub fn library_environment(&self) -> [(&'static str, String); 4] {
        self.drain.library_environment(&self.name)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: 1,
            surge: 0,
            pause: Duration::ZERO,
            canary: false,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 3,
            within: Duration::from_secs(60 * 60),
            pause: Duration::from_secs(10 * 60),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            grace: Duration::ZERO,
            limit: Duration::from_secs(30),
            linger: Duration::from_secs(1),
        }
    }
}

impl Drain {
    /// How long a manager waits for a process that drains so.
    pub fn stop_timeout(self) -> Duration {
        self.grace + self.limit + self.linger + STOP_SLACK
    }

    /// What the `zdt` library in `service` reads from its environment.
    pub fn library_environment(self, service: &Name) -> [(&'static str, String); 4] {
        [
            ("ZDT_SERVICE", service.to_string()),
            ("ZDT_DRAIN_GRACE", span(self.grace)),
            ("ZDT_DRAIN_LIMIT", span(self.limit)),
            ("ZDT_DRAIN_LINGER", span(self.linger)),
        ]
    }
}

impl Listen {
    pub fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Tcp { addresses, .. } => addresses.iter().copied().map(Address::Tcp).collect(),
            Self::Unix { paths, .. } => paths.iter().cloned().map(Address::Unix).collect(),
        }
    }
}
