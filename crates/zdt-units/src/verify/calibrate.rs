//! Tries each client alone, before any restart: what the program answers then is what
//! counts as ok later.

use std::future::pending;
use std::time::Duration;

use super::result::Status;
use super::table::{Kind, Options};
use super::websocket;
use crate::probe::{Load, Outcomes, Pattern, Stream, StreamReport, Target, run};

/// What is known of a client before the first restart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calibrated {
    pub(super) kind: Kind,
    pub(super) found: Result<Usual, Unfit>,
}

/// What is usual without any restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    pub(super) status: u16,
    /// From when a request is due to its answer.
    pub(super) takes: Duration,
}

/// Why a client proves nothing with this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) status: Status,
    pub(super) why: String,
}

/// An answer as slow as this is in flight at a restart, if requests follow each other quickly enough.
const SLOW_ENOUGH: Duration = Duration::from_millis(100);

/// One after the other, so that they do not disturb each other.
pub(super) async fn calibrate(target: &Target, options: &Options) -> Vec<Calibrated> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let found = match kind.lacks(options) {
            Some(why) => Err(unfit(Status::NotTried, why)),
            None => alone(kind, target, options).await,
        };
        all.push(Calibrated { kind, found });
    }
    all
}

async fn alone(kind: Kind, target: &Target, options: &Options) -> Result<Usual, Unfit> {
    let Some(stream) = kind.stream(options) else {
        let path = options.websocket.as_deref().unwrap_or("/");
        let tried = websocket::try_once(target, path, options.timeout).await;
        return match tried {
            Ok(takes) => Ok(Usual { status: 101, takes }),
            Err(why) => Err(unfit(Status::NotSpoken, &why)),
        };
    };
    let load = Load {
        target: target.clone(),
        streams: vec![few(kind, stream)],
    };
    let report = run(&load, pending()).await;
    judge(kind, &report.streams[0], options)
}

/// A few requests; on kept connections, each used twice.
fn few(kind: Kind, stream: Stream) -> Stream {
    let (pattern, requests, rate) = match stream.pattern {
        Pattern::New if kind == Kind::Slow => (Pattern::New, 1, stream.rate),
        Pattern::New => (Pattern::New, 5, stream.rate.max(20.0)),
        Pattern::KeepAlive { connections } => (
            Pattern::KeepAlive { connections: 2 },
            6,
            stream.rate * 2.0 / connections as f64,
        ),
        Pattern::Hold { connections } => (
            Pattern::Hold { connections: 2 },
            6,
            stream.rate * 2.0 / connections as f64,
        ),
        Pattern::Http2 { .. } => (Pattern::Http2 { connections: 1 }, 5, stream.rate),
    };
    Stream {
        pattern,
        rate,
        requests: Some(requests),
        ..stream
    }
}

fn judge(kind: Kind, seen: &StreamReport, options: &Options) -> Result<Usual, Unfit> {
    let status = usual_status(&seen.outcomes)
        .ok_or_else(|| unfit(Status::NotSpoken, &without_restart(kind, seen)))?;
    let is_kept = matches!(kind, Kind::KeepAlive | Kind::Idle);
    if is_kept && seen.outcomes.stale > 0 {
        return Err(unfit(
            Status::NotSpoken,
            "without any restart it closes connections that rest so long",
        ));
    }
    // All but the first on each connection.
    if is_kept && seen.connections.reused == 0 {
        return Err(unfit(
            Status::NotSpoken,
            "it closes each connection after its answer",
        ));
    }
    let takes = Duration::from_micros(seen.latency.p50_us);
    // An answer with another status than 200 is timed by the gap, since it counts as none.
    let takes = match seen.outcomes.ok {
        0 => Duration::from_millis(seen.gap.longest_ms),
        _ => takes,
    };
    if kind == Kind::Slow && takes < SLOW_ENOUGH.max(kind.own_time(options) * 9 / 10) {
        let takes = takes.as_millis();
        return Err(Unfit {
            status: Status::NotTried,
            why: match &options.slow {
                Some(path) => format!("`{path}` answers within {takes} ms, which is not slow"),
                None => "it answers before the upload has ended; name a path that takes a while \
                         with `--slow PATH`, or one that reads a body with `--post PATH`"
                    .to_owned(),
            },
        });
    }
    Ok(Usual { status, takes })
}

/// The status of all answers, if all requests got one and it was the same.
fn usual_status(outcomes: &Outcomes) -> Option<u16> {
    if outcomes.ok == outcomes.scheduled {
        return Some(200);
    }
    let (&status, &count) = outcomes.statuses.first_key_value()?;
    (count == outcomes.scheduled).then_some(status)
}

fn without_restart(kind: Kind, seen: &StreamReport) -> String {
    let outcomes = &seen.outcomes;
    if kind == Kind::Http2 && outcomes.ok + outcomes.wrong_status == 0 {
        return "it does not speak HTTP/2 without TLS".to_owned();
    }
    let losses = seen.outcomes.losses();
    let what: Vec<&str> = losses.iter().map(|(what, _)| what.as_str()).collect();
    format!("without any restart: {}", what.join(", "))
}

fn unfit(status: Status, why: &str) -> Unfit {
    Unfit {
        status,
        why: why.to_owned(),
    }
}

