//! The keys of a service.

use super::{
    BALANCER, CHECK, HEALTH, Kind, MEMORY, MIGRATE, PORT, PROXY, RELEASE, RESTART, STOP, Shape,
    WARM, key,
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
            "proxy",
            Kind::Table(&PROXY),
            "none",
            "What a reverse proxy in front of it has to know, for `zdt-units generate --proxy`; see below, and \
             [proxies](proxies.md)",
            "the files of `generate --proxy`",
        ),
        key(
            "balancer",
            Kind::Table(&BALANCER),
            "none",
            "Where it is taken out of rotation while its processes are replaced; see below",
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
        key(
            "jit",
            Kind::Boolean,
            "`false`",
            "Whether it may compile while it runs, as Node and Java do",
            "`MemoryDenyWriteExecute=`",
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
