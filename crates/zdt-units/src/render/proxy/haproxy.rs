//! HAProxy: a frontend with every domain, and a backend for each service.

use super::backend::{ANSWER, Backend, Check, FALL, INTERVAL, LONE_INTERVAL, Place, Question};
use super::page::Page;
use crate::model::{Reach, Server, span};

pub(super) fn file(backends: &[Backend<'_>], source: &str) -> String {
    let mut page = Page::new(
        "haproxy",
        source,
        "    ",
        &[
            "HAProxy 2.4 and newer. It is read after the main file:",
            "    haproxy -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/zdt.cfg",
            "On Debian: EXTRAOPTS=\"-f /etc/haproxy/zdt.cfg\" in /etc/default/haproxy, then `systemctl restart haproxy`.",
            "`zdt-units balancer` takes servers out and back in by a socket, for which `global` has to have",
            "    stats socket /run/haproxy/admin.sock mode 660 level admin",
        ],
    );
    frontend(backends, &mut page);
    for each in backends {
        page.blank();
        backend(each, &mut page);
    }
    page.into_text()
}

fn frontend(backends: &[Backend<'_>], page: &mut Page) {
    let patience = backends.iter().map(Backend::patience).max();
    page.blank();
    page.line(0, "frontend zdt");
    page.line(1, "mode http");
    page.line(1, "bind :80");
    page.line(
        1,
        "# bind :443 ssl crt /etc/haproxy/certs/ alpn h2,http/1.1",
    );
    page.line(1, "log global");
    page.line(1, "option httplog");
    page.why(1, "As long as the most patient backend.");
    page.line(
        1,
        format!("timeout client {}", span(patience.unwrap_or_default())),
    );
    page.line(1, "timeout http-request 30s");
    page.line(1, "timeout http-keep-alive 60s");
    page.blank();
    page.why(
        1,
        "Who asked is for this proxy to say: what clients claim is overwritten.",
    );
    page.line(1, "http-request set-header X-Forwarded-For %[src]");
    page.line(
        1,
        "http-request set-header X-Forwarded-Host %[req.hdr(host)]",
    );
    page.line(1, "http-request set-header X-Forwarded-Proto http");
    page.line(
        1,
        "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
    );

    let named: Vec<_> = backends
        .iter()
        .filter(|backend| !backend.domains.is_empty())
        .collect();
    let every = backends.iter().find(|backend| backend.domains.is_empty());
    if !named.is_empty() {
        page.blank();
    }
    for backend in &named {
        let domains: Vec<&str> = backend
            .domains
            .iter()
            .map(|domain| domain.as_str())
            .collect();
        page.line(
            1,
            format!(
                "acl host_{} req.hdr(host),field(1,:) -i {}",
                backend.name,
                domains.join(" ")
            ),
        );
    }
    if every.is_none() {
        let known: Vec<String> = named
            .iter()
            .map(|backend| format!("host_{}", backend.name))
            .collect();
        page.why(1, "Other hosts are nobody's; without this line they would get 503, as if a service were down.");
        page.line(
            1,
            format!(
                "http-request return status 404 unless {}",
                known.join(" or ")
            ),
        );
    }
    for backend in &named {
        page.line(1, format!("use_backend {0} if host_{0}", backend.name));
    }
    if let Some(every) = every {
        page.line(1, format!("default_backend {}", every.name));
    }
}

fn backend(backend: &Backend<'_>, page: &mut Page) {
    let patience = span(backend.patience());
    page.line(0, format!("backend {}", backend.name));
    page.line(1, "mode http");
    page.why(1, backend.why_patience());
    page.line(1, format!("timeout server {patience}"));
    if backend.is_alone() {
        page.why(1, "As long, where its queue is full (connect), or where the server has a `maxconn` (queue).");
        page.line(1, format!("timeout connect {patience}"));
    } else {
        page.line(1, "balance leastconn");
        page.why(1, backend.why_connect());
        page.line(1, format!("timeout connect {}", span(backend.connect())));
        page.why(
            1,
            "Nor does it end a connection. The kernel of a busy host answers these for it; where none does for 5 s, the \
             request is sent again, or ends.",
        );
        page.line(1, "option srvtcpka");
        page.line(1, "srvtcpka-idle 2s");
        page.line(1, "srvtcpka-intvl 1s");
        page.line(1, "srvtcpka-cnt 3");
        page.line(1, "default-server tcp-ut 5s");
    }
    page.line(1, format!("timeout queue {patience}"));
    page.why(1, "WebSockets, once they are open.");
    page.line(1, "timeout tunnel 1h");
    page.blank();
    connections(backend, page);
    retries(backend, page);
    page.blank();
    let options = check(backend, page);
    for server in &backend.servers {
        page.line(
            1,
            format!("server {} {}{options}", server.name, address(server)),
        );
    }
}

fn connections(backend: &Backend<'_>, page: &mut Page) {
    if backend.handover {
        page.why(
            1,
            "Connections to the server are kept: with `handover` they outlive a restart.",
        );
        page.line(1, "option http-keep-alive");
    } else {
        page.why(1, backend.why_connections());
        page.line(1, "option http-server-close");
    }
}

fn retries(backend: &Backend<'_>, page: &mut Page) {
    if backend.is_alone() {
        page.why(
            1,
            "Only what was never sent is sent again. The queue needs no more, and a retry would hide what is lost.",
        );
        page.line(1, "retries 3");
        page.line(1, "retry-on conn-failure");
        return;
    }
    page.why(
        1,
        "What was never sent goes to another server. What was sent may have been done: only requests that change \
         nothing are sent again.",
    );
    page.line(1, "retries 3");
    page.line(1, "option redispatch 1");
    page.line(1, "retry-on conn-failure empty-response");
    page.line(
        1,
        "http-request disable-l7-retry unless METH_GET or METH_HEAD or METH_OPTIONS",
    );
}

/// Its lines; and what the servers need for it.
fn check(backend: &Backend<'_>, page: &mut Page) -> String {
    match &backend.check {
        Check::Nothing => {
            page.why(
                1,
                "No check: it could only take out the one server that there is. Connections wait in its queue.",
            );
            String::new()
        }
        Check::Connect => {
            page.why(
                1,
                "Only whether the host is there: a queue that is held accepts, whether or not anybody serves.",
            );
            let (inter, fall) = (span(INTERVAL), FALL);
            format!(" check inter {inter} fall {fall} rise 2")
        }
        Check::Http(question) if backend.is_alone() => {
            let patience = backend.patience().as_millis();
            let fall = patience.div_ceil(LONE_INTERVAL.as_millis()) + 1;
            let inter = span(LONE_INTERVAL);
            page.why(
                1,
                format!(
                    "`{}` and not `/readyz`: while the only server restarts, requests are to wait for it. A check \
                     waits with them, so it has to fail for longer than the longest restart, {fall} times.",
                    question.path
                ),
            );
            ask(question, page);
            page.line(1, format!("timeout check {inter}"));
            format!(" check{} inter {inter} fall {fall} rise 1", place(question))
        }
        Check::Http(question) => {
            let (inter, fall) = (span(INTERVAL), FALL);
            page.why(
                1,
                format!(
                    "A server that stops says so here, and gets no new requests after {fall} checks. Until then it \
                     serves as ever, if `drain.grace` is longer than {fall} x {inter}: here it is {}.",
                    span(backend.grace)
                ),
            );
            ask(question, page);
            page.why(
                1,
                "A busy server is not down: it may take its time to say so.",
            );
            page.line(1, format!("timeout check {}", span(ANSWER)));
            format!(" check{} inter {inter} fall {fall} rise 2", place(question))
        }
    }
}

fn ask(question: &Question, page: &mut Page) {
    page.line(1, "option httpchk");
    let mut send = format!(
        "http-check send meth GET uri {} ver HTTP/1.1",
        word(&question.path)
    );
    let is_host = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
    if !question.headers.iter().any(is_host) {
        send.push_str(" hdr Host localhost");
    }
    for (name, value) in &question.headers {
        send.push_str(&format!(" hdr {name} {}", word(value)));
    }
    page.line(1, send);
    let status: Vec<String> = question.status.iter().map(u16::to_string).collect();
    page.line(1, format!("http-check expect status {}", status.join(",")));
}

fn place(question: &Question) -> String {
    match &question.place {
        Place::There => String::new(),
        Place::Port(port) => format!(" port {port}"),
        Place::Elsewhere(Reach::Tcp(there)) => {
            format!(" addr {} port {}", there.ip(), there.port())
        }
        Place::Elsewhere(Reach::Unix(path)) => format!(" addr unix@{path}"),
        Place::Elsewhere(Reach::OwnPort(_)) => String::new(),
    }
}

fn address(server: &Server) -> String {
    match &server.address {
        Reach::Tcp(address) => address.to_string(),
        Reach::Unix(path) => format!("unix@{path}"),
        Reach::OwnPort(ip) => ip.to_string(),
    }
}

/// Quoted where it has to be.
fn word(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-?=&:+,~%".contains(char);
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        // Nothing is special in single quotes but the quote itself.
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
