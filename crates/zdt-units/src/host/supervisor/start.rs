//! Starts a process of a unit: its descriptors, its environment, its user. The last steps are those of the hidden
//! command `exec`, in the process itself.

#![expect(
    clippy::disallowed_methods,
    reason = "hosts are where processes are started and files are read"
)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Pid, User as Account, geteuid};

use super::cgroup::Cgroup;
use super::credentials::{self, CredentialError};
use super::environment;
use super::gate::{Gate, Program};
use super::launch::Launch;
use super::output::Output;
use super::process::Process;
use super::sockets::Held;
use super::store::Store;
use crate::model::{Unfilled, UnitName, UserName};

/// What a service manager above us said to us and not to the process.
const NOT_FOR_THE_PROCESS: &[&str] = &[
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "CREDENTIALS_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "PIDFILE",
    "TRIGGER_UNIT",
    "TRIGGER_PATH",
    "FDSTORE",
    "MAINPID",
    "ZDT_CONTROL",
    "ZDT_GENERATION",
    "ZDT_HANDOVER",
    "ZDT_HANDOVER_DIR",
    "ZDT_HANDOVER_FD",
    "ZDT_INSTANCE",
    "ZDT_INSTANCES",
    "ZDT_PID",
    "ZDT_PORT",
    "ZDT_RELEASE",
    "ZDT_RELEASE_PATH",
    "ZDT_RELOAD",
    "ZDT_RELOAD_LIMIT",
    "ZDT_REVISION",
];

/// One start of a process.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub launch: &'a Launch,
    pub held: &'a Held,
    pub store: &'a Store,
    pub notify_socket: &'a Path,
    pub told: Told<'a>,
    pub output: &'a Output,
}

/// What a process is told of itself, and its hooks too.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Counts the starts.
    pub generation: u64,
    /// `INVOCATION_ID`: 32 hexadecimal digits, see [`invocation`].
    pub invocation: &'a str,
    /// Which instance of the service it is, from 1.
    pub number: u32,
    pub port: Option<u16>,
    /// `ZDT_RELEASE`, `ZDT_INSTANCES` and the like.
    pub extra: &'a [(String, String)],
}

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to read environment file `{path}`: {source}")]
    EnvironmentFile { path: String, source: io::Error },
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Unfilled(#[from] Unfilled),
    #[error("{0}")]
    Port(String),
    #[error(
        "it has credentials, and there is no directory to put them in: start it from `zdt.toml`"
    )]
    NoRuntimeDirectory,
    #[error("there is no user `{0}`: create it with `useradd --system {0}`")]
    NoUser(UserName),
    #[error("failed to look up the user `{user}`: {source}")]
    User { user: UserName, source: io::Error },
    #[error(
        "it is to run as `{user}`, and only root can do that: run the launcher as root or as `{user}`, \
         or take `user` out of `zdt.toml`"
    )]
    NotRoot { user: UserName },
    #[error("failed to share a descriptor: {0}")]
    Share(io::Error),
    #[error("failed to make a pipe for its output: {0}")]
    Output(io::Error),
    #[error("failed to run `{program}`: {source}")]
    Spawn { program: String, source: io::Error },
}

/// A new `INVOCATION_ID`.
pub fn invocation() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

impl Start<'_> {
    /// Starts a process: `prepared`, a helper for it, becomes the program.
    pub fn run(self, prepared: Process) -> Result<Process, StartError> {
        let launch = self.launch;
        let mut process = prepared;
        let user = account(launch)?;
        let mut environment = own_environment(launch, self.told, self.output.unit())?;
        let credentials = match (launch.credentials.as_slice(), &launch.runtime) {
            ([], _) => None,
            (_, None) => return Err(StartError::NoRuntimeDirectory),
            (list, Some(runtime)) => {
                let directory = credentials::directory(runtime, self.output.unit());
                credentials::provide(list, &directory, user.as_ref())?;
                Some(directory)
            }
        };
        // First those that the settings of the service may replace.
        let mut variables = self.descriptors();
        variables.append(&mut environment);
        let sockets = self.held.sockets().iter().map(|socket| socket.fd.as_fd());
        let shared = sockets.chain(self.store.kept().map(|(_, fd)| fd));
        let shared: io::Result<Vec<_>> = shared.map(|fd| fd.try_clone_to_owned()).collect();
        let program = Program {
            program: launch.program.clone(),
            arguments: launch.arguments.clone(),
            environment: variables,
            directory: launch.working_directory.clone().map(Into::into),
        };
        let held = shared.and_then(|shared| process.hold(&program, shared));
        held.map_err(StartError::Share)?;
        process.credentials = credentials;
        if !(launch.outlives && launch.gated) {
            process.let_go();
        }
        Ok(process)
    }

    fn descriptors(&self) -> Vec<(OsString, OsString)> {
        let names: Vec<&str> = self.names().collect();
        let launch = self.launch;
        let mut variables = vec![
            pair("LISTEN_FDS", names.len().to_string()),
            pair("LISTEN_FDNAMES", names.join(":")),
            pair("NOTIFY_SOCKET", self.notify_socket),
        ];
        let room = launch.room();
        if room > 0 {
            variables.push(pair("FDSTORE", room.to_string()));
            variables.push(pair("ZDT_HANDOVER", "1"));
        }
        if let Some(limit) = launch.watchdog {
            variables.push(pair("WATCHDOG_USEC", limit.as_micros().to_string()));
        }
        variables
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.held
            .sockets()
            .iter()
            .map(|socket| socket.name.as_str())
            .chain(self.store.kept().map(|(name, _)| name))
    }
}

