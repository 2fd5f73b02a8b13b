use std::time::UNIX_EPOCH;

use super::*;
use crate::event::{Event, Records};
use crate::tool::Tool;

/// Each kind a hundred milliseconds after the one before.
fn after(kinds: Vec<EventKind>) -> Operations {
    let (mut records, mut operations) = (Records::default(), Operations::default());
    for (n, kind) in (0u32..).zip(kinds) {
        let elapsed = n * Duration::from_millis(100);
        let event = Event::new("5f0c", "shop", elapsed, kind);
        operations.take(&records.take(event, UNIX_EPOCH + elapsed));
    }
    operations
}

fn planned(strategy: &str, dry_run: bool) -> EventKind {
    EventKind::Planned {
        operation: "restart".to_owned(),
        release: None,
        strategy: strategy.to_owned(),
        notes: Vec::new(),
        steps: vec!["one (limit 5s)".to_owned(), "two".to_owned()],
        rollback: Vec::new(),
        dry_run,
        manager: Tool::default(),
    }
}

fn started(phase: Phase, step: usize) -> EventKind {
    EventKind::StepStarted {
        phase,
        step,
        action: "restart_unit".to_owned(),
        text: "as begun".to_owned(),
        limit_ms: Duration::from_secs(5),
    }
}

fn state(active: Active) -> EventKind {
    EventKind::UnitState {
        unit: "shop.service".to_owned(),
        active,
        sub: String::new(),
    }
}

fn completed(step: usize) -> EventKind {
    EventKind::StepCompleted {
        phase: Phase::Forward,
        step,
    }
}

fn finished(outcome: Outcome) -> EventKind {
    EventKind::Finished { outcome }
}

fn steps(operation: &Operation) -> Vec<(usize, &str, &Progress, Option<u128>)> {
    let took = |step: &Step| step.took.map(|took| took.as_millis());
    let step = |step| -> (usize, &str, &Progress, Option<u128>) {
        let step: &Step = step;
        (step.number, &step.text, &step.progress, took(step))
    };
    operation.steps.iter().map(step).collect()
}

#[test]
fn steps_go_from_to_do_over_running_to_done() {
    let operations = after(vec![planned("queue", false), started(Phase::Forward, 1)]);
    let [running] = operations.under_way().collect::<Vec<_>>()[..] else {
        panic!("{operations:?}");
    };
    assert_eq!(
        steps(running),
        [
            (1, "as begun", &Progress::Running, None),
            (2, "two", &Progress::Waiting, None)
        ]
    );
    let operations = after(vec![
        planned("queue", false),
        started(Phase::Forward, 1),
        completed(1),
        started(Phase::Forward, 2),
        state(Active::Deactivating),
        state(Active::Activating),
        state(Active::Active),
        completed(2),
        finished(Outcome::Completed),
    ]);
    assert_eq!(operations.under_way().count(), 0);
    let [ended] = operations.past().collect::<Vec<_>>()[..] else {
        panic!("{operations:?}");
    };
    assert_eq!(
        steps(ended),
        [
            (1, "as begun", &Progress::Done, Some(100)),
            (2, "as begun", &Progress::Done, Some(400))
        ]
    );
    assert_eq!(ended.end, End::Ended(Outcome::Completed));
    assert_eq!(ended.took.as_millis(), 800);
    assert_eq!(ended.pause, Pause::AtMost(Duration::from_millis(200)));
}

#[test]
fn a_way_back_has_steps_of_its_own_and_says_why() {
    let operations = after(vec![
        planned("queue", false),
        started(Phase::Forward, 1),
        state(Active::Failed),
        EventKind::StepFailed {
            phase: Phase::Forward,
            step: 1,
            reason: "it ended".to_owned(),
            hint: None,
            output: Vec::new(),
        },
        EventKind::Killed {
            unit: "shop.service".to_owned(),
        },
        started(Phase::Rollback, 1),
        finished(Outcome::LookNow),
    ]);
    let ended = operations.past().next().unwrap();
    let failed = Progress::Failed("it ended".to_owned());
    assert_eq!(
        steps(ended),
        [
            (1, "as begun", &failed, Some(200)),
            (2, "two", &Progress::Waiting, None),
            (1, "as begun", &Progress::Running, None)
        ]
    );
    assert_eq!(ended.failure.as_deref(), Some("it ended"));
    assert_eq!(
        ended.lost,
        ["what `shop.service` had in flight when it was killed"]
    );
    // Nobody has accepted since.
    assert_eq!(ended.pause, Pause::AtMost(Duration::from_millis(400)));
}

#[test]
fn with_another_process_beside_it_nobody_waits() {
    let operations = after(vec![
        planned("standby", false),
        state(Active::Deactivating),
        state(Active::Active),
        finished(Outcome::Completed),
    ]);
    assert_eq!(operations.past().next().unwrap().pause, Pause::Covered);
}

#[test]
fn what_is_only_planned_is_no_operation_and_what_broke_off_is_one() {
    let mut operations = after(vec![planned("queue", true)]);
    assert_eq!(operations.under_way().count(), 0);
    operations.broke_off("5f0c", "shop");
    assert_eq!(operations.past().count(), 0);

    let mut operations = after(vec![planned("queue", false)]);
    operations.broke_off("5f0c", "blog");
    assert_eq!(operations.under_way().count(), 1);
    operations.broke_off("5f0c", "shop");
    assert_eq!(operations.past().next().unwrap().end, End::BrokeOff);
}

#[test]
fn the_oldest_are_forgotten() {
    let (mut records, mut operations) = (Records::default(), Operations::default());
    for n in 0..200u32 {
        let event = |kind| Event::new(&n.to_string(), "shop", Duration::ZERO, kind);
        let time = UNIX_EPOCH + n * Duration::from_secs(1);
        operations.take(&records.take(event(planned("queue", false)), time));
        if n % 2 == 0 {
            operations.take(&records.take(event(finished(Outcome::Completed)), time));
        }
    }
    assert_eq!(operations.past().count(), PAST);
    assert_eq!(operations.past().next().unwrap().restart_id, "198");
    assert_eq!(operations.under_way().count(), UNDER_WAY);
    assert!(operations.under_way().all(|one| one.restart_id != "1"));
}
