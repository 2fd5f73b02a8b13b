//! Sends requests over a few HTTP/2 connections (prior knowledge, no TLS), each
//! in turn. Never sends a request twice.
//!
//! A connection that is known to be going away is replaced before the next
//! request, as every pool does. A request that it took along is `retryable` only
//! if the server said that it never processed it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, SendStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::address::Address;
use super::http1::Expected;
use super::outcome::{Connection, End, Outcome, Seen};
use super::record::{Phase, Trace};
use super::request::{FILLER, Request};
use super::socket::{ReadsToTheEnd, Socket};

/// Large enough that flow control is never what is measured.
const WINDOW: u32 = 8 * 1024 * 1024;

/// One stream's way to the server over HTTP/2.
#[derive(Debug)]
pub(crate) struct Http2 {
    pub(crate) address: Address,
    pub(crate) think: Duration,
    pub(crate) request: Request,
    pub(crate) expected: Expected,
    pub(crate) pool: Pool,
}

/// The connections. A slot is locked while its connection is being opened, so
/// that the requests which need it wait for it instead of opening more.
#[derive(Debug)]
pub(crate) struct Pool {
    slots: Vec<tokio::sync::Mutex<Option<SendRequest<Bytes>>>>,
    next: AtomicUsize,
    /// What drives the connections. One that is replaced runs on for the sake of
    /// its last answers; all end with the pool.
    drivers: Mutex<JoinSet<()>>,
}

impl Pool {
    pub(crate) fn new(connections: usize) -> Pool {
        Pool {
            slots: (0..connections).map(|_| Default::default()).collect(),
            next: AtomicUsize::new(0),
            drivers: Mutex::default(),
        }
    }

    fn drive(&self, connection: h2::client::Connection<ReadsToTheEnd>) {
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        while drivers.try_join_next().is_some() {}
        drivers.spawn(async move {
            // How it ended is told to each request, and to the next one that picks it.
            let _ = connection.await;
        });
    }
}

impl Http2 {
    pub(crate) async fn send(&self, trace: &mut Trace) -> Outcome {
        let sender = match self.pick(trace).await {
            Ok(sender) => sender,
            Err(outcome) => return outcome,
        };
        trace.phase = Phase::Waiting;
        match self.exchange(sender, trace).await {
            Ok((status, length)) => self.expected.judge(status, length, trace),
            Err((error, seen)) => {
                trace.detail = Some(error.to_string());
                classify(&error, seen)
            }
        }
    }

    /// The next connection in turn, opened anew if it is closed or going away.
    async fn pick(&self, trace: &mut Trace) -> Result<SendRequest<Bytes>, Outcome> {
        let turn = self.pool.next.fetch_add(1, Ordering::Relaxed);
        let mut slot = self.pool.slots[turn % self.pool.slots.len()].lock().await;
        if let Some(sender) = slot.take() {
            match sender.clone().ready().await {
                Ok(ready) => {
                    *slot = Some(sender);
                    trace.reused = true;
                    return Ok(ready);
                }
                Err(error) if is_go_away(&error) => trace.announced_close += 1,
                Err(_) => trace.stale += 1,
            }
        }

        let sender = self.open(trace).await?;
        *slot = Some(sender.clone());
        Ok(sender)
    }

    async fn open(&self, trace: &mut Trace) -> Result<SendRequest<Bytes>, Outcome> {
        trace.phase = Phase::Connecting;
        let socket = match Socket::connect(&self.address).await {
            Ok(socket) => socket,
            Err(error) => {
                trace.detail = Some(error.to_string());
                return Err(Outcome::of_connect_error(&error));
            }
        };
        trace.opened += 1;
        if !self.think.is_zero() {
            sleep(self.think).await;
        }
        let handshake = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            .handshake(ReadsToTheEnd::new(socket))
            .await;
        match handshake {
            Ok((sender, connection)) => {
                self.pool.drive(connection);
                Ok(sender)
            }
            Err(error) => {
                trace.detail = Some(error.to_string());
                Err(classify(&error, Seen::Nothing))
            }
        }
    }

    /// The status and the length of the whole answer.
    async fn exchange(
        &self,
        mut sender: SendRequest<Bytes>,
        trace: &mut Trace,
    ) -> Result<(u16, u64), (h2::Error, Seen)> {
        let nothing = |error| (error, Seen::Nothing);
        let is_bodiless = self.request.pieces.is_empty();
        let (response, body) = sender
            .send_request(self.request.head.clone(), is_bodiless)
            .map_err(nothing)?;
        drop(sender);

        let mut response = std::pin::pin!(response);
        let mut upload = std::pin::pin!(self.upload(body));
        let mut uploading = !is_bodiless;
        let response = loop {
            tokio::select! {
                biased;
                () = &mut upload, if uploading => uploading = false,
                response = &mut response => break response.map_err(nothing)?,
            }
        };

        trace.phase = Phase::Reading;
        let status = response.status().as_u16();
        trace.instance = response
            .headers()
            .get("x-zdt-instance")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());

        let part = |error| (error, Seen::Part);
        let mut body = response.into_body();
        let mut length = 0;
        loop {
            let data = tokio::select! {
                biased;
                () = &mut upload, if uploading => {
                    uploading = false;
                    continue;
                }
                data = body.data() => data,
            };
            let Some(data) = data else { break };
            let data = data.map_err(part)?;
            length += data.len() as u64;
            body.flow_control()
                .release_capacity(data.len())
                .map_err(part)?;
        }
        body.trailers().await.map_err(part)?;
        Ok((status, length))
    }

    /// Sends the body. An error ends it silently, because the answer tells how
    /// the request ended.
    async fn upload(&self, mut body: SendStream<Bytes>) {
        let last = self.request.pieces.len().saturating_sub(1);
        for (index, &piece) in self.request.pieces.iter().enumerate() {
            if index > 0 {
                sleep(self.request.pause).await;
            }
            let mut left = piece;
            while left > 0 {
                let here = usize::try_from(left).map_or(FILLER.len(), |n| n.min(FILLER.len()));
                body.reserve_capacity(here);
                let granted = std::future::poll_fn(|context| body.poll_capacity(context)).await;
                let Some(Ok(granted)) = granted else { return };
                let here = granted.min(here);
                left -= here as u64;
                let ends = index == last && left == 0;
                if body
                    .send_data(Bytes::from_static(&FILLER[..here]), ends)
                    .is_err()
                {
                    return;
                }
            }
        }
    }
}

fn is_go_away(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote()
}

/// Decides what an HTTP/2 error says about the request that met it.
fn classify(error: &h2::Error, seen: Seen) -> Outcome {
    // `h2` gives a request the server's GOAWAY only if its stream is above the
    // last one that the server will process, or if it was never sent.
    if is_go_away(error) && seen == Seen::Nothing {
        return Outcome::Retryable;
    }
    if error.is_reset() && error.is_remote() {
        return match (error.reason(), seen) {
            (Some(Reason::REFUSED_STREAM), Seen::Nothing) => Outcome::Retryable,
            _ => Outcome::of_end(End::Reset, seen, Connection::Fresh),
        };
    }
    match error.get_io() {
        // `h2` calls every close without a GOAWAY a broken pipe.
        Some(error) => Outcome::of_end(End::of_error(error), seen, Connection::Fresh),
        None if is_go_away(error) => Outcome::of_end(End::Eof, seen, Connection::Fresh),
        // A stream or the connection broke the protocol.
        None => Outcome::Garbled,
    }
}
