//! A second process on the same sockets serves while the first one is replaced.

use super::{Step, new_socket, prove_unit, queue, start_anew, stop, taken_back_by};
use crate::model::{Service, UnitName};
use crate::observe::{Observed, UnitState};

pub(super) fn steps(service: &Service, observed: &Observed) -> (Vec<Step>, Vec<String>) {
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
                steps.extend(start(service, state));
                stands_by = true;
            }
        }
    } else if left_over.is_some_and(UnitState::serves) {
        notes.push(format!(
            "`{standby}` serves and `{unit}` does not, so it is left alone until that is mended"
        ));
    }

    steps.extend(queue(service, observed));
    if stands_by {
        steps.push(stop(service, &[standby]));
    }
    (steps, notes)
}

/// If it fails, the process that serves was not touched.
fn start(service: &Service, state: &UnitState) -> Vec<Step> {
    let mut steps = vec![start_anew(service, state)];
    steps.extend(prove_unit(service, &state.unit, state.instance.as_ref()));
    let back = stop(service, std::slice::from_ref(&state.unit));
    taken_back_by(&[back], steps).collect()
}

fn left_behind(state: &UnitState) -> String {
    format!(
        "`{}` was left behind by another restart and may be of an old release, so it is restarted too",
        state.unit
    )
}
