//! Several equal processes on the same sockets, replaced some at a time.

use std::collections::BTreeSet;

use super::change::bake;
use super::{
    Action, CONFIRM_LIMIT, Replace, Request, Step, Undo, new_socket, prove_unit, start_anew,
    start_old, step, stop, taken_back_by,
};
use crate::config::list;
use crate::model::{Pace, Service, UnitName};
use crate::observe::{Observed, UnitState};

pub(super) fn replace(
    request: &Request<'_>,
    instances: u32,
    pace: Pace,
    observed: &Observed,
    undo: &Undo,
) -> Replace {
    let service = request.service;
    let pace = Pace {
        canary: pace.canary || request.options.canary,
        ..pace
    };
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
    let gone: BTreeSet<UnitName> = beyond
        .into_iter()
        .chain(&surge)
        .map(|state| state.unit.clone())
        .collect();
    let gone = (!gone.is_empty()).then(|| stop(service, &Vec::from_iter(gone)));
    let way_back = WayBack {
        service,
        undo,
        surge: surge.iter().map(|state| state.unit.clone()).collect(),
    };
    let mut steps = replace_all(&way_back, pace, &batches, serving);
    steps.extend(gone);
    Replace {
        back: way_back.old_in(&batches),
        steps,
        notes,
    }
}

/// How batches that were replaced become what they were.
struct WayBack<'a> {
    service: &'a Service,
    undo: &'a Undo,
    surge: Vec<UnitName>,
}

impl WayBack<'_> {
    /// The last of `batches` did not prove itself; others serve.
    fn from(&self, batches: &[Vec<&UnitState>]) -> Vec<Step> {
        let Some((failed, proven)) = batches.split_last() else {
            return Vec::new();
        };
        let failed: Vec<UnitName> = failed.iter().map(|state| state.unit.clone()).collect();
        let stopped = vec![stop(self.service, &failed)];
        match self.undo.is_empty() {
            // The release is the same, so what has proved itself stays.
            true => stopped,
            false => {
                let proven = self.old_in(proven);
                let failed = self.started(&failed);
                self.undo
                    .after_stopping(&stopped, &[failed, proven].concat())
            }
        }
    }

    /// One after the other, and those that were only there meanwhile last.
    fn old_in(&self, batches: &[Vec<&UnitState>]) -> Vec<Step> {
        let units: Vec<UnitName> = batches
            .iter()
            .flatten()
            .map(|state| state.unit.clone())
            .collect();
        let mut steps = self.started(&units);
        if units.iter().any(|unit| self.surge.contains(unit)) {
            steps.push(stop(self.service, &self.surge));
        }
        steps
    }

    fn started(&self, units: &[UnitName]) -> Vec<Step> {
        let stay = units.iter().filter(|unit| !self.surge.contains(unit));
        stay.flat_map(|unit| start_old(self.service, unit))
            .collect()
    }
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
    way_back: &WayBack<'_>,
    pace: Pace,
    batches: &[Vec<&'a UnitState>],
    mut serving: BTreeSet<&'a str>,
) -> Vec<Step> {
    let service = way_back.service;
    let mut steps = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let units: Vec<UnitName> = batch.iter().map(|state| state.unit.clone()).collect();
        let mut replaced = replace_batch(service, batch);
        if pace.canary && index == 0 {
            replaced.extend(bake(service, &units));
        }
        let own: BTreeSet<&str> = batch.iter().map(|state| state.unit.as_str()).collect();
        match serving.is_subset(&own) {
            // A release that may come up yet is better than nobody.
            true => steps.extend(replaced),
            false => steps.extend(taken_back_by(&way_back.from(&batches[..=index]), replaced)),
        }
        if index + 1 < batches.len() && !pace.pause.is_zero() {
            let time = pace.pause;
            let wait = step(time + CONFIRM_LIMIT, Action::StayUp { units, time });
            let back = match way_back.undo.is_empty() {
                // They have proved themselves, and whoever interrupts here only wants no more.
                true => Vec::new(),
                false => way_back.from(&batches[..=index]),
            };
            steps.extend(taken_back_by(&back, [wait]));
        }
        serving.extend(own);
    }
    steps
}

/// New processes in all units of a batch, and the proof of each.
fn replace_batch(service: &Service, batch: &[&UnitState]) -> Vec<Step> {
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
