//! Units of others: restarted as their makers meant it, in their turn.

use std::time::Duration;

use super::change::check_health;
use super::{Action, CONFIRM_LIMIT, OnFailure, Operation, Plan, Refused, Step, refuse, step};
use crate::model::Foreign;
use crate::observe::{Active, Observed, Watched};

/// Nobody says how long the restart of a database takes; its unit has limits of its own.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// What a restart of `foreign` takes in the state `observed`; with `force` it is not looked at before.
pub fn plan_foreign(foreign: &Foreign, force: bool, observed: &Observed) -> Result<Plan, Refused> {
    refuse::check_units(observed)?;
    let unit = foreign.unit.clone();
    let restart = match observed.service.is_stopped() {
        true => Action::StartUnit { unit },
        false => Action::RestartUnit { unit },
    };
    let runs = observed.service.active == Active::Active;
    let health = foreign.health.as_ref();
    let well = health.filter(|_| runs && !force);
    let well = well.map(|health| Step {
        on_failure: OnFailure::Stop,
        ..check_health(&foreign.unit, health)
    });
    let mut steps: Vec<Step> = well.into_iter().collect();
    steps.push(step(LIMIT, restart));
    // A unit that only holds others together has no process.
    if let Some(before) = &observed.service.instance {
        let confirm = Action::ConfirmInstance {
            unit: foreign.unit.clone(),
            before: Some(before.clone()),
            sockets: Vec::new(),
        };
        steps.push(step(CONFIRM_LIMIT, confirm));
    }
    steps.extend(health.map(|health| {
        let ready = Action::AwaitReady {
            unit: foreign.unit.clone(),
            before: observed.service.instance.clone(),
            health: health.clone(),
        };
        step(health.timeout, ready)
    }));
    Ok(Plan {
        service: foreign.name.clone(),
        operation: Operation::Restart,
        strategy: None,
        watched: Watched::foreign(foreign),
        notes: vec![format!(
            "`{}` is not ours: whether its clients wait or fail meanwhile is theirs to know",
            foreign.unit
        )],
        steps,
        rollback: Vec::new(),
    })
}
