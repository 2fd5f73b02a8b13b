//! What a supervisor must know of a service. Pure, but for the release that a link leads to.

#![expect(
    clippy::disallowed_methods,
    reason = "a release says in a file what it was made from"
)]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::state::{Limits, Sequence};
use super::store;
use crate::model::{
    CredentialName, Drain, EnvironmentFile, Exec, Name, PathText, Ports, Ready, Restarts, Service,
    Stop, Strategy, Task, Text, Unfilled, UnitName, User, UserName, Values, span,
};

/// What is run, as far as it is known before a process is started.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    exec: Exec,
    environment: Vec<(String, Text)>,
    working_directory: Option<PathText>,
}

/// How one process after the other is started and stopped.
#[derive(Clone, Debug)]
pub struct Launch {
    /// `ZDT_SERVICE`.
    pub service: Name,
    /// `None`: the program and what follows is all there is.
    pub(super) texts: Option<Texts>,
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
    /// Before it becomes its program it waits until it is let go: somebody writes down first that it exists.
    pub(super) gated: bool,
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

/// A command as a process gets it: the program first.
pub(super) fn words(exec: &Exec, values: &Values) -> Result<Vec<OsString>, Unfilled> {
    let all = std::iter::once(exec.program()).chain(exec.arguments());
    all.map(|text| text.filled(values).map(OsString::from))
        .collect()
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
            texts: None,
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            environment_files: Vec::new(),
            number: 1,
            current: None,
            ports: None,
            handover_directory: None,
            gated: false,
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
        let mut environment: Vec<(String, String)> = Vec::new();
        if let Strategy::Rolling { instances, .. } = service.strategy {
            environment.push(("ZDT_INSTANCES".to_owned(), instances.to_string()));
        }
        if service.strategy == Strategy::Reload {
            let limit = span(service.start_timeout);
            environment.push(("ZDT_RELOAD".to_owned(), "1".to_owned()));
            environment.push(("ZDT_RELOAD_LIMIT".to_owned(), limit));
        }
        let standby = part == Part::Standby;
        Self {
            texts: Some(Texts {
                exec: service.exec.clone(),
                environment: service.environment.clone(),
                working_directory: service.working_directory.clone(),
            }),
            environment,
            environment_files: service.environment_files.clone(),
            number,
            user: user(service),
            credentials: service.credentials.clone(),
            current: link(service, "current"),
            drain: service.drain,
            readiness: service.ready,
            start_timeout: service.start_timeout,
            stop_timeout: service.end_timeout(),
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
            ..Self::new(service.name.clone(), OsString::new())
        }
    }

    /// A unit that does one thing and ends, with what a process of the next release is given.
    fn of_task(service: &Service, task: Task) -> Self {
        let given = &service.given_next;
        let texts = service.errand(task).map(|errand| Texts {
            exec: errand.command,
            environment: given.environment.clone(),
            working_directory: given.working_directory.clone(),
        });
        Self {
            texts,
            environment_files: given.environment_files.clone(),
            current: link(service, "next"),
            user: user(service),
            credentials: given.credentials.clone(),
            task: true,
            start_timeout: service.task_timeout(task),
            stop_timeout: TASK_STOP,
            handover: false,
            open_files: Some(service.open_files),
            ..Self::new(service.name.clone(), OsString::new())
        }
    }

    /// With everything in it that is known only when a process is started.
    pub(super) fn filled(&self, values: &Values) -> Result<Self, Unfilled> {
        let mut filled = self.clone();
        let Some(texts) = filled.texts.take() else {
            return Ok(filled);
        };
        let mut words = words(&texts.exec, values)?;
        filled.program = words.remove(0);
        filled.arguments = words;
        for (name, value) in &texts.environment {
            let value = value.filled(values)?;
            filled.environment.push((name.clone(), value));
        }
        if let Some(path) = &texts.working_directory {
            filled.working_directory = Some(path.text().filled(values)?.into());
        }
        let files = filled.environment_files.iter_mut();
        let files = files.map(|file| &mut file.path);
        let secrets = filled.credentials.iter_mut().map(|(_, path)| path);
        for path in files.chain(secrets) {
            *path = path.filled(values)?;
        }
        Ok(filled)
    }

    /// Of the release that is started: its directory, and what that says it was made from.
    pub(super) fn release(&self) -> Option<(PathBuf, Option<String>)> {
        let release = self.current.as_ref()?.canonicalize().ok()?;
        let revision = fs::read_to_string(release.join("REVISION")).ok();
        let revision = revision.map(|text| text.trim().to_owned());
        Some((release, revision))
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
