//! Every key of `zdt.toml`: what it takes and what it means. The schema for
//! editors and the tables of `docs/zdt-toml.md` are made from this.

mod process;
mod reference;
mod schema;

pub use process::{LAUNCHER, MEMORY, OUTPUT, PORT, RESTART, STOP};
pub(crate) use process::{OUTPUTS, SIGNALS};
pub use reference::reference;
pub use schema::schema;

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

pub const EVENTS: Shape = Shape {
    header: "`[events]`",
    keys: &[
        key(
            "file",
            Kind::TextOrFalse,
            "`/var/log/zdt/events.jsonl`; with `--user` `~/.local/state/zdt/log/events.jsonl`",
            "An absolute path, or `false` for none",
            "",
        ),
        key(
            "max_bytes",
            Kind::Text,
            "`10MiB`",
            "A file that is larger becomes `events.jsonl.1`, and what was that `events.jsonl.2`; at least `4KiB`",
            "",
        ),
        key(
            "keep",
            Kind::Number(1, 1000),
            "`5`",
            "How many such older files are kept",
            "",
        ),
        key(
            "journal",
            Kind::Boolean,
            "`true`",
            "Whether the journal gets each event, with its fields",
            "",
        ),
        key(
            "metrics",
            Kind::Text,
            "none",
            "A file for the textfile collector of node_exporter, such as \
             `/var/lib/prometheus/node-exporter/zdt.prom`",
            "",
        ),
        key(
            "webhook",
            Kind::Tables(&WEBHOOK),
            "none",
            "Who is told by HTTP; see below",
            "",
        ),
        key(
            "exec",
            Kind::Tables(&EVENT_EXEC),
            "none",
            "Programs that are told; see below",
            "",
        ),
    ],
};

pub const WEBHOOK: Shape = Shape {
    header: "`[[events.webhook]]`",
    keys: &[
        key(
            "url",
            Kind::Text,
            "required, unless there is `url_file`",
            "`https://` or `http://`",
            "",
        ),
        key(
            "url_file",
            Kind::Text,
            "none",
            "A file with the address, where the address is a secret, as with Slack and Discord",
            "",
        ),
        key(
            "format",
            Kind::OneOf(&["json", "slack", "discord"]),
            "`json`",
            "The event as it is, or a message that says it in a few words",
            "",
        ),
        key(
            "on",
            Kind::List,
            "`[\"failed\", \"finished\"]`",
            "Kinds of events, or `started`, `finished`, `failed`, `all`",
            "",
        ),
        key(
            "timeout",
            Kind::Duration,
            "`5s`",
            "How long one attempt may take",
            "",
        ),
        key(
            "retries",
            Kind::Number(0, 20),
            "`3`",
            "How often it is tried again after 5xx, 429 or no answer, with growing pauses",
            "",
        ),
        key(
            "headers_file",
            Kind::Text,
            "none",
            "A file with headers to send, `Name: value` on each line",
            "",
        ),
    ],
};

pub const EVENT_EXEC: Shape = Shape {
    header: "`[[events.exec]]`",
    keys: &[
        key(
            "command",
            Kind::List,
            "required",
            "The program, looked up on `PATH` if it has no slash, and its arguments; no shell. The event is one line \
             of JSON on its standard input, and in `ZDT_*` of its environment.",
            "",
        ),
        key(
            "on",
            Kind::List,
            "`[\"failed\", \"finished\"]`",
            "As above",
            "",
        ),
        key(
            "timeout",
            Kind::Duration,
            "`10s`",
            "How long it may run; then it is killed with all that it started",
            "",
        ),
    ],
};

