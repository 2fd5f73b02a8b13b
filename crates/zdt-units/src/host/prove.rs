//! The proof that another process serves in a unit, whichever manager it belongs to.

use std::time::Duration;

use tokio::time::{Instant as Moment, sleep, sleep_until};

use super::check::{self, Check, Patience, Unwell};
use super::{Failure, ask};
use crate::event::EventKind;
use crate::model::UnitName;
use crate::observe::{Active, Instance, UnitState, WatchedSocket};
use crate::plan::Action;
use crate::tool::Tool;

/// What a proof asks of a manager.
pub(super) trait Manager {
    /// What a person asks it with.
    const TOOL: Tool;

    async fn state_of(&self, unit: &UnitName) -> Result<UnitState, Failure>;

    /// `failure`, with what `unit` said last in the run that `instance` is, or else in its latest one.
    async fn heard(
        &self,
        failure: Failure,
        unit: &UnitName,
        instance: Option<&Instance>,
    ) -> Failure;
}

/// How often a process that has to stay up is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Below the limit of the step, which knows less.
const GIVES_UP: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(50);

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

/// Carries out an action that only looks.
pub(super) async fn perform<M: Manager>(
    manager: &M,
    action: &Action,
    tell: &mut dyn FnMut(EventKind),
) -> Result<(), Failure> {
    match action {
        Action::StayUp { units, time } => stay_up(manager, units, *time).await,
        Action::ConfirmInstance {
            unit,
            before,
            sockets,
        } => {
            let before = before.as_ref().map_or(Before::Nothing, Before::Restart);
            confirm(manager, unit, before, sockets, tell).await
        }
        Action::ConfirmReload {
            unit,
            before,
            sockets,
        } => confirm(manager, unit, Before::Reload(before), sockets, tell).await,
        Action::AwaitReady {
            unit,
            before,
            health,
        } => {
            let before = before.as_ref();
            let patience = Patience::Starting { before };
            let check = Check {
                unit,
                health,
                patience,
            };
            self::check(manager, check, tell).await
        }
        Action::CheckHealth { unit, health } => {
            let check = Check {
                unit,
                health,
                patience: Patience::Running,
            };
            self::check(manager, check, tell).await
        }
        _ => unreachable!("what changes something is the host's own"),
    }
}

/// The unit runs as another instance, and its sockets are open.
async fn confirm<M: Manager>(
    manager: &M,
    unit: &UnitName,
    before: Before<'_>,
    sockets: &[WatchedSocket],
    tell: &mut dyn FnMut(EventKind),
) -> Result<(), Failure> {
    let (look, command) = (M::TOOL.see(unit), M::TOOL.command());
    let state = settled(manager, unit).await?;
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
        return Err(manager.heard(failure.hint(look), unit, None).await);
    }
    let Some(now) = state.instance else {
        let failure = Failure::new(format!("`{unit}` has no main process"));
        return Err(manager.heard(failure.hint(look), unit, None).await);
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
        let state = socket_state(manager, socket).await?;
        let socket = &socket.unit;
        if state.active == Active::Active && !state.is_open() {
            return Err(Failure::new(format!(
                "`{socket}` is active, but connections to `{}` are refused",
                state.refused[0]
            ))
            .hint(format!("`{command} restart {socket}` opens it again")));
        }
        if state.active != Active::Active {
            return Err(Failure::new(format!(
                "`{socket}` is {} with result `{}`",
                state.active, state.result
            ))
            .hint(format!(
                "`{}` opens it again",
                M::TOOL.start_over(&[socket, unit], unit)
            )));
        }
    }
    Ok(())
}

/// A reload that is being given up ends soon; its process serves meanwhile.
async fn settled(manager: &impl Manager, unit: &UnitName) -> Result<UnitState, Failure> {
    let end = Moment::now() + GIVES_UP;
    loop {
        let state = manager.state_of(unit).await?;
        if state.active != Active::Reloading || Moment::now() >= end {
            return Ok(state);
        }
        sleep(SOON).await;
    }
}

async fn check<M: Manager>(
    manager: &M,
    check: Check<'_>,
    tell: &mut dyn FnMut(EventKind),
) -> Result<(), Failure> {
    let unit = check.unit;
    match check::until_well(check, M::TOOL, async || manager.state_of(unit).await, tell).await {
        Ok(()) => Ok(()),
        Err(Unwell { failure, instance }) => {
            Err(manager.heard(failure, unit, instance.as_ref()).await)
        }
    }
}

pub(super) async fn running<M: Manager>(manager: &M, unit: &UnitName) -> Result<Instance, Failure> {
    let state = manager.state_of(unit).await?;
    match state.instance {
        Some(instance) => Ok(instance),
        None => Err(manager
            .heard(check::not_running(&state, M::TOOL), unit, None)
            .await),
    }
}

async fn stay_up<M: Manager>(
    manager: &M,
    units: &[UnitName],
    time: Duration,
) -> Result<(), Failure> {
    let end = Moment::now() + time;
    let mut instances = Vec::new();
    for unit in units {
        instances.push(running(manager, unit).await?);
    }
    loop {
        let last = Moment::now() + LOOK >= end;
        sleep_until(end.min(Moment::now() + LOOK)).await;
        for (unit, instance) in units.iter().zip(&instances) {
            let now = running(manager, unit).await?;
            if now != *instance {
                let failure = Failure::new(format!(
                    "process {} of `{unit}` did not stay up; now it is {}",
                    instance.pid, now.pid
                ));
                let failure = failure.hint(M::TOOL.see(unit));
                return Err(manager.heard(failure, unit, Some(instance)).await);
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// The state of a socket, and where it refuses connections although it should not.
pub(super) async fn socket_state(
    manager: &impl Manager,
    socket: &WatchedSocket,
) -> Result<UnitState, Failure> {
    let state = manager.state_of(&socket.unit).await?;
    Ok(with_refused(state, socket).await)
}

/// `state` of `socket`, with the addresses at which the kernel refuses connections.
pub(super) async fn with_refused(mut state: UnitState, socket: &WatchedSocket) -> UnitState {
    if state.active == Active::Active {
        for reach in &socket.reach {
            if ask::is_refused(reach).await {
                state.refused.push(reach.clone());
            }
        }
    }
    state
}

/// 3 for `shop@3.service`.
pub(super) fn number(unit: &UnitName) -> Option<u32> {
    let (_, instance) = unit.as_str().strip_suffix(".service")?.split_once('@')?;
    instance.parse().ok()
}
