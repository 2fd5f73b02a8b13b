//! One connection from its first byte to its end.
//!
//! The HTTP library's graceful shutdown never closes HTTP/1 here: it would close
//! a connection that was accepted but not read, and an idle one at once, which is
//! where the usual recipe loses requests. Such connections are taken out of the
//! library instead, and go to the next process, or are looked at once more and
//! closed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::sleep;

use super::app::App;
use super::io::{First, Io};
use super::registry::{Acknowledgement, Ask, Doing, Ear, Protocol};
use super::request::Counting;
use crate::handover::{Detached, Item, Outbox};
use crate::listen::Stream;

/// Between the acknowledgement of the first GOAWAY and the second: how long a
/// client may take to write the streams that it had opened by then.
const PAUSE: Duration = Duration::from_millis(10);

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

/// Serves one connection, which came through the listener that `label` names.
///
/// What speaks HTTP is on the heap from the first byte on: a connection that
/// says nothing stays small, and thousands of them are quickly taken over.
pub(super) async fn serve<A: App>(mut io: Io, app: Counting<A>, http: &Http, label: &Arc<str>) {
    loop {
        let leaving = match first(&io).await {
            First::Http1 => {
                io.conn().speaks(Protocol::Http1);
                Box::pin(serve_http1(io, app.clone(), http)).await
            }
            First::Http2 => {
                io.conn().speaks(Protocol::Http2);
                Box::pin(serve_http2(io, app, http)).await;
                return;
            }
            First::Leave => Some(io),
            First::End => return,
        };
        let Some(leaving) = leaving else { return };
        match hand_over(leaving, label).await {
            None => return,
            // Nobody takes it, so it ends here, as the stop asks.
            Some(stays) => io = stays,
        }
    }
}

/// Gives a connection to the next process, or back.
async fn hand_over(io: Io, label: &Arc<str>) -> Option<Io> {
    let (stream, read, registered) = io.into_parts();
    let conn = registered.conn.clone();
    conn.speaks(Protocol::Leaving);
    let item = Item {
        label: label.clone(),
        version: 1,
        // The reactor forgets it, so that only the next process hears of it.
        fd: stream.into_fd().ok()?,
        state: read.into(),
    };
    let unsent = match Outbox::opened() {
        Some(outbox) => outbox.send(item).await,
        None => Err(item),
    };
    match unsent {
        Ok(()) => {
            conn.registry.totals.handed_over.fetch_add(1, Relaxed);
            None
        }
        Err(item) => {
            conn.registry.keeps_all();
            conn.speaks(Protocol::Silent);
            let (stream, _) = Stream::from_fd(item.fd).ok()?;
            Some(Io::new(stream, item.state.into(), registered))
        }
    }
}

/// Waits for the first bytes, or until the connection is asked to go.
///
/// What came before it goes is answered here: a store that a stop empties would
/// lose it.
async fn first(io: &Io) -> First {
    let conn = io.conn();
    let mut ear = Ear::new(conn);
    let mut seen = 0;
    poll_fn(|cx| {
        let ask = ear.hear(cx);
        match io.poll_first(cx, &mut seen) {
            Poll::Ready(first) => Poll::Ready(first.unwrap_or(First::End)),
            Poll::Pending if ask == Ask::Nothing => Poll::Pending,
            Poll::Pending if seen == 0 && ask != Ask::Cut && io.socket().has_bytes() => {
                // Bytes came that the reactor did not announce yet.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending if ask == Ask::HandOver && conn.registry.hands_over() => {
                Poll::Ready(First::Leave)
            }
            Poll::Pending if ask <= Ask::HandOver => Poll::Pending,
            // A beginning of the HTTP/2 preface and no more: half a request.
            Poll::Pending if seen > 0 && ask != Ask::Cut => Poll::Ready(First::Http1),
            Poll::Pending => {
                conn.registry.totals.quiet_closed.fetch_add(1, Relaxed);
                Poll::Ready(First::End)
            }
        }
    })
    .await
}

