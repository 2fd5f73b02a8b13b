//! What a run found, as data (`"v": 1` in JSON) and as a table for people. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::outcome::Outcomes;

/// What a run found. Times carry their unit in the field's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this shape.
    pub v: u32,
    pub target: String,
    /// When the first request was due, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// From the first due request to the end of the last one.
    pub elapsed_ms: u64,
    /// False if the client itself failed, or sent nothing: then the counts say
    /// nothing about the server.
    pub valid: bool,
    /// What a reader must know before trusting the numbers.
    pub warnings: Vec<String>,
    /// All streams together.
    pub total: StreamReport,
    pub streams: Vec<StreamReport>,
}

/// What one stream of requests, or all of them together, met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    pub name: String,
    /// `new`, `keep-alive 32`, `http2 4` or `hold 1000`.
    pub pattern: String,
    pub rate: f64,
    pub outcomes: Outcomes,
    /// Of the ok answers, from the moment the request was due.
    pub latency: Latency,
    /// The same latencies, all of them.
    #[serde(default)]
    pub histogram: Histogram,
    pub gap: Gap,
    /// The most that a request left later than it was due. Latency includes it.
    pub lag_max_us: u64,
    pub in_flight_max: u64,
    /// Requests that were not sent because too many were in flight (they count as `client`).
    pub in_flight_refused: u64,
    pub connections: Connections,
    /// What became of connections that were to be held; `None` if none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// How many answers each instance gave, by its `x-zdt-instance` header.
    pub instances: BTreeMap<String, u64>,
    /// What the failures said, with how often they said it.
    pub details: BTreeMap<String, u64>,
    pub timeline: Timeline,
}

/// Latency of ok answers, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

/// How many answers took how long, in buckets that grow by a quarter each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// The longest latency that counts in each bucket; the shortest is above that of the one before.
    pub upto_us: Vec<u64>,
    pub counts: Vec<u64>,
}

/// The longest stretch without a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub longest_ms: u64,
    /// When it began, from the start of the run.
    pub began_ms: u64,
}

/// What became of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Connections that were established.
    pub opened: u64,
    /// Kept connections whose end the server announced (`Connection: close`, or
    /// GOAWAY), so that no request could be lost on them.
    pub announced_close: u64,
    /// Requests that went out on a connection that had answered before.
    pub reused: u64,
}

/// What became of connections that were to last for the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub connections: u64,
    /// Those that are, at the end, the ones that were opened: none is ever opened again.
    pub kept: u64,
    /// What ended the others, with how many it ended: the classes of requests, and
    /// `announced_close`, `closed_idle`, `reset_idle` and `surplus`.
    pub ended: BTreeMap<String, u64>,
}

impl Held {
    /// Connections that did not last.
    pub fn lost(&self) -> u64 {
        self.connections - self.kept
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held {
            connections, kept, ..
        } = self;
        write!(
            f,
            "{kept} of {connections} connections are the ones that were opened"
        )?;
        for (index, (what, n)) in self.ended.iter().enumerate() {
            let lead = if index == 0 { "; ended: " } else { ", " };
            write!(f, "{lead}{n} {what}")?;
        }
        Ok(())
    }
}

/// What happened when, in equal buckets. A request counts in the bucket in which
/// it was due, so a stall shows as a slope of latencies that starts where the stall did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    pub bucket_ms: u64,
    pub ok: Vec<u32>,
    pub lost: Vec<u32>,
    /// The longest latency of an ok answer.
    pub max_us: Vec<u64>,
}

/// A timeline longer than this is halved in resolution, so that a run may last for days.
const MAX_BUCKETS: usize = 60_000;

impl Timeline {
    pub(crate) fn new(bucket_ms: u64) -> Timeline {
        Timeline {
            bucket_ms: bucket_ms.max(1),
            ..Timeline::default()
        }
    }

    pub(crate) fn record_ok(&mut self, due_ms: u64, latency_us: u64) {
        let at = self.bucket(due_ms);
        self.ok[at] += 1;
        self.max_us[at] = self.max_us[at].max(latency_us);
    }

    pub(crate) fn record_lost(&mut self, due_ms: u64) {
        let at = self.bucket(due_ms);
        self.lost[at] += 1;
    }

    /// The same timeline in buckets `factor` times as long.
    #[must_use]
    pub fn coarser(&self, factor: usize) -> Timeline {
        let factor = factor.max(1);
        Timeline {
            bucket_ms: self.bucket_ms * factor as u64,
            ok: self.ok.chunks(factor).map(|c| c.iter().sum()).collect(),
            lost: self.lost.chunks(factor).map(|c| c.iter().sum()).collect(),
            max_us: self
                .max_us
                .chunks(factor)
                .map(|c| c.iter().copied().max().unwrap_or_default())
                .collect(),
        }
    }

    fn bucket(&mut self, due_ms: u64) -> usize {
        loop {
            let at = usize::try_from(due_ms / self.bucket_ms).unwrap_or(usize::MAX);
            if at >= MAX_BUCKETS {
                *self = self.coarser(2);
                continue;
            }
            if at >= self.ok.len() {
                self.ok.resize(at + 1, 0);
                self.lost.resize(at + 1, 0);
                self.max_us.resize(at + 1, 0);
            }
            return at;
        }
    }
}

