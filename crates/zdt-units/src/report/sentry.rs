//! An event as Sentry takes it: an envelope, <https://develop.sentry.dev/sdk/foundations/envelopes/>. Pure.

use std::fmt::Write;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::brief;
use crate::event::{EventKind, Level, Outcome, Record};
use crate::stamp;

/// Three lines of JSON: whom it is from, what comes, and the event. `line` is the event as everybody else gets it.
pub(super) fn envelope(record: &Record, line: &str) -> String {
    // The same for each attempt, so that Sentry has it once.
    let id = hexadecimal(&Sha256::digest(line.trim_end())[..16]);
    let event = event(record, line, &id).to_string();
    let header = json!({ "event_id": id });
    let item =
        json!({ "type": "event", "content_type": "application/json", "length": event.len() });
    format!("{header}\n{item}\n{event}\n")
}

fn event(record: &Record, line: &str, id: &str) -> Value {
    let service = &record.event.service;
    let context = &record.context;
    let kind = record.event.kind.name();
    let mut tags = serde_json::Map::new();
    for (name, value) in record.fields() {
        let name = name.trim_start_matches("ZDT_").to_ascii_lowercase();
        // A number of its own for each event groups nothing.
        if !matches!(name.as_str(), "elapsed_ms" | "step") {
            tags.insert(name, Value::String(value));
        }
    }
    let outcome = tags.get("outcome").cloned();
    let told: Value = serde_json::from_str(line).unwrap_or_default();
    let mut event = json!({
        "event_id": id,
        "timestamp": stamp::exact(record.time),
        "platform": "other",
        "logger": "zdt-units",
        "level": level(&record.event.kind),
        "logentry": { "formatted": brief::line(record) },
        // One issue for each way in which a service fails, however often.
        "fingerprint": ["zdt", service, &context.operation, kind, outcome.unwrap_or_default()],
        "tags": tags,
        "extra": { "event": told },
    });
    if let (Some(release), Some(event)) = (&context.release, event.as_object_mut()) {
        event.insert("release".to_owned(), json!(release));
    }
    event
}

fn level(kind: &EventKind) -> &'static str {
    match (kind, kind.level()) {
        (
            EventKind::Finished {
                outcome: Outcome::LookNow,
            },
            _,
        ) => "fatal",
        (_, Level::Error) => "error",
        (_, Level::Warning) => "warning",
        (_, Level::Notice | Level::Info) => "info",
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
