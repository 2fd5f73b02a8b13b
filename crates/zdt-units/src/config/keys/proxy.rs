//! The keys of what a reverse proxy has to know.

use super::{Kind, Shape, key};

pub const PROXY: Shape = Shape {
    header: "`proxy = { ... }`",
    keys: &[
        key(
            "domains",
            Kind::List,
            "every host that nobody else has",
            "The names by which clients ask for it, such as `shop.example`; no patterns, and IDNA in its `xn--` form. \
             Each belongs to one service.",
            "",
        ),
        key(
            "servers",
            Kind::Pairs,
            "this machine's main socket, under the name of the service",
            "Every server of it: `name = \"10.0.0.11:8080\"`, or the path of a Unix socket. With several, each is asked \
             for `/readyz`; with one, at most for `/livez`.",
            "",
        ),
        key(
            "keepalive_min_timeout",
            Kind::Duration,
            "a comment that tells of it",
            "nginx 1.27.4 or newer: its reload closes no connection that a client has used within this time; without, a \
             request that is on its way on one is lost. Less than `timeout` of `balancer`, such as `5s`.",
            "",
        ),
    ],
};
