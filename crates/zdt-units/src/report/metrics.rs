//! Counts operations, and writes the counts as node_exporter reads them. Pure.

pub mod now;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::event::{EventKind, Outcome, Record};

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// Everything since the first operation; kept from one to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    services: BTreeMap<String, Service>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Service {
    /// By operation, then by outcome.
    #[serde(default)]
    ended: BTreeMap<String, BTreeMap<String, u64>>,
    #[serde(default)]
    refused: u64,
    #[serde(default)]
    durations: Histogram,
    #[serde(default)]
    last: Option<Last>,
    /// The one that serves, as far as was told.
    #[serde(default)]
    release: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Histogram {
    /// By upper bound, each with those below it.
    buckets: BTreeMap<String, u64>,
    seconds: f64,
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Last {
    unix_seconds: u64,
    success: bool,
    /// Both were not kept at first.
    #[serde(default)]
    operation: String,
    #[serde(default)]
    outcome: String,
}

impl Totals {
    /// Whether this event changes anything.
    pub fn counts(record: &Record) -> bool {
        match record.event.kind {
            EventKind::Finished { .. } => record.context.is_of_service(),
            EventKind::Refused { .. } => !record.event.service.is_empty(),
            _ => false,
        }
    }

    pub fn take(&mut self, record: &Record) {
        if !Self::counts(record) {
            return;
        }
        let (event, context) = (&record.event, &record.context);
        let service = self.services.entry(event.service.clone()).or_default();
        let EventKind::Finished { outcome } = &event.kind else {
            service.refused += 1;
            return;
        };
        let name: &str = outcome.into();
        let operations = service.ended.entry(context.operation.clone()).or_default();
        *operations.entry(name.to_owned()).or_default() += 1;
        service.durations.take(event.elapsed.as_secs_f64());
        let success = matches!(outcome, Outcome::Completed | Outcome::Lossy);
        let since = record.time.duration_since(SystemTime::UNIX_EPOCH);
        service.last = Some(Last {
            unix_seconds: since.unwrap_or_default().as_secs(),
            success,
            operation: context.operation.clone(),
            outcome: name.to_owned(),
        });
        if success && context.release.is_some() {
            service.release.clone_from(&context.release);
        }
    }

    /// The text that a textfile collector reads.
    pub fn text(&self) -> String {
        let mut out = String::new();
        family(
            &mut out,
            "zdt_restarts_total",
            "counter",
            "Operations that ended, by how.",
        );
        for (name, service) in &self.services {
            for (operation, outcomes) in &service.ended {
                for (outcome, count) in outcomes {
                    let labels = [
                        ("service", name),
                        ("operation", operation),
                        ("outcome", outcome),
                    ];
                    sample(&mut out, "zdt_restarts_total", &labels, *count);
                }
            }
        }
        let text = "Operations that were refused before anything was touched.";
        family(&mut out, "zdt_refusals_total", "counter", text);
        for (name, service) in &self.services {
            let labels = [("service", name)];
            sample(&mut out, "zdt_refusals_total", &labels, service.refused);
        }
        let text = "How long operations took.";
        family(&mut out, "zdt_restart_duration_seconds", "histogram", text);
        for (name, service) in &self.services {
            service.durations.text(name, &mut out);
        }
        let text = "When the last operation ended.";
        family(
            &mut out,
            "zdt_last_restart_timestamp_seconds",
            "gauge",
            text,
        );
        for (name, last) in self.last() {
            let labels = [("service", name)];
            let metric = "zdt_last_restart_timestamp_seconds";
            sample(&mut out, metric, &labels, last.unix_seconds);
        }
        let text = "Whether the last operation did what was asked.";
        family(&mut out, "zdt_last_restart_success", "gauge", text);
        for (name, last) in self.last() {
            let labels = [("service", name)];
            let success = u64::from(last.success);
            sample(&mut out, "zdt_last_restart_success", &labels, success);
        }
        let text = "What the last operation was, and how it ended.";
        family(&mut out, "zdt_last_restart_info", "gauge", text);
        for (name, last) in self.last().filter(|(_, last)| !last.outcome.is_empty()) {
            let labels = [
                ("service", name),
                ("operation", &last.operation),
                ("outcome", &last.outcome),
            ];
            sample(&mut out, "zdt_last_restart_info", &labels, 1);
        }
        let text = "The release that was deployed last and serves.";
        family(&mut out, "zdt_release_info", "gauge", text);
        for (name, service) in &self.services {
            if let Some(release) = &service.release {
                let labels = [("service", name), ("release", release)];
                sample(&mut out, "zdt_release_info", &labels, 1);
            }
        }
        out
    }

    fn last(&self) -> impl Iterator<Item = (&String, &Last)> {
        let services = self.services.iter();
        services.filter_map(|(name, service)| Some((name, service.last.as_ref()?)))
    }
}

impl Histogram {
    fn take(&mut self, seconds: f64) {
        for bound in BOUNDS {
            let below = self.buckets.entry(bound.to_string()).or_default();
            *below += u64::from(seconds <= bound);
        }
        self.seconds += seconds;
        self.count += 1;
    }

    fn text(&self, service: &String, out: &mut String) {
        let name = "zdt_restart_duration_seconds";
        let bucket = format!("{name}_bucket");
        for bound in BOUNDS {
            let bound = bound.to_string();
            let below = self.buckets.get(&bound).copied().unwrap_or_default();
            sample(out, &bucket, &[("service", service), ("le", &bound)], below);
        }
        let all = "+Inf".to_owned();
        let labels = [("service", service), ("le", &all)];
        sample(out, &bucket, &labels, self.count);
        let labels = [("service", service)];
        sample(out, &format!("{name}_sum"), &labels, self.seconds);
        sample(out, &format!("{name}_count"), &labels, self.count);
    }
}

fn family(out: &mut String, name: &str, kind: &str, text: &str) {
    let _ = writeln!(out, "# HELP {name} {text}\n# TYPE {name} {kind}");
}

/// Names and releases have nothing in them that would have to be escaped.
fn sample(out: &mut String, name: &str, labels: &[(&str, &String)], value: impl std::fmt::Display) {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let _ = writeln!(out, "{name}{{{}}} {value}", labels.join(","));
}

#[cfg(test)]
mod tests;
