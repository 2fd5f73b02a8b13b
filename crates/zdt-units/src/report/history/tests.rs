use super::*;
use crate::event::{Event, Records};

/// A restart that ended so, at this second, after so many.
fn ended(
    records: &mut Records,
    service: &str,
    outcome: Outcome,
    at: u64,
    seconds: u64,
) -> Vec<Record> {
    let planned = EventKind::Planned {
        operation: "deploy".to_owned(),
        release: Some(format!("v{at}")),
        strategy: "queue".to_owned(),
        notes: Vec::new(),
        steps: Vec::new(),
        rollback: Vec::new(),
        dry_run: false,
        manager: crate::tool::Tool::default(),
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
    [
        (planned, Duration::ZERO),
        (
            EventKind::Finished { outcome },
            Duration::from_secs(seconds),
        ),
    ]
    .map(|(kind, elapsed)| records.take(Event::new("5f0c", service, elapsed, kind), time))
    .to_vec()
}

fn records() -> Vec<Record> {
    let mut records = Records::default();
    let mut all = Vec::new();
    for number in 1..=20 {
        let outcome = match number {
            5 | 15 => Outcome::RolledBack,
            10 => Outcome::LookNow,
            12 => Outcome::Lossy,
            _ => Outcome::Completed,
        };
        all.extend(ended(&mut records, "shop", outcome, number, number));
    }
    all.extend(ended(&mut records, "blog", Outcome::Stopped, 7, 3));
    // An installation, and a plan that nobody carried out.
    let outcome = Outcome::Completed;
    let installed = Event::new(
        "0a",
        "",
        Duration::from_secs(900),
        EventKind::Finished { outcome },
    );
    all.push(records.take(installed, SystemTime::UNIX_EPOCH));
    all
}

#[test]
fn each_service_has_a_line_and_all_have_one() {
    let history = History::of(records().into_iter(), 100).unwrap();
    insta::assert_snapshot!(history.table(), @"
    service  count    failed  rolled back  lossy    min     avg     p95     max  last
    blog         1  1 (100%)            0      0  3.0 s   3.0 s   3.0 s   3.0 s  1970-01-01T00:00:07Z deploy v7: stopped
    shop        20   3 (15%)      2 (10%)      1  1.0 s  10.5 s  19.0 s  20.0 s  1970-01-01T00:00:20Z deploy v20: completed
    all         21   4 (19%)      2 (10%)      1  1.0 s  10.1 s  19.0 s  20.0 s  1970-01-01T00:00:20Z deploy v20: completed
    ");
}

#[test]
fn only_the_last_ones_of_each_service_count() {
    let history = History::of(records().into_iter(), 2).unwrap();
    insta::assert_snapshot!(history.table(), @"
    service  count    failed  rolled back  lossy     min     avg     p95     max  last
    blog         1  1 (100%)            0      0   3.0 s   3.0 s   3.0 s   3.0 s  1970-01-01T00:00:07Z deploy v7: stopped
    shop         2         0            0      0  19.0 s  19.5 s  20.0 s  20.0 s  1970-01-01T00:00:20Z deploy v20: completed
    all          3   1 (33%)            0      0   3.0 s  14.0 s  20.0 s  20.0 s  1970-01-01T00:00:20Z deploy v20: completed
    ");
    assert_eq!(History::of(std::iter::empty(), 100), None);
}
