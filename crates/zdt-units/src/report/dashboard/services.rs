//! The services, one row each.

use maud::{Markup, html};

use super::View;
use super::table::{Table, none, or_none};
use crate::report::html::mark;
use crate::report::html::words::{printable, prose};
use crate::status::{ServiceStatus, State, age};

pub(super) fn services(view: &View) -> Markup {
    let Ok(status) = &view.status else {
        return html! { p { "Nobody can say." } };
    };
    let table = Table {
        class: "services",
        caption: "As `zdt-units status` says it. Live and waiting connections are by the kernel's count.",
        head: &[
            "Service", "State", "Release", "Process", "Up", "Live", "Queue", "Health",
        ],
    };
    html! {
        @if status.services.is_empty() {
            p { "There is no service in this " code { "zdt.toml" } "." }
        } @else {
            (table.of(status.services.iter().map(row)))
        }
        @for note in &status.notes {
            p class="note" { strong { "Note: " } (prose(note)) }
        }
    }
}

fn row(service: &ServiceStatus) -> Vec<Markup> {
    let release = match (&service.release, &service.generation) {
        (Some(release), Some(generation)) => Some(format!("{release} #{generation}")),
        (None, Some(generation)) => Some(format!("#{generation}")),
        (release, None) => release.clone(),
    };
    let live: usize = service.sockets.iter().map(|socket| socket.live).sum();
    vec![
        html! { strong { (printable(&service.name)) } },
        state(service),
        or_none(release),
        pids(service),
        up(service),
        or_none((!service.sockets.is_empty()).then(|| live.to_string())),
        queue(service),
        or_none(service.health.as_ref()),
    ]
}

fn state(service: &ServiceStatus) -> Markup {
    let shape = match service.state {
        State::Serving => "passed",
        State::Failed | State::Crashing => "lost",
        State::Waiting | State::Stopped => "absent",
        State::Starting | State::Draining | State::Reloading => "caution",
    };
    html! {
        span class="fate" { (mark(shape)) " " span {
            (service.state.word())
            @if let Some((serving, wanted)) = service.instances { " " (serving) "\u{a0}of\u{a0}" (wanted) }
            @if service.standby { " + standby" }
        } }
    }
}

/// All instances, where a launcher says which they are.
fn pids(service: &ServiceStatus) -> Markup {
    let units: Vec<u32> = service.units.iter().filter_map(|unit| unit.pid).collect();
    let pids = match units.is_empty() {
        true => service.pid.into_iter().collect(),
        false => units,
    };
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    or_none((!pids.is_empty()).then(|| pids.join(", ")))
}

fn up(service: &ServiceStatus) -> Markup {
    html! {
        @match service.up_seconds {
            Some(seconds) => (age(seconds).replace(' ', "\u{a0}")),
            None => (none()),
        }
        @if let Some(by) = &service.started_by {
            span class="by" { "by " (prose(by)) }
        }
    }
}

/// Nobody needs the tenths of a minute.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of seconds, which is not negative"
)]
fn how_long(seconds: f64) -> String {
    match seconds < 120.0 {
        true => format!("{seconds:.1}\u{a0}s"),
        false => age(seconds as u64).replace(' ', "\u{a0}"),
    }
}

/// Of several the one that is full first.
fn queue(service: &ServiceStatus) -> Markup {
    let waiting = service.sockets.iter().filter_map(|socket| {
        let waiting = socket.waiting?;
        let room = socket
            .waiting_limit
            .unwrap_or(u32::MAX)
            .saturating_sub(waiting);
        Some((room, waiting, socket))
    });
    let Some((_, waiting, socket)) = waiting.min_by_key(|(room, ..)| *room) else {
        return none();
    };
    html! {
        (waiting)
        @if let Some(limit) = socket.waiting_limit { "\u{a0}of\u{a0}" (limit) }
        @if let Some(holds) = socket.holds_seconds {
            span class="by" { "holds " (how_long(holds)) }
        }
    }
}
