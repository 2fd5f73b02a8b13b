//! One connection from its first byte to its end.
//!
//! Never calls the HTTP library's graceful shutdown on HTTP/1: it closes a
//! connection that was accepted but not read, and an idle one at once, which is
//! where the usual recipe loses requests. Idle connections are taken out of
//! the library instead, looked at once more, and closed here.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::app::App;
use super::io::{First, Io};
use super::registry::{Ask, Doing, Ear, Protocol};
use super::request::Counting;

/// How HTTP is spoken; shared by all connections of a server.
#[derive(Clone, Debug)]
pub(super) struct Http {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
}

impl Http {
    pub(super) fn new() -> Self {
        let mut http1 = http1::Builder::new();
        // The registry's scans time out slow heads; a timer for each request
        // would cost more than the request.
        http1.header_read_timeout(None);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new()).enable_connect_protocol();
        Self { http1, http2 }
    }
}

/// Serves one connection.
pub(super) async fn serve<A: App>(io: Io, app: Counting<A>, http: &Http) {
    match first(&io).await {
        First::Http1 => {
            io.conn().speaks(Protocol::Http1);
            serve_http1(io, app, http).await;
        }
        First::Http2 => {
            io.conn().speaks(Protocol::Http2);
            serve_http2(io, app, http).await;
        }
        First::End => {}
    }
}

/// Waits for the first bytes, or until the connection is asked to close.
async fn first(io: &Io) -> First {
    let conn = io.conn();
    let mut ear = Ear::new(conn);
    let mut seen = 0;
    poll_fn(|cx| {
        let ask = ear.hear(cx);
        match io.poll_first(cx, &mut seen) {
            Poll::Ready(first) => Poll::Ready(first.unwrap_or(First::End)),
            Poll::Pending if ask == Ask::Nothing => Poll::Pending,
            // A beginning of the HTTP/2 preface and no more: half a request.
            Poll::Pending if seen > 0 && ask != Ask::Cut => Poll::Ready(First::Http1),
            Poll::Pending if ask != Ask::Cut && io.socket().has_bytes() => {
                // Bytes came that the reactor did not announce yet.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                conn.registry.totals.quiet_closed.fetch_add(1, Relaxed);
                Poll::Ready(First::End)
            }
        }
    })
    .await
}

async fn serve_http1<A: App>(io: Io, app: Counting<A>, http: &Http) {
    let conn = io.conn().clone();
    let socket = io.socket();
    let mut serving = http
        .http1
        .serve_connection(TokioIo::new(io), app)
        .with_upgrades();
    let mut ear = Ear::new(&conn);
    let asked = poll_fn(|cx| {
        let ask = ear.hear(cx);
        // An error here is the client's: it went away or spoke nonsense.
        if Pin::new(&mut serving).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if ask == Ask::Nothing {
            return Poll::Pending;
        }
        match (ask, conn.doing()) {
            (Ask::Cut, _) => Poll::Ready(Some(Ask::Cut)),
            (Ask::CloseQuiet | Ask::CloseHalfRead, Doing::Idle) if socket.has_bytes() => {
                // A request arrived that the reactor did not announce yet.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (ask @ (Ask::CloseQuiet | Ask::CloseHalfRead), Doing::Idle)
            | (ask @ Ask::CloseHalfRead, Doing::HalfRead) => Poll::Ready(Some(ask)),
            _ => Poll::Pending,
        }
    })
    .await;
    match asked {
        // An upgraded connection lives on in the app; its `Io` tells when it
        // ends.
        None if conn.protocol() != Protocol::Closing => conn.speaks(Protocol::Upgraded),
        None | Some(Ask::Cut) => {}
        Some(_) => {
            if let Some(parts) = serving.into_parts() {
                let totals = &conn.registry.totals;
                match parts.read_buf.is_empty() {
                    true => totals.quiet_closed.fetch_add(1, Relaxed),
                    false => totals.cut_half_read.fetch_add(1, Relaxed),
                };
            }
        }
    }
}

async fn serve_http2<A: App>(io: Io, app: Counting<A>, http: &Http) {
    let conn = io.conn().clone();
    let mut serving = pin!(http.http2.serve_connection(TokioIo::new(io), app));
    let mut ear = Ear::new(&conn);
    let mut leaving = false;
    poll_fn(|cx| {
        let ask = ear.hear(cx);
        if ask != Ask::Nothing && !leaving {
            // GOAWAY in two steps: streams that the client sent before it read
            // the first are still taken.
            serving.as_mut().graceful_shutdown();
            leaving = true;
        }
        match ask {
            Ask::Cut => Poll::Ready(()),
            _ => serving.as_mut().poll(cx).map(drop),
        }
    })
    .await;
}
