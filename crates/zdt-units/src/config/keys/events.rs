//! The keys of where events go.

use super::{Kind, Shape, key};

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
            "A file with the address, where the address is a secret, as with Slack, Discord and Sentry",
            "",
        ),
        key(
            "format",
            Kind::OneOf(&["json", "slack", "discord", "sentry"]),
            "`json`",
            "The event as it is, a message that says it in a few words, or an event of Sentry; then the address is the DSN of the project",
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