/// Serves HTTP/1; a connection that is to leave comes back with what was read
/// from it and not answered.
async fn serve_http1<A: App>(io: Io, app: Counting<A>, http: &Http) -> Option<Io> {
    let conn = io.conn().clone();
    let socket = io.socket();
    let mut serving = http
        .http1
        .serve_connection(TokioIo::new(io), app)
        .with_upgrades();
    let mut ear = Ear::new(&conn);
    let end = poll_fn(|cx| {
        let ask = ear.hear(cx);
        // An error here is the client's: it went away or spoke nonsense.
        if let Poll::Ready(ended) = Pin::new(&mut serving).poll(cx) {
            return Poll::Ready(match ended {
                Ok(()) if conn.protocol() == Protocol::Leaving => End::Asked(Ask::HandOver),
                _ => End::Itself,
            });
        }
        match (ask, conn.doing()) {
            (Ask::Nothing, _) => Poll::Pending,
            (Ask::Cut, _) => Poll::Ready(End::Asked(Ask::Cut)),
            (Ask::HandOver, Doing::Idle | Doing::HalfRead) if conn.registry.hands_over() => {
                if !conn.has_begun() {
                    // The library has read, and parsed nothing.
                    return Poll::Ready(End::Asked(Ask::HandOver));
                }
                if !conn.ends_by_itself() {
                    // It ends between two messages, which may be now, or when
                    // it has the rest of a body; and it closes nothing.
                    conn.speaks(Protocol::Leaving);
                    Pin::new(&mut serving).graceful_shutdown();
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            (Ask::CloseQuiet | Ask::CloseHalfRead, Doing::Idle) if socket.has_bytes() => {
                // A request arrived that the reactor did not announce yet.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (ask @ (Ask::CloseQuiet | Ask::CloseHalfRead), Doing::Idle)
            | (ask @ Ask::CloseHalfRead, Doing::HalfRead) => Poll::Ready(End::Asked(ask)),
            _ => Poll::Pending,
        }
    })
    .await;
    match end {
        // An upgraded connection lives on in the app; its `Io` tells when it
        // ends.
        End::Itself if conn.protocol() != Protocol::Closing => {
            conn.speaks(Protocol::Upgraded);
            None
        }
        End::Itself | End::Asked(Ask::Cut) => None,
        End::Asked(ask) => {
            let parts = serving.into_parts()?;
            if ask == Ask::HandOver {
                return Some(parts.io.into_inner().with_read(parts.read_buf));
            }
            let totals = &conn.registry.totals;
            match parts.read_buf.is_empty() {
                true => totals.quiet_closed.fetch_add(1, Relaxed),
                false => totals.cut_half_read.fetch_add(1, Relaxed),
            };
            None
        }
    }
}

/// How the serving of HTTP/1 ended.
enum End {
    /// The client closed, the last answer was given, or it left HTTP.
    Itself,
    Asked(Ask),
}

/// Takes a connection that left HTTP out of the server: the socket, with the
/// bytes that were read and that nobody has seen.
///
/// For connections served by [`serve`](crate::serve); what comes from elsewhere
/// is given back.
///
/// # Errors
///
/// The connection, when it is not one of `serve`, or is one stream of HTTP/2.
pub fn detach(upgraded: Upgraded) -> Result<Detached, Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Io>>()?;
    let (stream, read, registered) = parts.io.into_inner().into_parts();
    let mut unread = Vec::from(parts.read_buf);
    unread.extend_from_slice(&read);
    // A socket that the reactor cannot forget is closed, which no socket does.
    match stream.into_fd() {
        Ok(fd) => Ok(Detached::new(fd, unread.into(), Some(Box::new(registered)))),
        Err(error) => unreachable!("a socket leaves the reactor: {error}"),
    }
}

async fn serve_http2<A: App>(mut io: Io, app: Counting<A>, http: &Http) {
    let conn = io.conn().clone();
    io.follow_frames();
    let mut serving = pin!(http.http2.serve_connection(TokioIo::new(io), app));
    let mut ear = Ear::new(&conn);
    let mut leaving = false;
    let mut pause = None;
    poll_fn(|cx| {
        let ask = ear.hear(cx);
        if ask > Ask::HandOver && !leaving {
            // GOAWAY in two steps: streams that the client opened before it
            // read the first are still taken.
            conn.set_acknowledgement(Acknowledgement::Awaited);
            serving.as_mut().graceful_shutdown();
            leaving = true;
        }
        if ask == Ask::Cut {
            return Poll::Ready(());
        }
        let ended = serving.as_mut().poll(cx);
        if ended.is_pending() && conn.acknowledgement() == Acknowledgement::Held {
            let pause = pause.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
            ready!(pause.as_mut().poll(cx));
            conn.set_acknowledgement(Acknowledgement::Passes);
            return serving.as_mut().poll(cx).map(drop);
        }
        ended.map(drop)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;
    use tokio::time::Instant;

    use super::super::registry::Registry;
    use super::*;
    use crate::drain::Drain;

    /// A connection that is asked to leave before anybody looked at it.
    async fn check(sent: &[u8], expected: First) {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(sent).await.unwrap();
        let registry = Registry::new(Drain::new(), true);
        let io = Io::new(Stream::Unix(server), Bytes::new(), registry.open(false));
        registry.scan(Instant::now(), |_, _| Ask::HandOver);
        assert_eq!(first(&io).await, expected);
    }

    #[tokio::test]
    async fn a_request_that_came_is_answered_before_its_connection_leaves() {
        check(b"GET / HTTP/1.1\r\n\r\n", First::Http1).await;
        check(b"", First::Leave).await;
        check(b"PRI", First::Leave).await;
    }
}
