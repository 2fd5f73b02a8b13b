//! The strict load client: it shows the losses that other clients hide.
//!
//! - Open loop: requests leave at a fixed rate, whatever became of those before
//!   them, and latency counts from the moment a request was due. Timers tick once
//!   a millisecond, which is the resolution of that moment.
//! - Nothing is ever sent twice.
//! - Every request that was due ends in exactly one [`Outcome`], and the faults of
//!   the client itself are one of them: they make the [`Report`] invalid.
//!
//! ```no_run
//! # async fn example() -> Result<(), zdt_units::probe::AddressError> {
//! use zdt_units::probe::{Load, Pattern, Stream, run};
//!
//! let load = Load {
//!     target: "127.0.0.1:8080".parse()?,
//!     streams: vec![Stream {
//!         pattern: Pattern::KeepAlive { connections: 32 },
//!         rate: 2000.0,
//!         ..Stream::default()
//!     }],
//! };
//! let ten_seconds = tokio::time::sleep(std::time::Duration::from_secs(10));
//! let report = run(&load, ten_seconds).await;
//! assert_eq!(report.lost(), 0);
//! # Ok(())
//! # }
//! ```

mod address;
mod answer;
mod books;
mod drive;
mod hold;
mod http1;
mod http2;
mod live;
mod outcome;
mod record;
mod report;
mod request;
mod socket;
mod spec;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use address::{Address, AddressError, Target};
pub use live::Live;
pub(crate) use outcome::{Connection, End, Seen};
pub use outcome::{Outcome, Outcomes};
pub use record::Ended;
pub(crate) use record::{Done, Recorder, Trace};
pub use report::{Connections, Gap, Held, Histogram, Latency, Report, StreamReport, Timeline};
pub(crate) use report::{micros, millis, write_table};
pub use request::StreamError;
pub use spec::{SpecError, parse_header, parse_stream, rate_of_held};

/// What is sent where.
#[derive(Clone, Debug)]
pub struct Load {
    pub target: Target,
    /// All of them run at once.
    pub streams: Vec<Stream>,
}

/// One stream of equal requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub name: String,
    pub pattern: Pattern,
    /// Requests a second.
    pub rate: f64,
    /// After so many the stream ends by itself; `None`: it goes on until it is stopped.
    pub requests: Option<u64>,
    /// The wait between a connection's opening and the first byte sent on it.
    pub think: Duration,
    /// The wait in the middle of the request's head; HTTP/2 sends heads whole.
    pub head_pause: Duration,
    pub method: String,
    pub path: String,
    /// `None`: the target's.
    pub host: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body_bytes: u64,
    /// Into how many pieces the body is cut, with `body_pause` between them.
    pub body_chunks: u32,
    pub body_pause: Duration,
    /// From the moment the request leaves to the end of its answer.
    pub timeout: Duration,
    pub expect_status: u16,
    /// The exact length of the body, if it is known. An answer shorter than it
    /// announces itself is a loss in any case.
    pub expect_length: Option<u64>,
    /// With [`Pattern::New`]: send `Connection: close`.
    pub announce_close: bool,
    /// A request that is due when so many are outstanding is not sent, and counts as
    /// a fault of this client.
    pub max_in_flight: usize,
    /// The resolution of the timeline, in whole milliseconds.
    pub timeline_bucket: Duration,
}

/// How requests use connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// Each request on a connection of its own.
    #[default]
    New,
    /// HTTP/1.1 connections used again, the longest idle first. A request never
    /// waits for one: while all are busy it opens another.
    KeepAlive { connections: usize },
    /// HTTP/2 without TLS and without upgrade, the connections used in turn.
    Http2 { connections: usize },
    /// HTTP/1.1 connections that are all opened before the first request is due and
    /// have to last: each sends its share of the rate, at even distances, and none is
    /// ever opened again. Whatever ends one counts in [`Held`].
    Hold { connections: usize },
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            name: "probe".to_owned(),
            pattern: Pattern::New,
            rate: 100.0,
            requests: None,
            think: Duration::ZERO,
            head_pause: Duration::ZERO,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            body_bytes: 0,
            body_chunks: 1,
            body_pause: Duration::ZERO,
            timeout: Duration::from_secs(10),
            expect_status: 200,
            expect_length: None,
            announce_close: true,
            max_in_flight: 10_000,
            timeline_bucket: Duration::from_millis(10),
        }
    }
}

impl Stream {
    /// Says why this stream could send nothing, if so. [`run`] does not fail on such
    /// a stream; it counts one request as a fault of the client, and goes on.
    pub fn check(&self, target: &Target) -> Result<(), StreamError> {
        request::Request::new(target, self).map(drop)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::New => write!(f, "new"),
            Pattern::KeepAlive { connections } => write!(f, "keep-alive {connections}"),
            Pattern::Http2 { connections } => write!(f, "http2 {connections}"),
            Pattern::Hold { connections } => write!(f, "hold {connections}"),
        }
    }
}

/// Sends `load` until `stop` resolves or every stream has sent its number of
/// requests, then waits for the outstanding answers, each within its timeout.
///
/// Dropping the future abandons the requests in flight.
pub async fn run(load: &Load, stop: impl Future<Output = ()>) -> Report {
    run_live(load, &Live::new(), stop).await
}

/// As [`run`], with counters that can be read meanwhile.
pub async fn run_live(load: &Load, live: &Live, stop: impl Future<Output = ()>) -> Report {
    run_observed(load, live, None, stop).await
}

/// As [`run_live`], and tells the end of each request.
pub async fn run_observed(
    load: &Load,
    live: &Live,
    observer: Option<mpsc::UnboundedSender<Ended>>,
    stop: impl Future<Output = ()>,
) -> Report {
    let streams = load.streams.iter().enumerate();
    let jobs: Vec<_> = streams
        .map(|(index, stream)| Arc::new(drive::Job::new(index, &load.target, stream)))
        .collect();
    let mut stop = std::pin::pin!(stop);
    // What is held is open before the first request is due, so that opening delays none.
    let opened = tokio::select! {
        biased;
        () = &mut stop => None,
        opened = join_all(jobs.iter().map(|job| job.open())) => Some(opened),
    };

    let run = Arc::new(books::Run::new(&load.streams, live.clone(), observer));
    if let Some(opened) = opened {
        let (stopper, stopped) = watch::channel(None);
        let jobs = jobs.into_iter().zip(opened);
        let jobs = jobs.map(|(job, opened)| job.run(opened, Arc::clone(&run), stopped.clone()));
        let mut jobs = std::pin::pin!(join_all(jobs));
        tokio::select! {
            biased;
            () = &mut stop => {
                stopper.send_replace(Some(Instant::now()));
                jobs.await;
            }
            _ = &mut jobs => {}
        }
    }

    let books = run.take_books();
    let elapsed = books.total.last_end();
    let rate = load.streams.iter().map(|stream| stream.rate).sum();
    let mut report = Report {
        v: 1,
        target: load.target.address.to_string(),
        started_unix_ms: run.started_unix_ms,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        valid: true,
        warnings: Vec::new(),
        total: books.total.finish("total", String::new(), rate),
        streams: books
            .streams
            .into_iter()
            .zip(&load.streams)
            .map(|(sums, stream)| {
                sums.finish(&stream.name, stream.pattern.to_string(), stream.rate)
            })
            .collect(),
    };
    record::judge(&mut report);
    report
}

/// Raises this process's soft limit of open files to the hard limit, and returns it.
///
/// Child processes inherit it, so this is for programs that only measure.
pub fn raise_file_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
