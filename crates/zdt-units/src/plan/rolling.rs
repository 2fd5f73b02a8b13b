//! Several equal processes on the same sockets, replaced some at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{
    Action, CONFIRM_LIMIT, Step, await_ready, new_socket, prove_unit, start_anew, step, stop,
    taken_back_by,
};
use crate::config::list;
use crate::model::{Pace, Service, UnitName};
use crate::observe::{Observed, UnitState};

pub(super) fn steps(
    service: &Service,
    instances: u32,
    pace: Pace,
    observed: &Observed,
) -> (Vec<Step>, Vec<String>) {
    let wanted = service.instances();
    let mut notes = Vec::new();
    let extra: Vec<&UnitState> = observed
        .beside
        .iter()
        .filter(|state| !wanted.contains(&state.unit) && !state.is_stopped())
        .collect();
    if !extra.is_empty() {
        let units: Vec<&str> = extra.iter().map(|state| state.unit.as_str()).collect();
        let are = if units.len() == 1 { "is" } else { "are" };
        notes.push(format!(
            "{} {are} beyond `instances = {instances}` and {are} stopped in the end",
            list(&units)
        ));
    }

    let mut order: Vec<&UnitState> = states(observed)
        .filter(|state| wanted.contains(&state.unit))
        .collect();
    let mut surge: Vec<UnitName> = Vec::new();
    match new_socket(observed) {
        Some(socket) => notes.push(format!(
            "`{socket}` is new and is opened only while `{}` is stopped, so that one comes first",
            wanted[0]
        )),
        None => {
            // Nobody misses one that does not serve.
            order.sort_by_key(|state| state.serves());
            let above = instances + 1..=instances + pace.surge;
            surge.extend(above.map(|number| UnitName::instance(&service.name, number)));
        }
    }

    let stopped = |unit: &UnitName| UnitState::stopped(unit.clone());
    let surging: Vec<UnitState> = surge
        .iter()
        .map(|unit| {
            let seen = extra.iter().find(|state| state.unit == *unit);
            seen.map_or_else(|| stopped(unit), |state| (*state).clone())
        })
        .collect();
    let mut batches: Vec<Vec<&UnitState>> = Vec::new();
    for mut group in [surging.iter().collect(), order] {
        if pace.canary && batches.is_empty() && !group.is_empty() {
            batches.push(vec![group.remove(0)]);
        }
        let size = usize::try_from(pace.batch.max(1)).unwrap_or(usize::MAX);
        batches.extend(group.chunks(size).map(<[_]>::to_vec));
    }

    let mut serving: BTreeSet<&str> = states(observed)
        .filter(|state| state.serves())
        .map(|state| state.unit.as_str())
        .collect();
    let mut steps = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let is_last = index + 1 == batches.len();
        let time = match (index, is_last) {
            (0, _) if pace.canary => service.bake.max(pace.pause),
            (_, true) => Duration::ZERO,
            _ => pace.pause,
        };
        let units: Vec<UnitName> = batch.iter().map(|state| state.unit.clone()).collect();
        let mut replaced = replace(service, batch);
        if !time.is_zero() {
            let units = units.clone();
            replaced.push(step(time + CONFIRM_LIMIT, Action::StayUp { units, time }));
        }
        if pace.canary && index == 0 {
            replaced.extend(await_ready(service, &units[0], batch[0].instance.as_ref()));
        }
        let alone = serving
            .iter()
            .all(|unit| batch.iter().any(|state| state.unit.as_str() == *unit));
        match alone {
            // A release that may come up yet is better than nobody.
            true => steps.extend(replaced),
            false => steps.extend(taken_back_by(&[stop(service, &units)], replaced)),
        }
        serving.extend(batch.iter().map(|state| state.unit.as_str()));
    }

    let mut gone: Vec<UnitName> = extra.iter().map(|state| state.unit.clone()).collect();
    gone.extend(surge);
    gone.sort();
    gone.dedup();
    if !gone.is_empty() {
        steps.push(stop(service, &gone));
    }
    (steps, notes)
}

fn states(observed: &Observed) -> impl Iterator<Item = &UnitState> {
    std::iter::once(&observed.service).chain(&observed.beside)
}

/// New processes in all units of a batch, and the proof of each.
fn replace(service: &Service, batch: &[&UnitState]) -> Vec<Step> {
    let mut steps = match batch {
        [one] => vec![start_anew(service, one)],
        several => vec![step(
            service.stop_timeout() + service.start_timeout + CONFIRM_LIMIT,
            Action::RestartUnits {
                units: several.iter().map(|state| state.unit.clone()).collect(),
            },
        )],
    };
    for state in batch {
        steps.extend(prove_unit(service, &state.unit, state.instance.as_ref()));
    }
    steps
}
