//! The proof that another process serves in a unit.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Systemd, unread};
use crate::event::EventKind;
use crate::host::ready::{Next, Streak};
use crate::host::{Failure, ask, handover};
use crate::model::{Reach, UnitName};
use crate::observe::{Active, Instance, WatchedSocket};

/// Several processes accept from one socket. Who asks several times, a little
/// apart, gives each of them its chance: of those who ask at the same moment
/// one process takes all.
const CROWD: u32 = 8;
const APART: Duration = Duration::from_millis(2);

/// Whose place another process is to have taken.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
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
pub(super) struct Probe<'a> {
    pub(super) before: Option<&'a Instance>,
    pub(super) reach: &'a Reach,
    pub(super) path: &'a str,
    pub(super) successes: u32,
    pub(super) interval: Duration,
}

impl Systemd {
    /// The unit runs as another instance, and its sockets are open.
    pub(super) async fn confirm(
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

    pub(super) async fn await_ready(
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
            let ask = async |turn| {
                sleep(APART * turn).await;
                ask::get(probe.reach, probe.path).await
            };
            match streak.take(join_all((0..at_once).map(ask)).await, tell) {
                Next::Ready => break,
                Next::Wait => {}
                Next::Crowded => {
                    at_once = CROWD;
                    ticks.reset_after(probe.interval.min(APART));
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

    pub(super) async fn close_untaken(
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

    pub(super) async fn running(&self, unit: &UnitName) -> Result<Instance, Failure> {
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