impl Report {
    /// Requests lost on all streams together.
    pub fn lost(&self) -> u64 {
        self.total.outcomes.lost()
    }

    /// Connections that were to be held and ended.
    pub fn lost_connections(&self) -> u64 {
        self.total.held.as_ref().map_or(0, Held::lost)
    }

    /// The stream of that name.
    pub fn stream(&self, name: &str) -> Option<&StreamReport> {
        self.streams.iter().find(|stream| stream.name == name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} for {}", self.target, millis(self.elapsed_ms))?;
        writeln!(f)?;

        let mut rows = vec![
            [
                "stream", "sent", "ok", "lost", "p50", "p99", "p99.9", "max", "gap",
            ]
            .map(str::to_owned),
        ];
        rows.extend(self.streams.iter().map(StreamReport::row));
        if self.streams.len() > 1 {
            rows.push(self.total.row());
        }
        write_table(f, &rows)?;

        for stream in &self.streams {
            stream.write_notes(f, self.streams.len())?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }

        writeln!(f)?;
        if !self.valid {
            write!(f, "not a valid measurement: the client itself failed")
        } else if self.lost() == 0 && self.lost_connections() == 0 {
            write!(f, "nothing was lost")
        } else if let (0, Some(held)) = (self.lost(), &self.total.held) {
            write!(
                f,
                "no request was lost, but {} of {} connections were",
                held.lost(),
                held.connections
            )
        } else {
            write!(
                f,
                "{} of {} requests were lost",
                self.lost(),
                self.total.outcomes.scheduled
            )
        }
    }
}

impl StreamReport {
    fn row(&self) -> [String; 9] {
        let latency = |us: u64| {
            if self.outcomes.ok == 0 {
                "-".to_owned()
            } else {
                micros(us)
            }
        };
        [
            self.name.clone(),
            self.outcomes.scheduled.to_string(),
            self.outcomes.ok.to_string(),
            self.outcomes.lost().to_string(),
            latency(self.latency.p50_us),
            latency(self.latency.p99_us),
            latency(self.latency.p999_us),
            latency(self.latency.max_us),
            millis(self.gap.longest_ms),
        ]
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>, streams: usize) -> fmt::Result {
        let lead = if streams > 1 {
            format!("{}: ", self.name)
        } else {
            String::new()
        };
        for (what, n) in self.outcomes.losses() {
            writeln!(f, "{lead}lost {n}: {what}")?;
        }
        let outcomes = &self.outcomes;
        if outcomes.retryable > 0 {
            writeln!(
                f,
                "{lead}not lost {}: refused unprocessed over HTTP/2, safe to send again",
                outcomes.retryable
            )?;
        }
        if outcomes.stale > 0 {
            writeln!(
                f,
                "{lead}not lost {}: kept connection found closed, sent on a new one",
                outcomes.stale
            )?;
        }
        for (what, n) in &self.details {
            writeln!(f, "{lead}  {n} x {what}")?;
        }
        if let Some(held) = &self.held {
            writeln!(f, "{lead}{held}")?;
        }
        for (instance, n) in &self.instances {
            writeln!(f, "{lead}answered by {instance}: {n}")?;
        }
        Ok(())
    }
}

