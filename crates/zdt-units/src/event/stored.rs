//! Events as they are read back: some of them from another version of this program.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use super::{Event, is_wanted};
use crate::model::Wanted;

/// One line of a file of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub line: String,
    pub time: SystemTime,
    value: Value,
    /// Nothing where the kind is not known here.
    pub event: Option<Event>,
}

impl Stored {
    /// Nothing for a line that was cut off.
    pub fn read(line: String) -> Option<Self> {
        let value: Value = serde_json::from_str(&line).ok()?;
        let time = value.get("time").and_then(Value::as_str)?;
        let time = humantime::parse_rfc3339_weak(time).ok()?;
        let event = Event::deserialize(&value).ok();
        Some(Self {
            line,
            time,
            value,
            event,
        })
    }

    /// Empty where it is about all services.
    pub fn service(&self) -> &str {
        let service = self.value.get("service").and_then(Value::as_str);
        service.unwrap_or_default()
    }

    /// Whether any of `wanted` names it; nothing named is everything.
    pub fn is_wanted(&self, wanted: &[Wanted]) -> bool {
        let kind = self.event.as_ref().map(|event| &event.kind);
        wanted.is_empty() || kind.is_some_and(|kind| is_wanted(wanted, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_passed_on_and_what_is_cut_off_is_not() {
        let line = r#"{"time":"2023-11-14T22:13:20.123Z","v":1,"restart_id":"5f0c","service":"shop","elapsed_ms":1.0,"kind":"beamed"}"#;
        let stored = Stored::read(line.to_owned()).unwrap();
        assert_eq!((stored.service(), &stored.event), ("shop", &None));
        assert!(stored.is_wanted(&[]));
        assert!(!stored.is_wanted(&[Wanted::Finished]));
        assert_eq!(Stored::read(line[..60].to_owned()), None);
        let known = line.replace("\"beamed\"", r#""finished","outcome":"completed""#);
        assert!(Stored::read(known).unwrap().is_wanted(&[Wanted::Finished]));
    }
}
