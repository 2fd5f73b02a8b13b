//! systemd over D-Bus: the system bus, or the manager's own socket where there is no bus.
//!
//! On its own socket (`/run/systemd/private`, root only) the manager is the
//! peer: there is no bus daemon, so messages have no destination and signals
//! no sender. `systemctl` falls back to it in the same way.

#![expect(
    clippy::disallowed_methods,
    reason = "a snapshot says when it was taken"
)]

mod facts;
mod hold;
mod install;
mod job;
mod journal;
mod overlap;
mod private;
mod unit;

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Message, OwnedObjectPath, OwnedVariant};

pub use self::hold::Hold;
use super::prove::{self, Manager};
use super::{Failure, Host};
use crate::event::EventKind;
use crate::model::UnitName;
use crate::observe::{Instance, Observed, UnitState, Watched};
use crate::plan::Action;
use crate::tool::Tool;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long a call may take that does not wait for a job.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// The service manager of this machine.
#[derive(Debug)]
pub struct Systemd {
    connection: Connection,
    /// None on the manager's own socket.
    destination: Option<&'static str>,
    /// Its process.
    manager: u32,
}

/// Where a manager is reached.
struct Reached {
    bus: PathBuf,
    private: PathBuf,
    manager: u32,
}

type Properties = HashMap<String, OwnedVariant>;

impl Systemd {
    /// Connects by the bus if that works, else by the manager's own socket.
    pub async fn connect() -> Result<Self, Failure> {
        let reached = Reached {
            bus: PathBuf::from("/run/dbus/system_bus_socket"),
            private: PathBuf::from("/run/systemd/private"),
            manager: 1,
        };
        Self::connect_to(&reached).await.map_err(|failure| {
            failure.hint(
                "this needs a machine that runs systemd, and root where there is no system bus",
            )
        })
    }

    /// Connects to the manager of the user whose `$XDG_RUNTIME_DIR` it is.
    pub async fn connect_to_user(runtime: &Path) -> Result<Self, Failure> {
        let private = runtime.join("systemd/private");
        let peer = tokio::net::UnixStream::connect(&private).await;
        let manager = peer.and_then(|peer| peer.peer_cred()).ok();
        let reached = Reached {
            bus: runtime.join("bus"),
            private,
            manager: manager
                .and_then(|peer| u32::try_from(peer.pid()?).ok())
                .unwrap_or_default(),
        };
        Self::connect_to(&reached).await.map_err(|failure| {
            failure.hint(
                "see whether `systemctl --user status` works; `loginctl enable-linger` starts \
                          a manager for a user who is not logged in",
            )
        })
    }

    /// The process that holds the sockets of its units.
    pub(super) fn manager_pid(&self) -> u32 {
        self.manager
    }

