use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use roxmltree::{Document, ParsingOptions};

use super::*;
use crate::doctor::Severity;
use crate::event::{Event, EventKind, Level, Outcome, Phase, Records};
use crate::status::{ServiceStatus, SocketStatus, State};
use crate::tool::Tool;

const HOSTILE: &str = "<script>alert(\"1\")</script>&amp;'\u{1b}[31m\r\n`<img src=x>`";

fn view(text: &str) -> View {
    let planned = EventKind::Planned {
        operation: text.to_owned(),
        release: Some(text.to_owned()),
        strategy: text.to_owned(),
        notes: Vec::new(),
        steps: vec![text.to_owned(), text.to_owned()],
        rollback: Vec::new(),
        dry_run: false,
        manager: Tool::default(),
    };
    let failed = EventKind::StepFailed {
        phase: Phase::Forward,
        step: 1,
        reason: text.to_owned(),
        hint: None,
        output: Vec::new(),
    };
    let killed = EventKind::Killed {
        unit: text.to_owned(),
    };
    let finished = EventKind::Finished {
        outcome: Outcome::LookNow,
    };
    let (mut records, mut operations) = (Records::default(), operations::Operations::default());
    let mut events = Vec::new();
    let kinds = [planned.clone(), failed, killed, finished, planned];
    for (n, kind) in (0u32..).zip(kinds) {
        let elapsed = n * Duration::from_millis(10);
        let record = records.take(
            Event::new("5f0c", text, elapsed, kind),
            UNIX_EPOCH + elapsed,
        );
        operations.take(&record);
        events.push(Line::of(&record));
    }
    let who = Who {
        command: text.to_owned(),
        user: text.to_owned(),
        pid: 7,
        since: UNIX_EPOCH,
    };
    let running = operations
        .under_way()
        .map(|operation| Running::of(text, who.clone(), Some(operation), None, UNIX_EPOCH));
    View {
        at: UNIX_EPOCH,
        status: Ok(Status {
            manager: text.to_owned(),
            new_connections: Some(12.0),
            services: vec![ServiceStatus {
                name: text.to_owned(),
                state: State::Failed,
                release: Some(text.to_owned()),
                generation: Some(text.to_owned()),
                started_by: Some(text.to_owned()),
                health: Some(text.to_owned()),
                sockets: vec![SocketStatus {
                    waiting: Some(3),
                    waiting_limit: Some(4096),
                    holds_seconds: Some(341.1),
                    ..SocketStatus::default()
                }],
                problems: vec![text.to_owned()],
                ..ServiceStatus::default()
            }],
            notes: vec![text.to_owned()],
        }),
        running: running.collect(),
        past: operations.past().cloned().collect(),
        releases: Vec::new(),
        doctor: Doctor::Found {
            at: UNIX_EPOCH,
            findings: vec![Finding {
                code: "ZDT-D001",
                severity: Severity::Danger,
                about: text.to_owned(),
                what: text.to_owned(),
                why: "",
                fix: text.to_owned(),
            }],
        },
        events,
        notes: vec![text.to_owned()],
    }
}

/// This parser forgives nothing.
fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap()
}

#[test]
fn whatever_services_and_programs_say_is_text() {
    let [harmless, hostile] = ["plain", HOSTILE].map(|text| page(&view(text)));
    let names = |page: &str| -> Vec<String> {
        let document = parsed(page);
        let elements = document.descendants().filter(roxmltree::Node::is_element);
        let names = elements.map(|element| element.tag_name().name().to_owned());
        // What was in backticks is code.
        names.filter(|name| name != "code").collect()
    };
    assert_eq!(names(&hostile), names(&harmless));
    assert!(hostile.contains("&lt;script&gt;alert("), "{hostile}");
    assert!(!hostile.contains('\u{1b}'), "{hostile}");
}

#[test]
fn the_page_is_made_of_the_parts_that_are_sent() {
    let view = view("shop");
    let page = page(&view);
    let document = parsed(&page);
    let ids: Vec<&str> = document
        .descendants()
        .filter_map(|element| element.attribute("id"))
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    for part in parts(&view) {
        assert!(ids.contains(&part.id), "{}", part.id);
        assert!(page.contains(&part.html), "{}", part.id);
        assert!(SCRIPT.contains(&format!("\"{}\"", part.id)), "{}", part.id);
    }
}

#[test]
fn nothing_is_shown_where_nobody_can_be_asked() {
    let mut view = view("shop");
    view.status = Err("no launcher is at work at `/run/zdt`".to_owned());
    view.doctor = Doctor::Failed("the same".to_owned());
    view.events.clear();
    view.past.clear();
    view.running.clear();
    let page = page(&view);
    parsed(&page);
    assert!(page.contains("no launcher is at work at <code>/run/zdt</code>"));
}

#[test]
fn a_long_word_of_a_program_is_cut() {
    let line = Line::of(&Records::default().take(
        Event::new(
            "5f0c",
            "shop",
            Duration::ZERO,
            EventKind::Status {
                unit: "shop.service".to_owned(),
                text: "ä".repeat(100_000),
            },
        ),
        UNIX_EPOCH,
    ));
    assert_eq!(line.level, Level::Info);
    assert_eq!(line.text.chars().count(), 301);
}
