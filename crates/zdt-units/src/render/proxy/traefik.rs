//! Traefik: a router, a service and a transport for each service.

use super::backend::{ANSWER, Backend, Check, DETECTION, IDLE, Place, Question};
use super::page::Page;
use crate::model::{Mistake, Reach, span};

/// It connects to TCP and nothing else.
pub(super) fn refuse_unix(backends: &[Backend<'_>], mistakes: &mut Vec<Mistake>) {
    for backend in backends {
        for server in &backend.servers {
            if let Reach::Unix(path) = &server.address {
                mistakes.push(
                    Mistake::new(format!(
                        "Traefik cannot connect to `{path}` of `{}`: it has no Unix sockets for servers",
                        backend.name
                    ))
                    .hint("let the service listen on `127.0.0.1:8080` as well, first in `listen`, or take another proxy"),
                );
            }
        }
    }
}

pub(super) fn file(backends: &[Backend<'_>], source: &str) -> String {
    let mut page = Page::new(
        "traefik",
        source,
        "  ",
        &[
            "Traefik 3, for its file provider, which reads it by itself whenever it changes:",
            "    providers: { file: { directory: /etc/traefik/dynamic, watch: true } }",
            "as /etc/traefik/dynamic/zdt.yml. Entry points and certificates are those of the static configuration.",
            "`zdt-units balancer` finds servers by the comments behind them. X-Forwarded-* are Traefik's own.",
        ],
    );
    page.blank();
    page.line(0, "http:");
    page.line(1, "routers:");
    for backend in backends {
        router(backend, &mut page);
    }
    page.blank();
    page.line(1, "middlewares:");
    for backend in backends {
        middleware(backend, &mut page);
    }
    page.blank();
    page.line(1, "services:");
    for backend in backends {
        service(backend, &mut page);
    }
    page.blank();
    page.line(1, "serversTransports:");
    for backend in backends {
        transport(backend, &mut page);
    }
    page.into_text()
}

fn router(backend: &Backend<'_>, page: &mut Page) {
    page.line(2, format!("{}:", backend.name));
    if backend.domains.is_empty() {
        page.why(3, "Every host that no other router has.");
        page.line(3, "rule: \"PathPrefix(`/`)\"");
        page.line(3, "priority: 1");
    } else {
        let hosts = backend
            .domains
            .iter()
            .map(|domain| format!("Host(`{domain}`)"));
        let hosts: Vec<String> = hosts.collect();
        page.line(3, format!("rule: \"{}\"", hosts.join(" || ")));
    }
    page.line(3, format!("service: {}", backend.name));
    page.line(3, format!("middlewares: [{}-retry]", backend.name));
}

fn middleware(backend: &Backend<'_>, page: &mut Page) {
    page.line(2, format!("{}-retry:", backend.name));
    page.why(
        3,
        match backend.is_alone() {
            true => {
                "Traefik sends a request again only where it has sent nothing of it: no connection. The queue needs \
                 no more."
            }
            false => {
                "Traefik sends a request again only where it has sent nothing of it: no connection. Then it goes to \
                 another server."
            }
        },
    );
    page.line(3, "retry:");
    page.line(4, format!("attempts: {}", backend.servers.len().max(3)));
    page.line(4, "initialInterval: 100ms");
}

fn service(backend: &Backend<'_>, page: &mut Page) {
    page.line(2, format!("{}:", backend.name));
    page.line(3, "loadBalancer:");
    page.line(4, "servers:");
    for server in &backend.servers {
        // Others are refused before.
        if let Reach::Tcp(address) = server.address {
            page.line(
                5,
                format!("- url: \"http://{address}\" # zdt: {}", server.name),
            );
        }
    }
    page.line(4, format!("serversTransport: {}", backend.name));
    check(backend, page);
}

fn check(backend: &Backend<'_>, page: &mut Page) {
    match &backend.check {
        Check::Nothing | Check::Http(_) if backend.is_alone() => page.why(
            4,
            "No check: one bad answer would take out the one server that there is. Connections wait in its queue.",
        ),
        Check::Nothing | Check::Connect => page.why(
            4,
            "No check: nothing is known by which a server says that it is well.",
        ),
        Check::Http(question) => {
            page.why(
                4,
                format!(
                    "A server that stops says so here, and gets no new requests from then on. Until then it serves \
                     as ever, if `drain.grace` is longer than the interval: here it is {}.",
                    span(backend.grace)
                ),
            );
            page.line(4, "healthCheck:");
            ask(question, page);
            page.line(5, format!("interval: {}", span(DETECTION)));
            page.why(5, "A busy server is not down: it may take its time to say so.");
            page.line(5, format!("timeout: {}", span(ANSWER)));
        }
    }
}

fn ask(question: &Question, page: &mut Page) {
    page.line(5, format!("path: {}", word(&question.path)));
    if let Place::Port(port) = question.place {
        page.line(5, format!("port: {port}"));
    }
    // Without one it takes 2xx and 3xx.
    if let [only] = question.status.as_slice() {
        page.line(5, format!("status: {only}"));
    }
    if !question.headers.is_empty() {
        page.line(5, "headers:");
        for (name, value) in &question.headers {
            page.line(6, format!("{name}: {}", word(value)));
        }
    }
}

fn transport(backend: &Backend<'_>, page: &mut Page) {
    page.line(2, format!("{}:", backend.name));
    if !backend.handover {
        page.why(3, backend.why_connections());
        page.line(3, "maxIdleConnsPerHost: -1");
    }
    page.line(3, "forwardingTimeouts:");
    page.why(4, backend.why_patience());
    page.line(
        4,
        format!("responseHeaderTimeout: {}", span(backend.patience())),
    );
    page.why(4, backend.why_connect());
    page.line(4, format!("dialTimeout: {}", span(backend.connect())));
    if backend.handover {
        page.why(4, backend.why_connections());
        page.line(4, format!("idleConnTimeout: {}", span(IDLE)));
    }
}

/// A string of YAML, as JSON writes it.
fn word(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
