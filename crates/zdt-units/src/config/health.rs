//! `health = { … }` as written.

use std::ops::Range;

use super::problem::Problem;
use super::reader::{At, Table};

/// `health = { … }`.
#[derive(Debug)]
pub struct HealthConfig {
    pub at: Range<usize>,
    /// Only of a service of this file, as the next one.
    pub listen: Option<At<String>>,
    pub ready: Option<At<String>>,
    pub http: Option<At<String>>,
    pub status: Option<At<Vec<At<i64>>>>,
    pub body: Option<At<String>>,
    pub json: Option<ExpectedConfig>,
    pub headers: Option<Headers>,
    pub command: Option<At<Vec<At<String>>>>,
    pub tcp: Option<At<String>>,
    pub active: Option<At<bool>>,
    pub successes: Option<At<i64>>,
    pub interval: Option<At<String>>,
    pub timeout: Option<At<String>>,
    pub attempt_timeout: Option<At<String>>,
    pub start_delay: Option<At<String>>,
}

/// `json = { … }`.
#[derive(Debug)]
pub struct ExpectedConfig {
    pub at: Range<usize>,
    pub pointer: Option<At<String>>,
    pub equals: Option<At<serde_json::Value>>,
}

/// `headers = { … }`.
pub type Headers = At<Vec<(At<String>, At<String>)>>;

/// Whose unit is asked. What others wrote does not answer as the `zdt` library does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    ThisFile,
    Others,
}

pub(super) fn read(
    mut table: Table<'_>,
    owner: Owner,
    problems: &mut Vec<Problem>,
) -> HealthConfig {
    let (listen, ready) = match owner {
        Owner::ThisFile => (
            table.string("listen", problems),
            table.string("ready", problems),
        ),
        Owner::Others => (None, None),
    };
    let config = HealthConfig {
        at: table.at.clone(),
        listen,
        ready,
        http: table.string("http", problems),
        status: table.integer_or_integers("status", problems),
        body: table.string("body", problems),
        json: table
            .table("json", problems)
            .map(|table| expected(table, problems)),
        headers: headers(&mut table, problems),
        command: table.strings("command", problems),
        tcp: table.string("tcp", problems),
        active: table.boolean("active", problems),
        successes: table.integer("successes", problems),
        interval: table.string("interval", problems),
        timeout: table.string("timeout", problems),
        attempt_timeout: table.string("attempt_timeout", problems),
        start_delay: table.string("start_delay", problems),
    };
    table.finish(problems);
    config
}

fn headers(table: &mut Table<'_>, problems: &mut Vec<Problem>) -> Option<Headers> {
    let at = table.place("headers");
    let value = table.string_table("headers", problems);
    Some(At { value, at: at? })
}

fn expected(mut table: Table<'_>, problems: &mut Vec<Problem>) -> ExpectedConfig {
    let config = ExpectedConfig {
        at: table.at.clone(),
        pointer: table.string("pointer", problems),
        equals: table.scalar("equals", problems),
    };
    if !table.has("pointer") || !table.has("equals") {
        problems.push(
            Problem::new(&table.at, "`json` takes `pointer` and `equals`")
                .hint("for example `json = { pointer = \"/status\", equals = \"healthy\" }`"),
        );
    }
    table.finish(problems);
    config
}
