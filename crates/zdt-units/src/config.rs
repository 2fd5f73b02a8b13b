//! `zdt.toml` as written: every value with its place in the text.
//!
//! Reading never stops at a mistake. What a value means is decided in
//! [`model`](crate::model); here it only has to be of the right kind.

mod balancer;
mod events;
mod health;
pub mod keys;
mod problem;
mod process;
mod proxy;
mod reader;
mod release;

use toml::de::DeTable;

use self::health::Owner;
pub use balancer::BalancerConfig;
pub use events::{EventsConfig, HookConfig, WebhookConfig};
pub use health::{ExpectedConfig, Headers, HealthConfig};
pub use problem::{Colour, Mistakes, Problem};
pub use process::{
    LauncherConfig, MemoryConfig, OutputConfig, PortConfig, RestartConfig, StopConfig,
};
pub use proxy::ProxyConfig;
pub use reader::At;
use reader::{StringOrTable, Table};
pub(crate) use reader::{list, nearest};
pub use release::{ErrandConfig, MigrateConfig, ReleaseConfig};

/// The whole file.
#[derive(Debug, Default)]
pub struct Config {
    pub services: Vec<ServiceConfig>,
    /// Units of others, with names of this file.
    pub foreign: Vec<ForeignConfig>,
    pub breaker: BreakerConfig,
    pub events: EventsConfig,
    pub launcher: LauncherConfig,
    /// What was wrong so far; [`Model::new`](crate::model::Model::new) adds to it.
    pub problems: Vec<Problem>,
}

/// `[breaker]`.
#[derive(Debug, Default)]
pub struct BreakerConfig {
    pub failures: Option<At<i64>>,
    pub within: Option<At<String>>,
    pub pause: Option<At<String>>,
}

/// `[service.NAME]` with `unit`.
#[derive(Debug)]
pub struct ForeignConfig {
    pub name: At<String>,
    pub unit: At<String>,
    pub after: Vec<At<String>>,
    pub health: Option<HealthConfig>,
}

/// `[service.NAME]`, over the template that it names.
#[derive(Debug)]
pub struct ServiceConfig {
    pub name: At<String>,
    pub kind: Option<At<String>>,
    pub exec: Option<At<Vec<At<String>>>>,
    pub documentation: Vec<At<String>>,
    pub listen: Option<At<Vec<At<String>>>>,
    pub sockets: Vec<SocketConfig>,
    pub after: Vec<At<String>>,
    pub environment: Vec<(At<String>, At<String>)>,
    pub environment_files: Vec<At<String>>,
    pub credentials: Vec<(At<String>, At<String>)>,
    pub user: Option<At<String>>,
    pub working_directory: Option<At<String>>,
    pub health: Option<HealthConfig>,
    pub drain: DrainConfig,
    pub start_timeout: Option<At<String>>,
    pub ready: Option<At<String>>,
    pub stop: Option<StopConfig>,
    /// Short for the `pause` of the next one.
    pub restart_sec: Option<At<String>>,
    pub restart: Option<RestartConfig>,
    pub memory: Option<MemoryConfig>,
    pub port: Option<PortConfig>,
    pub watchdog: Option<At<String>>,
    pub sandbox: SandboxConfig,
    pub balancer: Option<BalancerConfig>,
    pub strategy: Option<At<String>>,
    pub instances: Option<At<i64>>,
    pub rolling: Option<RollingConfig>,
    pub nofile: Option<At<i64>>,
    pub handover: Option<At<bool>>,
    pub release: Option<ReleaseConfig>,
    pub check: Option<ErrandConfig>,
    pub migrate: Option<MigrateConfig>,
    pub warm: Option<ErrandConfig>,
    pub bake: Option<At<String>>,
    pub proxy: Option<ProxyConfig>,
}

/// `rolling = { … }`.
#[derive(Debug)]
pub struct RollingConfig {
    pub at: std::ops::Range<usize>,
    pub batch: Option<At<i64>>,
    pub surge: Option<At<i64>>,
    pub max_unavailable: Option<At<i64>>,
    pub pause: Option<At<String>>,
    pub canary: Option<At<bool>>,
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
        jit: Option<At<bool>>,
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
                foreign: Vec::new(),
                breaker: BreakerConfig::default(),
                events: EventsConfig::default(),
                launcher: LauncherConfig::default(),
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
        let templates = root.named_tables("template", &mut problems);
        let (mut services, mut foreign) = (Vec::new(), Vec::new());
        for (name, table) in root.named_tables("service", &mut problems) {
            match table.has("unit") {
                true => foreign.extend(foreign_unit(name, table, &mut problems)),
                false => {
                    let table = on_template(table, &templates, &mut problems);
                    complain_of_what_is_missing(&name, &table, &mut problems);
                    services.push(service(name, table, &mut problems));
                }
            }
        }
        for (name, table) in templates {
            service(name, table, &mut problems);
        }
        let breaker = root.table("breaker", &mut problems);
        let breaker = breaker
            .map(|table| breaker_config(table, &mut problems))
            .unwrap_or_default();
        let events = root.table("events", &mut problems);
        let events = events.map(|table| events::read(table, &mut problems));
        let launcher = root.table("launcher", &mut problems);
        let launcher = launcher.map(|table| process::launcher(table, &mut problems));
        root.finish(&mut problems);
        Self {
            services,
            foreign,
            breaker,
            events: events.unwrap_or_default(),
            launcher: launcher.unwrap_or_default(),
            problems,
        }
    }
}