    async fn connect_to(reached: &Reached) -> Result<Self, Failure> {
        let by_bus = timeout(CALL_LIMIT, Self::by_bus(reached)).await;
        let bus_error = match by_bus {
            Ok(Ok(systemd)) => return Ok(systemd),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let privately = timeout(CALL_LIMIT, Self::privately(reached)).await;
        let private_error = match privately {
            Ok(Ok(systemd)) => return Ok(systemd),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        Err(Failure::new(format!(
            "systemd cannot be reached: {bus_error} (`{}`), {private_error} (`{}`)",
            reached.bus.display(),
            reached.private.display()
        ))
        .without_effect())
    }

    async fn by_bus(reached: &Reached) -> zbus::Result<Self> {
        let stream = UnixStream::connect(&reached.bus)?;
        let connection = Builder::unix_stream(stream).build().await?;
        Self {
            connection,
            destination: Some(NAME),
            manager: reached.manager,
        }
        .subscribed()
        .await
    }

    async fn privately(reached: &Reached) -> zbus::Result<Self> {
        let stream = tokio::net::UnixStream::connect(&reached.private).await?;
        let connection = Builder::socket(private::Private(stream))
            .p2p()
            .build()
            .await?;
        Self {
            connection,
            destination: None,
            manager: reached.manager,
        }
        .subscribed()
        .await
    }

    /// Without a subscriber the manager sends no signals.
    async fn subscribed(self) -> zbus::Result<Self> {
        self.call(PATH, MANAGER, "Subscribe", &()).await?;
        Ok(self)
    }

    async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<Message>
    where
        B: Serialize + DynamicType,
    {
        self.connection
            .call_method(self.destination, path, Some(interface), method, body)
            .await
    }

    /// The object of `unit`, which is also there if the unit is not.
    async fn object(&self, unit: &UnitName) -> zbus::Result<OwnedObjectPath> {
        self.call(PATH, MANAGER, "LoadUnit", &unit.as_str())
            .await?
            .body()
            .deserialize()
    }

    async fn properties(&self, path: &str, interface: &str) -> zbus::Result<Properties> {
        self.call(path, PROPERTIES, "GetAll", &interface)
            .await?
            .body()
            .deserialize()
    }

    /// Without companions.
    async fn observe_one(&self, watched: &Watched) -> Result<Observed, Failure> {
        fn read<T>(unit: &UnitName, state: zbus::Result<T>) -> Result<T, Failure> {
            state.map_err(|error| unread(unit, &error).without_effect())
        }
        let unit = &watched.service;
        let service = read(unit, within(self.state(unit)).await)?;
        let mut beside = Vec::new();
        for unit in self.others(watched).await {
            beside.push(read(&unit, within(self.state(&unit)).await)?);
        }
        let (newer, program_is_newer) = match service.instance {
            Some(_) => read(unit, within(self.newer(unit)).await)?,
            None => (Vec::new(), false),
        };
        let mut sockets = Vec::new();
        for socket in &watched.sockets {
            let state = timeout(CALL_LIMIT, prove::socket_state(self, socket)).await;
            let silent = || unread(&socket.unit, &zbus::Error::Failure("no answer".to_owned()));
            let state = state.unwrap_or_else(|_| Err(silent()));
            sockets.push(state.map_err(Failure::without_effect)?);
        }
        let files = match &watched.keeps {
            Some(place) => Some(self.unit_files(watched, place).await?),
            None => None,
        };
        let releases = watched.releases.as_ref().map(super::releases::look);
        Ok(Observed {
            releases: releases.transpose()?,
            service,
            beside,
            newer,
            program_is_newer,
            sockets,
            files,
            rotation: None,
            companions: Vec::new(),
            at: SystemTime::now(),
        })
    }
}

impl Host for Systemd {
    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure> {
        let mut observed = self.observe_one(watched).await?;
        for companion in &watched.companions {
            let seen = self.observe_one(companion).await?;
            observed.companions.push(seen);
        }
        Ok(observed)
    }

    async fn perform(
        &mut self,
        action: &Action,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        match action {
            Action::Install(act) => self.install(act, tell).await,
            Action::Release(act) => super::releases::perform(act).await,
            Action::TakeOut { .. } | Action::PutBack { .. } => {
                super::balancer::perform(action, tell).await
            }
            Action::KeepUnits { place, files } => super::kept::keep(place, files),
            Action::RestoreUnits { files, added, .. } => super::kept::restore(files, added),
            Action::StartUnit { unit } => self.job("StartUnit", unit, tell).await,
            Action::RunTask { unit, .. } => self.task(unit, tell).await,
            Action::RestartUnit { unit } => self.job("RestartUnit", unit, tell).await,
            Action::CloseUntaken { unit } => self.close_untaken(unit, tell).await,
            Action::RestartUnits { units } => self.restart_together(units, tell).await,
            Action::ReloadUnit { unit } => self.job("ReloadUnit", unit, tell).await,
            Action::StopUnits { units } => self.end(units, tell).await,
            Action::OpenSockets { sockets, .. } => {
                for socket in sockets {
                    self.job("StartUnit", socket, tell).await?;
                }
                Ok(())
            }
            Action::CloseSockets { units, sockets, .. } => {
                self.end(&[&sockets[..], units].concat(), tell).await
            }
            Action::ConfirmReload { unit, before, .. } => {
                self.await_handover(unit, before).await?;
                prove::perform(self, action, tell).await
            }
            Action::StayUp { .. }
            | Action::ConfirmInstance { .. }
            | Action::AwaitReady { .. }
            | Action::CheckHealth { .. } => prove::perform(self, action, tell).await,
        }
    }
}

impl Manager for Systemd {
    const TOOL: Tool = Tool::Systemctl;

    async fn state_of(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        self.state(unit).await.map_err(|error| unread(unit, &error))
    }

    async fn heard(
        &self,
        failure: Failure,
        unit: &UnitName,
        instance: Option<&Instance>,
    ) -> Failure {
        self.last_words(failure, unit, instance).await
    }
}

/// What a call says, or that it said nothing in time.
async fn within<T>(call: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    timeout(CALL_LIMIT, call)
        .await
        .unwrap_or_else(|_| Err(zbus::Error::Failure("no answer".to_owned())))
}

fn unread(unit: &UnitName, error: &zbus::Error) -> Failure {
    Failure::new(format!("failed to read the state of `{unit}`: {error}"))
}
