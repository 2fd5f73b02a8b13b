//! One process of the service: started with its sockets, signalled, waited for.

#![expect(
    clippy::disallowed_methods,
    reason = "hosts are where processes are started and files are read"
)]

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::environment;
use super::event::Exit;
use super::launch::Launch;
use super::sockets::Held;
use super::store::Store;

/// The first inherited descriptor, fixed by `sd_listen_fds(3)`.
const FIRST_FD: i32 = 3;

/// What a service manager above us said to us and not to the process.
const NOT_FOR_THE_PROCESS: [&str; 12] = [
    "LISTEN_PID",
    "LISTEN_FDS_FIRST_FD",
    "LISTEN_PIDFDID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "FDSTORE",
    "ZDT_HANDOVER",
    "ZDT_HANDOVER_DIR",
    "ZDT_HANDOVER_FD",
    "MAINPID",
];

/// What differs from one start to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) launch: &'a Launch,
    pub(super) held: &'a Held,
    pub(super) store: &'a Store,
    pub(super) notify_socket: &'a Path,
    pub(super) generation: u64,
    pub(super) invocation: &'a str,
    pub(super) port: Option<u16>,
    pub(super) output: &'a super::output::Output,
}

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The process started; also the number of its process group.
    group: Pid,
    main: Pid,
    /// Wakes up when a process ended that is not `child`.
    ended: Signals,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("failed to read environment file `{path}`: {source}")]
    EnvironmentFile { path: String, source: io::Error },
    #[error("failed to share a descriptor: {0}")]
    Share(io::Error),
    #[error("failed to run `{program}`: {source}")]
    Spawn { program: String, source: io::Error },
}

impl Start<'_> {
    pub(super) fn run(self) -> Result<Process, StartError> {
        let mut command = self.command()?;
        let spawn = |source| StartError::Spawn {
            program: self.launch.program.to_string_lossy().into_owned(),
            source,
        };
        let ended = signal(SignalKind::child()).map_err(spawn)?;
        let child = command.spawn().map_err(spawn)?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = Pid::from_raw(id.expect("a child that was not waited for has an id"));
        Ok(Process {
            child,
            group,
            main: group,
            ended,
        })
    }

    fn command(self) -> Result<Command, StartError> {
        let launch = self.launch;
        let mut command = Command::new(&launch.helper);
        command.arg("exec");
        command.arg(format!("--parent={}", std::process::id()));
        if let Some(limit) = launch.open_files {
            command.arg(format!("--open-files={limit}"));
        }
        command
            .arg("--")
            .arg(&launch.program)
            .args(&launch.arguments);

        for name in NOT_FOR_THE_PROCESS {
            command.env_remove(name);
        }
        let names: Vec<&str> = self.names().collect();
        command
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("NOTIFY_SOCKET", self.notify_socket)
            .env("ZDT_GENERATION", self.generation.to_string())
            .envs(launch.drain.library_environment(&launch.service));
        let room = launch.room();
        if room > 0 {
            command
                .env("FDSTORE", room.to_string())
                .env("ZDT_HANDOVER", "1");
        }
        if let Some(limit) = launch.watchdog {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        for file in &launch.environment_files {
            let path = file.path.text().of_instance(1);
            match fs::read_to_string(&path) {
                Ok(text) => {
                    command.envs(environment::parse(&text));
                }
                Err(_) if file.optional => {}
                Err(source) => {
                    return Err(StartError::EnvironmentFile { path, source });
                }
            }
        }
        if let Some(directory) = &launch.working_directory {
            command.current_dir(directory);
        }

        if launch.stdout_to_stderr {
            let stderr = io::stderr().as_fd().try_clone_to_owned();
            command.stdout(stderr.map_err(StartError::Share)?);
        }

        let sockets = self.held.sockets().iter().map(|socket| socket.fd.as_fd());
        let shared = sockets.chain(self.store.kept().map(|(_, fd)| fd));
        let mappings = shared
            .zip(FIRST_FD..)
            .map(|(fd, child_fd)| {
                let parent_fd = fd.try_clone_to_owned()?;
                Ok(FdMapping {
                    parent_fd,
                    child_fd,
                })
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(StartError::Share)?;
        command
            .fd_mappings(mappings)
            .expect("each descriptor has a number of its own");
        // In a group of its own a Ctrl-C at the terminal does not reach it, and
        // reading from the terminal would stop it.
        command
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.held
            .sockets()
            .iter()
            .map(|socket| socket.name.as_str())
            .chain(self.store.kept().map(|(name, _)| name))
    }
}

impl Process {
    pub(super) fn main(&self) -> u32 {
        self.main.as_raw().unsigned_abs()
    }

    pub(super) fn group(&self) -> Pid {
        self.group
    }

    /// Takes `pid` for the main process, if it is one of this service.
    pub(super) fn set_main(&mut self, pid: u32) -> bool {
        let Ok(pid) = i32::try_from(pid).map(Pid::from_raw) else {
            return false;
        };
        let known = getpgid(Some(pid)).is_ok_and(|group| group == self.group);
        if known {
            self.main = pid;
        }
        known
    }

    pub(super) fn signal(&self, signal: Signal) {
        // One that has ended meanwhile is reported by `exited`.
        let _ = kill(self.main, signal);
    }

    pub(super) fn kill(&self) {
        let _ = kill(self.main, Signal::SIGKILL);
        let _ = killpg(self.group, Signal::SIGKILL);
    }

    /// Whether there was anything to kill.
    pub(super) fn kill_group(&self) -> bool {
        // An orphan that has ended already is none.
        collect(self.group);
        killpg(self.group, Signal::SIGKILL).is_ok()
    }

    /// Waits for the end of the main process.
    pub(super) async fn exited(&mut self) -> Exit {
        while self.main != self.group {
            let _ = self.child.try_wait();
            // It became our child when the process that started it ended.
            match waitpid(self.main, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => return Exit::Code(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Exit::Signal(signal as i32),
                Err(_) if kill(self.main, None) == Err(Errno::ESRCH) => return Exit::Unknown,
                _ => {}
            }
            self.ended.recv().await;
        }
        match self.child.wait().await {
            Ok(status) => exit(status),
            Err(_) => Exit::Unknown,
        }
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

/// Collects what is left of killed groups, whose orphans are our children.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Vec<Pid>);

impl Leftovers {
    pub(super) fn add(&mut self, group: Pid) {
        self.0.push(group);
        self.collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn collect(&mut self) {
        self.0.retain(|group| collect(*group));
    }
}

/// Collects those of a group that have ended and are our children; whether any are left.
fn collect(group: Pid) -> bool {
    let of_group = Pid::from_raw(-group.as_raw());
    loop {
        match waitpid(of_group, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
