//! The books of a run: its clock, and what each request and connection came to.
#![expect(
    clippy::disallowed_methods,
    reason = "the start of a run is stamped so that a reader can place a restart in it"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Stream;
use super::hold::Fate;
use super::live::Live;
use super::outcome::Outcome;
use super::record::{Done, Ended, Recorder, Trace};

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
    /// Of all streams, and of each.
    in_flight: u64,
    in_flight_of: Vec<u64>,
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
            in_flight_of: vec![0; streams.len()],
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

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment that is `after` the start.
    pub(super) fn at(&self, after: Duration) -> Instant {
        self.start + after
    }

    /// Hands the sums over; call it when all requests have ended.
    pub(crate) fn take_books(&self) -> Books {
        std::mem::replace(&mut *self.books(), Books::new(&[]))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_sent(&self, stream: usize) {
        self.live.note_scheduled();
        let mut books = self.books();
        books.in_flight += 1;
        books.in_flight_of[stream] += 1;
        let (all, these) = (books.in_flight, books.in_flight_of[stream]);
        books.total.note_in_flight(all);
        books.streams[stream].note_in_flight(these);
    }

    pub(super) fn note_done(&self, stream: usize, done: &Done) {
        let mut books = self.books();
        books.in_flight -= 1;
        books.in_flight_of[stream] -= 1;
        books.total.record(done);
        books.streams[stream].record(done);
        drop(books);
        if let Some(observer) = &self.observer {
            // One that went away has seen enough.
            let _ = observer.send(done.ended(stream));
        }
        self.live.note_ended(done.outcome);
    }

    pub(super) fn note_unsent(&self, stream: usize, due: Duration, detail: String) {
        self.live.note_scheduled();
        let mut books = self.books();
        books.in_flight += 1;
        books.in_flight_of[stream] += 1;
        books.total.note_refused_in_flight();
        books.streams[stream].note_refused_in_flight();
        drop(books);
        self.note_our_fault(stream, due, detail);
    }

    pub(super) fn note_fate(&self, stream: usize, fate: Fate) {
        let mut books = self.books();
        books.total.note_fate(fate);
        books.streams[stream].note_fate(fate);
    }

    /// Counts a request that ended without a result as a fault of this client.
    pub(super) fn note_our_fault(&self, stream: usize, due: Duration, detail: String) {
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

/// Request `n` of `rate` a second, from the start of the run.
pub(super) fn due(rate: f64, n: u64) -> Duration {
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
