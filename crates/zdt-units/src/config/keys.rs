//! Every key of `zdt.toml`: what it takes and what it means. The schema for
//! editors and the tables of `docs/zdt-toml.md` are made from this.

mod balancer;
mod events;
mod health;
mod process;
mod proxy;
mod reference;
mod release;
mod schema;
mod service;

pub use balancer::BALANCER;
pub use events::{EVENT_EXEC, EVENTS, WEBHOOK};
pub use health::{EXPECTED, FOREIGN_HEALTH, HEALTH};
pub use process::{LAUNCHER, MEMORY, OUTPUT, PORT, RESTART, STOP};
pub(crate) use process::{OUTPUTS, SIGNALS};
pub use proxy::PROXY;
pub use reference::reference;
pub use release::{CHECK, MIGRATE, RELEASE, WARM};
pub use schema::schema;
pub use service::{DRAIN, ROLLING, SANDBOX, SERVICE, SOCKET};

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// As its header is written.
    pub header: &'static str,
    pub keys: &'static [Key],
}

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// In words; `required` for those that must be there.
    pub default: &'static str,
    /// Markdown.
    pub meaning: &'static str,
    /// The directives that it ends up in, in Markdown; may be empty.
    pub becomes: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Duration,
    Boolean,
    Number(i64, i64),
    /// One, or an array of them.
    NumberOrNumbers(i64, i64),
    NumberOrTable(i64, i64, &'static Shape),
    /// A string, a whole number or a boolean.
    Scalar,
    OneOf(&'static [&'static str]),
    TextOrFalse,
    /// An array of strings.
    List,
    TextOrList,
    /// A table of strings under names of the user's own.
    Pairs,
    Table(&'static Shape),
    OneOfOrTable(&'static [&'static str], &'static Shape),
    /// An array of tables.
    Tables(&'static Shape),
    /// Tables under names of the user's own.
    Named(&'static Shape),
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
    becomes: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        meaning,
        becomes,
    }
}

/// The file itself.
pub const FILE: Shape = Shape {
    header: "`zdt.toml`",
    keys: &[
        key(
            "version",
            Kind::Number(1, 1),
            "1",
            "The version of this format; 1 is the only one",
            "",
        ),
        key(
            "service",
            Kind::Named(&SERVICE),
            "required",
            "The services, by name",
            "",
        ),
        key(
            "template",
            Kind::Named(&SERVICE),
            "none",
            "What several services have in common, by name",
            "",
        ),
        key(
            "breaker",
            Kind::Table(&BREAKER),
            "see below",
            "When operations that keep failing are no longer tried",
            "",
        ),
        key(
            "events",
            Kind::Table(&EVENTS),
            "a file and the journal",
            "Where it is written down what restarts did, and who is told; see below",
            "",
        ),
        key(
            "launcher",
            Kind::Table(&LAUNCHER),
            "see below",
            "What only `zdt-units run` needs to know",
            "",
        ),
    ],
};

pub const BREAKER: Shape = Shape {
    header: "`[breaker]`",
    keys: &[
        key(
            "failures",
            Kind::Number(0, 100),
            "3",
            "So many operations on a service that failed in a row (exit status 6 or 7) open its circuit: the next one \
             is refused. 0: never.",
            "",
        ),
        key(
            "within",
            Kind::Duration,
            "`1h`",
            "Failures that are older do not count.",
            "",
        ),
        key(
            "pause",
            Kind::Duration,
            "`10m`",
            "How long operations are refused; then one is let through. If it fails, the pause is twice as long, up to \
             eight times; if it succeeds, all is forgotten.",
            "",
        ),
    ],
};

/// `[service.NAME]` with `unit`.
pub const FOREIGN: Shape = Shape {
    header: "`[service.NAME]` with `unit`",
    keys: &[
        key(
            "unit",
            Kind::Text,
            "required",
            "The full name of a unit that is there already, such as `postgresql.service`",
            "",
        ),
        key("after", Kind::List, "none", "As above", ""),
        key(
            "health",
            Kind::Table(&FOREIGN_HEALTH),
            "none",
            "How it is asked whether it is well: `http`, `command`, `tcp` or `active`; see [health](health.md)",
            "",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use crate::config::{Config, list};

    use super::*;

    /// What the reader lists when it meets a key that nobody knows, in the table that `text` ends in.
    fn known_to_the_reader(text: &str) -> String {
        let problems = Config::read(&format!("{text}\nqqqqqqqq = 1")).problems;
        let unknown = problems
            .into_iter()
            .find(|problem| problem.message.contains("qqqqqqqq"))
            .unwrap_or_else(|| panic!("`{text}` takes any key"));
        unknown.hint.unwrap_or_default()
    }

    #[test]
    fn what_is_described_is_what_is_read() {
        let shapes = [
            (FILE, ""),
            (EVENTS, "[events]"),
            (WEBHOOK, "[[events.webhook]]"),
            (EVENT_EXEC, "[[events.exec]]"),
            (SERVICE, "[service.a]"),
            (SOCKET, "[[service.a.socket]]"),
            (HEALTH, "[service.a.health]"),
            (DRAIN, "[service.a.drain]"),
            (SANDBOX, "[service.a.sandbox]"),
            (STOP, "[service.a.stop]"),
            (RESTART, "[service.a.restart]"),
            (MEMORY, "[service.a.memory]"),
            (PORT, "[service.a.port]"),
            (LAUNCHER, "[launcher]"),
            (OUTPUT, "[launcher.output]"),
            (ROLLING, "[service.a.rolling]"),
            (RELEASE, "[service.a.release]"),
            (CHECK, "[service.a.check]"),
            (WARM, "[service.a.warm]"),
            (MIGRATE, "[service.a.migrate]"),
            (PROXY, "[service.a.proxy]"),
            (EXPECTED, "[service.a.health.json]"),
            (FOREIGN, "[service.a]\nunit = \"a.service\""),
            (
                FOREIGN_HEALTH,
                "[service.a]\nunit = \"a.service\"\n[service.a.health]",
            ),
        ];
        for (shape, text) in shapes {
            let mut names: Vec<_> = shape.keys.iter().map(|key| key.name).collect();
            names.sort_unstable();
            assert_eq!(
                known_to_the_reader(text),
                format!("the keys known here are {}", list(&names)),
                "{}",
                shape.header
            );
        }
    }
}