impl Usual {
    /// Requests of this client under load, which expects the usual.
    pub(super) fn stream(self, kind: Kind, options: &Options) -> Option<Stream> {
        let stream = kind.stream(options)?;
        let slow = kind == Kind::Slow && options.slow.is_some();
        Some(Stream {
            expect_status: self.status,
            // Two or more of them are in flight at any moment.
            rate: match slow {
                true => (2.5 / self.takes.as_secs_f64()).min(25.0),
                false => stream.rate,
            },
            timeout: match slow {
                true => stream.timeout + self.takes,
                false => stream.timeout,
            },
            ..stream
        })
    }

    /// How long a request takes where nothing is wrong.
    pub(super) fn own_time(self, kind: Kind, options: &Options) -> Duration {
        match kind {
            Kind::Slow => self.takes.max(kind.own_time(options)),
            _ => kind.own_time(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::table::example;
    use super::*;
    use crate::probe::Connections;

    fn seen(outcomes: Outcomes, reused: u64, takes_ms: u64) -> StreamReport {
        let report = r#"{"name":"","pattern":"","rate":1,"outcomes":{"scheduled":0,"ok":0,"refused":0,"reset":0,
            "reset_reused":0,"eof":0,"eof_reused":0,"truncated":0,"timeout":0,"wrong_status":0,"connect":0,"garbled":0,
            "client":0,"retryable":0,"stale":0,"statuses":{}},"latency":{"p50_us":0,"p90_us":0,"p99_us":0,"p999_us":0,
            "max_us":0},"gap":{"longest_ms":0,"began_ms":0},"lag_max_us":0,"in_flight_max":0,"in_flight_refused":0,
            "connections":{"opened":0,"announced_close":0,"reused":0},"instances":{},"details":{},
            "timeline":{"bucket_ms":1,"ok":[],"lost":[],"max_us":[]}}"#;
        let mut report: StreamReport = serde_json::from_str(report).unwrap();
        report.outcomes = outcomes;
        report.connections = Connections {
            reused,
            ..Connections::default()
        };
        report.latency.p50_us = takes_ms * 1000;
        report
    }

    fn all_ok() -> Outcomes {
        Outcomes {
            scheduled: 5,
            ok: 5,
            ..Outcomes::default()
        }
    }

    fn all_answered(status: u16) -> Outcomes {
        Outcomes {
            scheduled: 5,
            wrong_status: 5,
            statuses: BTreeMap::from([(status, 5)]),
            ..Outcomes::default()
        }
    }

    fn found(kind: Kind, seen: &StreamReport) -> Result<u16, (Status, String)> {
        judge(kind, seen, &example())
            .map(|usual| usual.status)
            .map_err(|unfit| (unfit.status, unfit.why))
    }

    #[test]
    fn the_usual_answer_is_the_one_that_all_get() {
        assert_eq!(found(Kind::New, &seen(all_ok(), 0, 1)), Ok(200));
        assert_eq!(found(Kind::Post, &seen(all_answered(405), 0, 1)), Ok(405));
        let mut mixed = all_answered(405);
        mixed.statuses = BTreeMap::from([(405, 4), (500, 1)]);
        let why = "without any restart: wrong status (405: 4, 500: 1)".to_owned();
        let unfit = Err((Status::NotSpoken, why));
        assert_eq!(found(Kind::Post, &seen(mixed, 0, 1)), unfit);
    }

    #[test]
    fn what_is_lost_without_a_restart_is_not_spoken() {
        let closed = Outcomes {
            scheduled: 5,
            eof: 5,
            ..Outcomes::default()
        };
        let unfit = |why: &str| Err((Status::NotSpoken, why.to_owned()));
        let why = "without any restart: closed before the answer";
        assert_eq!(found(Kind::Silent, &seen(closed.clone(), 0, 1)), unfit(why));
        let why = "it does not speak HTTP/2 without TLS";
        assert_eq!(found(Kind::Http2, &seen(closed, 0, 1)), unfit(why));
    }

    #[test]
    fn connections_that_are_not_kept_say_nothing_of_those_that_are() {
        let not_spoken = |seen: &StreamReport| {
            let found = found(Kind::Idle, seen);
            matches!(found, Err((Status::NotSpoken, _)))
        };
        assert!(!not_spoken(&seen(all_ok(), 3, 1)));
        assert!(not_spoken(&seen(all_ok(), 0, 1)));
        let mut stale = all_ok();
        stale.stale = 1;
        assert!(not_spoken(&seen(stale, 3, 1)));
    }

    #[test]
    fn a_slow_request_is_one_that_takes_long() {
        let found = |takes_ms, slow: Option<&str>| {
            let options = Options {
                slow: slow.map(str::to_owned),
                ..example()
            };
            judge(Kind::Slow, &seen(all_ok(), 0, takes_ms), &options).is_ok()
        };
        assert!(found(1600, None));
        assert!(!found(3, None));
        assert!(found(500, Some("/slow")));
        assert!(!found(3, Some("/slow")));
    }

    #[test]
    fn two_slow_requests_are_always_in_flight() {
        let options = Options {
            slow: Some("/slow".to_owned()),
            ..example()
        };
        for ms in [100, 500, 3000, 20_000] {
            let takes = Duration::from_millis(ms);
            let usual = Usual { status: 200, takes };
            let stream = usual.stream(Kind::Slow, &options).unwrap();
            assert!(takes.as_secs_f64() * stream.rate >= 2.0, "{ms}");
            assert!(stream.timeout > takes);
        }
    }
}
