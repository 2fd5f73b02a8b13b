//! An event in a few words, for somebody who sees nothing else: the journal, a chat.

use std::time::Duration;

use serde_json::{Value, json};

use super::{human, sentry};
use crate::event::{Context, EventKind, Level, Outcome, Phase, Record};
use crate::model::Format;

/// One line, without the time.
pub fn line(record: &Record) -> String {
    let event = &record.event;
    let about = about(&event.service, &record.context);
    match &event.kind {
        EventKind::Planned { strategy, .. } => format!("{about} begins (strategy `{strategy}`)"),
        EventKind::InstallPlanned { .. } => "installation begins".to_owned(),
        EventKind::UninstallPlanned { .. } => "uninstallation begins".to_owned(),
        EventKind::Refused { reasons } => {
            let reasons: Vec<&str> = reasons.iter().map(|reason| &*reason.message).collect();
            format!("{about} was refused: {}", reasons.join("; "))
        }
        EventKind::StepStarted {
            phase, step, text, ..
        } => format!("{}: {text}", step_name(*phase, *step)),
        EventKind::StepCompleted { phase, step } => format!("{} is done", step_name(*phase, *step)),
        EventKind::StepFailed {
            phase,
            step,
            reason,
            ..
        } => format!("{about}: {} failed: {reason}", step_name(*phase, *step)),
        EventKind::Finished { outcome } => {
            let end = match outcome {
                Outcome::Completed => "done",
                Outcome::Lossy => "done, but requests were lost",
                Outcome::Stopped => "stopped before anything was changed",
                Outcome::RolledBack => "rolled back, the release of before serves",
                Outcome::LookNow => "failed and not taken back: look now",
            };
            let after = seconds(event.elapsed);
            match &record.context.failure {
                Some(failure) => format!("{about}: {end}, after {after} ({failure})"),
                None => format!("{about}: {end}, after {after}"),
            }
        }
        kind => match human::untimed(event) {
            said if said.is_empty() => kind.name().replace('_', " "),
            said => said.split_whitespace().collect::<Vec<_>>().join(" "),
        },
    }
}

/// `restart of `shop``, `deploy of `shop` to `1.4.2``.
fn about(service: &str, context: &Context) -> String {
    let operation = match context.operation.as_str() {
        "roll_back" => "rollback",
        "recover" => "recovery",
        "" if service.is_empty() => return "installation".to_owned(),
        "" => "restart",
        operation => operation,
    };
    match &context.release {
        Some(release) => format!("{operation} of `{service}` to `{release}`"),
        None => format!("{operation} of `{service}`"),
    }
}

fn step_name(phase: Phase, step: usize) -> String {
    match phase {
        Phase::Forward => format!("step {step}"),
        Phase::Rollback => format!("step back {step}"),
    }
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

/// What is sent in each format; `line` is the event as JSON.
pub fn message(record: &Record, format: Format, line: &str) -> String {
    let text = || {
        let mark = match record.event.kind.level() {
            Level::Error => "\u{1f534} ",
            Level::Warning => "\u{1f7e0} ",
            Level::Notice => "\u{1f7e2} ",
            Level::Info => "",
        };
        let id = &record.event.restart_id;
        format!("{mark}{}\nid `{id}`", self::line(record))
    };
    let message: Value = match format {
        Format::Json => return line.trim_end().to_owned(),
        Format::Sentry => return sentry::envelope(record, line),
        Format::Slack => json!({ "text": escaped(&text()) }),
        // Nobody is called by what a program said.
        Format::Discord => json!({ "content": cut(&text()), "allowed_mentions": { "parse": [] } }),
    };
    message.to_string()
}

/// Slack reads `<…>` as links and mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Discord refuses more than 2,000 characters.
fn cut(text: &str) -> String {
    match text.chars().count() {
        0..=2000 => text.to_owned(),
        _ => text.chars().take(1999).chain(['…']).collect(),
    }
}
