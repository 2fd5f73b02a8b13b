//! Caddy: a site for each service.

use super::backend::{ANSWER, Backend, Check, IDLE, INTERVAL, LONE_INTERVAL, Place, Question};
use super::page::Page;
use crate::model::{Reach, Server, span};

pub(super) fn file(backends: &[Backend<'_>], source: &str) -> String {
    let mut page = Page::new(
        "caddy",
        source,
        "\t",
        &[
            "Caddy 2.6 and newer. The main file includes it with one line, `import /etc/caddy/zdt.caddy`; then",
            "`caddy validate --config /etc/caddy/Caddyfile && systemctl reload caddy`. A site with domains gets its",
            "certificates from Caddy, and is reached by HTTPS. X-Forwarded-* are Caddy's own, whatever clients claim.",
        ],
    );
    for backend in backends {
        page.blank();
        site(backend, &mut page);
    }
    page.into_text()
}

fn site(backend: &Backend<'_>, page: &mut Page) {
    if backend.domains.is_empty() {
        page.why(
            0,
            "Every host that no other site has, by HTTP: without a domain there is no certificate.",
        );
        page.line(0, "http:// {");
    } else {
        let domains: Vec<&str> = backend
            .domains
            .iter()
            .map(|domain| domain.as_str())
            .collect();
        page.line(0, format!("{} {{", domains.join(", ")));
    }
    page.line(1, "reverse_proxy {");
    for server in &backend.servers {
        page.line(2, format!("# zdt: {}", server.name));
        page.line(2, format!("to {}", address(server)));
    }
    page.blank();
    retries(backend, page);
    page.blank();
    check(backend, page);
    page.blank();
    transport(backend, page);
    page.line(1, "}");
    page.line(0, "}");
}

fn retries(backend: &Backend<'_>, page: &mut Page) {
    if backend.is_alone() {
        page.why(
            2,
            "Only what was never sent is sent again: no request is of this method. The queue needs no more, and a \
             retry would hide what is lost.",
        );
        page.line(2, format!("lb_try_duration {}", span(backend.patience())));
        page.line(2, "lb_retry_match {");
        page.line(3, "method NONE");
        page.line(2, "}");
        return;
    }
    page.line(2, "lb_policy least_conn");
    page.why(
        2,
        "What was never sent goes to another server. What was sent may have been done: only requests that change \
         nothing are sent again.",
    );
    page.line(2, format!("lb_try_duration {}", span(backend.patience())));
    page.line(2, "lb_retry_match {");
    page.line(3, "method GET HEAD OPTIONS");
    page.line(2, "}");
}

fn check(backend: &Backend<'_>, page: &mut Page) {
    match &backend.check {
        Check::Nothing => page.why(
            2,
            "No check: it could only take out the one server that there is. Connections wait in its queue.",
        ),
        Check::Connect => {
            page.why(2, "Nobody says whether a server is well: one that cannot be reached is left out for a while.");
            page.line(2, "fail_duration 5s");
        }
        Check::Http(question) if backend.is_alone() => match &question.place {
            Place::Elsewhere(_) => page.why(
                2,
                "No check: Caddy would ask where it sends requests, and health listens elsewhere. Connections wait in \
                 the queue.",
            ),
            _ => {
                page.why(
                    2,
                    format!(
                        "`{}` and not `/readyz`: while the only server restarts, requests are to wait for it. The \
                         check waits with them, for as long as a restart may take.",
                        question.path
                    ),
                );
                ask(question, page);
                page.line(2, format!("health_interval {}", span(LONE_INTERVAL)));
                page.line(2, format!("health_timeout {}", span(backend.patience())));
            }
        },
        Check::Http(question) => {
            page.why(
                2,
                format!(
                    "A server that stops says so here, and gets no new requests from then on. Until then it serves \
                     as ever, if `drain.grace` is longer than the interval: here it is {}.",
                    span(backend.grace)
                ),
            );
            ask(question, page);
            page.line(2, format!("health_interval {}", span(INTERVAL)));
            page.why(2, "A busy server is not down: it may take its time to say so.");
            page.line(2, format!("health_timeout {}", span(ANSWER)));
        }
    }
}

fn ask(question: &Question, page: &mut Page) {
    page.line(2, format!("health_uri {}", word(&question.path)));
    if let Place::Port(port) = question.place {
        page.line(2, format!("health_port {port}"));
    }
    let status = match question.status.as_slice() {
        [only] => only.to_string(),
        // It takes one, or a class of them.
        several => format!("{}xx", several.first().map_or(2, |first| first / 100)),
    };
    page.line(2, format!("health_status {status}"));
    if !question.headers.is_empty() {
        page.line(2, "health_headers {");
        for (name, value) in &question.headers {
            page.line(3, format!("{name} {}", word(value)));
        }
        page.line(2, "}");
    }
}

fn transport(backend: &Backend<'_>, page: &mut Page) {
    let patience = span(backend.patience());
    page.line(2, "transport http {");
    page.why(3, backend.why_patience());
    page.line(3, format!("response_header_timeout {patience}"));
    page.why(3, backend.why_connect());
    page.line(3, format!("dial_timeout {}", span(backend.connect())));
    page.why(3, backend.why_connections());
    match backend.handover {
        true => page.line(3, format!("keepalive {}", span(IDLE))),
        false => page.line(3, "keepalive off"),
    }
    page.line(2, "}");
}

fn address(server: &Server) -> String {
    match &server.address {
        Reach::Tcp(address) => address.to_string(),
        Reach::Unix(path) => format!("unix/{path}"),
        Reach::OwnPort(ip) => ip.to_string(),
    }
}

/// Quoted where it has to be; in braces are Caddy's placeholders.
fn word(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-?=&:+,~%".contains(char);
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!(
            "\"{}\"",
            text.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('{', "\\{")
        ),
    }
}
