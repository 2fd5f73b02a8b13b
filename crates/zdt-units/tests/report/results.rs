//! Results to show: the samples, a small one, some with little in them, and a long run.

use zdt_units::probe::{Histogram, Latency, Outcomes, Timeline};
use zdt_units::verify::result::{
    Check, Client, Host, Loss, Phase, PhaseKind, Restart, Status, Subject, VERSION, Verdict,
    VerdictKind, Verified,
};

pub(crate) fn samples() -> Vec<(&'static str, Verified)> {
    let read = |text| serde_json::from_str(text).unwrap();
    vec![
        (
            "lossless",
            read(include_str!("../../src/verify/samples/lossless.json")),
        ),
        (
            "lossy",
            read(include_str!("../../src/verify/samples/lossy.json")),
        ),
    ]
}

/// One restart, a client that lost two requests, and one that is not spoken.
pub(crate) fn small() -> Verified {
    let loss = Loss {
        class: "eof".to_owned(),
        what: "closed before the answer".to_owned(),
        count: 2,
        advice: "serve what was accepted before you `exit`".to_owned(),
    };
    let lossy = Client {
        lost: 2,
        ok: 18,
        status: Status::Lost,
        losses: vec![loss],
        outcomes: Outcomes {
            eof: 2,
            ..Outcomes::default()
        },
        ..client("new", 20)
    };
    let not_spoken = Client {
        status: Status::NotSpoken,
        note: Some("it answers HTTP/2 with an end of the connection".to_owned()),
        latency: Latency::default(),
        histogram: Histogram::default(),
        timeline: Timeline::default(),
        met: 0,
        longest_wait_ms: 0,
        ..client("http2", 0)
    };
    Verified {
        v: VERSION,
        subject: Subject::Command(vec![
            "./shop".to_owned(),
            "--site".to_owned(),
            "eu west".to_owned(),
        ]),
        command: [
            "zdt-units",
            "verify",
            "--restarts",
            "1",
            "--",
            "./shop",
            "--site",
            "eu west",
        ]
        .map(str::to_owned)
        .to_vec(),
        host: Host::Supervisor,
        target: "127.0.0.1:8080".to_owned(),
        started_unix_ms: 1_763_730_000_000,
        elapsed_ms: 1000,
        cpus: 2,
        restarts: vec![restart(1, 400)],
        clients: vec![lossy, not_spoken],
        checks: vec![
            Check {
                name: "socket".to_owned(),
                passed: Some(true),
                says: "it serves the socket that was passed".to_owned(),
            },
            Check {
                name: "ready".to_owned(),
                passed: Some(false),
                says: "it does not say `READY=1`".to_owned(),
            },
            Check {
                name: "children".to_owned(),
                passed: None,
                says: "it could not be seen".to_owned(),
            },
        ],
        warnings: vec!["the machine was busy".to_owned()],
        verdict: Verdict {
            kind: VerdictKind::Lossy,
            sent: 20,
            lost: 2,
            says: "2 of 20 requests were lost in 1 restart".to_owned(),
        },
    }
}

/// Asked for then, ready 64 ms later.
fn restart(nth: u32, began_ms: u64) -> Restart {
    let phase = |kind, from, to| Phase {
        kind,
        from_ms: began_ms + from,
        to_ms: began_ms + to,
    };
    Restart {
        nth,
        began_ms,
        ended_ms: began_ms + 70,
        phases: vec![
            phase(PhaseKind::Stopping, 0, 18),
            phase(PhaseKind::Starting, 18, 64),
            phase(PhaseKind::Confirming, 64, 70),
        ],
        killed: false,
        status: Some("drained: 14 requests, 0 cut".to_owned()),
        failed: None,
        lost: 2,
        longest_wait_ms: 55,
    }
}

