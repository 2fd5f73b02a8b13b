//! Sends each request when it is due, whatever became of those before it.
#![expect(
    clippy::disallowed_methods,
    reason = "the start of a run is stamped so that a reader can place a restart in it"
)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use super::http1::{self, Expected, Http1};
use super::http2::{self, Http2};
use super::live::Live;
use super::outcome::Outcome;
use super::record::{Done, Ended, Recorder, Trace};
use super::request::{Request, StreamError};
use super::{Pattern, Stream, Target};

/// Requests sent before this task gives way to others.
const BATCH: usize = 64;

/// What all streams of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    start: Instant,
    pub(crate) started_unix_ms: u64,
    live: Live,
    observer: Option<mpsc::UnboundedSender<Ended>>,
    books: Mutex<Books>,
}

#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) total: Recorder,
    pub(crate) streams: Vec<Recorder>,
    in_flight: u64,
}

impl Books {
    fn new(streams: &[Stream]) -> Books {
        let finest = streams.iter().map(|stream| stream.timeline_bucket).min();
        Books {
            total: Recorder::new(finest.unwrap_or_default()),
            streams: streams
                .iter()
                .map(|stream| Recorder::new(stream.timeline_bucket))
                .collect(),
            in_flight: 0,
        }
    }
}

impl Run {
    pub(crate) fn new(
        streams: &[Stream],
        live: Live,
        observer: Option<mpsc::UnboundedSender<Ended>>,
    ) -> Run {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Run {
            start: Instant::now(),
            started_unix_ms: since_1970.map_or(0, |time| {
                u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
            }),
            live,
            observer,
            books: Mutex::new(Books::new(streams)),
        }
    }

    /// Hands the sums over; call it when all requests have ended.
    pub(crate) fn take_books(&self) -> Books {
        std::mem::replace(&mut *self.books(), Books::new(&[]))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_sent(&self, stream: usize, in_flight: usize) {
        self.live.note_scheduled();
        let mut books = self.books();
        books.in_flight += 1;
        let all = books.in_flight;
        books.total.note_in_flight(all);
        books.streams[stream].note_in_flight(in_flight as u64);
    }

    fn note_done(&self, stream: usize, done: &Done) {
        let mut books = self.books();
        books.in_flight -= 1;
        books.total.record(done);
        books.streams[stream].record(done);
        drop(books);
        if let Some(observer) = &self.observer {
            // One that went away has seen enough.
            let _ = observer.send(done.ended(stream));
        }
        self.live.note_ended(done.outcome);
    }

    fn note_unsent(&self, stream: usize, due: Duration, detail: String) {
        self.live.note_scheduled();
        let mut books = self.books();
        books.in_flight += 1;
        books.total.note_refused_in_flight();
        books.streams[stream].note_refused_in_flight();
        drop(books);
        self.note_our_fault(stream, due, detail);
    }

    /// Counts a request that ended without a result as a fault of this client.
    fn note_our_fault(&self, stream: usize, due: Duration, detail: String) {
        let now = self.start.elapsed();
        self.note_done(
            stream,
            &Done {
                due,
                began: now,
                ended: now,
                outcome: Outcome::Client,
                trace: Trace {
                    detail: Some(detail),
                    ..Trace::default()
                },
            },
        );
    }
}

/// One stream, ready to send.
#[derive(Debug)]
pub(crate) struct Job {
    index: usize,
    rate: f64,
    requests: Option<u64>,
    max_in_flight: usize,
    timeout: Duration,
    client: Client,
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
        }
    }

    /// Sends requests until their number is reached or `stop` turns true, then
    /// waits for the answers, each within its timeout.
    pub(crate) async fn run(self: Arc<Job>, run: Arc<Run>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let mut next = 0;
        while self.requests.is_none_or(|requests| next < requests) {
            let at = run.start + due(self.rate, next);
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => break,
                () = sleep_until(at) => {}
            }

            for _ in 0..BATCH {
                if self.requests.is_some_and(|requests| next >= requests)
                    || run.start.elapsed() < due(self.rate, next)
                {
                    break;
                }
                while let Some(joined) = tasks.try_join_next() {
                    self.note_joined(&run, joined);
                }
                self.send(&run, next, &mut tasks);
                next += 1;
            }
            // While behind, no sleep above lets the answers in.
            yield_now().await;
        }
        while let Some(joined) = tasks.join_next().await {
            self.note_joined(&run, joined);
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
        run.note_sent(self.index, tasks.len() + 1);
        tasks.spawn(async move {
            let began = run.start.elapsed();
            let (outcome, trace) = job.request().await;
            let ended = run.start.elapsed();
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

    /// A request whose task broke off must not vanish from the counts.
    fn note_joined(&self, run: &Run, joined: Result<(), JoinError>) {
        if let Err(error) = joined {
            run.note_our_fault(self.index, run.start.elapsed(), error.to_string());
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

/// Request `n` of `rate` a second, from the start of the run.
fn due(rate: f64, n: u64) -> Duration {
    // Three centuries stand for "never".
    Duration::try_from_secs_f64(n as f64 / rate)
        .unwrap_or(Duration::MAX)
        .min(Duration::from_secs(10_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances_from_the_start() {
        assert_eq!(due(1000.0, 0), Duration::ZERO);
        assert_eq!(due(1000.0, 1), Duration::from_millis(1));
        assert_eq!(due(0.5, 3), Duration::from_secs(6));
        assert_eq!(due(3.0, 300), Duration::from_secs(100));
        assert_eq!(
            due(f64::MIN_POSITIVE, 1),
            Duration::from_secs(10_000_000_000)
        );
    }
}
