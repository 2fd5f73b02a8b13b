//! Decides what a restart will do. Pure: no I/O, no clock, no `async`.

mod act;
mod by_hand;
mod change;
mod companions;
mod foreign;
mod refuse;
mod release;
mod reload;
mod rolling;
mod rotation;
mod standby;
mod stop;
mod text;

use std::path::PathBuf;
use std::time::Duration;

pub use act::{Act, File, Link, SocketOption};
pub use by_hand::by_hand;
pub use foreign::plan_foreign;
pub use refuse::{Refusal, Refused};
pub use release::ReleaseAct;
use serde::{Deserialize, Serialize};
pub(crate) use text::headline;

use self::change::{Change, Undo};
use crate::model::{Health, Name, ReleaseName, Rotation, Service, Strategy, Task, UnitName};
use crate::observe::{Instance, Observed, UnitCopy, UnitState, Watched, WatchedSocket};

/// What was asked for, resolved against the model.
#[derive(Clone, Debug)]
pub struct Request<'m> {
    pub service: &'m Service,
    /// What is replaced together with it, in this order.
    pub companions: Vec<&'m Service>,
    pub operation: Operation,
    pub options: Options,
}

impl<'m> Request<'m> {
    pub fn restart(service: &'m Service) -> Self {
        Self {
            service,
            companions: Vec::new(),
            operation: Operation::Restart,
            options: Options::default(),
        }
    }
}

/// What was asked for beside that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Nothing is looked at before, and no migration is in the way.
    pub force: bool,
    pub skip_migrations: bool,
    /// The first new process is alone, and watched, before others are replaced.
    pub canary: bool,
    /// It is taken out of rotation although nobody else is up there.
    pub last: bool,
    /// Whoever is out of rotation was taken out by what broke off.
    pub put_back: bool,
}

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The release that is there, in new processes.
    Restart,
    Deploy {
        release: ReleaseName,
        from: PathBuf,
    },
    RollBack {
        release: ReleaseName,
    },
    /// Drains and ends what runs, and closes its sockets.
    Stop,
    /// What is described runs again.
    Start,
    /// The way back of a plan whose carrying-out broke off.
    Recover,
}

impl Operation {
    /// Its name in events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Deploy { .. } => "deploy",
            Self::RollBack { .. } => "roll_back",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Recover => "recover",
        }
    }

    /// The release that is to serve.
    pub fn release(&self) -> Option<&ReleaseName> {
        match self {
            Self::Deploy { release, .. } | Self::RollBack { release } => Some(release),
            Self::Restart | Self::Stop | Self::Start | Self::Recover => None,
        }
    }
}

/// Everything a restart may do.
///
/// `--dry-run` prints this value and `execute` consumes it; there is no other
/// description of a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub service: Name,
    pub operation: Operation,
    /// `None` for units of others.
    pub strategy: Option<Strategy>,
    /// Whose state is told when a person has to look.
    pub watched: Watched,
    /// What is not as the strategy alone would have it, and why; one sentence each.
    pub notes: Vec<String>,
    pub steps: Vec<Step>,
    /// Run in this order when a step marked [`OnFailure::RollBack`] fails.
    pub rollback: Vec<Step>,
}

/// One action, how long it may take, and what its failure means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub action: Action,
    pub limit: Duration,
    pub on_failure: OnFailure,
}

/// What a failed step means, once something may have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing has changed yet, so there is nothing to take back.
    Stop,
    RollBack,
    /// Less than everything: these steps take back what this one and its neighbours did, in this order.
    TakeBack(Vec<Step>),
    /// Who serves was proved before: it is told, and what follows is done all the same.
    GoOn,
    /// The same, and in the end a person has to look.
    LookAfter,
    /// Things have changed and there is no way back: a person has to look.
    LookNow,
}