pub const SERVICE: Shape = Shape {
    header: "`[service.NAME]`",
    keys: &[
        key(
            "kind",
            Kind::OneOf(&["web", "worker", "singleton", "service"]),
            "`web`",
            "What its processes are there for; see [workers](workers.md). `web`: they serve on sockets. `worker`: they \
             take work from elsewhere, any number of them. `singleton`: a worker of which two never run at the same \
             time. `service`: what others need, and what is not part of their deployments.",
            "",
        ),
        key(
            "exec",
            Kind::List,
            "required",
            "The program and its arguments, a string each. No shell, no search path, no variables: `$` and `%` are \
             themselves. The program is an absolute path without any of `\"'\\*?[`.",
            "`ExecStart=`, quoted",
        ),
        key(
            "listen",
            Kind::TextOrList,
            "required with `kind = \"web\"`, unless there is a `socket` table or a `port`",
            "One address or a list: short for one socket named `http`",
            "`ListenStream=` in `NAME.socket`",
        ),
        key(
            "socket",
            Kind::Tables(&SOCKET),
            "none",
            "More than one socket, or options of one; see below",
            "a unit each",
        ),
        key(
            "template",
            Kind::Text,
            "none",
            "Keys that are not written here are taken from `[template.NAME]`, also those inside `health`, `drain` and \
             the like; `socket` tables are taken as a whole.",
            "",
        ),
        key(
            "after",
            Kind::List,
            "none",
            "Started before this one, if possible: services of this file, or units by their full name. Cycles are \
             mistakes.",
            "`Wants=` and `After=` of the service",
        ),
        key(
            "strategy",
            Kind::OneOf(&["queue", "standby", "rolling", "reload"]),
            "`queue`; `rolling` for more than one worker",
            "How the service is replaced; see [strategies](#strategies)",
            "which units are written",
        ),
        key(
            "instances",
            Kind::Number(1, 1000),
            "2 with `rolling`, else 1",
            "How many equal processes share the sockets, or the work",
            "`Wants=` of `NAME.target`",
        ),
        key(
            "rolling",
            Kind::Table(&ROLLING),
            "one after the other",
            "How many instances are replaced at a time, and with how much care; see below",
            "",
        ),
        key(
            "environment",
            Kind::Pairs,
            "none",
            "A table of variables. Those that [the environment](environment.md) marks as reserved are not yours to set.",
            "`Environment=`",
        ),
        key(
            "environment_files",
            Kind::List,
            "none",
            "Absolute paths, no patterns; one that begins with `-` may be missing",
            "`EnvironmentFile=`",
        ),
        key(
            "credentials",
            Kind::Pairs,
            "none",
            "Secrets: `name = \"/path\"`. The program reads `$CREDENTIALS_DIRECTORY/name`, which nobody else can; the \
             file itself may be readable for root only.",
            "`LoadCredential=`",
        ),
        key(
            "user",
            Kind::Text,
            "a user that systemd makes for this service, of its name; root with `sandbox = \"none\"`",
            "An existing user",
            "`User=`; without it `DynamicUser=yes` and `User=NAME`",
        ),
        key(
            "working_directory",
            Kind::Text,
            "systemd's, `/`",
            "An absolute path",
            "`WorkingDirectory=`",
        ),
        key(
            "sandbox",
            Kind::OneOfOrTable(&["default", "none"], &SANDBOX),
            "`\"default\"`",
            "What the process may not do; see below",
            "29 directives and more",
        ),
        key(
            "health",
            Kind::Table(&HEALTH),
            "none",
            "How a new process is asked whether it is ready; see below, and [health](health.md)",
            "one more socket unit, if it has `listen`",
        ),
        key(
            "drain",
            Kind::Table(&DRAIN),
            "see below",
            "How long a process that was told to stop goes on; see below",
            "`Environment=ZDT_DRAIN_*`, `TimeoutStopSec=`",
        ),
        key(
            "start_timeout",
            Kind::Duration,
            "`60s`",
            "How long a new process may take until `READY=1`",
            "`TimeoutStartSec=`",
        ),
        key(
            "ready",
            Kind::OneOf(&["notify", "started"]),
            "`notify`",
            "How it is known that a new process is ready: it says `READY=1`, or it was started. See below",
            "`Type=`, `NotifyAccess=`",
        ),
        key(
            "stop",
            Kind::Table(&STOP),
            "`SIGTERM`",
            "How a process of others is asked to end; see below",
            "`ExecStop=`, `KillSignal=`",
        ),
        key(
            "restart",
            Kind::Table(&RESTART),
            "see below",
            "When a process that ended by itself is started again; see below",
            "`RestartSec=`, `RestartSteps=`, `RestartMaxDelaySec=`",
        ),
        key(
            "restart_sec",
            Kind::Duration,
            "none",
            "Short for `restart = { pause = ... }`",
            "`RestartSec=`",
        ),
        key(
            "memory",
            Kind::Table(&MEMORY),
            "none",
            "How much memory a process and its children may have together; see below",
            "`MemoryHigh=`",
        ),
        key(
            "port",
            Kind::NumberOrTable(1, 65535, &PORT),
            "none",
            "For a program that binds by itself: the port, in `ZDT_PORT` and as `{{port}}`; see below",
            "`Environment=ZDT_PORT`",
        ),
        key(
            "watchdog",
            Kind::Duration,
            "none",
            "A process that does not report for so long is killed and started again. `zdt::serve` reports by itself.",
            "`WatchdogSec=`",
        ),
        key(
            "nofile",
            Kind::Number(64, 1 << 30),
            "`65536`",
            "How many descriptors the process may have",
            "`LimitNOFILE=`",
        ),
        key(
            "handover",
            Kind::Boolean,
            "`false`",
            "Whether the program gives open connections to the next process, as `zdt::serve` does; see below",
            "`FileDescriptorStoreMax=16`, `Environment=ZDT_HANDOVER=1`, `ExecStartPost=`, with `standby` and `rolling` \
             also `RuntimeDirectory=`",
        ),
        key(
            "release",
            Kind::Table(&RELEASE),
            "none",
            "Where releases are kept, or whose they are; `{{release.path}}` is the one that runs; see below",
            "",
        ),
        key(
            "check",
            Kind::Table(&CHECK),
            "none",
            "Says before anything is touched whether the release can serve, such as `nginx -t`; see below",
            "`NAME-check.service`",
        ),
        key(
            "migrate",
            Kind::Table(&MIGRATE),
            "none",
            "What a new release does to its data first; see below",
            "`NAME-migrate.service` and the like",
        ),
        key(
            "warm",
            Kind::Table(&WARM),
            "none",
            "Fills caches of a new process once it is ready; see below",
            "`NAME-warm.service`",
        ),
        key(
            "bake",
            Kind::Duration,
            "`0s`",
            "How long a new process is to stay up until a deploy counts as done, and a canary until the others are \
             replaced",
            "",
        ),
        key(
            "documentation",
            Kind::TextOrList,
            "none",
            "Where its operators read more: `https://`, `http://`, `file:`, `info:` or `man:`",
            "`Documentation=`",
        ),
    ],
};

