//! Connections that are held, against servers that do each of the things that end one.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::server::{OK, closed_port, read_head, reset, serve_all, server, write};
use super::{PATIENCE, at_rate, outcomes};
use crate::probe::{Held, Live, Load, Outcomes, Pattern, Report, Stream, Target, run, run_live};

fn hold(connections: usize) -> Stream {
    Stream {
        pattern: Pattern::Hold { connections },
        timeout: PATIENCE,
        ..Stream::default()
    }
}

fn held(report: &Report) -> Held {
    assert_eq!(report.total.held, report.streams[0].held);
    report.total.held.clone().unwrap()
}

fn all_ended(connections: u64, by: &str) -> Held {
    Held {
        connections,
        kept: 0,
        ended: BTreeMap::from([(by.to_owned(), connections)]),
    }
}

#[tokio::test]
async fn connections_that_last_are_kept_and_never_opened_again() {
    let address = server(|_, stream| serve_all(stream)).await;
    let report = at_rate(500, address, hold(50)).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            scheduled: 500,
            ok: 500,
            ..Outcomes::default()
        }
    );
    assert_eq!(
        held(&report),
        Held {
            connections: 50,
            kept: 50,
            ended: BTreeMap::new()
        }
    );
    assert_eq!(report.total.connections.opened, 50);
    assert_eq!(report.total.connections.reused, 450);
    assert_eq!((report.lost(), report.lost_connections()), (0, 0));
}

/// Each server answers once and then does its worst, but for the one that never answers; every connection has ten
/// requests to send.
#[tokio::test]
async fn whatever_ends_a_connection_is_its_loss_and_counted_once() {
    const SAYS_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    const NOT_200: &[u8] = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab";

    async fn answer_then(mut stream: TcpStream, worst: &str) {
        read_head(&mut stream).await;
        if worst != "timeout" {
            write(&mut stream, OK).await;
        }
        match worst {
            "closed_idle" => {}
            "reset_idle" => reset(stream),
            "surplus" => {
                // After the answer was taken, so that it is not a part of it.
                sleep(Duration::from_millis(2)).await;
                write(&mut stream, b"?").await;
                read_head(&mut stream).await;
            }
            worst => {
                read_head(&mut stream).await;
                match worst {
                    "eof_reused" => {}
                    "reset_reused" => reset(stream),
                    "announced_close" => write(&mut stream, SAYS_CLOSE).await,
                    "wrong_status" => write(&mut stream, NOT_200).await,
                    "truncated" => write(&mut stream, HALF).await,
                    "garbled" => write(&mut stream, b"SSH-2.0\r\n").await,
                    _ => while let Ok(1..) = stream.read(&mut [0; 64]).await {},
                }
            }
        }
    }

    for (worst, answered, lost) in [
        ("closed_idle", 10, 0),
        ("reset_idle", 10, 0),
        ("surplus", 10, 0),
        ("announced_close", 20, 0),
        ("eof_reused", 10, 10),
        ("reset_reused", 10, 10),
        ("wrong_status", 10, 10),
        ("truncated", 10, 10),
        ("garbled", 10, 10),
        ("timeout", 0, 10),
    ] {
        let address = server(move |_, stream| answer_then(stream, worst)).await;
        let patience = match worst {
            "timeout" => Duration::from_millis(100),
            _ => PATIENCE,
        };
        let stream = Stream {
            timeout: patience,
            ..hold(10)
        };
        let report = match worst {
            // What follows an answer comes before the next request, which is a quarter of a second away.
            "surplus" | "closed_idle" | "reset_idle" => {
                let streams = vec![Stream {
                    rate: 40.0,
                    requests: Some(20),
                    ..stream
                }];
                let target = Target::new(address);
                run(&Load { target, streams }, pending()).await
            }
            _ => at_rate(100, address, stream).await,
        };
        assert_eq!(held(&report), all_ended(10, worst), "for {worst}");
        assert_eq!(
            (report.total.outcomes.ok, report.lost()),
            (answered, lost),
            "for {worst}: {report}"
        );
        assert_eq!(report.lost_connections(), 10, "for {worst}");
        assert_eq!(report.total.connections.opened, 10, "for {worst}");
        assert!(report.valid, "for {worst}");
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_opened_is_lost() {
    let (address, _taken) = closed_port();
    let report = at_rate(100, address, hold(10)).await;
    assert_eq!(held(&report), all_ended(10, "refused"));
    assert_eq!(outcomes(&report).refused, 10);
}

/// The last answer is long over when the server closes, and no request follows.
#[tokio::test]
async fn a_close_after_the_last_request_counts() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, OK).await;
        sleep(Duration::from_millis(50)).await;
    })
    .await;
    let load = Load {
        target: Target::new(address),
        streams: vec![Stream {
            rate: 4.0,
            requests: Some(2),
            ..hold(2)
        }],
    };
    let report = run(&load, pending()).await;
    assert_eq!(report.total.outcomes.ok, 2);
    assert_eq!(held(&report), all_ended(2, "closed_idle"));
}

/// What was due while an answer was late is sent, and its lateness is latency.
#[tokio::test]
async fn a_late_answer_makes_the_requests_behind_it_late_not_fewer() {
    let stopped = Arc::new(Notify::new());
    let stopped_here = Arc::clone(&stopped);
    let address = server(move |_, mut stream| {
        let stopped = Arc::clone(&stopped_here);
        async move {
            let mut first = true;
            while read_head(&mut stream).await.is_some() {
                if std::mem::take(&mut first) {
                    stopped.notified().await;
                    sleep(Duration::from_millis(100)).await;
                }
                write(&mut stream, OK).await;
            }
        }
    })
    .await;
    let load = Load {
        target: Target::new(address),
        streams: vec![Stream {
            rate: 100.0,
            ..hold(1)
        }],
    };
    let live = Live::new();
    // While the first answer is still due.
    let stop = async {
        while live.scheduled() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(100)).await;
        stopped.notify_one();
    };
    let report = run_live(&load, &live, stop).await;
    assert!(report.total.outcomes.ok >= 10, "{report}");
    assert!(report.total.latency.p50_us >= 100_000, "{report}");
    assert!(report.total.lag_max_us >= 150_000, "{report}");
    assert_eq!(held(&report).kept, 1);
}
