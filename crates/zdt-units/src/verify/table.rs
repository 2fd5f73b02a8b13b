//! The table of clients: what each does, and how it is sent. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::probe::{Pattern, Stream};

/// A client that meets a restart in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    New,
    Silent,
    KeepAlive,
    Idle,
    Slow,
    Post,
    HalfSent,
    Http2,
    WebSocket,
}

/// What is measured, and how hard.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: String,
    /// Takes a while to answer.
    pub slow: Option<String>,
    pub post: Option<String>,
    pub websocket: Option<String>,
    /// Empty: all of them.
    pub only: Vec<Kind>,
    /// Requests a second of the client `new`; the others follow from it.
    pub rate: f64,
    /// How long the connections of the client `idle` rest.
    pub idle: Duration,
    pub timeout: Duration,
    pub restarts: u32,
    /// From the end of one restart to the next.
    pub pause: Duration,
}

/// What makes a restart one that a client has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// A request was due or in flight at some time of it.
    During,
    /// A request was in flight when the old process was told to stop.
    Across,
    /// A connection was kept when it was told to, and used afterwards.
    Kept,
}

/// From connecting to the first byte, at least.
const SILENCE: Duration = Duration::from_millis(30);
/// Between the halves of a head, at least.
const HALF_SENT: Duration = Duration::from_millis(100);
/// Between two requests on a busy kept connection.
const BUSY: Duration = Duration::from_millis(200);
/// An upload that is in flight over a restart.
const UPLOAD_PIECES: u32 = 16;
const UPLOAD_PAUSE: Duration = Duration::from_millis(100);
const PIECE: u64 = 1024;
const IDLE_CONNECTIONS: usize = 8;
const HTTP2_CONNECTIONS: usize = 4;
pub(super) const WEBSOCKETS: usize = 8;
/// How much time an entry of a timeline covers.
pub(super) const BUCKET: Duration = Duration::from_millis(20);

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::New,
        Kind::Silent,
        Kind::KeepAlive,
        Kind::Idle,
        Kind::Slow,
        Kind::Post,
        Kind::HalfSent,
        Kind::Http2,
        Kind::WebSocket,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::New => "new",
            Kind::Silent => "silent",
            Kind::KeepAlive => "keep-alive",
            Kind::Idle => "idle",
            Kind::Slow => "slow",
            Kind::Post => "post",
            Kind::HalfSent => "half-sent",
            Kind::Http2 => "http2",
            Kind::WebSocket => "websocket",
        }
    }

    /// In half a sentence.
    pub fn does(self, options: &Options) -> String {
        let own = humantime::format_duration(self.own_time(options));
        let shown = humantime::format_duration;
        match self {
            Kind::New => "a new connection for each request".to_owned(),
            Kind::Silent => format!("connects, waits {own}, then sends"),
            Kind::KeepAlive => format!("kept connections, each used every {}", shown(BUSY)),
            Kind::Idle => format!(
                "kept connections that rest {} between requests",
                shown(options.idle)
            ),
            Kind::Slow => match &options.slow {
                Some(path) => format!("requests to `{path}` in flight at the restart"),
                None => format!("uploads in pieces over {own}"),
            },
            Kind::Post => format!("a POST with a body to `{}`", options.post_path()),
            Kind::HalfSent => format!("half of the request head, the rest {own} later"),
            Kind::Http2 => "requests on kept HTTP/2 connections".to_owned(),
            Kind::WebSocket => "open WebSockets".to_owned(),
        }
    }

    /// Why it cannot be tried, as long as it is not told more.
    pub(super) fn lacks(self, options: &Options) -> Option<&'static str> {
        match self {
            _ if !options.wants(self) => Some("left out by `--only`"),
            Kind::WebSocket if options.websocket.is_none() => {
                Some("name a path that speaks WebSocket with `--websocket PATH`")
            }
            _ => None,
        }
    }

    pub(super) fn meeting(self) -> Meeting {
        match self {
            Kind::New | Kind::Post => Meeting::During,
            Kind::Silent | Kind::HalfSent | Kind::Slow | Kind::WebSocket => Meeting::Across,
            Kind::KeepAlive | Kind::Idle | Kind::Http2 => Meeting::Kept,
        }
    }

    /// How long a request takes by the client's own doing.
    pub(super) fn own_time(self, options: &Options) -> Duration {
        match self {
            // Two are in flight at any moment.
            Kind::Silent => SILENCE.max(every(self.rate(options)) * 2),
            Kind::HalfSent => HALF_SENT.max(every(self.rate(options)) * 2),
            Kind::Slow if options.slow.is_none() => Self::upload(),
            _ => Duration::ZERO,
        }
    }

    /// Requests a second of those that follow `--rate`.
    fn rate(self, options: &Options) -> f64 {
        match self {
            Kind::Silent | Kind::KeepAlive | Kind::Http2 => options.rate / 2.0,
            Kind::Post | Kind::HalfSent => options.rate / 4.0,
            _ => options.rate,
        }
    }

    fn upload() -> Duration {
        UPLOAD_PAUSE * (UPLOAD_PIECES - 1)
    }

    /// Its requests; `None` for WebSockets, which are none.
    pub(super) fn stream(self, options: &Options) -> Option<Stream> {
        let like = |pattern, rate: f64| Stream {
            name: self.name().to_owned(),
            pattern,
            rate,
            path: options.path.clone(),
            timeout: options.timeout + self.own_time(options),
            timeline_bucket: BUCKET,
            ..Stream::default()
        };
        let post = |stream| Stream {
            method: "POST".to_owned(),
            path: options.post_path().to_owned(),
            ..stream
        };
        let rate = self.rate(options);
        Some(match self {
            Kind::New => like(Pattern::New, rate),
            Kind::Silent => Stream {
                think: self.own_time(options),
                ..like(Pattern::New, rate)
            },
            Kind::HalfSent => Stream {
                head_pause: self.own_time(options),
                ..like(Pattern::New, rate)
            },
            Kind::KeepAlive => {
                let connections = (rate * BUSY.as_secs_f64()).round().max(1.0) as usize;
                like(
                    Pattern::KeepAlive { connections },
                    connections as f64 / BUSY.as_secs_f64(),
                )
            }
            Kind::Idle => like(
                Pattern::KeepAlive {
                    connections: IDLE_CONNECTIONS,
                },
                IDLE_CONNECTIONS as f64 / options.idle.as_secs_f64(),
            ),
            Kind::Http2 => like(
                Pattern::Http2 {
                    connections: HTTP2_CONNECTIONS,
                },
                rate,
            ),
            Kind::Post => Stream {
                body_bytes: 4 * PIECE,
                ..post(like(Pattern::New, rate))
            },
            Kind::Slow => match &options.slow {
                Some(path) => Stream {
                    path: path.clone(),
                    ..like(Pattern::New, 1.0)
                },
                None => Stream {
                    body_bytes: PIECE * u64::from(UPLOAD_PIECES),
                    body_chunks: UPLOAD_PIECES,
                    body_pause: UPLOAD_PAUSE,
                    ..post(like(Pattern::New, 2.0))
                },
            },
            Kind::WebSocket => return None,
        })
    }
}