pub const SOCKET: Shape = Shape {
    header: "`[[service.NAME.socket]]`",
    keys: &[
        key(
            "name",
            Kind::Text,
            "required",
            "As `NAME` above; unique in the service, unless `unit` differs. `health` is taken where `health` has a \
             `listen`.",
            "`FileDescriptorName=`",
        ),
        key(
            "listen",
            Kind::TextOrList,
            "required",
            "One address or a list, all TCP or all Unix",
            "`ListenStream=`, each",
        ),
        key(
            "unit",
            Kind::Text,
            "`NAME` for the main socket, `NAME-SOCKET` for the others",
            "What its unit is called. With it two units can pass their sockets under one name, which is how a service \
             moves to another address without closing the old one.",
            "the name of the file",
        ),
        key(
            "backlog",
            Kind::Number(1, 1 << 20),
            "`4096`",
            "Connections that may wait; `net.core.somaxconn` cuts it",
            "`Backlog=`",
        ),
        key(
            "defer_accept",
            Kind::Boolean,
            "`true`",
            "TCP: a connection is handed over when its first byte has arrived. `false` for protocols in which the \
             server speaks first.",
            "`DeferAcceptSec=5`",
        ),
        key(
            "mode",
            Kind::Text,
            "`\"0660\"`",
            "Unix: permissions, in octal",
            "`SocketMode=`",
        ),
        key("user", Kind::Text, "root", "Unix: owner", "`SocketUser=`"),
        key("group", Kind::Text, "root", "Unix: group", "`SocketGroup=`"),
    ],
};

