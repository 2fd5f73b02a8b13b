//! One JSON object a line, for programs.

use serde::Serialize;

use crate::event::{Alias, Event, Record};

/// The event with the wall clock first, and a line break at its end.
pub fn line(record: &Record) -> String {
    #[derive(Serialize)]
    struct Stamped<'a> {
        time: String,
        #[serde(flatten)]
        event: &'a Event,
        #[serde(skip_serializing_if = "Option::is_none")]
        alias: Option<Alias>,
    }
    let stamped = Stamped {
        time: humantime::format_rfc3339_millis(record.time).to_string(),
        event: &record.event,
        alias: record.alias,
    };
    let mut line = serde_json::to_string(&stamped).expect("an event has nothing that JSON has not");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::event::{EventKind, Outcome, Records};

    #[test]
    fn a_line_has_the_time_first() {
        let outcome = Outcome::LookNow;
        let elapsed = Duration::from_millis(1250);
        let event = Event::new("5f0c", "shop", elapsed, EventKind::Finished { outcome });
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let mut record = Records::default().take(event, now);
        record.alias = Some(Alias::RollbackFailed);
        assert_eq!(
            line(&record),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.123Z","v":1,"restart_id":"5f0c","service":"shop","#,
                r#""elapsed_ms":1250.0,"kind":"finished","outcome":"look_now","alias":"ROLLBACK_FAILED"}"#,
                "\n"
            )
        );
    }
}
