//! What is said of a release, and what leads to one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A link to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseLink {
    Current,
    Next,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It is about to change data. Whatever becomes of that, the release before may not know them.
    Migrated,
    /// What it did to data was taken back.
    MigratedDown,
    /// It serves, and has proved itself.
    Served,
    /// It did not prove itself.
    Failed,
}

impl fmt::Display for ReleaseLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Next => "next",
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Migrated => "has changed data",
            Self::MigratedDown => "took its changes of data back",
            Self::Served => "serves",
            Self::Failed => "failed",
        })
    }
}
