//! The conclusions, from made-up requests.

use super::super::calibrate::Usual;
use super::super::table::example;
use super::*;
use crate::probe::Outcome::{Eof, Ok};
use crate::probe::{Done, Recorder, Trace};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Requests as `(due, ended, outcome)`.
fn seen(kind: Kind, requests: &[(u64, u64, Outcome)]) -> Seen {
    let mut recorder = Recorder::new(ms(20));
    let ended = requests.iter().map(|&(due, ended, outcome)| {
        let (due, ended) = (ms(due), ms(ended));
        recorder.record(&Done {
            due,
            began: due,
            ended,
            outcome,
            trace: Trace::default(),
        });
        Ended {
            stream: 0,
            due,
            began: due,
            ended,
            outcome,
            stale: false,
        }
    });
    let ended = ended.collect();
    Seen {
        kind,
        usual: Usual {
            status: 200,
            takes: ms(1),
        },
        report: recorder.finish(kind.name(), String::new(), 1.0),
        ended,
    }
}

/// Stops from 1000 to 1040, starts until 1100.
fn one_restart() -> Restarted {
    Restarted {
        began: ms(990),
        ended: ms(1100),
        phases: vec![
            (PhaseKind::Stopping, ms(1000), ms(1040)),
            (PhaseKind::Starting, ms(1040), ms(1100)),
        ],
        ..Restarted::default()
    }
}

fn measured(seen: Vec<Seen>, restarts: Vec<Restarted>) -> Measured {
    let calibrated = seen.iter().map(|seen| Calibrated {
        kind: seen.kind,
        found: Result::Ok(seen.usual),
    });
    Measured {
        target: "127.0.0.1:80".to_owned(),
        started_unix_ms: 0,
        elapsed: ms(2000),
        calibrated: calibrated.collect(),
        seen,
        restarts,
        warnings: Vec::new(),
        invalid: None,
    }
}

fn judged(seen: Vec<Seen>, restarts: Vec<Restarted>) -> Verified {
    let about = About {
        subject: Subject::Service("shop".to_owned()),
        command: Vec::new(),
        host: Host::Systemd,
        cpus: 2,
    };
    judge(about, &example(), measured(seen, restarts), Vec::new())
}

#[test]
fn a_restart_is_met_by_what_is_in_flight_at_it() {
    let check = |kind, requests: &[(u64, u64)], expected: bool| {
        let requests: Vec<_> = requests.iter().map(|&(due, end)| (due, end, Ok)).collect();
        let met = meets(&seen(kind, &requests), &one_restart());
        assert_eq!(met, expected, "{kind} {requests:?}");
    };
    check(Kind::New, &[(900, 999), (1101, 1102)], false);
    check(Kind::New, &[(900, 1000)], true);
    check(Kind::New, &[(1050, 1110)], true);
    // Sent when the old process was told already.
    check(Kind::Silent, &[(1001, 1110)], false);
    check(Kind::Silent, &[(980, 1010)], true);
    check(Kind::Silent, &[(980, 999)], false);
    // Kept before, used after.
    check(Kind::Idle, &[(900, 901)], false);
    check(Kind::Idle, &[(1200, 1201)], false);
    check(Kind::Idle, &[(900, 901), (1200, 1201)], true);
}

#[test]
fn a_connection_that_is_closed_without_notice_is_a_loss() {
    let mut idle = seen(
        Kind::Idle,
        &[(900, 901, Ok), (1050, 1110, Ok), (1500, 1501, Ok)],
    );
    idle.ended[1].stale = true;
    let verified = judged(vec![idle], vec![one_restart()]);
    let client = verified.client("idle").unwrap();
    assert_eq!((client.sent, client.ok, client.lost), (3, 2, 1));
    assert_eq!(client.status, Status::Lost);
    assert_eq!(client.losses[0].class, "stale");
    assert_eq!(client.timeline.lost[52], 1);
    assert_eq!(client.timeline.ok[52], 0);
    assert_eq!(verified.restarts[0].lost, 1);
    assert_eq!(verified.verdict.kind, VerdictKind::Lossy);
    assert_eq!(
        verified.verdict.says,
        "1 loss among 3 requests in 1 restart: idle"
    );
}

#[test]
fn waits_count_beyond_what_a_request_takes_by_itself() {
    let requests = [(500, 700, Ok), (980, 1112, Ok), (1200, 1230, Ok)];
    let verified = judged(vec![seen(Kind::Silent, &requests)], vec![one_restart()]);
    let client = verified.client("silent").unwrap();
    // 132 ms, 40 of which the client was silent.
    assert_eq!(client.longest_wait_ms, 92);
    assert_eq!(verified.restarts[0].longest_wait_ms, 92);
    assert_eq!(client.gap_ms, 412);
    assert_eq!(verified.verdict.kind, VerdictKind::Lossless);
}

#[test]
fn a_client_that_meets_no_restart_has_proved_nothing() {
    let early = [(500, 501, Ok)];
    let verified = judged(vec![seen(Kind::New, &early)], vec![one_restart()]);
    assert_eq!(verified.client("new").unwrap().status, Status::NotMet);
    assert_eq!(verified.verdict.kind, VerdictKind::Invalid);
    assert_eq!(
        verified.warnings,
        ["`new` met 0 of 1 restarts, and the others prove nothing for it; raise `--rate`"]
    );

    let other = seen(Kind::Post, &[(990, 1110, Ok)]);
    let verified = judged(vec![seen(Kind::New, &early), other], vec![one_restart()]);
    assert_eq!(verified.verdict.kind, VerdictKind::Lossless);
    assert!(verified.verdict.says.contains("of 1 client,"));
}

#[test]
fn each_loss_belongs_to_the_restart_before_it() {
    let requests = [(1050, 1060, Eof), (1950, 1990, Eof), (2000, 2001, Eof)];
    let second = Restarted {
        began: ms(2000),
        ended: ms(2100),
        ..Restarted::default()
    };
    let verified = judged(
        vec![seen(Kind::New, &requests)],
        vec![one_restart(), second],
    );
    let lost: Vec<u64> = verified.restarts.iter().map(|one| one.lost).collect();
    assert_eq!(lost, [2, 1]);
}

#[test]
fn what_is_lost_before_any_restart_makes_it_invalid() {
    let requests = [(500, 501, Eof), (1050, 1110, Ok)];
    let verified = judged(vec![seen(Kind::New, &requests)], vec![one_restart()]);
    assert_eq!(verified.verdict.kind, VerdictKind::Invalid);
    assert_eq!(
        judged(Vec::new(), Vec::new()).verdict.kind,
        VerdictKind::Invalid
    );
}

#[test]
fn a_restart_that_failed_is_the_verdict_whatever_was_lost() {
    let failed = Restarted {
        failed: Some("it did not start".to_owned()),
        ..one_restart()
    };
    let verified = judged(vec![seen(Kind::New, &[(1050, 1110, Eof)])], vec![failed]);
    assert_eq!(verified.verdict.kind, VerdictKind::Failed);
    assert_eq!(verified.verdict.says, "a restart failed: it did not start");
}