fn pair(name: &str, value: impl AsRef<OsStr>) -> (OsString, OsString) {
    (name.into(), value.as_ref().to_owned())
}

/// What the process and its hooks have in common; the later ones win.
pub(super) fn own_environment(
    launch: &Launch,
    told: Told<'_>,
    unit: &UnitName,
) -> Result<Vec<(OsString, OsString)>, StartError> {
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    if let Some(user) = account(launch)? {
        variables.extend([
            pair("HOME", &user.dir),
            pair("USER", &user.name),
            pair("LOGNAME", &user.name),
            pair("SHELL", &user.shell),
        ]);
    }
    let library = launch.drain.library_environment(&launch.service);
    variables.extend(library.into_iter().map(|(name, value)| pair(name, value)));
    let given = launch.environment.iter();
    variables.extend(given.map(|(name, value)| pair(name, value)));
    for file in &launch.environment_files {
        let path = file.path.text().to_string();
        match fs::read_to_string(&path) {
            Ok(text) => {
                let parsed = environment::parse(&text);
                variables.extend(parsed.iter().map(|(name, value)| pair(name, value)));
            }
            Err(_) if file.optional => {}
            Err(source) => return Err(StartError::EnvironmentFile { path, source }),
        }
    }
    // Nobody else says which process this is.
    variables.push(pair("INVOCATION_ID", told.invocation));
    variables.push(pair("ZDT_GENERATION", told.generation.to_string()));
    variables.push(pair("ZDT_INSTANCE", told.number.to_string()));
    if let Some(port) = told.port {
        variables.push(pair("ZDT_PORT", port.to_string()));
    }
    let extra = told.extra.iter();
    variables.extend(extra.map(|(name, value)| pair(name, value)));
    if let Some(runtime) = &launch.runtime
        && !launch.credentials.is_empty()
    {
        let directory = credentials::directory(runtime, unit);
        variables.push(pair("CREDENTIALS_DIRECTORY", directory));
    }
    Ok(variables)
}

/// Whom the process is to run as, if that is another user than the one of this process.
pub(super) fn account(launch: &Launch) -> Result<Option<Account>, StartError> {
    let Some(user) = &launch.user else {
        return Ok(None);
    };
    let found = Account::from_name(user.as_str()).map_err(|source| StartError::User {
        user: user.clone(),
        source: source.into(),
    })?;
    let account = found.ok_or_else(|| StartError::NoUser(user.clone()))?;
    match geteuid() {
        own if own == account.uid => Ok(None),
        own if own.is_root() => Ok(Some(account)),
        _ => Err(StartError::NotRoot { user: user.clone() }),
    }
}

/// A helper in a group of its own, which waits to become a process.
pub(super) struct Spawn<'a> {
    pub(super) launch: &'a Launch,
    pub(super) user: Option<&'a Account>,
    pub(super) invocation: &'a str,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) output: &'a Output,
    /// Before what it prints.
    pub(super) label: Option<&'a str>,
    pub(super) outlives: bool,
}

impl Spawn<'_> {
    pub(super) fn run(self) -> Result<Process, StartError> {
        let launch = self.launch;
        let (gate, waits) = Gate::pair().map_err(StartError::Share)?;
        let mut command = Command::new(&launch.helper);
        command.arg("exec");
        command.arg(format!("--parent={}", std::process::id()));
        if self.outlives {
            command.arg("--outlives");
        }
        if let Some(limit) = launch.open_files {
            command.arg(format!("--open-files={limit}"));
        }
        if let Some(user) = self.user {
            command.arg("--user").arg(&user.name);
        }
        if let Some(cgroup) = &self.cgroup {
            command.arg("--cgroup").arg(cgroup.path());
        }
        for name in NOT_FOR_THE_PROCESS {
            command.env_remove(name);
        }
        let pipes = self.output.pipes(launch.stdout_to_stderr);
        let pipes = pipes.map_err(StartError::Output)?;
        if let Some((stdout, stderr)) = pipes.stdio {
            command.stdout(stdout).stderr(stderr);
        }
        // In a group of its own a Ctrl-C at the terminal does not reach it.
        command.stdin(waits).process_group(0);

        let failed = |source| StartError::Spawn {
            program: launch.helper.display().to_string(),
            source,
        };
        let child = command.spawn().map_err(failed)?;
        let id = i32::try_from(child.id()).expect("the kernel's numbers are not that high");
        let mut process =
            Process::waiting(Pid::from_raw(id), self.invocation, gate).map_err(failed)?;
        process.cgroup = self.cgroup;
        process.outlives = self.outlives;
        self.output.read(child.id(), pipes.ends, self.label);
        Ok(process)
    }
}

/// A helper for the next process of a unit, while the one before it still drains.
pub fn prepare(launch: &Launch, output: &Output) -> Result<Process, StartError> {
    let invocation = invocation().map_err(StartError::Share)?;
    let user = account(launch)?;
    let spawn = Spawn {
        launch,
        user: user.as_ref(),
        invocation: &invocation,
        cgroup: Cgroup::make(output.unit(), &invocation),
        output,
        label: None,
        outlives: launch.outlives,
    };
    spawn.run()
}