/// The closed set of things the executor knows how to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    StartUnit {
        unit: UnitName,
    },
    RestartUnit {
        unit: UnitName,
    },
    /// All at the same time; those that do not run are started.
    RestartUnits {
        units: Vec<UnitName>,
    },
    ReloadUnit {
        unit: UnitName,
    },
    /// Gone, and not remembered as failed.
    StopUnits {
        units: Vec<UnitName>,
    },
    /// From now on clients can connect.
    OpenSockets {
        service: Name,
        sockets: Vec<UnitName>,
    },
    /// The units drain and end; then the sockets close, and with them every connection that waits in one. No connection
    /// starts a process meanwhile.
    CloseSockets {
        service: Name,
        units: Vec<UnitName>,
        sockets: Vec<UnitName>,
    },
    /// The unit runs as another instance than `before`, and its sockets are open.
    ConfirmInstance {
        unit: UnitName,
        before: Option<Instance>,
        sockets: Vec<WatchedSocket>,
    },
    /// The unit runs another process than `before`, and its sockets are open.
    ConfirmReload {
        unit: UnitName,
        before: Instance,
        sockets: Vec<WatchedSocket>,
    },
    /// Each unit goes on running the instance that it runs now, for so long.
    StayUp {
        units: Vec<UnitName>,
        time: Duration,
    },
    /// What `unit` runs now is well, so many times in a row.
    /// Answers of other processes on the same socket do not count at all.
    AwaitReady {
        unit: UnitName,
        /// What it took the place of: a reload leaves the invocation as it was.
        before: Option<Instance>,
        health: Health,
    },
    /// What `unit` runs is well, once; it is not waited for long.
    CheckHealth {
        unit: UnitName,
        health: Health,
    },
    /// Connections that the process of `unit` was handed and did not take are closed, or their clients would wait for
    /// as long as it lives.
    CloseUntaken {
        unit: UnitName,
    },
    /// Runs a unit that does one thing and ends; its failure is the step's.
    RunTask {
        unit: UnitName,
        task: Task,
    },
    /// New requests go elsewhere, and what is in flight ends.
    TakeOut {
        service: Name,
        rotation: Rotation,
        /// Also if nobody else is up.
        last: bool,
    },
    /// The balancer sends it requests again.
    PutBack {
        service: Name,
        rotation: Rotation,
    },
    /// Keeps the files of units with which a process is known to start, and none beside them.
    KeepUnits {
        place: PathBuf,
        files: Vec<UnitCopy>,
    },
    /// Puts kept files back, and removes what was added since.
    RestoreUnits {
        place: PathBuf,
        files: Vec<UnitCopy>,
        added: Vec<PathBuf>,
    },
    /// A step of an installation.
    Install(Act),
    /// A step of a deployment.
    Release(ReleaseAct),
}

/// Reading a few properties takes milliseconds; the manager may be busy.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

/// What `request` takes in the state `observed`.
pub fn plan(request: &Request<'_>, observed: &Observed) -> Result<Plan, Refused> {
    let service = request.service;
    refuse::check(request, observed)?;
    let whole = match request.operation {
        Operation::Stop => stop::stop(request, observed),
        Operation::Start => stop::start(request, observed),
        _ => replaced(request, observed),
    };
    let whole = rotation::around(request, observed, whole);
    let companions = request.companions.iter();
    Ok(Plan {
        service: service.name.clone(),
        operation: request.operation.clone(),
        strategy: Some(service.strategy),
        watched: Watched {
            companions: companions.map(|service| Watched::of(service)).collect(),
            ..Watched::of(service)
        },
        notes: whole.notes,
        steps: whole.steps,
        rollback: whole.rollback,
    })
}

/// What is done, and what takes it back.
struct Whole {
    notes: Vec<String>,
    steps: Vec<Step>,
    /// So many of them, and who serves is proved.
    proved: usize,
    rollback: Vec<Step>,
}

/// New processes, and what changes besides them.
fn replaced(request: &Request<'_>, observed: &Observed) -> Whole {
    let Change {
        before,
        undo,
        after,
        notes,
    } = Change::new(request, observed);
    let mut whole = companions::replace(request, observed, &undo);
    whole.proved += before.len();
    whole.steps.splice(0..0, before);
    whole.steps.extend(after);
    whole.notes.splice(0..0, notes);
    whole
}

/// How a strategy puts new processes in the place of old ones.
struct Replace {
    steps: Vec<Step>,
    notes: Vec<String>,
    /// Old processes in the place of new ones, once the next process that starts is an old one again.
    back: Vec<Step>,
}

/// New processes of the service alone.
fn replace(request: &Request<'_>, observed: &Observed, undo: &Undo) -> Replace {
    let service = request.service;
    match service.strategy {
        Strategy::Queue => queue(service, observed),
        Strategy::Standby => standby::replace(request, observed, undo),
        Strategy::Rolling { instances, pace } => {
            rolling::replace(request, instances, pace, observed, undo)
        }
        Strategy::Reload => reload::replace(service, observed, undo),
    }
}

/// Stop, then start; connections wait in the kernel meanwhile.
fn queue(service: &Service, observed: &Observed) -> Replace {
    let mut steps = vec![start_anew(service, &observed.service)];
    steps.extend(prove(service, observed.service.instance.as_ref()));
    let unit = &observed.service.unit;
    Replace {
        steps,
        notes: Vec::new(),
        back: start_old(service, unit),
    }
}

/// Whatever runs in `unit` gives way to the process that it was before.
fn start_old(service: &Service, unit: &UnitName) -> Vec<Step> {
    let mut steps = vec![restart(service, unit)];
    steps.extend(prove_unit(service, unit, None));
    steps
}

/// Starts what serves in the long run, where it does not run, and proves it.
pub(crate) fn start(service: &Service) -> Vec<Step> {
    let limit = service.start_timeout + CONFIRM_LIMIT;
    let units = service.instances().into_iter();
    let starts = units.map(|unit| step(limit, Action::StartUnit { unit }));
    starts.chain(prove(service, None)).collect()
}

/// Another process than `before` runs in each unit, its sockets are open, and it is ready.
pub(crate) fn prove(service: &Service, before: Option<&Instance>) -> Vec<Step> {
    let units = service.instances().into_iter();
    units
        .flat_map(|unit| prove_unit(service, &unit, before))
        .collect()
}

