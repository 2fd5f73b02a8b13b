//! The state of everything in one sentence, and the figures beside it.

use maud::{Markup, html};

use super::View;
use super::operations::End;
use crate::event::Outcome;
use crate::report::html::mark;
use crate::report::html::words::{count, number, printable, prose};
use crate::stamp;
use crate::status::{ServiceStatus, State, Status};

pub(super) fn title(view: &View) -> String {
    format!("{} · zdt-units", sentence(view))
}

pub(super) fn looked(view: &View) -> Markup {
    let at = stamp::text(view.at);
    let manager = match &view.status {
        Ok(status) => prose(&status.manager),
        Err(_) => html! {},
    };
    html! {
        span { (manager) }
        " "
        span { "Looked at " time datetime=(at) { (at.replace('T', " ").replace('Z', " UTC")) } }
    }
}

pub(super) fn top(view: &View) -> Markup {
    let (shape, word) = badge(view);
    html! {
        p class={ "badge " (shape) } { (mark(shape)) " " (word) }
        h1 { (sentence(view)) }
        @match &view.status {
            Ok(status) => (figures(view, status)),
            Err(why) => p class="lede" { (prose(why)) },
        }
        @for note in &view.notes {
            p class="note" { strong { "Note: " } (prose(note)) }
        }
    }
}

/// Those that are neither as they should be nor being changed, now or when they were looked at.
fn unwell<'a>(view: &View, status: &'a Status) -> Vec<&'a str> {
    let is_well = |service: &&ServiceStatus| {
        let works = matches!(
            service.state,
            State::Serving | State::Waiting | State::Reloading
        );
        let is_being_changed = view
            .running
            .iter()
            .any(|running| running.service == service.name);
        let was_being_changed = view
            .past
            .iter()
            .any(|past| past.service == service.name && past.began + past.took >= view.at);
        is_being_changed || was_being_changed || works && service.problems.is_empty()
    };
    let services = status.services.iter();
    let unwell = services.filter(|service| !is_well(service));
    unwell.map(|service| service.name.as_str()).collect()
}

fn badge(view: &View) -> (&'static str, &'static str) {
    match &view.status {
        Err(_) => ("caution", "Nobody can be asked"),
        Ok(status) if !unwell(view, status).is_empty() => ("caution", "Look at it"),
        Ok(_) if !view.running.is_empty() => ("moving", "At work"),
        Ok(_) => ("passed", "All is well"),
    }
}

/// Names are those of a `zdt.toml`, which can be another one than ours.
fn sentence(view: &View) -> String {
    printable(&said(view))
}

fn said(view: &View) -> String {
    let Ok(status) = &view.status else {
        return "It cannot be seen how services are.".to_owned();
    };
    let all = status.services.len();
    match (
        all,
        unwell(view, status).as_slice(),
        view.running.as_slice(),
    ) {
        (0, ..) => "There is no service.".to_owned(),
        (_, [], [one]) => format!("{} is being changed.", one.service),
        (_, [], [_, ..]) => format!("{} services are being changed.", view.running.len()),
        (1, [], _) => "The service is up.".to_owned(),
        (_, [], _) => format!("All {all} services are up."),
        (_, [one], _) => format!("{one} is not as it should be."),
        (_, several, _) => format!(
            "{} of {all} services are not as they should be.",
            several.len()
        ),
    }
}

fn figures(view: &View, status: &Status) -> Markup {
    let sockets = || status.services.iter().flat_map(|service| &service.sockets);
    let live: usize = sockets().map(|socket| socket.live).sum();
    let waiting: u64 = sockets()
        .filter_map(|socket| socket.waiting)
        .map(u64::from)
        .sum();
    let good = |operation: &&super::Operation| operation.end == End::Ended(Outcome::Completed);
    let ended = view.past.len();
    let done = view.past.iter().filter(good).count();
    let serving = status
        .services
        .iter()
        .filter(|service| service.state == State::Serving);
    let figure = |name: &str, value: String| {
        html! { div { dt { (name) } dd { (value) } } }
    };
    html! {
        dl class="figures" {
            (figure("serving", format!("{} of {}", serving.count(), status.services.len())))
            (figure("live connections", number(live as u64)))
            (figure("waiting in queues", number(waiting)))
            (figure("new connections", match status.new_connections {
                Some(rate) => format!("{rate:.0}/s"),
                None => "\u{2013}".to_owned(),
            }))
            (figure("operations done", match ended {
                0 => "\u{2013}".to_owned(),
                _ => format!("{done} of {ended}"),
            }))
        }
        @for service in status.services.iter().filter(|service| !service.problems.is_empty()) {
            ul class="problems" aria-label={ (count(service.problems.len() as u64, "problem")) " of " (printable(&service.name)) } {
                @for problem in &service.problems {
                    li { (mark("caution")) " " strong { (printable(&service.name)) ": " } (prose(problem)) }
                }
            }
        }
    }
}
