//! systemd over D-Bus: the system bus, or the manager's own socket where there is no bus.
//!
//! On its own socket (`/run/systemd/private`, root only) the manager is the
//! peer: there is no bus daemon, so messages have no destination and signals
//! no sender. `systemctl` falls back to it in the same way.

mod install;
mod job;
mod private;
mod unit;

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Message, OwnedObjectPath, OwnedVariant};

use super::ready::Streak;
use super::{Failure, Host, ask, handover};
use crate::event::EventKind;
use crate::model::{Reach, UnitName};
use crate::observe::{Active, Instance, Observed, UnitState, Watched, WatchedSocket};
use crate::plan::Action;

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

    /// The unit runs as another instance, and its sockets are open.
    async fn confirm(
        &self,
        unit: &UnitName,
        before: Option<&Instance>,
        sockets: &[WatchedSocket],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let look = format!("see `journalctl --unit {unit}`");
        let state = self
            .state(unit)
            .await
            .map_err(|error| unread(unit, &error))?;
        if !state.status.is_empty() {
            tell(EventKind::Status {
                unit: unit.to_string(),
                text: state.status.clone(),
            });
        }
        if state.active != Active::Active {
            return Err(Failure::new(format!(
                "`{unit}` is {} ({}) with result `{}`",
                state.active, state.sub, state.result
            ))
            .hint(look));
        }
        let Some(now) = state.instance else {
            return Err(Failure::new(format!("`{unit}` has no main process")).hint(look));
        };
        if before.is_some_and(|before| !now.replaces(before)) {
            return Err(Failure::new(format!(
                "`{unit}` still runs process {} of before the restart",
                now.pid
            )));
        }
        tell(EventKind::Replaced {
            unit: unit.to_string(),
            before: before.cloned(),
            now,
        });
        for socket in sockets {
            let state = self
                .socket_state(socket)
                .await
                .map_err(|error| unread(&socket.unit, &error))?;
            let socket = &socket.unit;
            if state.active == Active::Active && !state.is_open() {
                return Err(Failure::new(format!(
                    "`{socket}` is active, but connections to `{}` are refused",
                    state.refused[0]
                ))
                .hint(format!("`systemctl restart {socket}` opens it again")));
            }
            if state.active != Active::Active {
                return Err(Failure::new(format!(
                    "`{socket}` is {} with result `{}`",
                    state.active, state.result
                ))
                .hint(format!(
                    "`systemctl reset-failed {socket} {unit}; systemctl restart {unit}` opens it again"
                )));
            }
        }
        Ok(())
    }

    async fn await_ready(
        &self,
        unit: &UnitName,
        probe: Probe<'_>,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let instance = self.running(unit).await?;
        let url = format!("{}{}", probe.reach, probe.path);
        let mut streak = Streak::new(probe.successes, &instance, url);
        let mut ticks = interval(probe.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if streak.take(ask::get(probe.reach, probe.path).await, tell) {
                break;
            }
        }
        let now = self.running(unit).await?;
        match now == instance {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "process {} of `{unit}` did not live on; now it is {}",
                instance.pid, now.pid
            ))
            .hint(format!("see `journalctl --unit {unit}`"))),
        }
    }

    async fn close_untaken(
        &self,
        unit: &UnitName,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let pid = self.running(unit).await?.pid;
        match handover::close_untaken(pid) {
            Ok(connections) => tell(EventKind::Untaken {
                unit: unit.to_string(),
                pid,
                connections,
            }),
            // A user whom the manager obeys need not be one who may look into its processes.
            Err(error) => tell(EventKind::Note {
                text: format!(
                    "failed to look into process {pid} for connections that it did not take: {error}"
                ),
            }),
        }
        Ok(())
    }

    async fn running(&self, unit: &UnitName) -> Result<Instance, Failure> {
        let state = self
            .state(unit)
            .await
            .map_err(|error| unread(unit, &error))?;
        state.instance.ok_or_else(|| {
            Failure::new(format!(
                "`{unit}` is {} ({}) and has no main process",
                state.active, state.sub
            ))
            .hint(format!("see `journalctl --unit {unit}`"))
        })
    }
}

/// What to ask, and how often.
struct Probe<'a> {
    reach: &'a Reach,
    path: &'a str,
    successes: u32,
    interval: Duration,
}

impl Host for Systemd {
    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure> {
        let read = |unit: &UnitName, state: zbus::Result<UnitState>| {
            state.map_err(|error| unread(unit, &error).without_effect())
        };
        let unit = &watched.service;
        let service = read(unit, within(self.state(unit)).await)?;
        let mut sockets = Vec::new();
        for socket in &watched.sockets {
            let state = within(self.socket_state(socket)).await;
            sockets.push(read(&socket.unit, state)?);
        }
        Ok(Observed { service, sockets })
    }

    async fn perform(
        &mut self,
        action: &Action,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        match action {
            Action::Install(act) => self.install(act, tell).await,
            Action::StartUnit { unit } => self.job("StartUnit", unit, tell).await,
            Action::RestartUnit { unit } => self.job("RestartUnit", unit, tell).await,
            Action::CloseUntaken { unit } => self.close_untaken(unit, tell).await,
            Action::ConfirmInstance {
                unit,
                before,
                sockets,
            } => self.confirm(unit, before.as_ref(), sockets, tell).await,
            Action::AwaitReady {
                unit,
                reach,
                path,
                successes,
                interval,
            } => {
                let probe = Probe {
                    reach,
                    path,
                    successes: *successes,
                    interval: *interval,
                };
                self.await_ready(unit, probe, tell).await
            }
        }
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