fn prove_unit(service: &Service, unit: &UnitName, before: Option<&Instance>) -> Vec<Step> {
    let confirm = Action::ConfirmInstance {
        unit: unit.clone(),
        before: before.cloned(),
        sockets: Watched::of(service).sockets,
    };
    let mut steps = vec![step(CONFIRM_LIMIT, confirm)];
    if service.handover {
        let unit = unit.clone();
        steps.push(step(CONFIRM_LIMIT, Action::CloseUntaken { unit }));
    }
    steps.extend(await_ready(service, unit, before));
    steps
}

fn await_ready(service: &Service, unit: &UnitName, before: Option<&Instance>) -> Option<Step> {
    let health = service.health.as_ref()?;
    let ready = Action::AwaitReady {
        unit: unit.clone(),
        before: before.cloned(),
        health: health.clone(),
    };
    Some(step(health.timeout, ready))
}

/// A new process in `state.unit`, whether one runs there or not. The manager
/// has the same limits and is to report first.
fn start_anew(service: &Service, state: &UnitState) -> Step {
    match state.is_stopped() {
        true => {
            let unit = state.unit.clone();
            let limit = service.start_timeout + CONFIRM_LIMIT;
            step(limit, Action::StartUnit { unit })
        }
        false => restart(service, &state.unit),
    }
}

fn restart(service: &Service, unit: &UnitName) -> Step {
    let limit = service.stop_timeout() + service.start_timeout + CONFIRM_LIMIT;
    step(limit, Action::RestartUnit { unit: unit.clone() })
}

fn stop(service: &Service, units: &[UnitName]) -> Step {
    let units = units.to_vec();
    step(
        service.stop_timeout() + CONFIRM_LIMIT,
        Action::StopUnits { units },
    )
}

/// The same steps; the failure of one is mended by `back`.
fn taken_back_by(
    back: &[Step],
    steps: impl IntoIterator<Item = Step>,
) -> impl Iterator<Item = Step> {
    steps.into_iter().map(|step| Step {
        on_failure: OnFailure::TakeBack(back.to_vec()),
        ..step
    })
}

/// A socket unit that is new, which systemd opens only while nothing runs in the unit that it starts.
fn new_socket(observed: &Observed) -> Option<&UnitName> {
    let mut sockets = observed.sockets.iter();
    let closed = sockets.find(|socket| socket.active != crate::observe::Active::Active)?;
    Some(&closed.unit)
}

fn step(limit: Duration, action: Action) -> Step {
    Step {
        action,
        limit,
        on_failure: OnFailure::LookNow,
    }
}

impl Action {
    /// Whether it may leave what serves, or will, other than it was.
    pub fn changes(&self) -> bool {
        match self {
            Self::StartUnit { .. }
            | Self::RestartUnit { .. }
            | Self::CloseUntaken { .. }
            | Self::RestartUnits { .. }
            | Self::ReloadUnit { .. }
            | Self::StopUnits { .. }
            | Self::OpenSockets { .. }
            | Self::CloseSockets { .. }
            | Self::RestoreUnits { .. }
            | Self::TakeOut { .. }
            | Self::PutBack { .. }
            | Self::Install(_) => true,
            Self::Release(act) => act.changes(),
            Self::RunTask { task, .. } => matches!(task, Task::Migrate | Task::MigrateDown),
            Self::ConfirmInstance { .. }
            | Self::ConfirmReload { .. }
            | Self::StayUp { .. }
            | Self::KeepUnits { .. }
            | Self::AwaitReady { .. }
            | Self::CheckHealth { .. } => false,
        }
    }

    /// What a host may take after the limit to say why it was not kept: it waits until then by itself, and knows more.
    pub fn time_to_tell(&self) -> Duration {
        match self {
            Self::AwaitReady { .. } | Self::CheckHealth { .. } => Duration::from_secs(3),
            _ => Duration::ZERO,
        }
    }

    /// Its name in events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StartUnit { .. } => "start_unit",
            Self::RestartUnit { .. } => "restart_unit",
            Self::RestartUnits { .. } => "restart_units",
            Self::ReloadUnit { .. } => "reload_unit",
            Self::StopUnits { .. } => "stop_units",
            Self::OpenSockets { .. } => "open_sockets",
            Self::CloseSockets { .. } => "close_sockets",
            Self::ConfirmInstance { .. } => "confirm_instance",
            Self::ConfirmReload { .. } => "confirm_reload",
            Self::StayUp { .. } => "stay_up",
            Self::TakeOut { .. } => "take_out",
            Self::PutBack { .. } => "put_back_in",
            Self::AwaitReady { .. } => "await_ready",
            Self::CheckHealth { .. } => "check_health",
            Self::CloseUntaken { .. } => "close_untaken",
            Self::RunTask { .. } => "run_task",
            Self::KeepUnits { .. } => "keep_units",
            Self::RestoreUnits { .. } => "restore_units",
            Self::Install(act) => act.kind(),
            Self::Release(act) => act.kind(),
        }
    }
}

#[cfg(test)]
mod tests;
