//! Whose manager and which directories: the machine's, a user's, a launcher's, or those of an image.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read the environment of the process"
)]

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::config_file::{self, Read};
use super::operation::runtime;
use super::{Failed, stopped};
use crate::cli::{ConfigArgs, ControlArgs};
use crate::exit_code;
use crate::host::Failure;
use crate::host::any::AnyHost;
use crate::host::launcher::place::{self, Whose};
use crate::host::launcher::{Launcher, place as launcher_place};
use crate::host::supervisor::protocol::About;
use crate::host::systemd::Systemd;
use crate::install::Place;
use crate::model::Events;
use crate::tool::Tool;

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
    /// Without systemd.
    Launcher(Reached),
}

impl ControlArgs {
    /// The flag, or else the environment.
    fn path(&self) -> Option<PathBuf> {
        let set = || std::env::var_os("ZDT_CONTROL").filter(|path| !path.is_empty());
        self.control.clone().or_else(|| set().map(PathBuf::from))
    }
}

/// A launcher that answered.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) control: PathBuf,
    pub(super) about: Box<About>,
}

/// The services that a command is about, and whoever runs them: the launcher that is named, or else that of this
/// `zdt.toml` if one answers, or else systemd.
pub(super) fn reach(
    config: &ConfigArgs,
    user: bool,
    control: &ControlArgs,
) -> Result<(Read, Scope), Failed> {
    if let Some(control) = control.path() {
        let launcher = connected(&control)?;
        let read = match &config.config {
            Some(_) => config_file::read(config)?,
            None => config_file::loaded(launcher.config())?,
        };
        return Ok((read, Scope::launcher(control, &launcher)));
    }
    let read = config_file::read(config)?;
    let scope = match user {
        true => None,
        false => own_launcher(&read)?,
    };
    match scope {
        Some(scope) => Ok((read, scope)),
        None => Ok((read, Scope::of(user)?)),
    }
}

/// Where events go by the file, or by default where there is none; and whose they are.
pub(super) fn events(
    config: &ConfigArgs,
    user: bool,
    control: &ControlArgs,
) -> Result<(Events, Scope), Failed> {
    match control.path().is_none() && !config_file::exists(config) {
        true => Ok((Events::default(), Scope::of(user)?)),
        false => {
            let (read, scope) = reach(config, user, control)?;
            Ok((read.model.events, scope))
        }
    }
}

/// The launcher of this `zdt.toml`, if it runs.
pub(super) fn own_launcher(read: &Read) -> Result<Option<Scope>, Failed> {
    let place = place_of(read)?;
    if !place.control.exists() {
        return Ok(None);
    }
    if let Some(directory) = place.control.parent().filter(|at| **at == place.runtime) {
        place::is_ours(directory).map_err(stopped)?;
    }
    match runtime()?.block_on(Launcher::find(&place.control)) {
        Ok(launcher) => Ok(launcher.map(|launcher| Scope::launcher(place.control, &launcher))),
        Err(failure) => Err(stopped(failure)),
    }
}

/// Where the launcher of this `zdt.toml` has its things.
pub(super) fn place_of(read: &Read) -> Result<launcher_place::Place, Failed> {
    let path = launcher_place::known_as(&read.path).map_err(|error| {
        let path = read.path.display();
        Failed::unexpected(format!("failed to find the directory of `{path}`: {error}"))
    })?;
    Ok(launcher_place::Place::of(
        &path,
        &read.model.launcher,
        &Whose::here(),
    ))
}

fn connected(control: &Path) -> Result<Launcher, Failed> {
    let connected = runtime()?.block_on(Launcher::connect(control));
    connected.map_err(stopped)
}

impl Scope {
    fn launcher(control: PathBuf, launcher: &Launcher) -> Self {
        Self::Launcher(Reached {
            control,
            about: Box::new(launcher.about().clone()),
        })
    }

    /// What a person who has only looked at the command line would not know.
    pub(super) fn said(&self) -> Option<String> {
        match self {
            Self::Launcher(reached) => Some(format!(
                "by the launcher (process {}, `{}`)",
                reached.about.pid,
                reached.control.display()
            )),
            Self::System | Self::User { .. } | Self::Image(_) => None,
        }
    }

    pub(super) fn tool(&self) -> Tool {
        match self {
            Self::System | Self::Image(_) => Tool::Systemctl,
            Self::User { .. } => Tool::UserSystemctl,
            Self::Launcher(_) => Tool::Launcher,
        }
    }

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
            // It has no unit files.
            Self::Launcher(reached) => Place {
                root: PathBuf::from("/"),
                directory: reached.about.state.join("units"),
                runtime: None,
            },
        }
    }

    /// Other directories that the manager reads units from.
    pub(super) fn others(&self) -> &'static [&'static str] {
        match self {
            Self::System | Self::Image(_) => SYSTEM,
            Self::User { .. } => USER,
            Self::Launcher(_) => &[],
        }
    }

    /// How a person calls the manager.
    pub(super) fn systemctl(&self) -> &'static str {
        self.tool().command()
    }

    /// What outlives a reboot: the records of restarts, and what has to be known about them.
    pub(super) fn state(&self) -> PathBuf {
        match self {
            Self::System => PathBuf::from("/var/lib/zdt"),
            Self::User { state, .. } => state.join("zdt"),
            Self::Image(root) => root.join("var/lib/zdt"),
            Self::Launcher(reached) => reached.about.state.clone(),
        }
    }

    /// What does not: locks.
    pub(super) fn runtime(&self) -> PathBuf {
        match self {
            Self::System => PathBuf::from("/run/zdt"),
            Self::User { runtime, .. } => runtime.join("zdt"),
            Self::Image(root) => root.join("run/zdt"),
            // The same for everybody who reaches it, by whichever path and as whichever user.
            Self::Launcher(reached) => launcher_place::locks(&reached.about.state),
        }
    }

    /// Where events are written.
    pub(super) fn log(&self) -> PathBuf {
        match self {
            Self::System => PathBuf::from("/var/log/zdt"),
            Self::User { state, .. } => state.join("zdt/log"),
            Self::Image(root) => root.join("var/log/zdt"),
            Self::Launcher(reached) => launcher_place::log(&reached.about.state),
        }
    }

    pub(super) async fn connect(&self) -> Result<AnyHost, Failed> {
        let connected = match self {
            Self::Launcher(reached) => Launcher::connect(&reached.control)
                .await
                .map(|launcher| AnyHost::Launcher(Box::new(launcher))),
            _ => self
                .systemd()
                .await
                .map(|systemd| AnyHost::Systemd(Box::new(systemd))),
        };
        connected.map_err(stopped)
    }

    async fn systemd(&self) -> Result<Systemd, Failure> {
        match self {
            Self::System | Self::Image(_) | Self::Launcher(_) => Systemd::connect().await,
            Self::User { runtime, .. } => Systemd::connect_to_user(runtime).await,
        }
    }

    /// For what only systemd can do.
    pub(super) async fn connect_systemd(&self) -> Result<Systemd, Failed> {
        self.systemd().await.map_err(stopped)
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
