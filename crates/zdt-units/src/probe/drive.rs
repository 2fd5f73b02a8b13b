//! Sends each request when it is due, whatever became of those before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use super::books::{Run, due};
use super::hold::{Hold, Opened, Turns};
use super::http1::{self, Expected, Http1};
use super::http2::{self, Http2};
use super::outcome::Outcome;
use super::record::{Done, Trace};
use super::request::{Request, StreamError};
use super::{Pattern, Stream, Target};

/// Requests sent before this task gives way to others.
const BATCH: usize = 64;

/// One stream, ready to send.
#[derive(Debug)]
pub(crate) struct Job {
    index: usize,
    rate: f64,
    requests: Option<u64>,
    max_in_flight: usize,
    timeout: Duration,
    client: Client,
    /// Connections that are to be held; 0 for other streams.
    held: usize,
}

#[derive(Debug)]
enum Client {
    Http1(Http1),
    Http2(Http2),
    /// Nothing can be sent; the only request says why.
    Broken(StreamError),
}

impl Job {
    pub(crate) fn new(index: usize, target: &Target, stream: &Stream) -> Job {
        let address = target.address.clone();
        let think = stream.think;
        let expected = Expected {
            status: stream.expect_status,
            length: stream.expect_length,
        };
        let client = match (Request::new(target, stream), stream.pattern) {
            (Err(error), _) => Client::Broken(error),
            (Ok(request), Pattern::Http2 { connections }) => Client::Http2(Http2 {
                address,
                think,
                request,
                expected,
                pool: http2::Pool::new(connections),
            }),
            (Ok(request), pattern) => Client::Http1(Http1 {
                address,
                think,
                request,
                expected,
                pool: match pattern {
                    Pattern::KeepAlive { connections } => Some(http1::Pool::new(connections)),
                    _ => None,
                },
            }),
        };
        Job {
            index,
            rate: stream.rate,
            requests: match client {
                Client::Broken(_) => Some(1),
                _ => stream.requests,
            },
            max_in_flight: stream.max_in_flight,
            timeout: stream.timeout,
            client,
            held: match stream.pattern {
                Pattern::Hold { connections } => connections,
                _ => 0,
            },
        }
    }

    fn hold(&self) -> Option<Hold<'_>> {
        match &self.client {
            Client::Http1(http1) if self.held > 0 => Some(Hold {
                http1,
                connections: self.held,
            }),
            _ => None,
        }
    }

    /// Opens the connections that have to be open before the first request is due.
    pub(crate) async fn open(&self) -> Vec<Opened> {
        match self.hold() {
            Some(hold) => hold.open(self.timeout).await,
            None => Vec::new(),
        }
    }

    /// Sends requests until their number is reached or `stop` turns true, then
    /// waits for the answers, each within its timeout.
    pub(crate) async fn run(
        self: Arc<Job>,
        opened: Vec<Opened>,
        run: Arc<Run>,
        stop: watch::Receiver<Option<Instant>>,
    ) {
        match self.hold() {
            Some(_) => self.hold_all(opened, &run, &stop).await,
            None => self.send_all(&run, stop).await,
        }
    }

    async fn send_all(self: &Arc<Job>, run: &Arc<Run>, mut stop: watch::Receiver<Option<Instant>>) {
        let mut tasks = JoinSet::new();
        let mut next = 0;
        while self.requests.is_none_or(|requests| next < requests) {
            let at = run.at(due(self.rate, next));
            tokio::select! {
                biased;
                _ = stop.wait_for(Option::is_some) => break,
                () = sleep_until(at) => {}
            }

            for _ in 0..BATCH {
                if self.requests.is_some_and(|requests| next >= requests)
                    || run.elapsed() < due(self.rate, next)
                {
                    break;
                }
                while let Some(joined) = tasks.try_join_next() {
                    self.note_joined(run, joined);
                }
                self.send(run, next, &mut tasks);
                next += 1;
            }
            // While behind, no sleep above lets the answers in.
            yield_now().await;
        }
        while let Some(joined) = tasks.join_next().await {
            self.note_joined(run, joined);
        }
    }

    fn send(self: &Arc<Job>, run: &Arc<Run>, n: u64, tasks: &mut JoinSet<()>) {
        let job = Arc::clone(self);
        let run = Arc::clone(run);
        let due = due(self.rate, n);
        if tasks.len() >= self.max_in_flight {
            let most = self.max_in_flight;
            let detail = format!("{most} requests are in flight already, the most allowed");
            run.note_unsent(self.index, due, detail);
            return;
        }
        run.note_sent(self.index);
        tasks.spawn(async move {
            let began = run.elapsed();
            let (outcome, trace) = job.request().await;
            let ended = run.elapsed();
            run.note_done(
                job.index,
                &Done {
                    due,
                    began,
                    ended,
                    outcome,
                    trace,
                },
            );
        });
    }

    /// Each connection has a task, which lasts as long as it does.
    async fn hold_all(
        self: &Arc<Job>,
        opened: Vec<Opened>,
        run: &Arc<Run>,
        stop: &watch::Receiver<Option<Instant>>,
    ) {
        let mut tasks = JoinSet::new();
        for (first, opened) in (0..).zip(opened) {
            let (job, run, stop) = (Arc::clone(self), Arc::clone(run), stop.clone());
            tasks.spawn(async move {
                if let Some(hold) = job.hold() {
                    let fate = hold.run(&job.turns(first), opened, &run, stop).await;
                    run.note_fate(job.index, fate);
                }
            });
        }
        while let Some(joined) = tasks.join_next().await {
            self.note_joined(run, joined);
        }
    }

    fn turns(&self, first: u64) -> Turns {
        Turns {
            stream: self.index,
            first,
            rate: self.rate,
            requests: self.requests,
            timeout: self.timeout,
        }
    }

    /// A request whose task broke off must not vanish from the counts.
    fn note_joined(&self, run: &Run, joined: Result<(), JoinError>) {
        if let Err(error) = joined {
            run.note_our_fault(self.index, run.elapsed(), error.to_string());
        }
    }

    pub(crate) async fn request(&self) -> (Outcome, Trace) {
        let mut trace = Trace::default();
        let send = async {
            match &self.client {
                Client::Http1(http1) => http1.send(&mut trace).await,
                Client::Http2(http2) => http2.send(&mut trace).await,
                Client::Broken(error) => {
                    trace.detail = Some(error.to_string());
                    Outcome::Client
                }
            }
        };
        let sent = timeout(self.timeout, send).await;
        match sent {
            Ok(outcome) => (outcome, trace),
            Err(_) => {
                trace.detail = Some(trace.phase.while_what().to_owned());
                (Outcome::Timeout, trace)
            }
        }
    }
}
