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
    zdt_last_restart_info operation=deploy outcome=rolled_back service=shop 1
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

/// A file of before has no outcome in it; it is read, and nothing is said of what is not known.
#[test]
fn totals_of_before_are_read() {
    let text = r#"{"services":{"shop":{"last":{"unix_seconds":7,"success":true}}}}"#;
    let text = serde_json::from_str::<Totals>(text).unwrap().text();
    assert!(text.contains(r#"zdt_last_restart_success{service="shop"} 1"#));
    assert!(!text.contains("zdt_last_restart_info{"), "{text}");
}

/// The dashboard and the alerts ask for metrics that are written, and each metric is asked for.
#[test]
#[expect(clippy::disallowed_methods, reason = "reads the examples")]
fn what_is_asked_for_is_what_is_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/monitoring");
    let read = |name: &str| std::fs::read_to_string(format!("{directory}/{name}")).unwrap();
    let text = read("grafana-dashboard.json") + &read("zdt-alerts.yml");
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("zdt_")).collect();
    let text = totals().text() + &now::text(&now::tests::example());
    let written: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('{').next())
        .collect();
    let missing: Vec<_> = asked.difference(&written).collect();
    assert_eq!(missing, [&""; 0], "of {written:?}");
    // What is written and not asked for, except for what belongs to a histogram.
    let hidden: Vec<_> = written.difference(&asked).collect();
    assert_eq!(
        hidden,
        [
            &"zdt_restart_duration_seconds_count",
            &"zdt_restart_duration_seconds_sum"
        ]
    );
}
