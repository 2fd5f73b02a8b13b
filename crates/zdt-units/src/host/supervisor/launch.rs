//! What a supervisor must know of a service. Pure.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::state::Limits;
pub use super::state::Readiness;
use super::store;
use crate::model::{
    CredentialName, Drain, EnvironmentFile, Name, PathText, Restarts, Service, User, UserName,
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
    pub readiness: Readiness,
    pub start_timeout: Duration,
    /// From `SIGTERM` to `SIGKILL`.
    pub stop_timeout: Duration,
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
            working_directory: None,
            user: None,
            credentials: Vec::new(),
            runtime: None,
            outlives: false,
            drain,
            readiness: Readiness::Notify,
            start_timeout: Duration::from_secs(60),
            stop_timeout: drain.stop_timeout(),
            restarts: Restarts::default(),
            watchdog: None,
            open_files: None,
            handover: true,
            stdout_to_stderr: false,
            helper: OWN_PROGRAM.into(),
        }
    }

    pub fn of(service: &Service) -> Self {
        let exec = &service.exec;
        Self {
            arguments: exec
                .arguments()
                .iter()
                .map(|text| text.of_instance(1).into())
                .collect(),
            environment: service
                .environment
                .iter()
                .map(|(name, value)| (name.clone(), value.of_instance(1)))
                .collect(),
            environment_files: service.environment_files.clone(),
            working_directory: service
                .working_directory
                .as_ref()
                .map(|path| path.text().of_instance(1).into()),
            user: match &service.user {
                User::Named(user) => Some(user.clone()),
                // One of systemd's making, and the one who starts this.
                User::Dynamic(_) | User::Root => None,
            },
            credentials: service.credentials.clone(),
            drain: service.drain,
            start_timeout: service.start_timeout,
            stop_timeout: service.stop_timeout(),
            restarts: service.restarts,
            watchdog: service.watchdog,
            open_files: Some(service.open_files),
            handover: service.handover,
            ..Self::new(service.name.clone(), exec.program().of_instance(1))
        }
    }

    /// How many descriptors it may leave for the next process. One that does not say when it is ready does not say
    /// either when it has taken them.
    pub(super) fn room(&self) -> usize {
        match self.handover && self.readiness == Readiness::Notify {
            true => store::MOST,
            false => 0,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            start: self.start_timeout,
            stop: self.stop_timeout,
            pause: self.restarts.pause,
            watchdog: self.watchdog,
            ready: self.readiness,
        }
    }
}
