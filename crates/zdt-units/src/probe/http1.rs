//! Sends one HTTP/1 request and reads its answer, on a new connection or on one
//! from a pool. Never sends a request twice.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::address::Address;
use super::answer::{Answer, Garbled};
use super::outcome::{Connection, End, Outcome, Seen};
use super::record::{Phase, Trace};
use super::request::{FILLER, Request};
use super::socket::Socket;

/// What a complete answer must look like to count as ok.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    pub(crate) length: Option<u64>,
}

impl Expected {
    /// Classifies a complete answer.
    pub(crate) fn judge(self, status: u16, length: u64, trace: &mut Trace) -> Outcome {
        if status != self.status {
            return Outcome::WrongStatus(status);
        }
        match self.length {
            Some(expected) if length != expected => {
                trace.detail = Some(format!("the body has {length} bytes, not {expected}"));
                if length < expected {
                    Outcome::Truncated
                } else {
                    Outcome::Garbled
                }
            }
            _ => Outcome::Ok,
        }
    }
}

/// One stream's way to the server over HTTP/1.
#[derive(Debug)]
pub(crate) struct Http1 {
    pub(crate) address: Address,
    pub(crate) think: Duration,
    pub(crate) request: Request,
    pub(crate) expected: Expected,
    /// `None`: a new connection for each request.
    pub(crate) pool: Option<Pool>,
}

impl Http1 {
    pub(crate) async fn send(&self, trace: &mut Trace) -> Outcome {
        let Some(pool) = &self.pool else {
            return match self.open(trace).await {
                Ok(socket) => self.exchange_once(&socket, trace).await.0,
                Err(outcome) => outcome,
            };
        };

        let mut lease = pool.lease(trace);
        let socket = match lease.socket.take() {
            Some(socket) => socket,
            None => match self.open(trace).await {
                Ok(socket) => socket,
                Err(outcome) => return outcome,
            },
        };
        let (outcome, again) = self.exchange_once(&socket, trace).await;
        trace.announced_close += u64::from(again == Again::Announced);
        if again == Again::Yes {
            lease.give_back(socket);
        }
        outcome
    }

    async fn open(&self, trace: &mut Trace) -> Result<Socket, Outcome> {
        let socket = self.connect(trace).await?;
        trace.opened += 1;
        if !self.think.is_zero() {
            sleep(self.think).await;
        }
        Ok(socket)
    }

    pub(super) async fn connect(&self, trace: &mut Trace) -> Result<Socket, Outcome> {
        trace.phase = Phase::Connecting;
        let socket = match Socket::connect(&self.address).await {
            Ok(socket) => socket,
            Err(error) => {
                trace.detail = Some(error.to_string());
                return Err(Outcome::of_connect_error(&error));
            }
        };
        trace.phase = Phase::Waiting;
        Ok(socket)
    }

    async fn exchange_once(&self, socket: &Socket, trace: &mut Trace) -> (Outcome, Again) {
        let mut answer = Answer::new(self.request.kind);
        let mut buffer = vec![0; 16 * 1024];
        self.exchange(socket, &mut answer, &mut buffer, trace).await
    }

    /// Writes the request and reads the answer at the same time, because a server
    /// may answer, or close, before it has read everything.
    pub(super) async fn exchange(
        &self,
        socket: &Socket,
        answer: &mut Answer,
        buffer: &mut [u8],
        trace: &mut Trace,
    ) -> (Outcome, Again) {
        trace.phase = Phase::Waiting;
        let mut write = std::pin::pin!(write_request(socket, &self.request));
        let mut written: Option<io::Result<()>> = None;

        let end = loop {
            let read = tokio::select! {
                biased;
                result = &mut write, if written.is_none() => {
                    written = Some(result);
                    continue;
                }
                read = socket.read(buffer) => read,
            };
            match read {
                Ok(0) => break Ok(()),
                Err(error) => break Err(error),
                Ok(n) => match answer.feed(&buffer[..n]) {
                    Ok(false) => trace.phase = Phase::Reading,
                    Ok(true) => break Ok(()),
                    Err(Garbled(why)) => {
                        trace.detail = Some(why);
                        return (Outcome::Garbled, Again::No);
                    }
                },
            }
        };

        if let Some(head) = answer.head() {
            trace.instance.clone_from(&head.instance);
        }
        match (&end, answer.head()) {
            (Ok(()), Some(head)) if answer.ends_at_eof() => {
                let outcome = self.expected.judge(head.status, answer.body_bytes(), trace);
                // After an answer to half a request the rest would be taken for the next one.
                let again = if head.close {
                    Again::Announced
                } else if answer.is_reusable() && matches!(written, Some(Ok(()))) {
                    Again::Yes
                } else {
                    Again::No
                };
                (outcome, again)
            }
            _ => (classify_end(end, written, answer, trace), Again::No),
        }
    }
}

