use std::collections::BTreeSet;
use std::time::Duration;

use prometheus_parse::{Scrape, Value};

use super::*;
use crate::event::{Event, Records};

fn totals() -> Totals {
    let mut records = Records::default();
    let mut totals = Totals::default();
    let mut tell = |service: &str, seconds: u64, kind| {
        let event = Event::new("5f0c", service, Duration::from_secs(seconds), kind);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        totals.take(&records.take(event, time));
    };
    for (release, outcome, seconds) in [
        ("v1", Outcome::Completed, 1),
        ("v2", Outcome::Completed, 20),
        ("v3", Outcome::RolledBack, 2000),
    ] {
        tell(
            "shop",
            0,
            EventKind::Planned {
                operation: "deploy".to_owned(),
                release: Some(release.to_owned()),
                strategy: "queue".to_owned(),
                notes: Vec::new(),
                steps: Vec::new(),
                rollback: Vec::new(),
                dry_run: false,
                manager: crate::tool::Tool::default(),
            },
        );
        tell("shop", seconds, EventKind::Finished { outcome });
    }
    let reasons = Vec::new();
    tell("blog", 0, EventKind::Refused { reasons });
    totals
}

#[test]
fn a_parser_reads_what_was_counted() {
    let text = totals().text();
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut read: Vec<String> = Vec::new();
    for sample in &scrape.samples {
        let mut labels: Vec<String> = sample
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        labels.sort();
        let value = match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => {
                value.to_string()
            }
            Value::Histogram(buckets) => buckets
                .iter()
                .map(|bucket| format!("{}:{}", bucket.less_than, bucket.count))
                .collect::<Vec<_>>()
                .join(" "),
            Value::Summary(_) => panic!("there is no summary"),
        };
        read.push(format!("{} {} {value}", sample.metric, labels.join(" ")));
    }
    read.sort();
    insta::assert_snapshot!(read.join("\n"), @"
    zdt_last_restart_success service=shop 0
    zdt_last_restart_timestamp_seconds service=shop 1700000000
    zdt_refusals_total service=blog 1
    zdt_refusals_total service=shop 0
    zdt_release_info release=v2 service=shop 1
    zdt_restart_duration_seconds service=blog 0.1:0 0.25:0 0.5:0 1:0 2.5:0 5:0 10:0 30:0 60:0 120:0 300:0 600:0 inf:0
    zdt_restart_duration_seconds service=shop 0.1:0 0.25:0 0.5:0 1:1 2.5:1 5:1 10:1 30:2 60:2 120:2 300:2 600:2 inf:3
    zdt_restart_duration_seconds_count service=blog 0
    zdt_restart_duration_seconds_count service=shop 3
    zdt_restart_duration_seconds_sum service=blog 0
    zdt_restart_duration_seconds_sum service=shop 2021
    zdt_restarts_total operation=deploy outcome=completed service=shop 2
    zdt_restarts_total operation=deploy outcome=rolled_back service=shop 1
    ");
}

#[test]
fn totals_outlive_the_process() {
    let totals = totals();
    let text = serde_json::to_string(&totals).unwrap();
    assert_eq!(serde_json::from_str::<Totals>(&text).unwrap(), totals);
}

/// Each metric that the dashboard asks for is one that is written.
#[test]
#[expect(clippy::disallowed_methods, reason = "reads the document")]
fn the_dashboard_asks_for_what_there_is() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/grafana-dashboard.json"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() >= 5);
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("zdt_")).collect();
    let written = totals().text();
    let written: BTreeSet<&str> = written
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('{').next())
        .collect();
    assert!(!asked.is_empty());
    let missing: Vec<_> = asked.difference(&written).collect();
    assert_eq!(missing, [&""; 0], "of {written:?}");
    // What is written and not shown, except for what belongs to a histogram.
    let hidden: Vec<_> = written.difference(&asked).collect();
    assert_eq!(
        hidden,
        [
            &"zdt_restart_duration_seconds_count",
            &"zdt_restart_duration_seconds_sum"
        ]
    );
}
