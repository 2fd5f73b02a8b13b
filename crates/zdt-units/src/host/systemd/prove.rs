//! The proof that another process serves in a unit.

use std::time::Duration;

use tokio::time::{Instant as Moment, sleep};

use super::{Systemd, unread};
use crate::event::EventKind;
use crate::host::check::{self, Check, Unwell};
use crate::host::{Failure, handover, journal_hint};
use crate::model::UnitName;
use crate::observe::{Active, Instance, UnitState, WatchedSocket};

/// Below the limit of the step, which knows less.
const GIVES_UP: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(50);

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

impl Systemd {
    /// The unit runs as another instance, and its sockets are open.
    pub(super) async fn confirm(
        &self,
        unit: &UnitName,
        before: Before<'_>,
        sockets: &[WatchedSocket],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let look = journal_hint(unit);
        let state = self.settled(unit).await?;
        if !state.status.is_empty() {
            tell(EventKind::Status {
                unit: unit.to_string(),
                text: state.status.clone(),
            });
        }
        if state.active != Active::Active {
            let failure = Failure::new(format!(
                "`{unit}` is {} ({}) with result `{}`",
                state.active, state.sub, state.result
            ));
            return Err(self.heard(failure.hint(look), unit, None).await);
        }
        let Some(now) = state.instance else {
            let failure = Failure::new(format!("`{unit}` has no main process"));
            return Err(self.heard(failure.hint(look), unit, None).await);
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

    /// A reload that is being given up ends soon; its process serves meanwhile.
    async fn settled(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        let end = Moment::now() + GIVES_UP;
        loop {
            let state = self.state(unit).await;
            let state = state.map_err(|error| unread(unit, &error))?;
            if state.active != Active::Reloading || Moment::now() >= end {
                return Ok(state);
            }
            sleep(SOON).await;
        }
    }

    pub(super) async fn check(
        &self,
        check: Check<'_>,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let unit = check.unit;
        let look = async || self.state(unit).await.map_err(|error| unread(unit, &error));
        match check::until_well(check, look, tell).await {
            Ok(()) => Ok(()),
            Err(Unwell { failure, instance }) => {
                Err(self.heard(failure, unit, instance.as_ref()).await)
            }
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
        match state.instance {
            Some(instance) => Ok(instance),
            None => Err(self.heard(check::not_running(&state), unit, None).await),
        }
    }
}
