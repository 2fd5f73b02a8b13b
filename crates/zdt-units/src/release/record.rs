//! What is known about a release, as it is written down beside it.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Mark;
use crate::model::ReleaseName;

/// The version of the format; it stays 1 while changes only add.
const VERSION: u32 = 1;

/// `ROOT/releases/.zdt/NAME.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub v: u32,
    #[serde(with = "name")]
    pub name: ReleaseName,
    pub created: Stamp,
    /// What it was copied from.
    pub source: String,
    /// See [`Manifest::checksum`](super::Manifest::checksum).
    pub checksum: String,
    pub files: u64,
    /// Of all files together.
    pub bytes: u64,
    /// When it first changed data, unless that was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// When it last did not prove itself, unless it served since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Stamp>,
    /// Keys of a newer zdt-units.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// When a release was put into service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    pub first: Stamp,
    pub last: Stamp,
}

impl Record {
    /// Of a release that is about to be there.
    pub fn new(name: ReleaseName, created: SystemTime) -> Self {
        Self {
            v: VERSION,
            name,
            created: Stamp::new(created),
            source: String::new(),
            checksum: String::new(),
            files: 0,
            bytes: 0,
            migrated: None,
            served: None,
            failed: None,
            other: serde_json::Map::new(),
        }
    }

    /// Reads the text of a record, or says what is wrong with it.
    pub fn read(name: &ReleaseName, text: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if record.v != VERSION {
            return Err(format!("it has version {}, not {VERSION}", record.v));
        }
        if record.name != *name {
            return Err(format!("it is the record of `{}`", record.name));
        }
        Ok(record)
    }

    /// For a person, too.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a record is plain JSON");
        text.push('\n');
        text
    }

    pub fn mark(&mut self, mark: Mark, now: SystemTime) {
        let now = Stamp::new(now);
        match mark {
            // The first of several migrations counts: the data are not those of before since then.
            Mark::Migrated => self.migrated = self.migrated.or(Some(now)),
            Mark::MigratedDown => self.migrated = None,
            Mark::Failed => self.failed = Some(now),
            Mark::Served => {
                let first = self.served.map_or(now, |served| served.first);
                self.served = Some(Served { first, last: now });
                self.failed = None;
            }
        }
    }

    /// It served, and nothing was found wrong with it since.
    pub fn is_good(&self) -> bool {
        self.served.is_some() && self.failed.is_none()
    }

    pub(super) fn last_served(&self) -> Option<Stamp> {
        self.served.map(|served| served.last)
    }

    pub(super) fn first_use(&self) -> Stamp {
        self.served.map_or(self.created, |served| served.first)
    }

    /// When it last came to serve, or was made.
    pub fn last_use(&self) -> Stamp {
        self.last_served()
            .map_or(self.created, |last| last.max(self.created))
    }
}

/// A moment in UTC, to the millisecond: `2026-01-19T12:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stamp(SystemTime);

impl Stamp {
    /// A clock before 1970 or after 9999 is not set: such a moment is the nearest of these years.
    pub fn new(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default().min(LAST);
        let whole = since - Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000));
        Self(SystemTime::UNIX_EPOCH + whole)
    }

    pub fn time(self) -> SystemTime {
        self.0
    }

    /// Without the fraction, as people and names of releases need it.
    pub fn seconds(self) -> String {
        humantime::format_rfc3339_seconds(self.0).to_string()
    }
}

/// The last second of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.to_string()
    }
}

impl TryFrom<String> for Stamp {
    type Error = humantime::TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        humantime::parse_rfc3339(&text).map(Self::new)
    }
}

mod name {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::ReleaseName;

    pub(super) fn serialize<S: Serializer>(
        name: &ReleaseName,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ReleaseName, D::Error> {
        let text = String::deserialize(deserializer)?;
        ReleaseName::parse(&text).map_err(|mistake| serde::de::Error::custom(mistake.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn a_record_is_read_as_it_was_written_with_keys_of_later() {
        let name = ReleaseName::parse("v2").unwrap();
        let mut record = Record::new(name.clone(), at(1_700_000_000_123));
        record.mark(Mark::Migrated, at(1_700_000_001_000));
        record.mark(Mark::Served, at(1_700_000_002_000));
        record.mark(Mark::Served, at(1_700_000_003_000));
        record.other.insert("signed_by".to_owned(), "ann".into());
        let text = record.text();
        insta::assert_snapshot!(text, @r#"
        {
          "v": 1,
          "name": "v2",
          "created": "2023-11-14T22:13:20.123Z",
          "source": "",
          "checksum": "",
          "files": 0,
          "bytes": 0,
          "migrated": "2023-11-14T22:13:21.000Z",
          "served": {
            "first": "2023-11-14T22:13:22.000Z",
            "last": "2023-11-14T22:13:23.000Z"
          },
          "signed_by": "ann"
        }
        "#);
        assert_eq!(Record::read(&name, text.as_bytes()), Ok(record));
    }

    #[test]
    fn a_record_that_is_none_says_why() {
        let name = ReleaseName::parse("v2").unwrap();
        let text = Record::new(name.clone(), at(0)).text();
        let said = [
            text.replace("\"v2\"", "\"v3\""),
            text.replace("\"v\": 1", "\"v\": 2"),
            text[..40].to_owned(),
            text.replace("1970", "a year"),
        ]
        .map(|text| Record::read(&name, text.as_bytes()).unwrap_err());
        assert_eq!(
            said,
            [
                "it is the record of `v3`",
                "it has version 2, not 1",
                "EOF while parsing a value at line 4 column 12",
                "timestamp format is invalid at line 4 column 41",
            ]
        );
    }

    #[test]
    fn marks_are_taken_back_by_their_counterparts() {
        let mut record = Record::new(ReleaseName::parse("v2").unwrap(), at(0));
        record.mark(Mark::Migrated, at(1));
        record.mark(Mark::Failed, at(2));
        assert!(!record.is_good());
        record.mark(Mark::Migrated, at(3));
        assert_eq!(record.migrated, Some(Stamp::new(at(1))));
        record.mark(Mark::MigratedDown, at(4));
        record.mark(Mark::Served, at(5));
        assert!(record.is_good());
        assert_eq!((record.migrated, record.failed), (None, None));
    }
}
