//! A second process on the same sockets serves while the first one is replaced.

use super::{
    Replace, Request, Step, Undo, change, new_socket, prove_unit, queue, start_anew, start_old,
    stop, taken_back_by,
};
use crate::model::UnitName;
use crate::observe::{Observed, UnitState};

pub(super) fn replace(request: &Request<'_>, observed: &Observed, undo: &Undo) -> Replace {
    let service = request.service;
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    let unit = service.unit();
    let standby = UnitName::standby(&service.name);
    let state = observed.beside.iter().find(|state| state.unit == standby);
    let left_over = state.filter(|state| !state.is_stopped());
    let mut stands_by = left_over.is_some();

    if observed.service.serves()
        && let Some(state) = state
    {
        match new_socket(observed) {
            Some(socket) => notes.push(format!(
                "`{socket}` is new and is opened only while `{unit}` is stopped, so no standby \
                 serves meanwhile: connections wait"
            )),
            None => {
                if let Some(left_over) = left_over {
                    notes.push(left_behind(left_over));
                }
                steps.extend(start(request, state, undo));
                stands_by = true;
            }
        }
    } else if left_over.is_some_and(UnitState::serves) {
        notes.push(format!(
            "`{standby}` serves and `{unit}` does not, so it is left alone until that is mended"
        ));
    }

    let gone = stands_by.then(|| stop(service, &[standby]));
    steps.extend(queue(service, observed).steps);
    steps.extend(gone.clone());
    Replace {
        back: start_old(service, &unit).into_iter().chain(gone).collect(),
        steps,
        notes,
    }
}

/// If it fails, the process that serves was not touched.
fn start(request: &Request<'_>, state: &UnitState, undo: &Undo) -> Vec<Step> {
    let service = request.service;
    let units = std::slice::from_ref(&state.unit);
    let mut steps = vec![start_anew(service, state)];
    steps.extend(prove_unit(service, &state.unit, state.instance.as_ref()));
    if request.options.canary {
        steps.extend(change::bake(service, units));
    }
    let back = undo.after_stopping(&[stop(service, units)], &[]);
    taken_back_by(&back, steps).collect()
}

fn left_behind(state: &UnitState) -> String {
    format!(
        "`{}` was left behind by another restart and may be of an old release, so it is restarted too",
        state.unit
    )
}
