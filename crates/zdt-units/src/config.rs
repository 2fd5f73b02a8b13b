//! `zdt.toml` as written: every value with its place in the text.
//!
//! Reading never stops at a mistake. What a value means is decided in
//! [`model`](crate::model); here it only has to be of the right kind.

mod problem;
mod reader;

use toml::de::DeTable;

pub use problem::{Colour, Mistakes, Problem};
pub use reader::At;
use reader::{StringOrTable, Table};
pub(crate) use reader::{list, nearest};

/// The whole file.
#[derive(Debug, Default)]
pub struct Config {
    pub services: Vec<ServiceConfig>,
    /// What was wrong so far; [`Model::new`](crate::model::Model::new) adds to it.
    pub problems: Vec<Problem>,
}

/// `[service.NAME]`.
#[derive(Debug)]
pub struct ServiceConfig {
    pub name: At<String>,
    pub exec: Option<At<Vec<At<String>>>>,
    pub documentation: Vec<At<String>>,
    pub listen: Option<At<Vec<At<String>>>>,
    pub sockets: Vec<SocketConfig>,
    pub after: Vec<At<String>>,
    pub environment: Vec<(At<String>, At<String>)>,
    pub environment_files: Vec<At<String>>,
    pub user: Option<At<String>>,
    pub working_directory: Option<At<String>>,
    pub health: Option<HealthConfig>,
    pub drain: DrainConfig,
    pub start_timeout: Option<At<String>>,
    pub restart_sec: Option<At<String>>,
    pub watchdog: Option<At<String>>,
    pub sandbox: SandboxConfig,
    pub strategy: Option<At<String>>,
    pub nofile: Option<At<i64>>,
}

/// `[[service.NAME.socket]]`.
#[derive(Debug)]
pub struct SocketConfig {
    pub at: std::ops::Range<usize>,
    pub name: Option<At<String>>,
    pub unit: Option<At<String>>,
    pub listen: Option<At<Vec<At<String>>>>,
    pub backlog: Option<At<i64>>,
    pub mode: Option<At<String>>,
    pub user: Option<At<String>>,
    pub group: Option<At<String>>,
    pub defer_accept: Option<At<bool>>,
}

/// `health = { … }`.
#[derive(Debug)]
pub struct HealthConfig {
    pub at: std::ops::Range<usize>,
    pub listen: Option<At<String>>,
    pub ready: Option<At<String>>,
    pub successes: Option<At<i64>>,
    pub interval: Option<At<String>>,
    pub timeout: Option<At<String>>,
}

/// `drain = { … }`.
#[derive(Debug, Default)]
pub struct DrainConfig {
    pub grace: Option<At<String>>,
    pub limit: Option<At<String>>,
    pub linger: Option<At<String>>,
}

/// `sandbox = "default"`, `"none"`, or a table.
#[derive(Debug, Default)]
pub enum SandboxConfig {
    #[default]
    Absent,
    Word(At<String>),
    Table {
        network: Option<At<String>>,
        state: Option<At<String>>,
    },
}

impl Config {
    /// Reads the text of a `zdt.toml`.
    pub fn read(text: &str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What the parser made of a broken text would only give mistakes that are not there.
            return Self {
                services: Vec::new(),
                problems: errors.iter().map(|error| syntax(error, text)).collect(),
            };
        }

        let mut problems = Vec::new();
        let mut root = Table::new(document.get_ref(), 0..0);
        let version = root.integer("version", &mut problems);
        if let Some(version) = version.filter(|version| version.value != 1) {
            problems.push(
                Problem::new(
                    &version.at,
                    format!("version {} of `zdt.toml` is not known", version.value),
                )
                .hint("this program reads `version = 1`"),
            );
        }
        let services = root
            .named_tables("service", &mut problems)
            .into_iter()
            .map(|(name, table)| service(name, table, &mut problems))
            .collect();
        root.finish(&mut problems);
        Self { services, problems }
    }
}

fn syntax(error: &toml::de::Error, text: &str) -> Problem {
    let at = error.span().unwrap_or(text.len()..text.len());
    Problem::new(&at, error.message())
}

