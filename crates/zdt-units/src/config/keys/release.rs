//! The keys of releases, and of what is run for one.

use super::{Key, Kind, Shape, key};

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
