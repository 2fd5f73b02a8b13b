//! Sums finished requests up into a report. Pure: every time is handed in,
//! counted from the start of the run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hold::Fate;
use super::outcome::{Outcome, Outcomes};
use super::report::{Connections, Gap, Held, Histogram, Latency, Report, StreamReport, Timeline};

/// One request that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) due: Duration,
    /// When it really left; later than `due` if this client fell behind.
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) trace: Trace,
}

/// The end of one request, as an observer of the run is told. Times count from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which stream of the load.
    pub stream: usize,
    pub due: Duration,
    /// When it really left.
    pub began: Duration,
    pub ended: Duration,
    pub outcome: Outcome,
    /// A kept connection was found closed before it went out on a new one.
    pub stale: bool,
}

/// What was met on the way to the outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) phase: Phase,
    pub(crate) opened: u64,
    pub(crate) announced_close: u64,
    pub(crate) reused: bool,
    pub(crate) stale: u64,
    pub(crate) instance: Option<String>,
    /// What failed, in words.
    pub(crate) detail: Option<String>,
}

/// How far a request has come; a timeout says where it struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Connecting,
    Waiting,
    Reading,
}

impl Phase {
    pub(crate) fn while_what(self) -> &'static str {
        match self {
            Phase::Connecting => "while connecting",
            Phase::Waiting => "while waiting for the answer",
            Phase::Reading => "while reading the answer",
        }
    }
}

/// Distinct texts kept of details and of instances; more are counted as `other`.
const MAX_TEXTS: usize = 64;

/// Lag from which a report warns. Timers here tick once a millisecond.
const LAG_WORTH_A_WARNING: Duration = Duration::from_millis(100);

/// The running sum of one stream, or of all.
#[derive(Debug)]
pub(crate) struct Recorder {
    outcomes: Outcomes,
    histogram: hdrhistogram::Histogram<u64>,
    latency_max: Duration,
    gap: Duration,
    gap_began: Duration,
    last_ok: Duration,
    last_end: Duration,
    lag_max: Duration,
    in_flight_max: u64,
    in_flight_refused: u64,
    connections: Connections,
    held: Option<Held>,
    instances: BTreeMap<String, u64>,
    details: BTreeMap<String, u64>,
    timeline: Timeline,
}

