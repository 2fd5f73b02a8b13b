//! `release`, `check`, `migrate` and `warm` as written.

use std::ops::Range;

use super::problem::Problem;
use super::reader::{At, Table};

/// `release = { … }`.
#[derive(Debug)]
pub struct ReleaseConfig {
    pub at: Range<usize>,
    pub root: Option<At<String>>,
    pub keep: Option<At<i64>>,
    pub keep_days: Option<At<i64>>,
    /// Those of another service, instead.
    pub of: Option<At<String>>,
    pub drain_early: Option<At<bool>>,
}

/// `check = { … }` and `warm = { … }`.
#[derive(Debug)]
pub struct ErrandConfig {
    pub command: Option<At<Vec<At<String>>>>,
    pub timeout: Option<At<String>>,
}

/// `migrate = { … }`.
#[derive(Debug)]
pub struct MigrateConfig {
    pub at: Range<usize>,
    pub command: Option<At<Vec<At<String>>>>,
    pub down: Option<At<Vec<At<String>>>>,
    pub backup: Option<At<Vec<At<String>>>>,
    pub timeout: Option<At<String>>,
}

pub(super) fn read(mut table: Table<'_>, problems: &mut Vec<Problem>) -> ReleaseConfig {
    if !table.has("root") && !table.has("of") {
        problems.push(
            Problem::new(&table.at, "`release` does not say where releases are kept").hint(
                "add `root = \"/srv/NAME\"`: releases go below it, and `current` points to one",
            ),
        );
    }
    let config = ReleaseConfig {
        at: table.at.clone(),
        root: table.string("root", problems),
        keep: table.integer("keep", problems),
        keep_days: table.integer("keep_days", problems),
        of: table.string("of", problems),
        drain_early: table.boolean("drain_early", problems),
    };
    table.finish(problems);
    config
}

pub(super) fn errand(key: &str, mut table: Table<'_>, problems: &mut Vec<Problem>) -> ErrandConfig {
    if !table.has("command") {
        problems.push(
            Problem::new(&table.at, format!("`{key}` does not say what to run")).hint(format!(
                "add `command = [\"/absolute/path/to/program\", \"{key}\"]`"
            )),
        );
    }
    let config = ErrandConfig {
        command: table.strings("command", problems),
        timeout: table.string("timeout", problems),
    };
    table.finish(problems);
    config
}

pub(super) fn migrate(mut table: Table<'_>, problems: &mut Vec<Problem>) -> MigrateConfig {
    if !table.has("command") {
        problems.push(
            Problem::new(&table.at, "`migrate` does not say what to run")
                .hint("add `command = [\"{{release.path}}/bin/app\", \"migrate\"]`"),
        );
    }
    let config = MigrateConfig {
        at: table.at.clone(),
        command: table.strings("command", problems),
        down: table.strings("down", problems),
        backup: table.strings("backup", problems),
        timeout: table.string("timeout", problems),
    };
    table.finish(problems);
    config
}