impl Options {
    fn wants(&self, kind: Kind) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }

    fn post_path(&self) -> &str {
        self.post.as_ref().unwrap_or(&self.path)
    }

    /// How long the load runs after each restart: so long that every kept connection is used.
    pub(super) fn settle(&self) -> Duration {
        self.pause.max(self.idle + self.idle / 2)
    }

    /// How long it runs before the first one: so long that a load which the program does not
    /// bear shows.
    pub(super) fn before(&self) -> Duration {
        self.settle().max(Duration::from_secs(1))
    }
}

/// From one request to the next, in whole milliseconds.
fn every(rate: f64) -> Duration {
    let ms = (1000.0 / rate).ceil().clamp(1.0, 3_600_000.0);
    Duration::from_millis(ms as u64)
}

/// Every mistake in the options.
pub(crate) fn check(options: &Options) -> Vec<String> {
    let mut mistakes = Vec::new();
    if !options.rate.is_finite() || options.rate <= 0.0 {
        let rate = options.rate;
        mistakes.push(format!("--rate {rate}: write a number above 0"));
    }
    if options.idle.is_zero() {
        mistakes.push("--idle 0s: write a time above 0".to_owned());
    }
    let paths = [
        ("--path", Some(&options.path)),
        ("--slow", options.slow.as_ref()),
        ("--post", options.post.as_ref()),
        ("--websocket", options.websocket.as_ref()),
    ];
    for (flag, path) in paths {
        let is_wrong = |path: &&String| {
            !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err()
        };
        if let Some(path) = path.filter(is_wrong) {
            mistakes.push(format!(
                "{flag} {path}: a path starts with `/` and has no spaces"
            ));
        }
    }
    mistakes
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            format!("the clients are {names}")
        })
    }
}

#[cfg(test)]
pub(super) fn example() -> Options {
    Options {
        path: "/".to_owned(),
        slow: None,
        post: None,
        websocket: None,
        only: Vec::new(),
        rate: 100.0,
        idle: Duration::from_millis(500),
        timeout: Duration::from_secs(10),
        restarts: 3,
        pause: Duration::from_secs(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_named_in_one_word_and_can_be_sent() {
        let target = ":80".parse().unwrap();
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            if let Some(stream) = kind.stream(&example()) {
                assert_eq!(stream.check(&target), Ok(()), "{kind}");
            }
        }
        assert!("tcp".parse::<Kind>().unwrap_err().contains("half-sent"));
    }

    /// The shortest restart takes some ten milliseconds; others must be in flight at any moment.
    #[test]
    fn every_restart_is_met_by_construction() {
        let new = Kind::New.stream(&example()).unwrap();
        assert!(every(new.rate) <= Duration::from_millis(10));
        for rate in [3.0, 10.0, 50.0, 100.0, 2000.0] {
            let options = Options { rate, ..example() };
            for kind in Kind::ALL {
                let Some(stream) = kind.stream(&options) else {
                    continue;
                };
                let own = kind.own_time(&options);
                if kind.meeting() == Meeting::Across {
                    assert!(every(stream.rate) * 2 <= own, "{kind} at {rate}");
                }
                assert!(stream.timeout > own, "{kind} at {rate}");
            }
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        assert_eq!(check(&example()), Vec::<String>::new());
        let wrong = Options {
            rate: 0.0,
            idle: Duration::ZERO,
            path: "x".to_owned(),
            slow: Some("/a b".to_owned()),
            ..example()
        };
        assert_eq!(
            check(&wrong),
            [
                "--rate 0: write a number above 0",
                "--idle 0s: write a time above 0",
                "--path x: a path starts with `/` and has no spaces",
                "--slow /a b: a path starts with `/` and has no spaces",
            ]
        );
    }

    #[test]
    fn what_a_client_lacks_is_told() {
        let lacking = |options: &Options| {
            let lacks = |kind: &Kind| kind.lacks(options).is_some();
            Kind::ALL.into_iter().filter(lacks).collect::<Vec<_>>()
        };
        assert_eq!(lacking(&example()), [Kind::WebSocket]);
        let only = Options {
            only: vec![Kind::New],
            ..example()
        };
        assert_eq!(lacking(&only), Kind::ALL[1..]);
    }
}