impl Recorder {
    pub(crate) fn new(bucket: Duration) -> Recorder {
        Recorder {
            outcomes: Outcomes::default(),
            histogram: hdrhistogram::Histogram::new_with_max(3_600_000_000, 3)
                .expect("an hour in microseconds and 3 digits are valid bounds"),
            latency_max: Duration::ZERO,
            gap: Duration::ZERO,
            gap_began: Duration::ZERO,
            last_ok: Duration::ZERO,
            last_end: Duration::ZERO,
            lag_max: Duration::ZERO,
            in_flight_max: 0,
            in_flight_refused: 0,
            connections: Connections::default(),
            held: None,
            instances: BTreeMap::new(),
            details: BTreeMap::new(),
            timeline: Timeline::new(u64::try_from(bucket.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    pub(crate) fn record(&mut self, done: &Done) {
        let due_ms = whole_millis(done.due);
        self.outcomes.record(done.outcome);
        self.outcomes.stale += done.trace.stale;
        self.lag_max = self.lag_max.max(done.began.saturating_sub(done.due));
        self.last_end = self.last_end.max(done.ended);
        self.connections.opened += done.trace.opened;
        self.connections.announced_close += done.trace.announced_close;
        self.connections.reused += u64::from(done.trace.reused);
        if let Some(instance) = &done.trace.instance {
            count_text(&mut self.instances, instance);
        }

        if done.outcome == Outcome::Ok {
            let latency = done.ended.saturating_sub(done.due);
            let us = whole_micros(latency);
            self.histogram.saturating_record(us.max(1));
            self.latency_max = self.latency_max.max(latency);
            self.timeline.record_ok(due_ms, us);
            self.note_success(done.ended);
            return;
        }
        if done.outcome.is_lost() {
            self.timeline.record_lost(due_ms);
        }
        if let Some(detail) = &done.trace.detail {
            count_text(
                &mut self.details,
                &format!("{}: {detail}", done.outcome.name()),
            );
        }
    }

    pub(crate) fn note_in_flight(&mut self, now: u64) {
        self.in_flight_max = self.in_flight_max.max(now);
    }

    pub(crate) fn note_refused_in_flight(&mut self) {
        self.in_flight_refused += 1;
    }

    pub(crate) fn note_fate(&mut self, fate: Fate) {
        let held = self.held.get_or_insert_default();
        held.connections += 1;
        match fate {
            Fate::Kept => held.kept += 1,
            _ => *held.ended.entry(fate.name().to_owned()).or_default() += 1,
        }
    }

    fn note_success(&mut self, at: Duration) {
        self.widen_gap(at);
        self.last_ok = self.last_ok.max(at);
    }

    fn widen_gap(&mut self, until: Duration) {
        let gap = until.saturating_sub(self.last_ok);
        if gap > self.gap {
            self.gap = gap;
            self.gap_began = self.last_ok;
        }
    }

    pub(crate) fn finish(mut self, name: &str, pattern: String, rate: f64) -> StreamReport {
        // A run that ends in failures ends in a gap.
        self.widen_gap(self.last_end);
        let at = |quantile| {
            self.histogram
                .value_at_quantile(quantile)
                .min(whole_micros(self.latency_max))
        };
        StreamReport {
            name: name.to_owned(),
            pattern,
            rate,
            latency: Latency {
                p50_us: at(0.5),
                p90_us: at(0.9),
                p99_us: at(0.99),
                p999_us: at(0.999),
                max_us: whole_micros(self.latency_max),
            },
            histogram: Histogram::of(&self.histogram),
            outcomes: self.outcomes,
            gap: Gap {
                longest_ms: whole_millis(self.gap),
                began_ms: whole_millis(self.gap_began),
            },
            lag_max_us: whole_micros(self.lag_max),
            in_flight_max: self.in_flight_max,
            in_flight_refused: self.in_flight_refused,
            connections: self.connections,
            held: self.held,
            instances: self.instances,
            details: self.details,
            timeline: self.timeline,
        }
    }

    pub(crate) fn last_end(&self) -> Duration {
        self.last_end
    }
}

impl Done {
    pub(crate) fn ended(&self, stream: usize) -> Ended {
        Ended {
            stream,
            due: self.due,
            began: self.began,
            ended: self.ended,
            outcome: self.outcome,
            stale: self.trace.stale > 0,
        }
    }
}

impl Histogram {
    /// Up to 0.1 ms, and from there in steps of a quarter.
    fn of(latencies: &hdrhistogram::Histogram<u64>) -> Histogram {
        let buckets = latencies.iter_log(100, 1.25);
        let (upto_us, counts) = buckets
            .map(|bucket| {
                (
                    bucket.value_iterated_to(),
                    bucket.count_since_last_iteration(),
                )
            })
            .unzip();
        Histogram { upto_us, counts }
    }
}

/// Decides whether the numbers may be trusted, and says why not.
pub(crate) fn judge(report: &mut Report) {
    let total = &report.total;
    report.valid = total.outcomes.client == 0 && total.outcomes.scheduled > 0;
    if total.outcomes.scheduled == 0 {
        report
            .warnings
            .push("no request was due before the end of the run".to_owned());
    }
    if total.outcomes.client > 0 {
        report.warnings.push(format!(
            "{} of {} requests ended in this client, which says nothing about the server",
            total.outcomes.client, total.outcomes.scheduled
        ));
    }
    if total.in_flight_refused > 0 {
        report.warnings.push(format!(
            "{} of these were not sent because too many were in flight already",
            total.in_flight_refused
        ));
    }
    if total.lag_max_us > whole_micros(LAG_WORTH_A_WARNING) {
        report.warnings.push(format!(
            "the client fell {} ms behind its own schedule; latency and gap include that",
            total.lag_max_us / 1000
        ));
    }
}

fn count_text(counts: &mut BTreeMap<String, u64>, text: &str) {
    if let Some(n) = counts.get_mut(text) {
        *n += 1;
    } else if counts.len() < MAX_TEXTS {
        counts.insert(text.to_owned(), 1);
    } else {
        *counts.entry("other".to_owned()).or_default() += 1;
    }
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn whole_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(due: u64, ended: u64, outcome: Outcome) -> Done {
        Done {
            due: Duration::from_millis(due),
            began: Duration::from_millis(due),
            ended: Duration::from_millis(ended),
            outcome,
            trace: Trace::default(),
        }
    }

    fn gap_of(requests: &[(u64, u64, Outcome)]) -> (u64, u64) {
        let mut recorder = Recorder::new(Duration::from_millis(10));
        for &(due, ended, outcome) in requests {
            recorder.record(&done(due, ended, outcome));
        }
        let gap = recorder.finish("x", String::new(), 1.0).gap;
        (gap.began_ms, gap.longest_ms)
    }

    #[test]
    fn the_gap_is_the_longest_stretch_without_a_success() {
        use Outcome::{Ok, Refused};
        assert_eq!(gap_of(&[]), (0, 0));
        assert_eq!(gap_of(&[(0, 1, Ok), (10, 11, Ok), (20, 40, Ok)]), (11, 29));
        // At the start, and at the end.
        assert_eq!(gap_of(&[(0, 1, Refused), (10, 12, Ok)]), (0, 12));
        assert_eq!(gap_of(&[(0, 1, Ok), (10, 12, Refused)]), (1, 11));
        // Failures do not shorten it.
        assert_eq!(
            gap_of(&[(0, 1, Ok), (10, 12, Refused), (20, 21, Ok)]),
            (1, 20)
        );
        // Nothing ever succeeded.
        assert_eq!(gap_of(&[(0, 1, Refused), (10, 12, Refused)]), (0, 12));
        // A late answer to an early request does not move the last success back.
        assert_eq!(gap_of(&[(5, 20, Ok), (0, 19, Ok), (30, 31, Ok)]), (0, 20));
    }

    #[test]
    fn latency_counts_from_when_the_request_was_due() {
        let mut recorder = Recorder::new(Duration::from_millis(10));
        let mut late = done(10, 40, Outcome::Ok);
        late.began = Duration::from_millis(35);
        recorder.record(&late);
        recorder.record(&done(20, 25, Outcome::Timeout));
        let report = recorder.finish("x", String::new(), 1.0);
        assert_eq!(report.latency.max_us, 30_000);
        assert_eq!(report.latency.p50_us, 30_000);
        assert_eq!(report.lag_max_us, 25_000);
    }

    #[test]
    fn every_answer_is_in_one_bucket_of_the_histogram() {
        let mut recorder = Recorder::new(Duration::from_millis(10));
        for took in [0, 1, 1, 40, 2000] {
            recorder.record(&done(0, took, Outcome::Ok));
        }
        recorder.record(&done(0, 3, Outcome::Eof));
        let Histogram { upto_us, counts } = recorder.finish("x", String::new(), 1.0).histogram;
        let of = |us: u64| counts[upto_us.iter().position(|&upto| us <= upto).unwrap()];
        assert_eq!([1, 1000, 40_000, 2_000_000].map(of), [1, 2, 1, 1]);
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert_eq!(upto_us[0], 99);
        assert!(upto_us.is_sorted_by(|a, b| a < b), "{upto_us:?}");
    }

    #[test]
    fn a_retryable_request_is_neither_ok_nor_lost_in_the_timeline() {
        let mut recorder = Recorder::new(Duration::from_millis(10));
        recorder.record(&done(0, 1, Outcome::Ok));
        recorder.record(&done(1, 2, Outcome::Retryable));
        recorder.record(&done(2, 3, Outcome::Eof));
        let timeline = recorder.finish("x", String::new(), 1.0).timeline;
        assert_eq!((timeline.ok, timeline.lost), (vec![1], vec![1]));
    }

    #[test]
    fn texts_without_end_do_not_fill_the_memory() {
        let mut counts = BTreeMap::new();
        for n in 0..MAX_TEXTS + 10 {
            count_text(&mut counts, &n.to_string());
        }
        count_text(&mut counts, "0");
        assert_eq!(counts.len(), MAX_TEXTS + 1);
        assert_eq!((counts["0"], counts["other"]), (2, 10));
    }

    fn judged(change: impl FnOnce(&mut StreamReport)) -> (bool, Vec<String>) {
        let mut total =
            Recorder::new(Duration::from_millis(10)).finish("total", String::new(), 1.0);
        total.outcomes.scheduled = 10;
        change(&mut total);
        let mut report = Report {
            v: 1,
            target: String::new(),
            started_unix_ms: 0,
            elapsed_ms: 0,
            valid: true,
            warnings: Vec::new(),
            total,
            streams: Vec::new(),
        };
        judge(&mut report);
        (report.valid, report.warnings)
    }

    #[test]
    fn a_fault_of_the_client_makes_the_measurement_invalid() {
        assert_eq!(judged(|_| ()), (true, vec![]));
        assert_eq!(
            judged(|total| total.outcomes.scheduled = 0),
            (
                false,
                vec!["no request was due before the end of the run".to_owned()]
            )
        );
        assert_eq!(
            judged(|total| {
                total.outcomes.client = 3;
                total.in_flight_refused = 2;
            }),
            (
                false,
                vec![
                    "3 of 10 requests ended in this client, which says nothing about the server"
                        .to_owned(),
                    "2 of these were not sent because too many were in flight already".to_owned(),
                ]
            )
        );
        assert_eq!(
            judged(|total| total.lag_max_us = 340_000),
            (
                true,
                vec![
                    "the client fell 340 ms behind its own schedule; latency and gap include that"
                        .to_owned()
                ]
            )
        );
    }
}