fn classify_end(
    read: io::Result<()>,
    written: Option<io::Result<()>>,
    answer: &Answer,
    trace: &mut Trace,
) -> Outcome {
    let end = match (read, written) {
        (Err(error), _) => {
            trace.detail = Some(error.to_string());
            End::of_error(&error)
        }
        // The kernel reports a reset once, and the write has taken the report.
        (Ok(()), Some(Err(error))) => {
            trace.detail = Some(error.to_string());
            End::of_error(&error)
        }
        (Ok(()), _) => End::Eof,
    };
    let seen = if answer.has_begun() {
        Seen::Part
    } else {
        Seen::Nothing
    };
    let connection = if trace.reused {
        Connection::Reused
    } else {
        Connection::Fresh
    };
    Outcome::of_end(end, seen, connection)
}

async fn write_request(socket: &Socket, request: &Request) -> io::Result<()> {
    let (half, rest) = request.first.split_at(request.head_half);
    if !half.is_empty() {
        socket.write_all(half).await?;
        sleep(request.head_pause).await;
    }
    socket.write_all(rest).await?;
    let mut done = request.first_body;
    for (index, &piece) in request.pieces.iter().enumerate() {
        if index > 0 {
            sleep(request.pause).await;
        }
        let mut left = piece - std::mem::take(&mut done);
        while left > 0 {
            let here = usize::try_from(left).map_or(FILLER.len(), |left| left.min(FILLER.len()));
            socket.write_all(&FILLER[..here]).await?;
            left -= here as u64;
        }
    }
    Ok(())
}

/// Whether the connection can carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
    /// The answer said that it is the last one here.
    Announced,
}

/// Connections kept open between requests.
///
/// A request never waits for one: when all are busy it opens another, and what
/// exceeds `size` is closed after its answer. Until `size` connections are open, a
/// request opens one, so that all of them are used in turn, the longest idle first.
/// While opening fails, or answers end their connection, idle ones come first: a
/// request is not lost for the sake of a full pool, and a server that says goodbye
/// can say it on each connection.
#[derive(Debug)]
pub(crate) struct Pool {
    size: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    idle: VecDeque<Socket>,
    /// Idle, busy and about to be opened.
    open: usize,
    /// A connection could not be opened, or not be kept, and none since could.
    shrinking: bool,
}

/// The right to one of the pool's connections; without a socket, to open one.
#[derive(Debug)]
struct Lease<'a> {
    pool: &'a Pool,
    socket: Option<Socket>,
    opened: bool,
    returned: bool,
}

impl Pool {
    pub(crate) fn new(size: usize) -> Pool {
        Pool {
            size,
            inner: Mutex::default(),
        }
    }

    fn lease(&self, trace: &mut Trace) -> Lease<'_> {
        let mut inner = self.lock();
        let picked = if inner.open < self.size && !inner.shrinking {
            None
        } else {
            inner.idle.pop_front()
        };
        let socket = match picked {
            None => {
                inner.open += 1;
                None
            }
            Some(socket) if socket.is_idle() => {
                trace.reused = true;
                Some(socket)
            }
            // The new connection takes the place of the stale one.
            Some(_) => {
                trace.stale += 1;
                None
            }
        };
        Lease {
            pool: self,
            opened: socket.is_none(),
            socket,
            returned: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    fn give_back(mut self, socket: Socket) {
        let mut inner = self.pool.lock();
        self.returned = true;
        inner.shrinking &= !self.opened;
        match inner.open <= self.pool.size {
            true => inner.idle.push_back(socket),
            false => inner.open -= 1,
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.returned {
            return;
        }
        let mut inner = self.pool.lock();
        inner.open -= 1;
        inner.shrinking = true;
    }
}
