//! Connections that are held: opened before the first request is due, never opened
//! again, and watched between requests. Whatever ends one before the run does is a
//! loss of that connection.

use std::io;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::answer::Answer;
use super::books::{Run, due};
use super::http1::{Again, Http1};
use super::outcome::{End, Outcome};
use super::record::{Done, Trace};
use super::socket::Socket;

/// Connections that are opened at the same time.
const OPENING: usize = 64;

/// Most answers fit into so much; memory is paid for each connection.
const BUFFER: usize = 1024;

/// One stream's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold<'a> {
    pub(crate) http1: &'a Http1,
    pub(crate) connections: usize,
}

/// A connection, or why its first request fails.
pub(crate) type Opened = Result<Socket, (Outcome, Trace)>;

/// What became of a connection that was to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    /// A request met it, or it could not be opened.
    Lost(Outcome),
    /// A whole answer said `Connection: close`.
    AnnouncedClose,
    /// Closed while no request was on its way.
    ClosedIdle,
    ResetIdle,
    /// Bytes that nobody asked for.
    Surplus,
}

impl Fate {
    /// The name under which a report counts it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Lost(outcome) => outcome.name(),
            Fate::AnnouncedClose => "announced_close",
            Fate::ClosedIdle => "closed_idle",
            Fate::ResetIdle => "reset_idle",
            Fate::Surplus => "surplus",
        }
    }

    fn of_idle(read: &io::Result<usize>) -> Fate {
        match read {
            Ok(0) => Fate::ClosedIdle,
            Ok(_) => Fate::Surplus,
            Err(error) => match End::of_error(error) {
                End::Eof => Fate::ClosedIdle,
                End::Reset => Fate::ResetIdle,
                End::TimedOut => Fate::Lost(Outcome::Timeout),
                End::OurFault => Fate::Lost(Outcome::Client),
            },
        }
    }
}

impl Hold<'_> {
    /// Opens all connections, and waits the think time with them open.
    pub(crate) async fn open(&self, limit: Duration) -> Vec<Opened> {
        let one = || async {
            let mut trace = Trace::default();
            match timeout(limit, self.http1.connect(&mut trace)).await {
                Ok(Ok(socket)) => Ok(socket),
                Ok(Err(outcome)) => Err((outcome, trace)),
                Err(_) => {
                    trace.detail = Some(trace.phase.while_what().to_owned());
                    Err((Outcome::Timeout, trace))
                }
            }
        };
        let connections = stream::iter(0..self.connections).map(|_| one());
        let opened = connections.buffered(OPENING).collect().await;
        if !self.http1.think.is_zero() {
            sleep(self.http1.think).await;
        }
        opened
    }
}

/// When one connection has its turn: request `first` of the stream, and from there
/// one in as many as there are connections.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) stream: usize,
    pub(crate) first: u64,
    pub(crate) rate: f64,
    /// Of the whole stream.
    pub(crate) requests: Option<u64>,
    pub(crate) timeout: Duration,
}

impl Hold<'_> {
    /// Sends each request when it is due, or as soon as the one before is answered,
    /// until the connection or the run ends.
    pub(crate) async fn run(
        &self,
        turns: &Turns,
        opened: Opened,
        run: &Run,
        stop: watch::Receiver<Option<Instant>>,
    ) -> Fate {
        let mut stop_seen = stop.clone();
        let mut stopping = std::pin::pin!(stop_seen.wait_for(Option::is_some));
        let mut held = match opened {
            Ok(socket) => Held::new(self.http1, socket),
            Err((outcome, trace)) => return not_opened(turns, run, outcome, trace),
        };
        let mut n = turns.first;
        loop {
            // After its last request a connection is held to the end of the run.
            let last = turns.requests.filter(|&requests| n >= requests);
            let due = due(turns.rate, last.unwrap_or(n));
            let stopped = *stop.borrow();
            // What was due before the stop is sent, however late it has become.
            if stopped.is_some_and(|stopped| run.at(due) > stopped) {
                break;
            }
            tokio::select! {
                biased;
                () = sleep_until(run.at(due)) => {}
                fate = held.disturbed() => return fate,
                _ = &mut stopping, if stopped.is_none() => continue,
            }
            if last.is_some() {
                break;
            }
            if let Some(fate) = held.turn(turns, due, run).await {
                return fate;
            }
            n += self.connections as u64;
        }
        // A close that came just now has woken nobody yet.
        match held.socket.is_idle() {
            true => Fate::Kept,
            false => held.disturbed().await,
        }
    }
}

fn not_opened(turns: &Turns, run: &Run, outcome: Outcome, trace: Trace) -> Fate {
    run.note_sent(turns.stream);
    let now = run.elapsed();
    let done = Done {
        due: due(turns.rate, turns.first).min(now),
        began: now,
        ended: now,
        outcome,
        trace,
    };
    run.note_done(turns.stream, &done);
    Fate::Lost(outcome)
}

/// One connection that is open.
#[derive(Debug)]
struct Held<'a> {
    http1: &'a Http1,
    socket: Socket,
    answer: Answer,
    buffer: [u8; BUFFER],
    answered: bool,
}

impl<'a> Held<'a> {
    fn new(http1: &'a Http1, socket: Socket) -> Held<'a> {
        Held {
            http1,
            socket,
            answer: Answer::new(http1.request.kind),
            buffer: [0; BUFFER],
            answered: false,
        }
    }

    /// Sends a request and reads its answer; `None` if the connection can go on.
    async fn turn(&mut self, turns: &Turns, due: Duration, run: &Run) -> Option<Fate> {
        run.note_sent(turns.stream);
        let began = run.elapsed();
        let mut trace = Trace {
            opened: u64::from(!self.answered),
            reused: self.answered,
            ..Trace::default()
        };
        let (outcome, again) = self.exchange(turns.timeout, &mut trace).await;
        self.answered = true;
        trace.announced_close = u64::from(again == Again::Announced);
        run.note_done(
            turns.stream,
            &Done {
                due,
                began,
                ended: run.elapsed(),
                outcome,
                trace,
            },
        );
        match (outcome, again) {
            (Outcome::Ok, Again::Yes) => None,
            (Outcome::Ok, Again::Announced) => Some(Fate::AnnouncedClose),
            (Outcome::Ok, Again::No) => Some(Fate::Surplus),
            (outcome, _) => Some(Fate::Lost(outcome)),
        }
    }

    async fn exchange(&mut self, limit: Duration, trace: &mut Trace) -> (Outcome, Again) {
        self.answer.again();
        let (answer, buffer) = (&mut self.answer, &mut self.buffer);
        let exchange = self.http1.exchange(&self.socket, answer, buffer, trace);
        if let Ok(ended) = timeout(limit, exchange).await {
            return ended;
        }
        trace.detail = Some(trace.phase.while_what().to_owned());
        (Outcome::Timeout, Again::No)
    }

    /// Resolves when the connection is not silent any more.
    async fn disturbed(&mut self) -> Fate {
        Fate::of_idle(&self.socket.read(&mut self.buffer).await)
    }
}