/// Left-aligned names, right-aligned numbers.
pub(crate) fn write_table<const N: usize>(
    f: &mut impl fmt::Write,
    rows: &[[String; N]],
) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                write!(f, "{cell:<width$}")?;
            } else {
                write!(f, "  {cell:>width$}")?;
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

pub(crate) fn micros(us: u64) -> String {
    if us < 1_000_000 {
        format!("{:.1} ms", us as f64 / 1e3)
    } else {
        format!("{:.2} s", us as f64 / 1e6)
    }
}

pub(crate) fn millis(ms: u64) -> String {
    if ms < 1_000 {
        format!("{ms} ms")
    } else {
        format!("{:.2} s", ms as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_in_the_bucket_in_which_it_was_due() {
        let mut timeline = Timeline::new(10);
        timeline.record_ok(0, 500);
        timeline.record_ok(9, 200);
        timeline.record_lost(10);
        timeline.record_ok(35, 700);
        assert_eq!(
            timeline,
            Timeline {
                bucket_ms: 10,
                ok: vec![2, 0, 0, 1],
                lost: vec![0, 1, 0, 0],
                max_us: vec![500, 0, 0, 700],
            }
        );
        assert_eq!(
            timeline.coarser(3),
            Timeline {
                bucket_ms: 30,
                ok: vec![2, 1],
                lost: vec![1, 0],
                max_us: vec![500, 700],
            }
        );
    }

    #[test]
    fn a_long_run_loses_resolution_not_counts() {
        let mut timeline = Timeline::new(1);
        timeline.record_ok(0, 1);
        timeline.record_ok(1, 2);
        timeline.record_lost(MAX_BUCKETS as u64 * 3);
        assert_eq!(timeline.bucket_ms, 4);
        assert_eq!(timeline.ok[0], 2);
        assert_eq!(timeline.max_us[0], 2);
        assert_eq!(timeline.lost.iter().sum::<u32>(), 1);
        assert_eq!(timeline.lost.len(), MAX_BUCKETS * 3 / 4 + 1);
    }

    fn stream(name: &str, outcomes: Outcomes) -> StreamReport {
        StreamReport {
            name: name.to_owned(),
            pattern: "new".to_owned(),
            rate: 100.0,
            outcomes,
            latency: Latency {
                p50_us: 400,
                p90_us: 900,
                p99_us: 2_100,
                p999_us: 30_000,
                max_us: 1_234_000,
            },
            histogram: Histogram::default(),
            gap: Gap {
                longest_ms: 31,
                began_ms: 7,
            },
            lag_max_us: 0,
            in_flight_max: 3,
            in_flight_refused: 0,
            connections: Connections::default(),
            held: None,
            instances: BTreeMap::new(),
            details: BTreeMap::new(),
            timeline: Timeline::new(10),
        }
    }

    fn report(streams: Vec<StreamReport>, total: Outcomes) -> Report {
        Report {
            v: 1,
            target: "127.0.0.1:8080".to_owned(),
            started_unix_ms: 0,
            elapsed_ms: 10_000,
            valid: true,
            warnings: Vec::new(),
            total: stream("total", total),
            streams,
        }
    }

    #[test]
    fn a_clean_run_reads_as_one_table() {
        let outcomes = Outcomes {
            scheduled: 1_000,
            ok: 1_000,
            ..Outcomes::default()
        };
        assert_eq!(
            report(vec![stream("probe", outcomes.clone())], outcomes).to_string(),
            "\
127.0.0.1:8080 for 10.00 s

stream  sent    ok  lost     p50     p99    p99.9     max    gap
probe   1000  1000     0  0.4 ms  2.1 ms  30.0 ms  1.23 s  31 ms

nothing was lost"
        );
    }

    #[test]
    fn a_lossy_run_says_what_was_lost_and_how() {
        let outcomes = Outcomes {
            scheduled: 10,
            ok: 4,
            refused: 3,
            wrong_status: 1,
            statuses: BTreeMap::from([(503, 1)]),
            retryable: 2,
            stale: 1,
            ..Outcomes::default()
        };
        let mut quick = stream("quick", outcomes.clone());
        quick.instances.insert("v1".to_owned(), 5);
        quick
            .details
            .insert("refused: connection refused".to_owned(), 3);
        let mut report = report(vec![quick, stream("slow", Outcomes::default())], outcomes);
        report.warnings.push("look out".to_owned());
        assert_eq!(
            report.to_string(),
            "\
127.0.0.1:8080 for 10.00 s

stream  sent  ok  lost     p50     p99    p99.9     max    gap
quick     10   4     4  0.4 ms  2.1 ms  30.0 ms  1.23 s  31 ms
slow       0   0     0       -       -        -       -  31 ms
total     10   4     4  0.4 ms  2.1 ms  30.0 ms  1.23 s  31 ms
quick: lost 3: refused
quick: lost 1: wrong status (503: 1)
quick: not lost 2: refused unprocessed over HTTP/2, safe to send again
quick: not lost 1: kept connection found closed, sent on a new one
quick:   3 x refused: connection refused
quick: answered by v1: 5
warning: look out

4 of 10 requests were lost"
        );
    }

    #[test]
    fn held_connections_are_told_beside_the_requests() {
        let outcomes = Outcomes {
            scheduled: 1_000,
            ok: 1_000,
            ..Outcomes::default()
        };
        let mut all_kept = stream("probe", outcomes.clone());
        all_kept.held = Some(Held {
            connections: 100,
            kept: 100,
            ended: BTreeMap::new(),
        });
        let mut report = report(vec![all_kept.clone()], outcomes);
        report.total.held.clone_from(&all_kept.held);
        let text = report.to_string();
        assert!(
            text.ends_with(
                "\n100 of 100 connections are the ones that were opened\n\nnothing was lost"
            ),
            "{text}"
        );

        let ended = [("announced_close", 4), ("closed_idle", 1)];
        let some_kept = Some(Held {
            connections: 100,
            kept: 95,
            ended: ended.map(|(what, n)| (what.to_owned(), n)).into(),
        });
        report.total.held.clone_from(&some_kept);
        report.streams[0].held = some_kept;
        let text = report.to_string();
        assert!(
            text.ends_with(
                "\n95 of 100 connections are the ones that were opened; \
                 ended: 4 announced_close, 1 closed_idle\n\n\
                 no request was lost, but 5 of 100 connections were"
            ),
            "{text}"
        );
    }

    #[test]
    fn json_survives_a_round_trip() {
        let outcomes = Outcomes {
            scheduled: 1,
            wrong_status: 1,
            statuses: BTreeMap::from([(500, 1)]),
            ..Outcomes::default()
        };
        let report = report(vec![stream("probe", outcomes.clone())], outcomes);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.starts_with(r#"{"v":1,"target":"127.0.0.1:8080","#));
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
