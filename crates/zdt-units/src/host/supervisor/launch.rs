//! What a supervisor must know of a service. Pure.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::state::{Limits, Sequence};
use super::store;
use crate::model::{
    CredentialName, Drain, EnvironmentFile, Exec, Name, PathText, Ports, Ready, Restarts, Service,
    Stop, Strategy, Task, UnitName, User, UserName, span,
};

/// How one process after the other is started and stopped.
#[derive(Clone, Debug)]
pub struct Launch {
    /// `ZDT_SERVICE`.
    pub service: Name,
    /// Looked up on `PATH` if it has no slash.
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(String, String)>,
    /// Read again at each start; they win over `environment`.
    pub environment_files: Vec<EnvironmentFile>,
    /// Which of several equal ones, from 1.
    pub number: u32,
    /// Leads to the release that is started.
    pub current: Option<PathBuf>,
    /// One of these that is free is the process's own.
    pub ports: Option<Ports>,
    /// Where processes that serve at the same time find each other.
    pub handover_directory: Option<PathBuf>,
    /// It does one thing and ends.
    pub task: bool,
    /// `None`: that of this process.
    pub working_directory: Option<PathBuf>,
    /// Whom it runs as, which takes root; `None`: the user of this process.
    pub user: Option<UserName>,
    /// Copied anew at each start, below `runtime`.
    pub credentials: Vec<(CredentialName, PathText)>,
    /// A directory of the launcher that does not outlive a reboot, and that `user` may pass through.
    pub runtime: Option<PathBuf>,
    /// It goes on when this process is killed, and a later one takes it up.
    pub outlives: bool,
    pub drain: Drain,
    pub readiness: Ready,
    pub start_timeout: Duration,
    /// From the signal to `SIGKILL`.
    pub stop_timeout: Duration,
    pub stop: Stop,
    /// It is stopped when it was ready for so long.
    pub life: Option<Duration>,
    pub restarts: Restarts,
    pub watchdog: Option<Duration>,
    /// `None`: as many as this process.
    pub open_files: Option<u64>,
    /// Whether it may leave descriptors for the next process.
    pub handover: bool,
    /// What it prints goes to the standard error of this process, whose own output is data.
    pub stdout_to_stderr: bool,
    /// The `zdt-units` that tells the process its own id, by its `exec` command.
    pub helper: PathBuf,
}

/// One of the units of a service that have processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `NAME.service`.
    Main,
    /// `NAME@1.service` and so on.
    Instance(u32),
    /// `NAME-standby.service`.
    Standby,
    /// `NAME-migrate.service` and the like.
    Task(Task),
}

impl Part {
    /// Which part of `service` has this name.
    pub fn find(service: &Service, unit: &UnitName) -> Option<Self> {
        let name = &service.name;
        match service.strategy {
            Strategy::Rolling { .. } => {
                let number = unit.number().filter(|number| *number > 0);
                let own = number.filter(|number| UnitName::instance(name, *number) == *unit);
                if let Some(number) = own {
                    return Some(Self::Instance(number));
                }
            }
            _ if *unit == UnitName::service(name) => return Some(Self::Main),
            Strategy::Standby if *unit == UnitName::standby(name) => return Some(Self::Standby),
            _ => {}
        }
        let tasks = Task::ALL.into_iter();
        let mut own =
            tasks.filter(|task| service.has(*task) && UnitName::task(name, *task) == *unit);
        own.next().map(Self::Task)
    }

    fn number(self) -> u32 {
        match self {
            Self::Instance(number) => number,
            Self::Main | Self::Standby | Self::Task(_) => 1,
        }
    }
}

/// As `TimeoutStopSec=` of the generated units of tasks.
const TASK_STOP: Duration = Duration::from_secs(10);

/// `None`: one of systemd's making is the one who starts this, here.
fn user(service: &Service) -> Option<UserName> {
    match &service.user {
        User::Named(user) => Some(user.clone()),
        User::Dynamic(_) | User::Root => None,
    }
}

/// The link to the release that is started, if the service has releases.
fn link(service: &Service, name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(service.releases()?.as_str()).join(name))
}

/// This very program, even if its file was replaced meanwhile.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

impl Launch {
    /// With what a service without any setting has in `zdt.toml`.
    pub fn new(service: Name, program: impl Into<OsString>) -> Self {
        let drain = Drain::default();
        Self {
            service,
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            environment_files: Vec::new(),
            number: 1,
            current: None,
            ports: None,
            handover_directory: None,
            task: false,
            working_directory: None,
            user: None,
            credentials: Vec::new(),
            runtime: None,
            outlives: false,
            drain,
            readiness: Ready::Notify,
            start_timeout: Duration::from_secs(60),
            stop_timeout: drain.stop_timeout(),
            stop: Stop::default(),
            life: None,
            restarts: Restarts::default(),
            watchdog: None,
            open_files: None,
            handover: true,
            stdout_to_stderr: false,
            helper: OWN_PROGRAM.into(),
        }
    }

