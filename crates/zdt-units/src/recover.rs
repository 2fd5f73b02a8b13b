//! Decides what becomes of an operation that broke off: by `kill -9`, or a power cut. Pure.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::model::{Service, Task};
use crate::observe::{Instance, Observed, UnitState};
use crate::plan::{
    Action, OnFailure, Operation, Options, Plan, Refused, ReleaseAct, Request, Step, plan,
};
use crate::release::ReleaseLink;
use crate::stamp;
use crate::tool::Tool;

/// An operation under way, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The version of the format.
    pub v: u32,
    pub restart_id: String,
    #[serde(with = "stamp")]
    pub since: SystemTime,
    pub reached: Reached,
    pub plan: Plan,
}

/// How far a plan was carried out. Steps are counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The last step that was begun; 0 for none.
    pub step: usize,
    /// The same of the way back.
    pub back: usize,
    /// Nothing was left to do but to say so.
    pub done: bool,
}

/// What is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayBack {
    Nothing(Settled),
    Steps(Vec<Step>),
    /// None: a restart puts the service into a state that is known.
    Anew,
}

/// Why there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Untouched,
    Finished,
    /// What was done counts, and there is nothing to take back.
    Enough,
}

/// What takes back, or ends, what broke off.
pub fn way_back(left: &Unfinished) -> WayBack {
    let steps = &left.plan.steps;
    if left.reached.done {
        return WayBack::Nothing(Settled::Finished);
    }
    let begun = &steps[..left.reached.step.min(steps.len())];
    if !begun.iter().any(|step| step.action.changes()) {
        return WayBack::Nothing(Settled::Untouched);
    }
    let rest = &steps[begun.len() - 1..];
    if let [migrate, after @ ..] = rest
        && runs(migrate, Task::Migrate)
        && let WayBack::Steps(back) = from(&left.plan, after)
        && back.iter().any(|step| runs(step, Task::MigrateDown))
    {
        // Whether it changed data, or still does, is only known when it has come to its end.
        let ended = Step {
            on_failure: migrate.on_failure.clone(),
            ..again(migrate)
        };
        return WayBack::Steps(std::iter::once(ended).chain(back).collect());
    }
    from(&left.plan, rest)
}

/// The same, with `running` as the process of the service. After a boot it is of the release that was not proved,
/// if the link led there: then all of it is taken back, and not only what stood beside.
pub fn way_back_from(left: &Unfinished, running: Option<&Instance>) -> WayBack {
    let plan = &left.plan;
    let begun = &plan.steps[..left.reached.step.min(plan.steps.len())];
    let switches = |step: &Step| match &step.action {
        Action::Release(ReleaseAct::Point { link, .. }) => *link == ReleaseLink::Current,
        _ => false,
    };
    let beside = matches!(
        begun.last().map(|step| &step.on_failure),
        Some(OnFailure::TakeBack(_))
    );
    let is_old = plan.steps.iter().any(|step| match &step.action {
        Action::ConfirmInstance { unit, before, .. } => {
            *unit == plan.watched.service && before.is_some() && before.as_ref() == running
        }
        _ => false,
    });
    let is_new = beside && !is_old && begun.iter().any(switches);
    match way_back(left) {
        WayBack::Steps(_) if is_new && !plan.rollback.is_empty() => {
            WayBack::Steps(plan.rollback.iter().map(again).collect())
        }
        way_back => way_back,
    }
}

/// The way back of a plan of which `rest` was not done, or not known to be.
fn from(plan: &Plan, rest: &[Step]) -> WayBack {
    // Nothing else can become of these than what they were begun for.
    let forward_only = matches!(
        plan.operation,
        Operation::RollBack { .. } | Operation::Stop | Operation::Start
    );
    let is_proof =
        |step: &&Step| !matches!(step.on_failure, OnFailure::GoOn | OnFailure::LookAfter);
    let back = match rest.iter().find(is_proof) {
        // It had proved itself, and what was left comes after that.
        None => rest,
        Some(step) if runs(step, Task::MigrateDown) => rest,
        Some(step) => match &step.on_failure {
            OnFailure::Stop => return WayBack::Nothing(Settled::Untouched),
            OnFailure::LookNow if forward_only => rest,
            OnFailure::LookNow | OnFailure::GoOn | OnFailure::LookAfter => return WayBack::Anew,
            OnFailure::RollBack => &plan.rollback,
            OnFailure::TakeBack(steps) => steps,
        },
    };
    match back.is_empty() {
        true => WayBack::Nothing(Settled::Enough),
        // From its beginning: how far one of its steps came is not known.
        false => WayBack::Steps(back.iter().map(again).collect()),
    }
}

fn runs(step: &Step, wanted: Task) -> bool {
    matches!(&step.action, Action::RunTask { task, .. } if *task == wanted)
}

/// A step as it can be done a second time, by processes that nobody knew when it was planned.
fn again(step: &Step) -> Step {
    let mut action = step.action.clone();
    match &mut action {
        Action::ConfirmInstance { before, .. } | Action::AwaitReady { before, .. } => {
            *before = None;
        }
        _ => {}
    }
    Step {
        action,
        limit: step.limit,
        on_failure: match step.on_failure {
            OnFailure::GoOn => OnFailure::GoOn,
            OnFailure::LookAfter => OnFailure::LookAfter,
            _ => OnFailure::LookNow,
        },
    }
}

