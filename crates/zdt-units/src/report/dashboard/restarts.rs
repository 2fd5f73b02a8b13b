//! What became of the last operations, and how long nobody accepted during each.

use std::time::Duration;

use maud::{Markup, html};

use super::View;
use super::operations::{End, Operation, Pause, Progress};
use super::table::{Table, none};
use crate::event::{Outcome, Phase};
use crate::report::html::mark;
use crate::report::html::words::{millis, printable, prose};
use crate::stamp;

pub(super) fn restarts(view: &View) -> Markup {
    let table = Table {
        class: "restarts",
        caption: "The youngest first. A bar is one operation with its steps, on one scale; hatched is while no process \
                  of the service accepted.",
        head: &[
            "Operation",
            "When",
            "Outcome",
            "Time",
            "Longest wait",
            "Lost",
        ],
    };
    let longest = view.past.iter().map(|operation| operation.took).max();
    html! {
        @if view.past.is_empty() {
            p { "No operation has ended yet, by the events that are kept." }
        } @else {
            (table.of(view.past.iter().map(|operation| row(operation, longest.unwrap_or_default()))))
            p class="remark" { "The longest wait is that of a new connection in the socket, at most: from the end of one "
                "process to the readiness of the next. What clients met is measured by " code { "zdt-units verify" }
                ", and counted over longer by " code { "zdt-units history" } "." }
        }
    }
}

fn row(operation: &Operation, longest: Duration) -> Vec<Markup> {
    let at = stamp::text(operation.began);
    let (shape, word) = end(operation.end);
    vec![
        html! {
            strong {
                (printable(&operation.operation))
                @if !operation.service.is_empty() { " " (printable(&operation.service)) }
            }
            @if let Some(release) = &operation.release { span class="by" { "to " (printable(release)) } }
        },
        html! { time datetime=(at) { (at.replace('T', " ").replace('Z', "\u{a0}UTC")) } },
        html! {
            span class="fate" { (mark(shape)) " " (word) }
            @if let Some(failure) = &operation.failure { p class="by" { (prose(failure)) } }
        },
        html! { (ms(operation.took)) (bar(operation, longest)) },
        pause(operation.pause),
        html! {
            @if operation.lost.is_empty() { "nothing known" }
            @for lost in &operation.lost { span class="loss" { (prose(lost)) } }
        },
    ]
}

fn ms(time: Duration) -> String {
    millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn end(end: End) -> (&'static str, &'static str) {
    match end {
        End::Ended(Outcome::Completed) => ("passed", "done"),
        End::Ended(Outcome::Lossy) => ("caution", "done, with losses"),
        End::Ended(Outcome::Stopped) => ("caution", "stopped before any change"),
        End::Ended(Outcome::RolledBack) => ("caution", "rolled back"),
        End::Ended(Outcome::LookNow) => ("lost", "failed: look now"),
        End::BrokeOff => ("lost", "broke off"),
        End::UnderWay => ("moving", "runs"),
    }
}

fn pause(pause: Pause) -> Markup {
    html! {
        @match pause {
            Pause::None => (none()),
            Pause::AtMost(time) => (ms(time)),
            Pause::Covered => "none: another process accepted",
            Pause::Closed(time) => { (ms(time)) span class="by" { "closed, so refused" } },
        }
    }
}

/// Pixels of a bar of the longest operation.
const WIDTH: f64 = 200.0;

/// The figures are beside it in words.
fn bar(operation: &Operation, longest: Duration) -> Markup {
    let scale = WIDTH / longest.as_secs_f64().max(0.001);
    let place = |time: Duration| time.as_secs_f64() * scale;
    let text = |pixels: f64| format!("{pixels:.1}");
    let steps = operation.steps.iter().filter_map(|step| {
        let (began, took) = (step.began?, step.took?);
        let class = match (&step.progress, step.phase) {
            (Progress::Failed(_), _) => "failed",
            (_, Phase::Rollback) => "back",
            (_, Phase::Forward) => "step",
        };
        Some((class, place(began), place(took).max(0.8)))
    });
    html! {
        svg class="bar-of" viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect class="whole" x="0" y="4.5" height="1" width=(text(place(operation.took).max(1.0))) {}
            @for (class, x, width) in steps {
                rect class=(class) x=(text(x)) y="1" height="8" width=(text(width)) {}
            }
            @if let Some((from, until)) = operation.paused_at {
                rect class="starting" x=(text(place(from))) y="1" height="8"
                    width=(text(place(until.saturating_sub(from)).max(0.8))) {}
            }
        }
    }
}