fn syntax(error: &toml::de::Error, text: &str) -> Problem {
    let at = error.span().unwrap_or(text.len()..text.len());
    Problem::new(&at, error.message())
}

/// Lays `table` over the template that it names.
fn on_template<'a>(
    mut table: Table<'a>,
    templates: &[(At<String>, Table<'a>)],
    problems: &mut Vec<Problem>,
) -> Table<'a> {
    let Some(wanted) = table.string("template", problems) else {
        return table;
    };
    let named = |name: &str| templates.iter().find(|(known, _)| known.value == name);
    if let Some((_, template)) = named(&wanted.value) {
        return table.over(template);
    }
    let known: Vec<&str> = templates.iter().map(|(name, _)| &*name.value).collect();
    let problem = Problem::new(
        &wanted.at,
        format!("there is no `[template.{}]`", wanted.value),
    );
    problems.push(match nearest(&wanted.value, &known) {
        Some(meant) => problem.label(format!("did you mean `{meant}`?")),
        None => problem.hint(format!("the templates of this file are {}", list(&known))),
    });
    table
}

fn complain_of_what_is_missing(name: &At<String>, table: &Table<'_>, problems: &mut Vec<Problem>) {
    if !table.has("exec") {
        problems.push(
            Problem::new(
                &name.at,
                format!("service `{}` does not say what to execute", name.value),
            )
            .hint("add `exec = [\"/absolute/path/to/program\"]`"),
        );
    }
    let serves = matches!(table.text("kind"), None | Some("web"));
    let listens = ["listen", "socket", "port"]
        .iter()
        .any(|key| table.has(key));
    if serves && !listens {
        problems.push(
            Problem::new(&name.at, format!("service `{}` has no socket", name.value)).hint(
                "add `listen = \"0.0.0.0:80\"`; `\":80\"` takes IPv6 too. \
                 What serves nobody is of another `kind`, such as `worker`",
            ),
        );
    }
}

fn foreign_unit(
    name: At<String>,
    mut table: Table<'_>,
    problems: &mut Vec<Problem>,
) -> Option<ForeignConfig> {
    let unit = table.string("unit", problems);
    let after = items(table.strings("after", problems));
    let health = table
        .table("health", problems)
        .map(|table| health::read(table, Owner::Others, problems));
    table.finish(problems);
    Some(ForeignConfig {
        name,
        unit: unit?,
        after,
        health,
    })
}

fn service(name: At<String>, mut table: Table<'_>, problems: &mut Vec<Problem>) -> ServiceConfig {
    let config = ServiceConfig {
        name,
        kind: table.string("kind", problems),
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
        credentials: table.string_table("credentials", problems),
        user: table.string("user", problems),
        working_directory: table.string("working_directory", problems),
        health: table
            .table("health", problems)
            .map(|table| health::read(table, Owner::ThisFile, problems)),
        drain: table
            .table("drain", problems)
            .map(|table| drain(table, problems))
            .unwrap_or_default(),
        start_timeout: table.string("start_timeout", problems),
        ready: table.string("ready", problems),
        stop: table
            .table("stop", problems)
            .map(|table| process::stop(table, problems)),
        restart_sec: table.string("restart_sec", problems),
        restart: table
            .table("restart", problems)
            .map(|table| process::restart(table, problems)),
        memory: table
            .table("memory", problems)
            .map(|table| process::memory(table, problems)),
        port: process::port(&mut table, problems),
        watchdog: table.string("watchdog", problems),
        sandbox: match table.string_or_table("sandbox", problems) {
            None => SandboxConfig::Absent,
            Some(StringOrTable::String(word)) => SandboxConfig::Word(word),
            Some(StringOrTable::Table(table)) => sandbox(table, problems),
        },
        balancer: table
            .table("balancer", problems)
            .map(|table| balancer::read(table, problems)),
        strategy: table.string("strategy", problems),
        instances: table.integer("instances", problems),
        rolling: table
            .table("rolling", problems)
            .map(|table| rolling(table, problems)),
        nofile: table.integer("nofile", problems),
        handover: table.boolean("handover", problems),
        release: table
            .table("release", problems)
            .map(|table| release::read(table, problems)),
        check: table
            .table("check", problems)
            .map(|table| release::errand("check", table, problems)),
        migrate: table
            .table("migrate", problems)
            .map(|table| release::migrate(table, problems)),
        warm: table
            .table("warm", problems)
            .map(|table| release::errand("warm", table, problems)),
        bake: table.string("bake", problems),
        proxy: table
            .table("proxy", problems)
            .map(|table| proxy::read(table, problems)),
    };
    table.finish(problems);
    config
}

fn breaker_config(mut table: Table<'_>, problems: &mut Vec<Problem>) -> BreakerConfig {
    let config = BreakerConfig {
        failures: table.integer("failures", problems),
        within: table.string("within", problems),
        pause: table.string("pause", problems),
    };
    table.finish(problems);
    config
}

fn rolling(mut table: Table<'_>, problems: &mut Vec<Problem>) -> RollingConfig {
    let config = RollingConfig {
        at: table.at.clone(),
        batch: table.integer("batch", problems),
        surge: table.integer("surge", problems),
        max_unavailable: table.integer("max_unavailable", problems),
        pause: table.string("pause", problems),
        canary: table.boolean("canary", problems),
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
        jit: table.boolean("jit", problems),
    };
    table.finish(problems);
    config
}

fn items(array: Option<At<Vec<At<String>>>>) -> Vec<At<String>> {
    array.map(|array| array.value).unwrap_or_default()
}
