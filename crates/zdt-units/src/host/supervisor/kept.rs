//! What a launcher knows of its processes, in a file that outlives it: for the one after it, when it was killed.

#![expect(
    clippy::disallowed_methods,
    reason = "reads files of its own, and /proc"
)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::libc;
use nix::unistd::{Pid, Uid};
use serde::{Deserialize, Serialize};

use super::output::PipeMark;
use super::pidfd::Stat;
use super::process::Mark;
use crate::host::{Failure, open_socket, state};
use crate::model::{Address, Name, UnitName};
use crate::stamp;

/// Of the file; another one is not read.
const VERSION: u32 = 1;

/// No state is longer.
const LONGEST: u64 = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    v: u32,
    /// Numbers of processes mean nothing after a boot.
    boot_id: String,
    pub(super) launcher: Identity,
    /// `zdt.toml`; `None`: it was started by flags.
    pub(super) config: Option<PathBuf>,
    pub(super) processes: Vec<KeptProcess>,
}

/// One process and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// As in field 22 of `/proc/PID/stat`.
    pub(super) start_time: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptProcess {
    pub(super) unit: UnitName,
    pub(super) service: Name,
    #[serde(flatten)]
    pub(super) identity: Identity,
    pub(super) group: i32,
    pub(super) generation: u64,
    pub(super) invocation: String,
    #[serde(with = "stamp")]
    pub(super) began: SystemTime,
    pub(super) port: Option<u16>,
    /// Where it says that it is ready.
    pub(super) notify: Option<PathBuf>,
    /// By which it is taken up.
    pub(super) mark: Mark,
    /// What it prints to.
    pub(super) output: Vec<PipeMark>,
}

/// What was found of a launcher before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It ended in order, or there was none.
    Nothing,
    Kept(Kept),
    /// It could not be used, and why; it was put aside if that was possible.
    Useless(String),
}

impl Kept {
    /// Of this process, which has started nothing yet.
    pub(super) fn new(config: Option<PathBuf>) -> Result<Self, Failure> {
        let own = std::process::id();
        let launcher = Identity::of(own).ok_or_else(|| {
            Failure::new("`/proc` does not show this process")
                .hint("mount it: `mount -t proc proc /proc`")
                .without_effect()
        })?;
        Ok(Self {
            v: VERSION,
            boot_id: boot_id()?,
            launcher,
            config,
            processes: Vec::new(),
        })
    }

    /// The whole, or what was there before. A power cut ends all processes.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        state::replace_until_reboot(path, self)
    }

    /// What the launcher before left at `path`. Nothing in it keeps this one from starting.
    pub(super) fn read(path: &Path) -> Found {
        match read(path) {
            Ok(None) => Found::Nothing,
            Ok(Some(kept)) => Found::Kept(kept),
            Err(why) => {
                let shown = path.display();
                let mut aside = path.as_os_str().to_owned();
                aside.push(".unusable");
                let aside = PathBuf::from(aside);
                let put = match fs::rename(path, &aside) {
                    Ok(()) => format!("it is now `{}`", aside.display()),
                    Err(error) => format!("it could not be put aside: {error}"),
                };
                Found::Useless(format!(
                    "`{shown}`, the state of the launcher before, {why}; {put}. Processes that it left are not known: \
                     look for them with `ps`"
                ))
            }
        }
    }

    /// At a clean end there is nothing to know.
    pub(super) fn remove(path: &Path) -> Result<(), Failure> {
        state::remove(path)
    }

    /// The processes that are still there; never another one that has the number of one of them.
    pub(super) fn orphans(&self) -> Vec<&KeptProcess> {
        if !self.is_of_this_boot() {
            return Vec::new();
        }
        let processes = self.processes.iter();
        processes
            .filter(|process| process.identity.is_alive())
            .collect()
    }

    fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|id| id == self.boot_id)
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let pid = i32::try_from(pid).ok()?;
    Stat::of(Pid::from_raw(pid)).ok()
}

impl Identity {
    /// Of the process that has this number now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let start_time = stat(pid)?.start_time;
        Some(Self { pid, start_time })
    }

    pub(super) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start_time == self.start_time && !stat.has_ended())
    }

    /// A listening socket of this process, by a descriptor of our own: clients that wait in its queue stay there.
    pub(super) fn take_listener(&self, address: &Address) -> io::Result<OwnedFd> {
        let pid = self.pid;
        let found = open_socket::find(pid, address).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => io::Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "user {} may not take the socket `{address}` from process {pid}: run the launcher as root, or end \
                     that process",
                    Uid::effective()
                ),
            ),
            _ => error,
        });
        // Another one got its number meanwhile.
        if !self.is_alive() {
            return Err(io::Error::new(
                ErrorKind::NotFound,
                format!("process {pid} has ended"),
            ));
        }
        found?.ok_or_else(|| {
            io::Error::new(
                ErrorKind::NotFound,
                format!("process {pid} does not listen on `{address}`"),
            )
        })
    }
}

fn read(path: &Path) -> Result<Option<Kept>, String> {
    // Whatever has this name, opening it does not wait.
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let unread = |error: io::Error| format!("cannot be read: {error}");
    let meta = file.metadata().map_err(unread)?;
    if !meta.is_file() {
        return Err("is no file".to_owned());
    }
    // It says which processes are signalled.
    if ![0, Uid::effective().as_raw()].contains(&meta.uid()) {
        return Err(format!("belongs to user {}", meta.uid()));
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).map_err(unread)?;
    let version: Version =
        serde_json::from_slice(&text).map_err(|error| format!("is damaged: {error}"))?;
    if version.v != VERSION {
        return Err(format!("is of another version ({})", version.v));
    }
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| format!("is damaged: {error}"))
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

fn boot_id() -> Result<String, Failure> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    match fs::read_to_string(path) {
        Ok(id) => Ok(id.trim_end().to_owned()),
        Err(error) => Err(Failure::io("read", path, &error)),
    }
}

#[cfg(test)]
mod tests;
