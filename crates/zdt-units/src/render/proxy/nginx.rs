//! nginx: an upstream and a server for each service.

use super::backend::{Backend, IDLE};
use super::page::Page;
use crate::model::{Reach, Server, span};

pub(super) fn file(backends: &[Backend<'_>], source: &str) -> String {
    let mut use_of_it = vec![
        "nginx 1.15.3 and newer. As /etc/nginx/conf.d/zdt.conf it is included by the main file of Debian and of nginx.org;",
        "then `nginx -t && systemctl reload nginx`. `zdt-units balancer` finds servers by the comments behind them.",
        "A request that waits takes two of the `worker_connections` of the main file, of which Debian allows 768: for",
        "1,000 requests a second and restarts of 5 s write `events { worker_connections 16384; }`.",
    ];
    let closes = |backend: &Backend<'_>| backend.keepalive_min_timeout.is_none();
    if backends.iter().any(closes) {
        use_of_it.extend([
            "A reload closes connections of clients that rest, also if a request is on its way on one. nginx 1.27.4 and newer",
            "leave them alone with `proxy = { keepalive_min_timeout = \"5s\" }` in zdt.toml.",
        ]);
    }
    let mut page = Page::new("nginx", source, "    ", &use_of_it);
    connection_headers(backends, &mut page);
    for backend in backends {
        page.blank();
        upstream(backend, &mut page);
        page.blank();
        server(backend, &mut page);
    }
    page.into_text()
}

/// What is sent as `Connection`, for each of the two kinds of backend that there are.
fn connection_headers(backends: &[Backend<'_>], page: &mut Page) {
    let mut map = |why: &str, name: &str, usual: &str| {
        page.blank();
        page.why(0, why);
        page.line(0, format!("map $http_upgrade ${name} {{"));
        page.line(1, "default upgrade;");
        page.line(1, format!("''      {usual};"));
        page.line(0, "}");
    };
    if backends.iter().any(|backend| !backend.handover) {
        map(
            "WebSockets are upgraded; all else has a connection for each request. Without `handover` a process that \
             stops closes those that rest, perhaps just as a request is sent on one; a new one waits in the queue.",
            "zdt_connection",
            "close",
        );
    }
    if backends.iter().any(|backend| backend.handover) {
        map(
            "WebSockets are upgraded; all else is kept, because with `handover` it outlives a restart.",
            "zdt_kept_connection",
            "''",
        );
    }
}

fn upstream(backend: &Backend<'_>, page: &mut Page) {
    page.line(0, format!("upstream {} {{", backend.name));
    if backend.is_alone() {
        page.why(
            1,
            "nginx never takes out the only server. While it restarts, connections wait in its queue.",
        );
    } else {
        page.why(
            1,
            "nginx asks nobody for `/readyz`: before a server is restarted, `zdt-units balancer drain` takes it out here.",
        );
        page.line(1, "least_conn;");
    }
    for each in &backend.servers {
        page.line(1, format!("server {}; # zdt: {}", address(each), each.name));
    }
    if backend.handover {
        page.why(
            1,
            "Less than the 120 s after which the `zdt` library closes a connection that rests.",
        );
        page.line(1, "keepalive 32;");
        page.line(1, format!("keepalive_timeout {};", span(IDLE)));
    }
    page.line(0, "}");
}

fn server(backend: &Backend<'_>, page: &mut Page) {
    page.line(0, "server {");
    if backend.domains.is_empty() {
        page.why(1, "Every host that no other server block has. Debian's sites-enabled/default claims the same: remove it.");
        page.line(1, "listen 80 default_server;");
        page.line(1, "listen [::]:80 default_server;");
        page.line(1, "server_name _;");
    } else {
        let domains: Vec<&str> = backend
            .domains
            .iter()
            .map(|domain| domain.as_str())
            .collect();
        page.line(1, "listen 80;");
        page.line(1, "listen [::]:80;");
        page.line(1, format!("server_name {};", domains.join(" ")));
    }
    page.blank();
    if let Some(time) = backend.keepalive_min_timeout {
        page.why(
            1,
            "nginx 1.27.4 or newer: a reload closes no connection that a client has used within this time; it ends \
             with its next answer.",
        );
        page.line(1, format!("keepalive_min_timeout {};", span(time)));
        page.blank();
    }
    page.line(1, "location / {");
    location(backend, page);
    page.line(1, "}");
    page.line(0, "}");
}

fn location(backend: &Backend<'_>, page: &mut Page) {
    let patience = span(backend.patience());
    page.line(2, format!("proxy_pass http://{};", backend.name));
    page.line(2, "proxy_http_version 1.1;");
    page.line(2, "proxy_set_header Upgrade $http_upgrade;");
    let connection = match backend.handover {
        true => "$zdt_kept_connection",
        false => "$zdt_connection",
    };
    page.line(2, format!("proxy_set_header Connection {connection};"));
    page.blank();
    page.why(
        2,
        "Who asked is for this proxy to say: what clients claim is overwritten.",
    );
    page.line(2, "proxy_set_header Host $host;");
    page.line(2, "proxy_set_header X-Forwarded-For $remote_addr;");
    page.line(2, "proxy_set_header X-Forwarded-Host $host;");
    page.line(2, "proxy_set_header X-Forwarded-Proto $scheme;");
    page.blank();
    page.why(2, backend.why_patience());
    page.line(2, format!("proxy_read_timeout {patience};"));
    page.line(2, format!("proxy_send_timeout {patience};"));
    page.why(2, backend.why_connect());
    page.line(
        2,
        format!("proxy_connect_timeout {};", span(backend.connect())),
    );
    if backend.is_alone() {
        page.why(
            2,
            "There is no other server to send a request to, and the queue needs none.",
        );
        page.line(2, "proxy_next_upstream off;");
    } else {
        page.why(
            2,
            "What was never sent goes to another server. What was sent may have been done: without `non_idempotent` \
             POST, LOCK and PATCH are not sent again.",
        );
        page.line(2, "proxy_next_upstream error timeout;");
        page.why(2, "And nothing that has waited for longer.");
        page.line(2, "proxy_next_upstream_timeout 10s;");
    }
    page.why(
        2,
        "nginx takes answers as fast as they come, so that slow clients do not hold up a restart. A stream of events \
         needs the header `X-Accel-Buffering: no` in its answer.",
    );
    page.line(2, "proxy_buffering on;");
}

fn address(server: &Server) -> String {
    match &server.address {
        Reach::Tcp(address) => address.to_string(),
        Reach::Unix(path) => format!("unix:{path}"),
        Reach::OwnPort(ip) => ip.to_string(),
    }
}
