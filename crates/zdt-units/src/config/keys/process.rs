//! The keys of how processes are kept running.

use super::{Key, Kind, Shape, key};

pub const STOP: Shape = Shape {
    header: "`stop = { ... }`",
    keys: &[
        key(
            "quiet",
            Kind::List,
            "none",
            "First: tells the process to take no new work. A program and its arguments, as in `exec`; at most 10 s",
            "`ExecStop=`",
        ),
        key(
            "drain",
            Kind::List,
            "none",
            "Then: ends when the process has finished its work; at most `drain_limit`",
            "`ExecStop=`",
        ),
        key(
            "drain_limit",
            Kind::Duration,
            "required with `drain`, else `0s`",
            "How long `drain` may take; without `drain`, how long the process may take to end by itself",
            "part of that `ExecStop=`",
        ),
        key(
            "command",
            Kind::List,
            "none",
            "Makes it end, in the place of the signal; at most 10 s. Then it is waited for.",
            "`ExecStop=`",
        ),
        key(
            "signal",
            Kind::OneOf(SIGNALS),
            "`SIGTERM`",
            "Makes it end. Not with `command`.",
            "`KillSignal=`",
        ),
    ],
};

/// What a process can be told to end by.
pub(crate) const SIGNALS: &[&str] = &[
    "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH",
];

pub const RESTART: Shape = Shape {
    header: "`restart = { ... }`",
    keys: &[
        key(
            "pause",
            Kind::Duration,
            "`500ms`",
            "Before a process that ended by itself is started again; at least `250ms`",
            "`RestartSec=`",
        ),
        key(
            "factor",
            Kind::Number(1, 100),
            "`2`",
            "Each further pause is so many times as long; 1: they stay as they are",
            "`RestartSteps=`, from systemd 254 on",
        ),
        key(
            "longest",
            Kind::Duration,
            "`10s`, or `pause` if that is longer",
            "And no pause is longer",
            "`RestartMaxDelaySec=`, from systemd 254 on",
        ),
        key(
            "limit",
            Kind::Number(0, 1000),
            "none",
            "`zdt-units run`: so many starts, and then it counts as failed; 0: none. systemd never gives up: its limit would \
             close the port.",
            "",
        ),
        key(
            "within",
            Kind::Duration,
            "since somebody last started it",
            "With `limit`: starts that are longer ago do not count",
            "",
        ),
        key(
            "healthy",
            Kind::Duration,
            "`10s`",
            "`zdt-units run`: a process that was ready for so long begins anew, with `pause` and `limit`. systemd \
             begins anew when the unit is started by somebody.",
            "",
        ),
    ],
};

pub const MEMORY: Shape = Shape {
    header: "`memory = { ... }`",
    keys: &[
        key(
            "limit",
            Kind::Text,
            "required",
            "Such as `512MiB`. Above it `zdt-units run` restarts the service, without a loss. systemd slows it down \
             and takes memory back.",
            "`MemoryHigh=`",
        ),
        key(
            "warn",
            Kind::Text,
            "none",
            "`zdt-units run`: above it a line on standard error tells so, once until it was a tenth below again; less than `limit`",
            "",
        ),
        key(
            "every",
            Kind::Duration,
            "`5s`",
            "`zdt-units run`: how often it is looked at; at least `100ms`",
            "",
        ),
    ],
};

pub const PORT: Shape = Shape {
    header: "`port = { ... }`",
    keys: &[
        key(
            "from",
            Kind::Number(1, 65535),
            "required",
            "The first one",
            "",
        ),
        key("to", Kind::Number(1, 65535), "required", "The last one", ""),
    ],
};

pub const LAUNCHER: Shape = Shape {
    header: "`[launcher]`",
    keys: &[
        key(
            "control",
            Kind::Text,
            "a path that follows from that of `zdt.toml`",
            "The Unix socket by which commands reach it: an absolute path, at most 107 bytes",
            "",
        ),
        key(
            "mode",
            Kind::Text,
            "`0600`",
            "Who may use that socket, in octal. Whoever may can run programs as the launcher's user.",
            "",
        ),
        key(
            "owner",
            Kind::Text,
            "the launcher's user",
            "Whose the socket is: a name or a number",
            "",
        ),
        key(
            "group",
            Kind::Text,
            "the launcher's group",
            "Which group's: a name or a number",
            "",
        ),
        key(
            "state",
            Kind::Text,
            "a path that follows from that of `zdt.toml`",
            "The directory of what outlives the launcher: an absolute path",
            "",
        ),
        key(
            "output",
            Kind::OneOfOrTable(OUTPUTS, &OUTPUT),
            "`prefixed`",
            "What processes print: to the launcher's standard error line by line with the name of the instance, to \
             its standard output as JSON, or straight to the journal",
            "",
        ),
        key(
            "lines",
            Kind::Number(0, 100_000),
            "`50`",
            "How many lines of each process are kept for `zdt-units logs`",
            "",
        ),
    ],
};

pub(crate) const OUTPUTS: &[&str] = &["prefixed", "json", "journal"];

pub const OUTPUT: Shape = Shape {
    header: "`output = { ... }`",
    keys: &[OUTPUT_FILES],
};

const OUTPUT_FILES: Key = key(
    "files",
    Kind::Text,
    "required",
    "A directory, as an absolute path: each instance writes `NAME.log` in it",
    "",
);
