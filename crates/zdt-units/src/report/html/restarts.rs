//! The restarts on a plot over time: bands behind it, numbers and flags above it.

use std::fmt::Write;

use maud::{Markup, html};

use super::plot::{Frame, px, text_width};
use super::scale::Time;
use super::words::millis;
use crate::verify::result::{Phase, PhaseKind, Restart};

/// The height of a line of text.
pub(super) const LINE: f64 = 14.0;

/// The phases of all restarts, over all rows, and a line where the new process was ready.
pub(super) fn bands(
    frame: &Frame,
    time: &Time,
    restarts: &[&Restart],
    (top, end): (f64, f64),
) -> Markup {
    let of = |kind: PhaseKind| {
        let phases = restarts.iter().flat_map(|restart| &restart.phases);
        let mut path = String::new();
        for phase in phases.filter(|phase| phase.kind == kind) {
            let from = frame.left + time.at(phase.from_ms);
            let width = (frame.left + time.at(phase.to_ms) - from).max(1.5);
            let (from, width, height) = (px(from), px(width), px(end - top));
            write!(path, "M{from} {}h{width}v{height}h-{width}z", px(top))
                .expect("a String takes all");
        }
        path
    };
    let ready: String = restarts
        .iter()
        .filter_map(|restart| ready_ms(restart))
        .map(|ms| format!("M{} {}V{}", px(frame.left + time.at(ms)), px(top), px(end)))
        .collect();
    html! {
        @for (kind, class) in PHASES {
            @let path = of(kind);
            @if !path.is_empty() { path class=(class) d=(path) {} }
        }
        @if !ready.is_empty() { path class="ready" d=(ready) {} }
    }
}

const PHASES: [(PhaseKind, &str); 3] = [
    (PhaseKind::Stopping, "stopping"),
    (PhaseKind::Starting, "starting"),
    (PhaseKind::Confirming, "confirming"),
];

fn ready_ms(restart: &Restart) -> Option<u64> {
    let confirming = |phase: &&Phase| phase.kind == PhaseKind::Confirming;
    let ready_ms = restart
        .phases
        .iter()
        .find(confirming)
        .map(|phase| phase.from_ms);
    match restart.failed {
        None => Some(ready_ms.unwrap_or(restart.ended_ms)),
        Some(_) => None,
    }
}

pub(super) fn middles(frame: &Frame, time: &Time, restarts: &[&Restart]) -> Vec<f64> {
    let middle = |restart: &&Restart| {
        frame.left + (time.at(restart.began_ms) + time.at(restart.ended_ms)) / 2.0
    };
    restarts.iter().map(middle).collect()
}

/// The least distance between two that follow each other.
pub(super) fn apart(places: &[f64]) -> f64 {
    let distances = places.windows(2).map(|two| two[1] - two[0]);
    distances.fold(f64::INFINITY, f64::min)
}

/// The number of each restart above it, as far as there is room.
pub(super) fn numbers(frame: &Frame, time: &Time, restarts: &[Restart]) -> Markup {
    let restarts: Vec<&Restart> = restarts.iter().collect();
    let middles = middles(frame, time, &restarts);
    let in_full = apart(&middles) > text_width("restart 10 ");
    let mut free = 0.0;
    let mut labels = Vec::new();
    for (restart, middle) in restarts.iter().zip(middles) {
        let text = match in_full {
            true => format!("restart {}", restart.nth),
            false => restart.nth.to_string(),
        };
        let half = text_width(&text) / 2.0;
        let middle = middle.clamp(frame.left + half, frame.left + frame.length() - half);
        if middle - half > free {
            free = middle + half + 6.0;
            labels.push((middle, text));
        }
    }
    html! {
        @for (middle, text) in labels {
            text class="figure middle" x=(px(middle)) y="11" { (text) }
        }
    }
}

/// A flag for each moment of one restart, each on a line of its own.
pub(super) fn flags(frame: &Frame, time: &Time, restart: &Restart) -> (Markup, f64) {
    let mut flags: Vec<(u64, String)> = restart
        .phases
        .iter()
        .map(|phase| {
            let took = millis(phase.to_ms.saturating_sub(phase.from_ms));
            (phase.from_ms, format!("{}, {took}", phase_name(phase.kind)))
        })
        .collect();
    match ready_ms(restart) {
        Some(at) if flags.iter().all(|(from, _)| *from != at) => {
            flags.push((at, "ready".to_owned()))
        }
        Some(_) => {}
        None => flags.push((restart.ended_ms, "failed".to_owned())),
    }
    let height = flags.len() as f64 * LINE + 6.0;
    let right = frame.left + frame.length();
    let drawing = html! {
        @for (line, (at, text)) in flags.iter().enumerate() {
            @let x = frame.left + time.at(*at);
            @let y = 11.0 + line as f64 * LINE;
            @let before = x + 5.0 + text_width(text) > right;
            path class="pole" d=(format!("M{} {}V{}", px(x), px(y - 9.0), px(height - 4.0))) {}
            text class=(if before { "figure end" } else { "figure" })
                x=(px(if before { x - 5.0 } else { x + 5.0 })) y=(px(y)) { (text) }
        }
    };
    (drawing, height)
}

pub(super) fn phase_name(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Stopping => "stopping",
        PhaseKind::Starting => "starting",
        PhaseKind::Confirming => "ready, confirming",
    }
}

/// `stopping 1.48 s, starting 46 ms`.
pub(super) fn phases_in_words(restart: &Restart) -> String {
    let phases = restart.phases.iter().map(|phase| {
        let took = millis(phase.to_ms.saturating_sub(phase.from_ms));
        format!("{} {took}", phase_name(phase.kind))
    });
    match phases.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "no phase was seen".to_owned(),
        phases => phases,
    }
}
