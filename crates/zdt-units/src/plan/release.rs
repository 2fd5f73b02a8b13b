//! What a deployment does besides restarting: releases on disk, and the links to them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{AbsolutePath, ReleaseName};

/// The closed set of such things; a step of a plan like any other.
///
/// Below `root` are `releases/NAME`, which never change once they are there, and two links:
/// `current` to the release that serves, and `next` to the one that is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReleaseAct {
    /// Into `releases/NAME`, whole and on disk or not at all.
    Copy {
        from: PathBuf,
        root: AbsolutePath,
        release: ReleaseName,
    },
    /// Switches a link, at once.
    Point {
        root: AbsolutePath,
        link: ReleaseLink,
        release: ReleaseName,
    },
    /// Writes down what became of a release.
    Mark {
        root: AbsolutePath,
        release: ReleaseName,
        mark: Mark,
    },
    /// Those that nobody needs any more.
    Remove {
        root: AbsolutePath,
        releases: Vec<ReleaseName>,
    },
}

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

impl ReleaseAct {
    /// Its name in events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Copy { .. } => "copy_release",
            Self::Point { .. } => "switch_release",
            Self::Mark { .. } => "mark_release",
            Self::Remove { .. } => "remove_releases",
        }
    }

    /// Whether it may change what serves, or will.
    pub fn changes(&self) -> bool {
        match self {
            Self::Point { link, .. } => *link == ReleaseLink::Current,
            Self::Copy { .. } | Self::Mark { .. } | Self::Remove { .. } => false,
        }
    }
}

impl fmt::Display for ReleaseAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy {
                from,
                root,
                release,
            } => write!(
                f,
                "copy `{}` to `{root}/releases/{release}`",
                from.display()
            ),
            Self::Point {
                root,
                link,
                release,
            } => write!(f, "point `{root}/{link}` to `{release}`"),
            Self::Mark { release, mark, .. } => write!(f, "note that `{release}` {mark}"),
            Self::Remove { releases, .. } => {
                let releases: Vec<&str> = releases.iter().map(ReleaseName::as_str).collect();
                write!(f, "remove {}", crate::config::list(&releases))
            }
        }
    }
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
