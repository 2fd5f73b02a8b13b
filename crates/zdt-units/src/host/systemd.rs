//! systemd over D-Bus: the system bus, or the manager's own socket where there is no bus.
//!
//! On its own socket (`/run/systemd/private`, root only) the manager is the
//! peer: there is no bus daemon, so messages have no destination and signals
//! no sender. `systemctl` falls back to it in the same way.

mod install;
mod job;
mod overlap;
mod private;
mod unit;

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Message, OwnedObjectPath, OwnedVariant};

use super::ready::{Next, Streak};
use super::{Failure, Host, ask};
use crate::event::EventKind;
use crate::model::{Reach, UnitName};
use crate::observe::{Active, Instance, Observed, Watched, WatchedSocket};
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
        before: Before<'_>,
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
        let still = match before {
            Before::Nothing => None,
            Before::Restart(before) => (!now.replaces(before)).then_some("restart"),
            Before::Reload(before) => (now.pid == before.pid).then_some("reload"),
        };
        if let Some(what) = still {
            return Err(Failure::new(format!(
                "`{unit}` still runs process {} of before the {what}",
                now.pid
            ))
            .hint(look));
        }
        tell(EventKind::Replaced {
            unit: unit.to_string(),
            before: before.instance().cloned(),
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
        let mut streak = Streak::new(probe.successes, &instance, probe.before, url);
        let mut ticks = interval(probe.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut at_once = 1;
        loop {
            ticks.tick().await;
            let ask = || ask::get(probe.reach, probe.path);
            let answers = join_all((0..at_once).map(|_| ask())).await;
            match streak.take(answers, tell) {
                Next::Ready => break,
                Next::Wait => at_once = 1,
                Next::Crowded => {
                    at_once = CROWD;
                    ticks.reset_after(probe.interval.min(SOON));
                }
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

/// Several processes accept from one socket. Whoever is asked so often at a
/// time has to leave some of it to the others.
const CROWD: usize = 8;
const SOON: Duration = Duration::from_millis(20);

/// Whose place another process is to have taken.
#[derive(Clone, Copy)]
enum Before<'a> {
    Nothing,
    Restart(&'a Instance),
    /// Which leaves the invocation as it was.
    Reload(&'a Instance),
}

impl<'a> Before<'a> {
    fn instance(self) -> Option<&'a Instance> {
        match self {
            Self::Nothing => None,
            Self::Restart(before) | Self::Reload(before) => Some(before),
        }
    }
}

/// What to ask, and how often.
struct Probe<'a> {
    before: Option<&'a Instance>,
    reach: &'a Reach,
    path: &'a str,
    successes: u32,
    interval: Duration,
}

impl Host for Systemd {
    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure> {
        fn read<T>(unit: &UnitName, state: zbus::Result<T>) -> Result<T, Failure> {
            state.map_err(|error| unread(unit, &error).without_effect())
        }
        let unit = &watched.service;
        let service = read(unit, within(self.state(unit)).await)?;
        let mut beside = Vec::new();
        for unit in self.others(watched).await {
            beside.push(read(&unit, within(self.state(&unit)).await)?);
        }
        let newer = match watched.reloads && service.instance.is_some() {
            true => read(unit, within(self.newer(unit)).await)?,
            false => Vec::new(),
        };
        let mut sockets = Vec::new();
        for socket in &watched.sockets {
            let state = within(self.socket_state(socket)).await;
            sockets.push(read(&socket.unit, state)?);
        }
        Ok(Observed {
            service,
            beside,
            newer,
            sockets,
        })
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
            Action::RestartUnits { units } => self.restart_together(units, tell).await,
            Action::ReloadUnit { unit } => self.job("ReloadUnit", unit, tell).await,
            Action::StopUnits { units } => self.end(units, tell).await,
            Action::StayUp { units, time } => self.stay_up(units, *time).await,
            Action::ConfirmInstance {
                unit,
                before,
                sockets,
            } => {
                let before = before.as_ref().map_or(Before::Nothing, Before::Restart);
                self.confirm(unit, before, sockets, tell).await
            }
            Action::ConfirmReload {
                unit,
                before,
                sockets,
            } => {
                let before = Before::Reload(before);
                self.confirm(unit, before, sockets, tell).await
            }
            Action::AwaitReady {
                unit,
                before,
                reach,
                path,
                successes,
                interval,
            } => {
                let probe = Probe {
                    before: before.as_ref(),
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
