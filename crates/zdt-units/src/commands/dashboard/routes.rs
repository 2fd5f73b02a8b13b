//! Which requests are answered, and with what: it only reads, and only to those who asked for it by its own name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::reader::Watched;
use super::stream::Client;
use crate::report::dashboard::{ICON, SCRIPT, style};

/// So many may watch at a time.
const SEATS: usize = 256;

/// Nothing but its own files, no frame around it, and no form.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Clone)]
struct Shared {
    watched: Watched,
    seats: Arc<Semaphore>,
    drain: zdt::Watch,
}

pub(super) fn router(watched: Watched, drain: zdt::Watch, names: Names) -> Router {
    let shared = Shared {
        watched,
        seats: Arc::new(Semaphore::new(SEATS)),
        drain,
    };
    let style: Bytes = style().into();
    let file = |kind: &'static str, content: Bytes| {
        get(move || async move { ([(CONTENT_TYPE, kind)], content) })
    };
    Router::new()
        .route("/", get(page))
        .route("/status.json", get(status))
        .route("/events", get(events))
        .route("/dashboard.css", file("text/css; charset=utf-8", style))
        .route(
            "/dashboard.js",
            file("text/javascript; charset=utf-8", SCRIPT.into()),
        )
        .route("/icon.svg", file("image/svg+xml", ICON.into()))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "there is nothing here\n") })
        .layer(from_fn_with_state(Arc::new(names), guard))
        .with_state(shared)
}

async fn page(State(shared): State<Shared>) -> Response {
    match shared.watched.now().await {
        Some(frame) => ([(CONTENT_TYPE, HTML)], frame.page.clone()).into_response(),
        None => later("who runs the services does not answer\n"),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    match shared.watched.now().await {
        Some(frame) => match &frame.status {
            Ok(status) => (json, status.clone()).into_response(),
            Err(why) => {
                let error = serde_json::json!({ "error": why }).to_string() + "\n";
                (StatusCode::SERVICE_UNAVAILABLE, json, error).into_response()
            }
        },
        None => later("who runs the services does not answer\n"),
    }
}

async fn events(State(shared): State<Shared>) -> Response {
    let Ok(seat) = shared.seats.clone().try_acquire_owned() else {
        return later("too many watch already\n");
    };
    let lease = shared.watched.lease();
    // What was seen before everybody looked away is not sent.
    if shared.watched.now().await.is_none() {
        return later("who runs the services does not answer\n");
    }
    let client = Client {
        frames: shared.watched.frames(),
        drain: shared.drain.clone(),
        _lease: lease,
        _seat: seat,
    };
    let kind = (CONTENT_TYPE, "text/event-stream");
    // nginx would collect it.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    ([kind, unbuffered], client.body()).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(CONTENT_TYPE, TEXT)], text).into_response()
}

fn later(text: &'static str) -> Response {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// What everything that is asked has to keep to, and what every answer says.
async fn guard(State(names): State<Arc<Names>>, request: Request, next: Next) -> Response {
    let mut response = match refused(&names, &request) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refused(names: &Names, request: &Request<Body>) -> Option<Response> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "this only reads: GET or HEAD\n",
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let by_header = hosts.next().map(|host| host.to_str().unwrap_or_default());
    let by_uri = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    let named: Vec<&str> = by_header.into_iter().chain(by_uri).collect();
    if hosts.next().is_some() || named.is_empty() {
        return Some(plain(StatusCode::BAD_REQUEST, "one `Host` is needed\n"));
    }
    let is_other = !named.iter().all(|host| names.admit(host));
    is_other.then(|| {
        plain(
            StatusCode::MISDIRECTED_REQUEST,
            "this dashboard is not known by that name; `--host NAME` adds one\n",
        )
    })
}

/// By which names it is asked for. A page from elsewhere whose name was made to lead here has another one.
#[derive(Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| plain_name(name)).collect())
    }

    /// Whether `host`, with a port or without, is one of them, an address, or `localhost`.
    fn admit(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let in_brackets = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        if in_brackets.unwrap_or(name).parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = plain_name(name);
        name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name)
    }
}

fn plain_name(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_made_to_lead_here_is_not_its_own() {
        let names = Names::new(&["Status.Example.".to_owned()]);
        for host in [
            "127.0.0.1:7077",
            "127.0.0.1",
            "[::1]:7077",
            "[::1]",
            "localhost:7077",
            "LOCALHOST",
            "dash.localhost:7077",
            "status.example",
            "STATUS.example.:443",
        ] {
            assert!(names.admit(host), "{host}");
        }
        for host in [
            "",
            ":7077",
            "evil.example:7077",
            "status.example.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1:7077:evil",
            "[::1",
        ] {
            assert!(!names.admit(host), "{host}");
        }
    }
}
