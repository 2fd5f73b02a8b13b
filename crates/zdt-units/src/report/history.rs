//! What became of the last operations, service by service. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::event::{EventKind, Outcome, Record};

/// The last operations on each service, and on all of them together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    pub services: Vec<Summary>,
    pub total: Summary,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Empty for all of them.
    pub service: String,
    pub count: usize,
    /// Those that did not do what was asked, rolled back or not.
    pub failed: usize,
    pub rolled_back: usize,
    /// They serve, but requests were lost.
    pub lossy: usize,
    pub failure_rate: f64,
    pub rollback_rate: f64,
    pub min_seconds: f64,
    pub avg_seconds: f64,
    pub p95_seconds: f64,
    pub max_seconds: f64,
    pub last: Last,
}

/// How the youngest one ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Last {
    pub time: String,
    pub service: String,
    pub operation: String,
    pub release: Option<String>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
struct Operation {
    time: SystemTime,
    service: String,
    operation: String,
    release: Option<String>,
    outcome: Outcome,
    took: Duration,
}

impl History {
    /// Of the last `last` operations on each service; nothing if there was none.
    pub fn of(records: impl Iterator<Item = Record>, last: usize) -> Option<Self> {
        let mut services: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
        for operation in records.filter_map(operation) {
            let operations = services.entry(operation.service.clone()).or_default();
            operations.push(operation);
        }
        for operations in services.values_mut() {
            operations.drain(..operations.len().saturating_sub(last));
        }
        let all: Vec<Operation> = services.values().flatten().cloned().collect();
        Some(Self {
            services: services
                .iter()
                .filter_map(|(name, operations)| summary(name, operations))
                .collect(),
            total: summary("", &all)?,
        })
    }

    /// A table, with all of them last where there are several.
    pub fn table(&self) -> String {
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(
            self.services
                .iter()
                .map(|summary| row(&summary.service, summary)),
        );
        if self.services.len() > 1 {
            rows.push(row("all", &self.total));
        }
        let mut widths = [0; HEAD.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; HEAD.len()]| {
            let mut line = format!("{:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(widths).skip(1).take(HEAD.len() - 2) {
                line.push_str(&format!("  {cell:>width$}"));
            }
            format!("{line}  {}\n", row[HEAD.len() - 1])
        };
        rows.iter().map(line).collect()
    }
}

const HEAD: [&str; 10] = [
    "service",
    "count",
    "failed",
    "rolled back",
    "lossy",
    "min",
    "avg",
    "p95",
    "max",
    "last",
];

fn row(name: &str, summary: &Summary) -> [String; HEAD.len()] {
    let part = |number: usize, rate: f64| match number {
        0 => "0".to_owned(),
        number => format!("{number} ({:.0}%)", rate * 100.0),
    };
    let seconds = |seconds: f64| format!("{seconds:.1} s");
    let last = &summary.last;
    let outcome: &str = last.outcome.into();
    let release = match &last.release {
        Some(release) => format!(" {release}"),
        None => String::new(),
    };
    [
        name.to_owned(),
        summary.count.to_string(),
        part(summary.failed, summary.failure_rate),
        part(summary.rolled_back, summary.rollback_rate),
        summary.lossy.to_string(),
        seconds(summary.min_seconds),
        seconds(summary.avg_seconds),
        seconds(summary.p95_seconds),
        seconds(summary.max_seconds),
        format!(
            "{} {}{release}: {}",
            last.time,
            last.operation.replace('_', " "),
            outcome.replace('_', " ")
        ),
    ]
}

fn operation(record: Record) -> Option<Operation> {
    let EventKind::Finished { outcome } = record.event.kind else {
        return None;
    };
    record.context.is_of_service().then_some(Operation {
        time: record.time,
        service: record.event.service,
        operation: record.context.operation,
        release: record.context.release,
        outcome,
        took: record.event.elapsed,
    })
}

#[expect(clippy::cast_precision_loss, reason = "nobody restarts 2^52 times")]
fn summary(name: &str, operations: &[Operation]) -> Option<Summary> {
    let last = operations.iter().max_by_key(|operation| operation.time)?;
    let mut took: Vec<f64> = operations
        .iter()
        .map(|operation| operation.took.as_secs_f64())
        .collect();
    took.sort_by(f64::total_cmp);
    let count = operations.len();
    let ended = |wanted: &[Outcome]| {
        let outcomes = operations.iter().map(|operation| operation.outcome);
        outcomes.filter(|outcome| wanted.contains(outcome)).count()
    };
    let rolled_back = ended(&[Outcome::RolledBack]);
    let failed = rolled_back + ended(&[Outcome::Stopped, Outcome::LookNow]);
    // The smallest that at least 95 of 100 are not above.
    let p95 = (count * 95).div_ceil(100).max(1) - 1;
    Some(Summary {
        service: name.to_owned(),
        count,
        failed,
        rolled_back,
        lossy: ended(&[Outcome::Lossy]),
        failure_rate: failed as f64 / count as f64,
        rollback_rate: rolled_back as f64 / count as f64,
        min_seconds: *took.first()?,
        avg_seconds: took.iter().sum::<f64>() / count as f64,
        p95_seconds: *took.get(p95)?,
        max_seconds: *took.last()?,
        last: Last {
            time: humantime::format_rfc3339_seconds(last.time).to_string(),
            service: last.service.clone(),
            operation: last.operation.clone(),
            release: last.release.clone(),
            outcome: last.outcome,
        },
    })
}

#[cfg(test)]
mod tests;
