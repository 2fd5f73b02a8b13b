//! When requests leave, when a run ends, and what counts as its own fault.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Barrier, Notify};

use super::server::{OK, closed_port, read_head, serve_all, server, write};
use super::{PATIENCE, at_rate, outcomes};
use crate::probe::{
    Live, Load, Outcome, Outcomes, Pattern, Stream, Target, run, run_live, run_observed,
};

fn endless() -> Stream {
    Stream {
        rate: 1000.0,
        timeout: PATIENCE,
        ..Stream::default()
    }
}

/// A client that waits for answers before it sends would wait here for ever.
#[tokio::test]
async fn requests_leave_whatever_became_of_those_before_them() {
    for pattern in [Pattern::New, Pattern::KeepAlive { connections: 2 }] {
        let all_here = Arc::new(Barrier::new(50));
        let address = server(move |_, mut stream| {
            let all_here = Arc::clone(&all_here);
            async move {
                read_head(&mut stream).await;
                all_here.wait().await;
                write(&mut stream, OK).await;
            }
        })
        .await;
        let report = at_rate(
            50,
            address,
            Stream {
                pattern,
                ..endless()
            },
        )
        .await;
        assert_eq!(
            outcomes(&report),
            Outcomes {
                scheduled: 50,
                ok: 50,
                ..Outcomes::default()
            }
        );
        assert_eq!(report.total.in_flight_max, 50);
    }
}

#[tokio::test]
async fn a_stopped_run_waits_for_the_answers_that_are_due() {
    let stopped = Arc::new(Notify::new());
    let told = Arc::clone(&stopped);
    let address = server(move |number, mut stream| {
        let told = Arc::clone(&told);
        async move {
            read_head(&mut stream).await;
            if number == 0 {
                told.notified().await;
            }
            write(&mut stream, OK).await;
        }
    })
    .await;
    let load = Load {
        target: Target::new(address),
        streams: vec![endless()],
    };
    let live = Live::new();
    let stop = async {
        live.until_ok(20).await;
        assert!(live.in_flight() >= 1);
        stopped.notify_one();
    };
    let report = run_live(&load, &live, stop).await;
    assert!(report.valid);
    assert_eq!(report.lost(), 0);
    assert_eq!(report.total.outcomes.ok, report.total.outcomes.scheduled);
    assert_eq!(live.ok(), report.total.outcomes.ok);
    assert_eq!((live.lost(), live.in_flight()), (0, 0));
}

#[tokio::test]
async fn a_run_that_is_stopped_at_once_proves_nothing() {
    let address = server(|_, stream| serve_all(stream)).await;
    let load = Load {
        target: Target::new(address),
        streams: vec![endless()],
    };
    let report = run(&load, async {}).await;
    assert_eq!(outcomes(&report), Outcomes::default());
    assert!(!report.valid);
}

#[tokio::test]
async fn streams_run_at_the_same_time_and_are_counted_apart_and_together() {
    let address = server(|_, mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let status = if head.starts_with("GET /bad ") {
                500
            } else {
                200
            };
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            write(&mut stream, answer.as_bytes()).await;
        }
    })
    .await;
    let load = Load {
        target: Target::new(address),
        streams: vec![
            Stream {
                name: "good".to_owned(),
                requests: Some(30),
                ..endless()
            },
            Stream {
                name: "bad".to_owned(),
                path: "/bad".to_owned(),
                pattern: Pattern::KeepAlive { connections: 2 },
                requests: Some(20),
                ..endless()
            },
        ],
    };
    let report = run(&load, pending()).await;
    let good = Outcomes {
        scheduled: 30,
        ok: 30,
        ..Outcomes::default()
    };
    let bad = Outcomes {
        scheduled: 20,
        wrong_status: 20,
        statuses: [(500, 20)].into(),
        ..Outcomes::default()
    };
    let total = Outcomes {
        scheduled: 50,
        ok: 30,
        ..bad.clone()
    };
    assert_eq!(report.stream("good").unwrap().outcomes, good);
    assert_eq!(report.stream("bad").unwrap().outcomes, bad);
    assert_eq!(report.total.outcomes, total);
    assert_eq!(report.total.rate, 2000.0);
}

#[tokio::test]
async fn too_many_in_flight_is_a_fault_of_this_client() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        pending().await
    })
    .await;
    let stream = Stream {
        timeout: Duration::from_secs(2),
        max_in_flight: 3,
        ..endless()
    };
    let report = at_rate(10, address, stream).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            scheduled: 10,
            timeout: 3,
            client: 7,
            ..Outcomes::default()
        }
    );
    assert_eq!(report.total.in_flight_refused, 7);
    assert_eq!(report.total.in_flight_max, 3);
    assert!(!report.valid);
}

#[tokio::test]
async fn a_stream_that_describes_no_request_is_a_fault_of_this_client() {
    let address = server(|_, stream| serve_all(stream)).await;
    let stream = Stream {
        path: "no path".to_owned(),
        ..Stream::default()
    };
    let report = at_rate(10, address, stream).await;
    assert_eq!(report.total.outcomes.client, 1);
    assert!(!report.valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_may_be_spawned_on_many_threads() {
    let address = server(|_, stream| serve_all(stream)).await;
    let stream = Stream {
        pattern: Pattern::KeepAlive { connections: 4 },
        ..endless()
    };
    let report = tokio::spawn(at_rate(200, address, stream)).await.unwrap();
    assert_eq!(
        outcomes(&report),
        Outcomes {
            scheduled: 200,
            ok: 200,
            ..Outcomes::default()
        }
    );
}

#[tokio::test]
async fn an_observer_is_told_each_end_once() {
    let address = server(|_, stream| serve_all(stream)).await;
    let (closed, _taken) = closed_port();
    for (address, outcome) in [(address, Outcome::Ok), (closed, Outcome::Refused)] {
        let load = Load {
            target: Target::new(address),
            streams: vec![
                Stream {
                    requests: Some(20),
                    ..Stream::default()
                },
                Stream {
                    rate: 1000.0,
                    requests: Some(50),
                    ..Stream::default()
                },
            ],
        };
        let (observer, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let report = run_observed(&load, &Live::new(), Some(observer), pending()).await;
        let mut sums = [Outcomes::default(), Outcomes::default()];
        while let Ok(ended) = seen.try_recv() {
            assert_eq!(ended.outcome, outcome);
            assert!(ended.due <= ended.began && ended.began <= ended.ended);
            sums[ended.stream].record(ended.outcome);
        }
        for (sum, stream) in sums.iter().zip(&report.streams) {
            assert_eq!(sum, &stream.outcomes);
        }
        let scheduled = [20, 50];
        assert!(
            report
                .streams
                .iter()
                .map(|stream| stream.outcomes.scheduled)
                .eq(scheduled)
        );
    }
}