pub const HEALTH: Shape = Shape {
    header: "`health = { ... }`",
    keys: &[
        key(
            "listen",
            Kind::Text,
            "none: the first address of the main socket is asked",
            "A socket of its own, unit `NAME-health.socket`, name `health`, `Backlog=64`, no `DeferAcceptSec=`. The \
             app has to take it.",
            "`ListenStream=`",
        ),
        key(
            "ready",
            Kind::Text,
            "`/readyz`",
            "The path. 200 is ready, all else is not.",
            "",
        ),
        HTTP,
        STATUS,
        BODY,
        JSON,
        HEADERS,
        COMMAND,
        TCP,
        ACTIVE,
        SUCCESSES,
        INTERVAL,
        TIMEOUT,
        ATTEMPT_TIMEOUT,
        START_DELAY,
    ],
};

const HTTP: Key = key(
    "http",
    Kind::Text,
    "none",
    "Asks another server than the `zdt` library: `http://ADDRESS/PATH`, or `unix:/SOCKET:/PATH`",
    "",
);
const STATUS: Key = key(
    "status",
    Kind::NumberOrNumbers(100, 599),
    "`200`",
    "With `http`: the statuses that are well",
    "",
);
const BODY: Key = key(
    "body",
    Kind::Text,
    "none",
    "With `http`: what the body has in it",
    "",
);
const JSON: Key = key(
    "json",
    Kind::Table(&EXPECTED),
    "none",
    "With `http`: what stands where in a body of JSON",
    "",
);
const HEADERS: Key = key(
    "headers",
    Kind::Pairs,
    "none",
    "With `http`: a table of headers to send, such as `Host`",
    "",
);
const COMMAND: Key = key(
    "command",
    Kind::List,
    "none",
    "A program that ends with 0, looked up on `PATH` if it has no slash, and its arguments. `zdt-units` runs it, as \
     its own user.",
    "",
);
const TCP: Key = key(
    "tcp",
    Kind::Text,
    "none",
    "An address that accepts connections",
    "",
);
const ACTIVE: Key = key(
    "active",
    Kind::Boolean,
    "none",
    "`true`: the word of systemd is enough",
    "",
);
const SUCCESSES: Key = key(
    "successes",
    Kind::Number(1, 1000),
    "`1`",
    "Good answers in a row",
    "",
);
const INTERVAL: Key = key(
    "interval",
    Kind::Duration,
    "`200ms`",
    "Time between two questions",
    "",
);
const TIMEOUT: Key = key(
    "timeout",
    Kind::Duration,
    "`30s`",
    "Until when the last of them must be there",
    "",
);
const ATTEMPT_TIMEOUT: Key = key(
    "attempt_timeout",
    Kind::Duration,
    "`5s`",
    "How long one question may take",
    "",
);
const START_DELAY: Key = key(
    "start_delay",
    Kind::Duration,
    "`0s`",
    "Before the first question to a new process",
    "",
);

pub const EXPECTED: Shape = Shape {
    header: "`json = { ... }`",
    keys: &[
        key(
            "pointer",
            Kind::Text,
            "required",
            "Where, after RFC 6901: `/status`, `/checks/0/name`",
            "",
        ),
        key("equals", Kind::Scalar, "required", "What", ""),
    ],
};

pub const DRAIN: Shape = Shape {
    header: "`drain = { ... }`",
    keys: &[
        key(
            "grace",
            Kind::Duration,
            "`0s`",
            "Goes on as if nothing had happened, for a balancer with several backends to look away",
            "`ZDT_DRAIN_GRACE`",
        ),
        key(
            "limit",
            Kind::Duration,
            "`30s`",
            "Time for everything in flight, after `grace`. The rest is cut and counted.",
            "`ZDT_DRAIN_LIMIT`",
        ),
        key(
            "linger",
            Kind::Duration,
            "`1s`",
            "How long a connection without a request is waited for",
            "`ZDT_DRAIN_LINGER`",
        ),
    ],
};

