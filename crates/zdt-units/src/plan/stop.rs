//! A service that is stopped, with its sockets, and one that is started again.

use super::{Action, CONFIRM_LIMIT, Request, Step, Whole, prove, step};
use crate::config::list;
use crate::model::{Service, UnitName};
use crate::observe::{Active, Observed, UnitState};

/// The one that serves goes first: what is left to do for the others then ends too. Those that drain early drain
/// meanwhile.
pub(super) fn stop(request: &Request<'_>, observed: &Observed) -> Whole {
    let (mut with_head, mut after): (Vec<_>, Vec<_>) = request
        .companions
        .iter()
        .copied()
        .zip(&observed.companions)
        .partition(|(service, _)| service.companion.as_ref().is_some_and(|it| it.drain_early));
    let mut steps = Vec::new();
    let early: Vec<UnitName> = with_head
        .iter()
        .flat_map(|(_, seen)| running(seen))
        .collect();
    let limits = with_head.iter().map(|(service, _)| service.stop_timeout());
    let limit = limits
        .chain([request.service.stop_timeout()])
        .max()
        .unwrap_or_default();
    let units = [running(observed), early].concat();
    steps.extend(ended(request.service, limit, units, observed));
    // Only what is left of them: a socket on which their health is asked for.
    with_head.reverse();
    steps.extend(
        with_head
            .into_iter()
            .filter_map(|(service, seen)| ended(service, service.stop_timeout(), Vec::new(), seen)),
    );
    after.reverse();
    steps.extend(
        after.into_iter().filter_map(|(service, seen)| {
            ended(service, service.stop_timeout(), running(seen), seen)
        }),
    );
    let notes = match steps.is_empty() {
        true => vec!["it is stopped already".to_owned()],
        false => with(request),
    };
    Whole {
        notes,
        proved: steps.len(),
        steps,
        rollback: Vec::new(),
    }
}

fn ended(
    service: &Service,
    limit: std::time::Duration,
    units: Vec<UnitName>,
    seen: &Observed,
) -> Option<Step> {
    let open = seen.sockets.iter().filter(|socket| !socket.is_stopped());
    let sockets: Vec<UnitName> = open.map(|socket| socket.unit.clone()).collect();
    let action = match (units.is_empty(), sockets.is_empty()) {
        (true, true) => return None,
        (false, true) => Action::StopUnits { units },
        (_, false) => Action::CloseSockets {
            service: service.name.clone(),
            units,
            sockets,
        },
    };
    Some(step(limit + CONFIRM_LIMIT, action))
}

fn running(seen: &Observed) -> Vec<UnitName> {
    let states = std::iter::once(&seen.service).chain(&seen.beside);
    let running = states.filter(|state| !state.is_stopped());
    running.map(|state| state.unit.clone()).collect()
}

/// What does not run is started and proved, in the order in which it is replaced.
pub(super) fn start(request: &Request<'_>, observed: &Observed) -> Whole {
    let mut steps = started(request.service, observed);
    for (service, seen) in request.companions.iter().zip(&observed.companions) {
        steps.extend(started(service, seen));
    }
    let notes = match steps.is_empty() {
        true => vec!["it runs already".to_owned()],
        false => with(request),
    };
    Whole {
        notes,
        proved: steps.len(),
        steps,
        rollback: Vec::new(),
    }
}

fn started(service: &Service, seen: &Observed) -> Vec<Step> {
    let closed = seen
        .sockets
        .iter()
        .filter(|socket| socket.active != Active::Active);
    let sockets: Vec<UnitName> = closed.map(|socket| socket.unit.clone()).collect();
    let states = || std::iter::once(&seen.service).chain(&seen.beside);
    let serves =
        |unit: &UnitName| states().any(|state| state.unit == *unit && UnitState::serves(state));
    let missing: Vec<UnitName> = service
        .instances()
        .into_iter()
        .filter(|unit| !serves(unit))
        .collect();
    if sockets.is_empty() && missing.is_empty() {
        return Vec::new();
    }
    let limit = service.start_timeout + CONFIRM_LIMIT;
    let open = (!sockets.is_empty()).then(|| Action::OpenSockets {
        service: service.name.clone(),
        sockets,
    });
    let open = open.map(|open| step(CONFIRM_LIMIT, open));
    let start = missing
        .into_iter()
        .map(|unit| step(limit, Action::StartUnit { unit }));
    open.into_iter()
        .chain(start)
        .chain(prove(service, None))
        .collect()
}

fn with(request: &Request<'_>) -> Vec<String> {
    let names: Vec<&str> = request
        .companions
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    match names.is_empty() {
        true => Vec::new(),
        false => vec![format!("with `{}`: {}", request.service.name, list(&names))],
    }
}
