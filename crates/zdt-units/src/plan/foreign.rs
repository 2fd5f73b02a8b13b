//! Units of others: restarted as their makers meant it, in their turn.

use std::time::Duration;

use super::{Action, CONFIRM_LIMIT, Operation, Plan, Refused, Step, refuse, step};
use crate::model::Foreign;
use crate::observe::{Observed, Watched};

/// Nobody says how long the restart of a database takes; its unit has limits of its own.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// What a restart of `foreign` takes in the state `observed`.
pub fn plan_foreign(foreign: &Foreign, observed: &Observed) -> Result<Plan, Refused> {
    refuse::check_units(observed)?;
    let unit = foreign.unit.clone();
    let restart = match observed.service.is_stopped() {
        true => Action::StartUnit { unit },
        false => Action::RestartUnit { unit },
    };
    let mut steps: Vec<Step> = vec![step(LIMIT, restart)];
    // A unit that only holds others together has no process.
    if let Some(before) = &observed.service.instance {
        let confirm = Action::ConfirmInstance {
            unit: foreign.unit.clone(),
            before: Some(before.clone()),
            sockets: Vec::new(),
        };
        steps.push(step(CONFIRM_LIMIT, confirm));
    }
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
