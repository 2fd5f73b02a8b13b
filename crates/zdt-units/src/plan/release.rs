//! What a deployment does besides restarting: releases on disk, and the links to them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{AbsolutePath, ReleaseName};
use crate::release::{Mark, ReleaseLink};

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
