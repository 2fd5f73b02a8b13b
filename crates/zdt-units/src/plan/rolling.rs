//! Several equal processes on the same sockets, replaced some at a time.

use std::collections::BTreeSet;

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
    let states = || std::iter::once(&observed.service).chain(&observed.beside);
    let (mut order, mut beyond): (Vec<&UnitState>, Vec<&UnitState>) =
        states().partition(|state| wanted.contains(&state.unit));
    beyond.retain(|state| !state.is_stopped());

    let mut notes = Vec::new();
    if !beyond.is_empty() {
        let units: Vec<&str> = beyond.iter().map(|state| state.unit.as_str()).collect();
        let are = if units.len() == 1 { "is" } else { "are" };
        notes.push(format!(
            "{} {are} beyond `instances = {instances}` and {are} stopped in the end",
            list(&units)
        ));
    }
    let mut surge: Vec<UnitState> = Vec::new();
    match new_socket(observed) {
        Some(socket) => notes.push(format!(
            "`{socket}` is new and is opened only while `{}` is stopped, so that one comes first",
            wanted[0]
        )),
        None => {
            // Nobody misses one that does not serve.
            order.sort_by_key(|state| state.serves());
            let above = instances + 1..=instances + pace.surge;
            surge.extend(above.map(|number| {
                let unit = UnitName::instance(&service.name, number);
                let left_over = beyond.iter().find(|state| state.unit == unit);
                left_over.map_or_else(|| UnitState::stopped(unit), |state| (*state).clone())
            }));
        }
    }

    let serving = states().filter(|state| state.serves());
    let serving = serving.map(|state| state.unit.as_str()).collect();
    let batches = batches(pace, surge.iter().collect(), order);
    let mut steps = replace_all(service, pace, &batches, serving);

    let gone: BTreeSet<UnitName> = beyond
        .into_iter()
        .chain(&surge)
        .map(|state| state.unit.clone())
        .collect();
    if !gone.is_empty() {
        steps.push(stop(service, &Vec::from_iter(gone)));
    }
    (steps, notes)
}

/// What is replaced at a time: never a surge together with those that it stands in for.
fn batches<'a>(
    pace: Pace,
    surge: Vec<&'a UnitState>,
    order: Vec<&'a UnitState>,
) -> Vec<Vec<&'a UnitState>> {
    let size = usize::try_from(pace.batch.max(1)).unwrap_or(usize::MAX);
    let mut batches: Vec<Vec<&UnitState>> = Vec::new();
    for mut group in [surge, order] {
        if pace.canary && batches.is_empty() && !group.is_empty() {
            batches.push(vec![group.remove(0)]);
        }
        batches.extend(group.chunks(size).map(<[_]>::to_vec));
    }
    batches
}

fn replace_all<'a>(
    service: &Service,
    pace: Pace,
    batches: &[Vec<&'a UnitState>],
    mut serving: BTreeSet<&'a str>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let units: Vec<UnitName> = batch.iter().map(|state| state.unit.clone()).collect();
        let stay_up = |time| {
            let units = units.clone();
            step(time + CONFIRM_LIMIT, Action::StayUp { units, time })
        };
        let mut replaced = replace(service, batch);
        if pace.canary && index == 0 {
            replaced.push(stay_up(service.bake));
            replaced.extend(await_ready(service, &units[0], batch[0].instance.as_ref()));
        }
        let own: BTreeSet<&str> = batch.iter().map(|state| state.unit.as_str()).collect();
        match serving.is_subset(&own) {
            // A release that may come up yet is better than nobody.
            true => steps.extend(replaced),
            false => steps.extend(taken_back_by(&[stop(service, &units)], replaced)),
        }
        if index + 1 < batches.len() && !pace.pause.is_zero() {
            // They have proved themselves, and whoever interrupts here only wants no more.
            steps.extend(taken_back_by(&[], [stay_up(pace.pause)]));
        }
        serving.extend(own);
    }
    steps
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