/// A request each 50 ms, two of which were lost at 400 ms.
fn client(name: &str, sent: u64) -> Client {
    Client {
        name: name.to_owned(),
        does: "a new connection for each request".to_owned(),
        status: Status::Passed,
        note: None,
        sent,
        ok: sent,
        lost: 0,
        retryable: 0,
        losses: Vec::new(),
        outcomes: Outcomes::default(),
        met: 1,
        latency: Latency {
            p50_us: 1500,
            p90_us: 1900,
            p99_us: 52_000,
            p999_us: 52_000,
            max_us: 52_000,
        },
        histogram: Histogram {
            upto_us: vec![1249, 1562, 1953, 48_828, 61_035],
            counts: vec![4, 9, 4, 0, 1],
        },
        gap_ms: 120,
        longest_wait_ms: 55,
        timeline: Timeline {
            bucket_ms: 50,
            ok: vec![1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            lost: vec![0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            max_us: vec![
                1500, 1400, 1600, 1200, 1900, 1500, 1100, 1700, 0, 52_000, 1500, 1600, 1400, 1300,
                1500, 1800, 1500, 1200, 1600, 1500,
            ],
        },
    }
}

/// With little or nothing in them.
pub(crate) fn degenerate() -> Vec<(&'static str, Verified)> {
    let not_spoken = || small().clients.swap_remove(1);
    let nothing_sent = Verified {
        elapsed_ms: 0,
        restarts: Vec::new(),
        clients: vec![not_spoken()],
        checks: Vec::new(),
        warnings: Vec::new(),
        command: Vec::new(),
        verdict: Verdict {
            kind: VerdictKind::Invalid,
            sent: 0,
            lost: 0,
            says: "not a valid measurement: no client could be tried".to_owned(),
        },
        ..small()
    };
    let no_client = Verified {
        clients: Vec::new(),
        ..nothing_sent.clone()
    };

    let mut everything_lost = small();
    everything_lost.verdict.lost = 20;
    let client = &mut everything_lost.clients[0];
    (client.ok, client.lost) = (0, 20);
    client.latency = Latency::default();
    client.histogram = Histogram::default();
    client.timeline.lost = vec![1; 20];
    client.timeline.ok = vec![0; 20];
    client.timeline.max_us = vec![0; 20];

    let mut one_not_spoken = small();
    one_not_spoken.clients[0] = self::client("new", 20);
    one_not_spoken.clients[0].timeline.lost = vec![0; 20];
    one_not_spoken.restarts[0].lost = 0;
    one_not_spoken.verdict.kind = VerdictKind::Lossless;
    one_not_spoken.verdict.lost = 0;

    let mut failed = small();
    failed.verdict.kind = VerdictKind::Failed;
    failed.restarts[0].failed = Some("it exited with 1".to_owned());
    failed.restarts[0].killed = true;
    failed.restarts[0].phases.clear();

    let mut again = one_not_spoken.clone();
    (again.clients[0].ok, again.clients[0].retryable) = (15, 5);

    let mut closed = small();
    closed.clients[0].losses[0].class = "stale".to_owned();

    vec![
        ("closed without notice", closed),
        ("nothing sent", nothing_sent),
        ("no client", no_client),
        ("everything lost", everything_lost),
        ("not spoken", one_not_spoken),
        ("failed", failed),
        ("to be sent again", again),
    ]
}

/// As long as a timeline gets, with all clients, many restarts, and losses everywhere.
pub(crate) fn lengthy() -> Verified {
    const BUCKETS: u32 = 60_000;
    let timeline = Timeline {
        bucket_ms: 20,
        ok: vec![2; BUCKETS as usize],
        lost: (0..BUCKETS).map(|at| u32::from(at % 97 == 0)).collect(),
        max_us: (0..BUCKETS)
            .map(|at| 1000 + u64::from(at.wrapping_mul(2_654_435_761) % 90_000))
            .collect(),
    };
    let names = [
        "new",
        "silent",
        "keep-alive",
        "idle",
        "slow",
        "post",
        "half-sent",
        "http2",
        "websocket",
    ];
    let clients = names.map(|name| Client {
        name: name.to_owned(),
        timeline: timeline.clone(),
        ..small().clients.swap_remove(0)
    });
    Verified {
        elapsed_ms: u64::from(BUCKETS) * 20,
        restarts: (1..=1000)
            .map(|nth| restart(nth, u64::from(nth) * 1190))
            .collect(),
        clients: clients.to_vec(),
        ..small()
    }
}
