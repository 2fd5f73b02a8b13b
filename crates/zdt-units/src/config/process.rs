//! How processes are kept running, as written.

use std::ops::Range;

use super::problem::Problem;
use super::reader::{At, IntegerOrTable, StringOrTable, Table};

/// `stop = { … }`.
#[derive(Debug)]
pub struct StopConfig {
    pub at: Range<usize>,
    pub quiet: Option<At<Vec<At<String>>>>,
    pub drain: Option<At<Vec<At<String>>>>,
    pub drain_limit: Option<At<String>>,
    pub command: Option<At<Vec<At<String>>>>,
    pub signal: Option<At<String>>,
}

/// `restart = { … }`.
#[derive(Debug, Default)]
pub struct RestartConfig {
    pub pause: Option<At<String>>,
    pub factor: Option<At<i64>>,
    pub longest: Option<At<String>>,
    pub limit: Option<At<i64>>,
    pub within: Option<At<String>>,
    pub healthy: Option<At<String>>,
}

/// `memory = { … }`.
#[derive(Debug)]
pub struct MemoryConfig {
    pub limit: Option<At<String>>,
    pub warn: Option<At<String>>,
    pub every: Option<At<String>>,
}

/// `port = 8080`, or a table.
#[derive(Debug)]
pub enum PortConfig {
    One(At<i64>),
    Range {
        at: Range<usize>,
        from: Option<At<i64>>,
        to: Option<At<i64>>,
    },
}

/// `[launcher]`.
#[derive(Debug, Default)]
pub struct LauncherConfig {
    pub control: Option<At<String>>,
    pub mode: Option<At<String>>,
    pub owner: Option<At<String>>,
    pub group: Option<At<String>>,
    pub state: Option<At<String>>,
    pub output: Option<OutputConfig>,
    pub lines: Option<At<i64>>,
}

/// `output = "prefixed"`, or a table.
#[derive(Debug)]
pub enum OutputConfig {
    Word(At<String>),
    Files(Option<At<String>>),
}

impl PortConfig {
    pub fn at(&self) -> &Range<usize> {
        match self {
            Self::One(port) => &port.at,
            Self::Range { at, .. } => at,
        }
    }
}

pub(super) fn stop(mut table: Table<'_>, problems: &mut Vec<Problem>) -> StopConfig {
    let config = StopConfig {
        at: table.at.clone(),
        quiet: table.strings("quiet", problems),
        drain: table.strings("drain", problems),
        drain_limit: table.string("drain_limit", problems),
        command: table.strings("command", problems),
        signal: table.string("signal", problems),
    };
    table.finish(problems);
    config
}

pub(super) fn restart(mut table: Table<'_>, problems: &mut Vec<Problem>) -> RestartConfig {
    let config = RestartConfig {
        pause: table.string("pause", problems),
        factor: table.integer("factor", problems),
        longest: table.string("longest", problems),
        limit: table.integer("limit", problems),
        within: table.string("within", problems),
        healthy: table.string("healthy", problems),
    };
    table.finish(problems);
    config
}

pub(super) fn memory(mut table: Table<'_>, problems: &mut Vec<Problem>) -> MemoryConfig {
    if !table.has("limit") {
        problems.push(
            Problem::new(&table.at, "`memory` does not say how much is too much")
                .hint("add `limit = \"512MiB\"`"),
        );
    }
    let config = MemoryConfig {
        limit: table.string("limit", problems),
        warn: table.string("warn", problems),
        every: table.string("every", problems),
    };
    table.finish(problems);
    config
}

pub(super) fn port(table: &mut Table<'_>, problems: &mut Vec<Problem>) -> Option<PortConfig> {
    let mut range = match table.integer_or_table("port", problems)? {
        IntegerOrTable::Integer(port) => return Some(PortConfig::One(port)),
        IntegerOrTable::Table(range) => range,
    };
    if !range.has("from") || !range.has("to") {
        problems.push(
            Problem::new(&range.at, "`port` takes one number, or `from` and `to`")
                .hint("for example `port = { from = 20000, to = 20099 }`"),
        );
    }
    let config = PortConfig::Range {
        at: range.at.clone(),
        from: range.integer("from", problems),
        to: range.integer("to", problems),
    };
    range.finish(problems);
    Some(config)
}

pub(super) fn launcher(mut table: Table<'_>, problems: &mut Vec<Problem>) -> LauncherConfig {
    let config = LauncherConfig {
        control: table.string("control", problems),
        mode: table.string("mode", problems),
        owner: table.string("owner", problems),
        group: table.string("group", problems),
        state: table.string("state", problems),
        output: match table.string_or_table("output", problems) {
            None => None,
            Some(StringOrTable::String(word)) => Some(OutputConfig::Word(word)),
            Some(StringOrTable::Table(table)) => Some(output(table, problems)),
        },
        lines: table.integer("lines", problems),
    };
    table.finish(problems);
    config
}

fn output(mut table: Table<'_>, problems: &mut Vec<Problem>) -> OutputConfig {
    if !table.has("files") {
        problems.push(
            Problem::new(&table.at, "`output` does not say where the files go")
                .hint("for example `output = { files = \"/var/log/shop\" }`"),
        );
    }
    let files = table.string("files", problems);
    table.finish(problems);
    OutputConfig::Files(files)
}
