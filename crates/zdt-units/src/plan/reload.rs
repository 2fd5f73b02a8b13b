//! The process replaces itself, within its unit.

use super::{
    Action, CONFIRM_LIMIT, Replace, Step, Undo, await_ready, new_socket, queue, start_old, step,
    taken_back_by,
};
use crate::config::list;
use crate::model::Service;
use crate::observe::{Observed, Watched};

pub(super) fn replace(service: &Service, observed: &Observed, undo: &Undo) -> Replace {
    let state = &observed.service;
    let unit = &state.unit;
    let Some(before) = state.instance.as_ref().filter(|_| state.serves()) else {
        return queue(service, observed);
    };
    let mut why = Vec::new();
    if let Some(socket) = new_socket(observed) {
        why.push(format!(
            "`{socket}` is new and is opened only while `{unit}` is stopped"
        ));
    }
    if !observed.newer.is_empty() {
        let files: Vec<&str> = observed.newer.iter().map(String::as_str).collect();
        let verb = if files.len() == 1 { "has" } else { "have" };
        why.push(format!(
            "{} {verb} changed since `{unit}` was started",
            list(&files)
        ));
    }
    if !why.is_empty() {
        let note = format!(
            "a reload would not apply it, so this is a restart by `queue`: {}",
            why.join(", and ")
        );
        return Replace {
            notes: vec![note],
            ..queue(service, observed)
        };
    }

    let sockets = Watched::of(service).sockets;
    let still_there = step(
        CONFIRM_LIMIT,
        Action::ConfirmInstance {
            unit: unit.clone(),
            before: None,
            sockets: sockets.clone(),
        },
    );
    let reload = [
        step(
            service.start_timeout + CONFIRM_LIMIT,
            Action::ReloadUnit { unit: unit.clone() },
        ),
        // Not every manager waits for the next process.
        step(
            service.start_timeout + CONFIRM_LIMIT,
            Action::ConfirmReload {
                unit: unit.clone(),
                before: before.clone(),
                sockets,
            },
        ),
    ];
    let back = undo.after_stopping(&[], &[still_there]);
    let mut steps: Vec<Step> = taken_back_by(&back, reload).collect();
    // By then the old process has been told to go.
    steps.extend(await_ready(service, unit, Some(before)));
    Replace {
        back: start_old(service, unit),
        steps,
        notes: Vec::new(),
    }
}