    /// What `part` of `service` is.
    pub fn of(service: &Service, part: Part) -> Self {
        match part {
            Part::Main | Part::Instance(_) | Part::Standby => Self::of_process(service, part),
            Part::Task(task) => Self::of_task(service, task),
        }
    }

    fn of_process(service: &Service, part: Part) -> Self {
        let number = part.number();
        let exec = &service.exec;
        let mut environment: Vec<(String, String)> = Vec::new();
        if let Strategy::Rolling { instances, .. } = service.strategy {
            environment.push(("ZDT_INSTANCE".to_owned(), number.to_string()));
            environment.push(("ZDT_INSTANCES".to_owned(), instances.to_string()));
        }
        if service.strategy == Strategy::Reload {
            let limit = span(service.start_timeout);
            environment.push(("ZDT_RELOAD".to_owned(), "1".to_owned()));
            environment.push(("ZDT_RELOAD_LIMIT".to_owned(), limit));
        }
        let own = service.environment.iter();
        environment.extend(own.map(|(name, value)| (name.clone(), value.of_instance(number))));
        let standby = part == Part::Standby;
        Self {
            arguments: exec
                .arguments()
                .iter()
                .map(|text| text.of_instance(number).into())
                .collect(),
            environment,
            environment_files: service.environment_files.clone(),
            number,
            user: user(service),
            credentials: service.credentials.clone(),
            working_directory: service
                .working_directory
                .as_ref()
                .map(|path| path.text().of_instance(number).into()),
            current: link(service, "current"),
            drain: service.drain,
            readiness: service.ready,
            start_timeout: service.start_timeout,
            stop_timeout: service.stop_timeout(),
            stop: service.stop.clone(),
            life: standby.then(|| service.standby_timeout()),
            restarts: match standby {
                // One that fails is not missed.
                true => Restarts {
                    limit: Some(0),
                    ..service.restarts
                },
                false => service.restarts,
            },
            watchdog: service.watchdog,
            open_files: Some(service.open_files),
            handover: service.handover,
            ports: service.ports,
            ..Self::new(service.name.clone(), exec.program().of_instance(number))
        }
    }

    /// A unit that does one thing and ends, with what a process of the next release is given.
    fn of_task(service: &Service, task: Task) -> Self {
        let errand = service.errand(task);
        let given = &service.given_next;
        let command = errand.as_ref().map(|errand| &errand.command);
        let words = command.into_iter().flat_map(|exec| exec.arguments());
        let program = command.map(|exec| exec.program().of_instance(1));
        Self {
            arguments: words.map(|text| text.of_instance(1).into()).collect(),
            environment: given
                .environment
                .iter()
                .map(|(name, value)| (name.clone(), value.of_instance(1)))
                .collect(),
            environment_files: given.environment_files.clone(),
            working_directory: given
                .working_directory
                .as_ref()
                .map(|path| path.text().of_instance(1).into()),
            current: link(service, "next"),
            user: user(service),
            credentials: given.credentials.clone(),
            task: true,
            start_timeout: service.task_timeout(task),
            stop_timeout: TASK_STOP,
            handover: false,
            open_files: Some(service.open_files),
            ..Self::new(service.name.clone(), program.unwrap_or_default())
        }
    }

    /// A command of the service as words.
    pub(super) fn words(&self, exec: &Exec) -> Vec<OsString> {
        let all = std::iter::once(exec.program()).chain(exec.arguments());
        all.map(|text| text.of_instance(self.number).into())
            .collect()
    }

    /// `ZDT_RELEASE` and what else is known of the release that is started.
    pub(super) fn about_release(&self) -> Vec<(String, String)> {
        let Some(release) = self
            .current
            .as_ref()
            .and_then(|link| link.canonicalize().ok())
        else {
            return Vec::new();
        };
        let name = release.file_name().unwrap_or_default().to_string_lossy();
        vec![
            ("ZDT_RELEASE".to_owned(), name.into_owned()),
            ("ZDT_RELEASE_PATH".to_owned(), release.display().to_string()),
        ]
    }

    /// How many descriptors it may leave for the next process. One that does not say when it is ready does not say
    /// either when it has taken them.
    pub(super) fn room(&self) -> usize {
        match self.handover && self.readiness == Ready::Notify {
            true => store::MOST,
            false => 0,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            start: self.start_timeout,
            stop: self.stop_timeout,
            sequence: Sequence {
                quiet: self.stop.quiet.is_some(),
                drain: self.stop.drain.is_some(),
                drain_limit: self.stop.drain_limit,
                command: self.stop.command.is_some(),
            },
            restarts: self.restarts,
            watchdog: self.watchdog,
            ready: self.readiness,
            task: self.task,
            life: self.life,
        }
    }
}