/// The steps of `back`, as a plan like any other.
pub fn plan_back(left: &Unfinished, back: Vec<Step>) -> Plan {
    Plan {
        operation: Operation::Recover,
        notes: vec![broke_off(left)],
        steps: back,
        rollback: Vec::new(),
        ..left.plan.clone()
    }
}

/// A restart of the service as it is now.
pub fn plan_anew(
    left: &Unfinished,
    service: &Service,
    companions: Vec<&Service>,
    observed: &Observed,
) -> Result<Plan, Refused> {
    // It need not be well before, and what it lacks may be what broke off.
    let request = Request {
        options: Options {
            force: true,
            last: true,
            put_back: left.plan.steps[..left.reached.step.min(left.plan.steps.len())]
                .iter()
                .any(|step| matches!(step.action, Action::TakeOut { .. })),
            ..Options::default()
        },
        companions,
        ..Request::restart(service)
    };
    let mut plan = plan(&request, observed)?;
    plan.operation = Operation::Recover;
    plan.notes.insert(0, broke_off(left));
    Ok(plan)
}

/// `the restart 5f0c of 2026-…Z broke off at step 2: restart `shop.service``
pub fn broke_off(left: &Unfinished) -> String {
    let what = match &left.plan.operation {
        Operation::Restart => "the restart",
        Operation::Deploy { .. } => "the deployment",
        Operation::RollBack { .. } => "the way back to another release",
        Operation::Stop => "the stop",
        Operation::Start => "the start",
        Operation::Recover => "the recovery",
    };
    let since = stamp::text(left.since);
    let id = &left.restart_id;
    let step = left.reached.step.checked_sub(1);
    let begun = step.and_then(|index| left.plan.steps.get(index));
    let place = match begun {
        None => "before its first step".to_owned(),
        Some(_) if left.reached.done => "after its last step".to_owned(),
        Some(step) => format!("at step {}: {}", left.reached.step, step.action),
    };
    format!("{what} {id} of {since} broke off {place}")
}

/// Whether `operation` may begin with `left` in the way: there is nothing to take back, or it is a restart and
/// what broke off left nothing but processes, which are looked at anyway.
pub fn admits(left: &Unfinished, operation: &Operation) -> bool {
    if matches!(way_back(left), WayBack::Nothing(_)) {
        return true;
    }
    let plan = &left.plan;
    let step = plan.steps.get(left.reached.step.wrapping_sub(1));
    let back: &[Step] = match step.map(|step| &step.on_failure) {
        Some(OnFailure::TakeBack(steps)) => steps,
        Some(OnFailure::RollBack) => &plan.rollback,
        Some(OnFailure::Stop | OnFailure::LookNow | OnFailure::GoOn | OnFailure::LookAfter)
        | None => &[],
    };
    let begun = plan.steps.iter().take(left.reached.step);
    let mut begun = begun.chain(back.iter().take(left.reached.back));
    let nothing_lasts = !begun.any(|step| lasts(&step.action));
    *operation == Operation::Restart && nothing_lasts
}

/// Whether it changes what the next process finds: units, releases, data.
fn lasts(action: &Action) -> bool {
    match action {
        Action::Install(_)
        | Action::RestoreUnits { .. }
        | Action::TakeOut { .. }
        | Action::PutBack { .. } => true,
        Action::Release(act) => matches!(act, ReleaseAct::Point { .. } | ReleaseAct::Mark { .. }),
        Action::RunTask { task, .. } => matches!(task, Task::Migrate | Task::MigrateDown),
        _ => false,
    }
}

/// What is not as it should be while nothing is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Off {
    pub what: String,
    pub command: String,
}

/// What is off about a service of which nothing broke off.
pub fn off(service: &Service, observed: &Observed, tool: Tool) -> Vec<Off> {
    let mut off: Vec<Off> = match plan(&Request::restart(service), observed) {
        Ok(_) => Vec::new(),
        Err(refused) => refused
            .reasons
            .iter()
            .map(|refusal| Off {
                what: refusal.message(tool),
                command: refusal.hint_for(tool),
            })
            .collect(),
    };
    let wanted = service.instances();
    let states = || std::iter::once(&observed.service).chain(&observed.beside);
    let beyond = states().filter(|state| !wanted.contains(&state.unit) && !state.is_stopped());
    off.extend(beyond.map(|state| Off {
        what: format!("`{}` runs, and nothing is under way", state.unit),
        command: format!(
            "replace all of it with `zdt-units restart {}`",
            service.name
        ),
    }));
    let down = |state: &&UnitState| wanted.contains(&state.unit) && state.is_stopped();
    off.extend(states().filter(down).map(|state| Off {
        what: format!("`{}` is {} ({})", state.unit, state.active, state.sub),
        command: format!("start it with `{} start {}`", tool.command(), state.unit),
    }));
    off
}

#[cfg(test)]
mod tests;
