//! A moment as text: `2026-01-19T12:00:00Z` for people, with milliseconds in files.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn text(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment.max(UNIX_EPOCH)).to_string()
}

/// With milliseconds.
pub(crate) fn exact(moment: SystemTime) -> String {
    // Nothing is known to have happened before 1970.
    humantime::format_rfc3339_millis(moment.max(UNIX_EPOCH)).to_string()
}

pub(crate) fn serialize<S: Serializer>(
    moment: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&exact(*moment))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map_err(D::Error::custom)
}
