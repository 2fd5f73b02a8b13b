//! Whose manager and which directories: the machine's, a user's, or those of an image.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read the environment of the process"
)]

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::{Failed, stopped};
use crate::exit_code;
use crate::host::systemd::Systemd;
use crate::install::Place;

const SYSTEM: &[&str] = &[
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

const USER: &[&str] = &[
    "/etc/systemd/user",
    "/run/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "/lib/systemd/user",
];

/// Where services live.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    System,
    User {
        /// `$XDG_RUNTIME_DIR`.
        runtime: PathBuf,
        /// `~/.config/systemd/user`.
        units: PathBuf,
        /// `~/.local/state`.
        state: PathBuf,
    },
    Image(PathBuf),
}

impl Scope {
    pub(super) fn of(user: bool) -> Result<Self, Failed> {
        if !user {
            return Ok(Self::System);
        }
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let lacks = |name: &str| {
            Failed::said(exit_code::STOPPED, format!("`{name}` is not set"))
                .hint("run it as that user, logged in: `machinectl shell USER@`")
        };
        let runtime = variable("XDG_RUNTIME_DIR").ok_or_else(|| lacks("XDG_RUNTIME_DIR"))?;
        let home = || {
            variable("HOME")
                .map(PathBuf::from)
                .ok_or_else(|| lacks("HOME"))
        };
        let directory = |name, below: &str| match variable(name) {
            Some(directory) => Ok(PathBuf::from(directory)),
            None => Ok(home()?.join(below)),
        };
        let config = directory("XDG_CONFIG_HOME", ".config")?;
        let state = directory("XDG_STATE_HOME", ".local/state")?;
        Ok(Self::User {
            runtime: runtime.into(),
            units: config.join("systemd/user"),
            state,
        })
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::System => Place {
                root: PathBuf::from("/"),
                directory: PathBuf::from("/etc/systemd/system"),
                runtime: Some(PathBuf::from("/run/zdt-units")),
            },
            Self::User { runtime, units, .. } => Place {
                root: PathBuf::from("/"),
                directory: units.clone(),
                runtime: Some(runtime.join("zdt-units")),
            },
            Self::Image(root) => Place {
                root: root.clone(),
                directory: PathBuf::from("/etc/systemd/system"),
                runtime: None,
            },
        }
    }

    /// Other directories that the manager reads units from.
    pub(super) fn others(&self) -> &'static [&'static str] {
        match self {
            Self::System | Self::Image(_) => SYSTEM,
            Self::User { .. } => USER,
        }
    }

    /// How a person calls the manager.
    pub(super) fn systemctl(&self) -> &'static str {
        match self {
            Self::System | Self::Image(_) => "systemctl",
            Self::User { .. } => "systemctl --user",
        }
    }

    /// What outlives a reboot: the records of restarts, and what has to be known about them.
    pub(super) fn state(&self) -> PathBuf {
        match self {
            Self::System => PathBuf::from("/var/lib/zdt"),
            Self::User { state, .. } => state.join("zdt"),
            Self::Image(root) => root.join("var/lib/zdt"),
        }
    }

    /// What does not: locks.
    pub(super) fn runtime(&self) -> PathBuf {
        match self {
            Self::System => PathBuf::from("/run/zdt"),
            Self::User { runtime, .. } => runtime.join("zdt"),
            Self::Image(root) => root.join("run/zdt"),
        }
    }

    /// Where events are written.
    pub(super) fn log(&self) -> PathBuf {
        match self {
            Self::System => PathBuf::from("/var/log/zdt"),
            Self::User { state, .. } => state.join("zdt/log"),
            Self::Image(root) => root.join("var/log/zdt"),
        }
    }

    pub(super) async fn connect(&self) -> Result<Systemd, Failed> {
        let connected = match self {
            Self::System | Self::Image(_) => Systemd::connect().await,
            Self::User { runtime, .. } => Systemd::connect_to_user(runtime).await,
        };
        connected.map_err(stopped)
    }

    /// Says that root is needed before anything is done.
    pub(super) fn may_write(&self, command: &str) -> Result<(), Failed> {
        let is_root = nix::unistd::geteuid().is_root();
        match self {
            Self::System if !is_root => Err(Failed::said(
                exit_code::STOPPED,
                format!("`zdt-units {command}` needs root: it writes to `/etc/systemd/system`"),
            )
            .hint(format!(
                "run it as root. `--dry-run` needs no root, and `zdt-units {command} --user` is for \
                 services of your own"
            ))),
            _ => Ok(()),
        }
    }

    /// One change of the directory at a time. Held until the value is dropped.
    pub(super) fn lock(&self) -> Result<File, Failed> {
        let directory = self.place().path("");
        let failed = |source: std::io::Error| {
            let text = format!("failed to open `{}`: {source}", directory.display());
            Failed::said(exit_code::STOPPED, text)
        };
        if !Path::new(&directory).exists() {
            fs::create_dir_all(&directory).map_err(failed)?;
        }
        let lock = File::open(&directory).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(Failed::said(
                exit_code::REFUSED,
                format!("another zdt-units is changing `{}`", directory.display()),
            )
            .hint("wait until it is done")),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
