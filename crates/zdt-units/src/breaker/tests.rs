use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn breaker() -> Breaker {
    Breaker {
        failures: 3,
        within: Duration::from_secs(60 * MINUTE),
        pause: Duration::from_secs(10 * MINUTE),
    }
}

/// What is permitted right after each of these operations, in order.
fn after(operations: &[(u64, Outcome)]) -> Vec<Permit> {
    let breaker = breaker();
    let mut history = History::default();
    operations
        .iter()
        .map(|(seconds, outcome)| {
            history = history
                .clone()
                .after(&breaker, "5f0c", *outcome, at(*seconds));
            history.permit(&breaker, at(*seconds))
        })
        .collect()
}

fn open(until: u64) -> Permit {
    Permit::Open { until: at(until) }
}

#[test]
fn three_failures_in_a_row_open_it() {
    use Outcome::{Completed, LookNow, Lossy, RolledBack, Stopped};
    let closed = Permit::Closed;
    assert_eq!(
        after(&[(0, LookNow), (1, RolledBack), (2, Stopped), (3, LookNow)]),
        [closed, closed, closed, open(3 + 10 * MINUTE)]
    );
    assert_eq!(
        after(&[
            (0, LookNow),
            (1, LookNow),
            (2, Completed),
            (3, LookNow),
            (4, Lossy),
            (5, LookNow)
        ]),
        [closed; 6]
    );
    // The first one is too old by then.
    assert_eq!(
        after(&[(0, LookNow), (10, LookNow), (60 * MINUTE + 1, LookNow)]),
        [closed; 3]
    );
}

#[test]
fn the_pause_doubles_with_each_try_up_to_eight_times() {
    let breaker = breaker();
    let mut history = History::default();
    for _ in 0..3 {
        history = history.after(&breaker, "5f0c", Outcome::LookNow, at(0));
    }
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let Permit::Open { until } = history.permit(&breaker, at(now)) else {
            panic!("{history:?}");
        };
        let pause = until.duration_since(at(now)).unwrap();
        pauses.push(pause.as_secs() / MINUTE);
        now += pause.as_secs();
        assert_eq!(history.permit(&breaker, at(now)), Permit::HalfOpen);
        history = history.after(&breaker, "5f0c", Outcome::RolledBack, at(now));
    }
    assert_eq!(pauses, [10, 20, 40, 80, 80]);
    history = history.after(&breaker, "5f0c", Outcome::Completed, at(now));
    assert_eq!(history, History::default());
}

#[test]
fn a_refusal_says_what_failed_and_until_when() {
    let breaker = breaker();
    let mut history = History::default();
    for (second, id) in [(0, "a1"), (30, "b2"), (60, "c3")] {
        history = history.after(&breaker, id, Outcome::LookNow, at(second));
    }
    let Permit::Open { until } = history.permit(&breaker, at(61)) else {
        panic!("{history:?}");
    };
    insta::assert_snapshot!(history.reason("shop", until, at(61)), @"
    its last 3 operations failed, so `shop` is left alone until 2023-11-14T22:24:20Z (10m)
      2023-11-14T22:13:20Z  failed without a way back  (id a1)
      2023-11-14T22:13:50Z  failed without a way back  (id b2)
      2023-11-14T22:14:20Z  failed without a way back  (id c3)
    ");
}

#[test]
fn it_can_be_switched_off() {
    let off = Breaker {
        failures: 0,
        ..breaker()
    };
    let mut history = History::default();
    for _ in 0..3 {
        history = history.after(&breaker(), "5f0c", Outcome::LookNow, at(0));
    }
    assert_eq!(history.permit(&off, at(1)), Permit::Closed);
    let after = history.after(&off, "5f0c", Outcome::LookNow, at(2));
    assert_eq!(after, History::default());
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::Lossy),
        Just(Outcome::Stopped),
        Just(Outcome::RolledBack),
        Just(Outcome::LookNow),
    ]
}

proptest! {
    /// Whatever happened, by whatever clock: it is read back as it was written, it never refuses
    /// for longer than eight pauses, and nothing is refused before there were enough failures.
    #[test]
    fn any_history_keeps_its_bounds(
        operations in prop::collection::vec((0u64..20_000, outcome()), 0..40),
        now in 0u64..40_000,
    ) {
        let breaker = breaker();
        let mut history = History::default();
        let mut in_a_row = 0;
        for (seconds, outcome) in operations {
            history = history.after(&breaker, "5f0c", outcome, at(seconds));
            in_a_row = match outcome {
                Outcome::Completed | Outcome::Lossy => 0,
                Outcome::Stopped => in_a_row,
                Outcome::RolledBack | Outcome::LookNow => in_a_row + 1,
            };
        }
        let written = serde_json::to_string(&history).unwrap();
        prop_assert_eq!(&serde_json::from_str::<History>(&written).unwrap(), &history);
        prop_assert!(history.failures.len() <= 3);
        match history.permit(&breaker, at(now)) {
            Permit::Closed => {}
            Permit::HalfOpen => prop_assert!(in_a_row >= 3),
            Permit::Open { until } => {
                prop_assert!(in_a_row >= 3);
                prop_assert!(until.duration_since(at(now)).unwrap() <= 8 * breaker.pause);
            }
        }
    }
}
