//! The keys of where a service is taken out of rotation.

use super::{Kind, Shape, key};

pub const BALANCER: Shape = Shape {
    header: "`balancer = { ... }`",
    keys: &[
        key(
            "haproxy",
            Kind::Text,
            "none",
            "HAProxy's runtime API: the path of its `stats socket` with `level admin`, or `HOST:PORT`",
            "",
        ),
        key(
            "nginx",
            Kind::Text,
            "none",
            "The nginx file on this host with the `upstream`",
            "",
        ),
        key(
            "traefik",
            Kind::Text,
            "none",
            "The YAML file on this host of Traefik's file provider",
            "",
        ),
        key(
            "api",
            Kind::Text,
            "none",
            "With `traefik`: the `IP:PORT` of its API, which says when it has read the file, and that it took it",
            "",
        ),
        key(
            "drain",
            Kind::List,
            "none",
            "For any other balancer: a program and its arguments that takes the server out and ends with 0. It finds \
             `ZDT_SERVICE`, `ZDT_BACKEND` and `ZDT_SERVER` in its environment. With `restore`.",
            "",
        ),
        key(
            "restore",
            Kind::List,
            "required with `drain`",
            "Puts it back, in the same way",
            "",
        ),
        key(
            "server",
            Kind::Text,
            "required; with `drain` `NAME/NAME`",
            "`BACKEND/SERVER`, as the balancer calls them. In a file SERVER is an address, or `web1` of `# zdt: web1` \
             behind it.",
            "",
        ),
        key(
            "test",
            Kind::List,
            "`nginx -t`",
            "With `nginx`: ends with 0 if nginx takes its files",
            "",
        ),
        key(
            "reload",
            Kind::List,
            "`systemctl reload nginx`",
            "With `nginx`: lets it read them",
            "",
        ),
        key(
            "settle",
            Kind::Duration,
            "`0s`; with `traefik` `5s`",
            "Waited after the balancer was told, where it does not say what is in flight",
            "",
        ),
        key(
            "timeout",
            Kind::Duration,
            "`30s`",
            "At most so long is waited until nothing is in flight there, and until it is up again; so long may a \
             program take",
            "",
        ),
    ],
};
