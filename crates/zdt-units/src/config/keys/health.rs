//! The keys of how a service is asked whether it is well.

use super::{Key, Kind, Shape, key};

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
