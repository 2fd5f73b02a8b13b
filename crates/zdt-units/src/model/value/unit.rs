//! Units of systemd by their names, and what is run in one besides a service.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Mistake, Name};

reads_as_str!(UnitName);
kept_as_str!(UnitName);

/// The full name of a unit, with its type: `shop.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

/// What is run for a service besides the service, each in a unit of its own with the same user,
/// environment and sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Says whether the release that is about to serve can, before anything is touched.
    Check,
    /// Keeps what a migration may spoil.
    Backup,
    Migrate,
    /// Takes a migration back.
    MigrateDown,
    /// Fills caches of the new process once it is ready.
    Warm,
}

impl Task {
    /// In the order of a deployment.
    pub const ALL: [Self; 5] = [
        Self::Check,
        Self::Backup,
        Self::Migrate,
        Self::MigrateDown,
        Self::Warm,
    ];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::Backup => "backup",
            Self::Migrate => "migrate",
            Self::MigrateDown => "migrate-down",
            Self::Warm => "warm",
        })
    }
}

/// The types of unit that another one can be ordered after.
const UNIT_TYPES: &[&str] = &[
    "automount",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "socket",
    "swap",
    "target",
    "timer",
];

impl UnitName {
    pub fn service(name: &Name) -> Self {
        Self(format!("{name}.service"))
    }

    pub(in crate::model) fn target(name: &Name) -> Self {
        Self(format!("{name}.target"))
    }

    /// One of several equal services.
    pub fn instance(name: &Name, number: u32) -> Self {
        Self(format!("{name}@{number}.service"))
    }

    /// 3 for `shop@3.service`.
    pub fn number(&self) -> Option<u32> {
        let (_, instance) = self.0.strip_suffix(".service")?.split_once('@')?;
        instance.parse().ok()
    }

    /// What all instances are made from.
    pub fn template(name: &Name) -> Self {
        Self(format!("{name}@.service"))
    }

    /// The unit that serves while `name` is replaced.
    pub fn standby(name: &Name) -> Self {
        Self(format!("{name}-standby.service"))
    }

    /// A unit of `name` that does one thing and ends.
    pub fn task(name: &Name, task: Task) -> Self {
        Self(format!("{name}-{task}.service"))
    }

    pub(in crate::model) fn socket(stem: &str) -> Self {
        Self(format!("{stem}.socket"))
    }

    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let known_type = text
            .rsplit_once('.')
            .is_some_and(|(stem, kind)| !stem.is_empty() && UNIT_TYPES.contains(&kind));
        if !known_type {
            return Err(Mistake::new(format!(
                "`{text}` is neither a unit nor a service of this file"
            ))
            .hint(format!(
                "name a unit in full, for example `{}.service`",
                text.split('.').next().unwrap_or(text)
            )));
        }
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.' | b'\\' | b'-' | b'@')
        };
        if !text.bytes().all(plain) || text.len() > 255 {
            return Err(
                Mistake::new(format!("`{text}` does not do as the name of a unit"))
                    .hint("`systemd-escape` turns other text into a unit name"),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_named_in_full() {
        let good = [
            "db.service",
            "network-online.target",
            r"srv-a\x2db.mount",
            "a@1.service",
        ]
        .map(|text| UnitName::parse(text).is_ok());
        let bad = ["db", ".service", "a b.service", "db.conf", "ü.service"]
            .map(|text| UnitName::parse(text).is_ok());
        assert_eq!((good, bad), ([true; 4], [false; 5]));
    }
}
