//! The last events, in the words of the journal.

use std::time::SystemTime;

use maud::{Markup, html};

use super::View;
use super::table::Table;
use crate::event::{Level, Record};
use crate::report::brief;
use crate::report::html::mark;
use crate::report::html::words::{printable, prose};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub time: SystemTime,
    pub level: Level,
    pub service: String,
    pub text: String,
}

/// A program may say much.
const LONGEST: usize = 300;

impl Line {
    pub fn of(record: &Record) -> Self {
        let mut text = brief::line(record);
        if let Some((end, _)) = text.char_indices().nth(LONGEST) {
            text.truncate(end);
            text.push('…');
        }
        Self {
            time: record.time,
            level: record.event.kind.level(),
            service: record.event.service.clone(),
            text,
        }
    }
}

pub(super) fn events(view: &View) -> Markup {
    let table = Table {
        class: "events",
        caption: "The youngest first; all of them with `zdt-units events --follow`.",
        head: &["Time", "Level", "Service", "Event"],
    };
    html! {
        @if view.events.is_empty() {
            p { "Nothing was written down yet." }
        } @else {
            (table.of(view.events.iter().map(row)))
        }
    }
}

fn row(line: &Line) -> Vec<Markup> {
    let exact = humantime::format_rfc3339_millis(line.time.max(SystemTime::UNIX_EPOCH)).to_string();
    let (shape, word) = match line.level {
        Level::Error => ("lost", "error"),
        Level::Warning => ("caution", "warning"),
        Level::Notice => ("passed", "notice"),
        Level::Info => ("absent", "info"),
    };
    let service = match line.service.is_empty() {
        true => "all".to_owned(),
        false => printable(&line.service),
    };
    vec![
        html! { time datetime=(exact) { (exact.replace('T', " ").replace('Z', "")) } },
        html! { span class="fate" { (mark(shape)) " " (word) } },
        html! { (service) },
        html! { (prose(&line.text)) },
    ]
}