pub const SANDBOX: Shape = Shape {
    header: "`sandbox = { ... }`",
    keys: &[
        key(
            "network",
            Kind::OneOf(&["outbound", "none"]),
            "`outbound`",
            "`none`: no network of its own. Inherited sockets go on working; outgoing connections and name lookups \
             do not.",
            "`PrivateNetwork=`, `RestrictAddressFamilies=`",
        ),
        key(
            "state",
            Kind::Text,
            "none",
            "A name: `/var/lib/NAME` is the one place that it may write to besides `/tmp`, which is its own",
            "`StateDirectory=`",
        ),
    ],
};

pub const ROLLING: Shape = Shape {
    header: "`rolling = { ... }`",
    keys: &[
        key(
            "batch",
            Kind::Number(1, 1000),
            "`max_unavailable` and `surge` together, else 1",
            "How many instances are replaced at a time. Somebody has to serve meanwhile: less than `instances`, or \
             with `surge`.",
            "",
        ),
        key(
            "surge",
            Kind::Number(0, 1000),
            "`0`",
            "So many instances more are started first, from the new release, and stopped last: `NAME@N+1` and on. A \
             release that does not start fails there, and no instance is touched.",
            "",
        ),
        key(
            "max_unavailable",
            Kind::Number(0, 1000),
            "none",
            "How many may be missing at a time: `batch` less `surge` must not be above",
            "",
        ),
        key(
            "pause",
            Kind::Duration,
            "`0s`",
            "Between two batches. The instances just replaced have to stay up for it.",
            "",
        ),
        key(
            "canary",
            Kind::Boolean,
            "`false`",
            "The first instance, or the first of `surge`, is replaced alone and has to stay up for `bake`",
            "",
        ),
    ],
};

pub const RELEASE: Shape = Shape {
    header: "`release = { ... }`",
    keys: &[
        key(
            "root",
            Kind::Text,
            "required, unless there is `of`",
            "An absolute path: releases go to `releases/NAME` below it, and `current` points to the one that runs",
            "`{{release.path}}` in `exec` and the like",
        ),
        key(
            "keep",
            Kind::Number(2, 1000),
            "`5`",
            "How many are kept at least",
            "",
        ),
        key(
            "keep_days",
            Kind::Number(1, 36500),
            "none",
            "The others are removed after so many days",
            "",
        ),
        key(
            "of",
            Kind::Text,
            "none",
            "In the place of all others: the releases are those of this service of the file, and the two are deployed, \
             rolled back and restarted [together](releases.md#companions).",
            "",
        ),
        key(
            "drain_early",
            Kind::Boolean,
            "`false`",
            "Only of a worker, with `of`: its drain begins together with that of the other service, not after it",
            "",
        ),
    ],
};

pub const CHECK: Shape = Shape {
    header: "`check = { ... }`",
    keys: ERRAND,
};

pub const WARM: Shape = Shape {
    header: "`warm = { ... }`",
    keys: ERRAND,
};

const ERRAND: &[Key] = &[
    key(
        "command",
        Kind::List,
        "required",
        "The program and its arguments, as in `exec`",
        "`ExecStart=`",
    ),
    key(
        "timeout",
        Kind::Duration,
        "`60s`",
        "How long it may take",
        "`TimeoutStartSec=`",
    ),
];

pub const MIGRATE: Shape = Shape {
    header: "`migrate = { ... }`",
    keys: &[
        key(
            "command",
            Kind::List,
            "required",
            "The program and its arguments, as in `exec`",
            "`ExecStart=` of `NAME-migrate.service`",
        ),
        key(
            "down",
            Kind::List,
            "none",
            "Takes it back, run from the newer release",
            "that of `NAME-migrate-down.service`",
        ),
        key(
            "backup",
            Kind::List,
            "none",
            "Keeps beforehand what the migration may spoil",
            "that of `NAME-backup.service`",
        ),
        key(
            "timeout",
            Kind::Duration,
            "`5m`",
            "How long each of them may take",
            "`TimeoutStartSec=`",
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

pub const FOREIGN_HEALTH: Shape = Shape {
    header: "its `health = { ... }`",
    keys: &[
        HTTP,
        STATUS,
        BODY,
        JSON,
        HEADERS,
        COMMAND,
        TCP,
        ACTIVE,
        SUCCESSES,
        INTERVAL,
        TIMEOUT,
        ATTEMPT_TIMEOUT,
        START_DELAY,
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