fn service(name: At<String>, mut table: Table<'_>, problems: &mut Vec<Problem>) -> ServiceConfig {
    if !table.has("exec") {
        problems.push(
            Problem::new(
                &name.at,
                format!("service `{}` does not say what to execute", name.value),
            )
            .hint("add `exec = [\"/absolute/path/to/program\"]`"),
        );
    }
    if !table.has("listen") && !table.has("socket") {
        problems.push(
            Problem::new(&name.at, format!("service `{}` has no socket", name.value))
                .hint("add `listen = \"0.0.0.0:80\"`; `\":80\"` takes IPv6 too"),
        );
    }
    let config = ServiceConfig {
        name,
        exec: table.strings("exec", problems),
        documentation: items(table.string_or_strings("documentation", problems)),
        listen: table.string_or_strings("listen", problems),
        sockets: table
            .tables("socket", problems)
            .into_iter()
            .map(|table| socket(table, problems))
            .collect(),
        after: items(table.strings("after", problems)),
        environment: table.string_table("environment", problems),
        environment_files: items(table.strings("environment_files", problems)),
        user: table.string("user", problems),
        working_directory: table.string("working_directory", problems),
        health: table
            .table("health", problems)
            .map(|table| health(table, problems)),
        drain: table
            .table("drain", problems)
            .map(|table| drain(table, problems))
            .unwrap_or_default(),
        start_timeout: table.string("start_timeout", problems),
        restart_sec: table.string("restart_sec", problems),
        watchdog: table.string("watchdog", problems),
        sandbox: match table.string_or_table("sandbox", problems) {
            None => SandboxConfig::Absent,
            Some(StringOrTable::String(word)) => SandboxConfig::Word(word),
            Some(StringOrTable::Table(table)) => sandbox(table, problems),
        },
        strategy: table.string("strategy", problems),
        nofile: table.integer("nofile", problems),
    };
    table.finish(problems);
    config
}

fn socket(mut table: Table<'_>, problems: &mut Vec<Problem>) -> SocketConfig {
    if !table.has("name") {
        problems.push(
            Problem::new(&table.at, "this socket has no name")
                .hint("add `name = \"http\"`: a program finds its sockets by name"),
        );
    }
    if !table.has("listen") {
        problems.push(
            Problem::new(&table.at, "this socket does not say where to listen")
                .hint("add `listen = \"0.0.0.0:80\"`"),
        );
    }
    let config = SocketConfig {
        at: table.at.clone(),
        name: table.string("name", problems),
        unit: table.string("unit", problems),
        listen: table.string_or_strings("listen", problems),
        backlog: table.integer("backlog", problems),
        mode: table.string("mode", problems),
        user: table.string("user", problems),
        group: table.string("group", problems),
        defer_accept: table.boolean("defer_accept", problems),
    };
    table.finish(problems);
    config
}

fn health(mut table: Table<'_>, problems: &mut Vec<Problem>) -> HealthConfig {
    let config = HealthConfig {
        at: table.at.clone(),
        listen: table.string("listen", problems),
        ready: table.string("ready", problems),
        successes: table.integer("successes", problems),
        interval: table.string("interval", problems),
        timeout: table.string("timeout", problems),
    };
    table.finish(problems);
    config
}

fn drain(mut table: Table<'_>, problems: &mut Vec<Problem>) -> DrainConfig {
    let config = DrainConfig {
        grace: table.string("grace", problems),
        limit: table.string("limit", problems),
        linger: table.string("linger", problems),
    };
    table.finish(problems);
    config
}

fn sandbox(mut table: Table<'_>, problems: &mut Vec<Problem>) -> SandboxConfig {
    let config = SandboxConfig::Table {
        network: table.string("network", problems),
        state: table.string("state", problems),
    };
    table.finish(problems);
    config
}

fn items(array: Option<At<Vec<At<String>>>>) -> Vec<At<String>> {
    array.map(|array| array.value).unwrap_or_default()
}
