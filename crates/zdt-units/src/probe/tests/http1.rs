//! Losses over HTTP/1, on new and on kept connections.

use std::future::pending;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixSocket};

use super::server::{OK, closed_port, read_head, reset, serve_all, server, write};
use super::{Met, PATIENCE, at_rate, in_turn, outcomes, together};
use crate::probe::{Address, Outcome, Outcomes, Pattern, Stream};

fn new() -> Stream {
    Stream {
        timeout: PATIENCE,
        ..Stream::default()
    }
}

fn keep_alive(connections: usize) -> Stream {
    Stream {
        pattern: Pattern::KeepAlive { connections },
        ..new()
    }
}

fn expected(scheduled: u64) -> Outcomes {
    Outcomes {
        scheduled,
        ..Outcomes::default()
    }
}

#[tokio::test]
async fn a_good_server_loses_nothing_on_new_connections() {
    let address = server(|_, stream| serve_all(stream)).await;
    let report = at_rate(300, address, new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 300,
            ..expected(300)
        }
    );
    assert!(report.valid);
    assert_eq!(report.total.connections.opened, 300);
    assert_eq!(report.total.connections.reused, 0);
}

#[tokio::test]
async fn a_good_server_loses_nothing_on_kept_connections() {
    let address = server(|_, stream| serve_all(stream)).await;
    let report = at_rate(300, address, keep_alive(8)).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 300,
            ..expected(300)
        }
    );
    let connections = report.total.connections;
    assert_eq!(connections.opened + connections.reused, 300);
}

#[tokio::test]
async fn a_head_with_a_pause_in_it_finds_who_has_no_patience() {
    let address = server(|number, mut stream| async move {
        if number % 5 == 0 {
            // Half a head is there, and is dropped.
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            reset(stream);
        } else {
            serve_all(stream).await;
        }
    })
    .await;
    let half_sent = Stream {
        head_pause: Duration::from_millis(100),
        ..new()
    };
    let report = at_rate(100, address, half_sent).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 80,
            reset: 20,
            ..expected(100)
        }
    );
    assert!(report.total.latency.p50_us >= 100_000);
}

#[tokio::test]
async fn kept_connections_are_used_in_turn() {
    let address = server(|number, mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            let answer =
                format!("HTTP/1.1 200 OK\r\nx-zdt-instance: {number}\r\ncontent-length: 0\r\n\r\n");
            write(&mut stream, answer.as_bytes()).await;
        }
    })
    .await;
    let job = super::Job::new(0, &super::Target::new(address), &keep_alive(3));
    let mut instances = String::new();
    for _ in 0..9 {
        instances += &job.request().await.1.instance.unwrap();
    }
    assert_eq!(instances, "012012012");
}

#[tokio::test]
async fn no_request_waits_for_a_kept_connection() {
    let address = server(|_, stream| serve_all(stream)).await;
    let (outcomes, met) = together(5, address, keep_alive(2)).await;
    assert_eq!(outcomes, [Outcome::Ok; 5]);
    assert_eq!(
        met,
        Met {
            opened: 5,
            ..Met::default()
        }
    );
}

#[tokio::test]
async fn a_close_without_reading_is_an_eof() {
    let address = server(|number, mut stream| async move {
        if number % 5 == 0 {
            // Ended before the request could be read, open so that it is not reset.
            stream.shutdown().await.unwrap();
            while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
        } else {
            serve_all(stream).await;
        }
    })
    .await;
    let report = at_rate(100, address, new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 80,
            eof: 20,
            ..expected(100)
        }
    );
}

#[tokio::test]
async fn a_close_after_reading_is_an_eof() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let report = at_rate(50, address, new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            eof: 50,
            ..expected(50)
        }
    );
    assert!(report.valid, "the server's fault is a valid result");
}

#[tokio::test]
async fn a_reset_before_the_answer_is_a_reset() {
    let address = server(|number, mut stream| async move {
        if number % 4 == 0 {
            read_head(&mut stream).await;
            reset(stream);
        } else {
            serve_all(stream).await;
        }
    })
    .await;
    let report = at_rate(100, address, new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 75,
            reset: 25,
            ..expected(100)
        }
    );
    assert_eq!(
        report.total.details.iter().collect::<Vec<_>>(),
        [(
            &"reset: Connection reset by peer (os error 104)".to_owned(),
            &25
        )]
    );
}

/// The request is still being written when the reset arrives, so that the write
/// and not the read is told of it.
#[tokio::test]
async fn a_reset_during_the_upload_is_a_reset() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        reset(stream);
    })
    .await;
    let upload = Stream {
        method: "POST".to_owned(),
        body_bytes: 50_000_000,
        ..new()
    };
    let (outcomes, _) = in_turn(3, address, upload).await;
    assert_eq!(outcomes, [Outcome::Reset; 3]);
}

#[tokio::test]
async fn a_reset_in_the_answer_is_a_truncation() {
    for part in ["H", "HTTP/1.1 200 OK\r\nconte", "HTTP/1.1 200 OK\r\n\r\nab"] {
        let address = server(move |_, mut stream| async move {
            read_head(&mut stream).await;
            write(&mut stream, part.as_bytes()).await;
            reset(stream);
        })
        .await;
        let report = at_rate(20, address, new()).await;
        assert_eq!(
            outcomes(&report),
            Outcomes {
                truncated: 20,
                ..expected(20)
            },
            "for {part:?}"
        );
    }
}

#[tokio::test]
async fn half_a_body_is_a_truncation() {
    for part in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let address = server(move |number, mut stream| async move {
            read_head(&mut stream).await;
            write(
                &mut stream,
                if number % 2 == 0 { part.as_bytes() } else { OK },
            )
            .await;
        })
        .await;
        let report = at_rate(20, address, new()).await;
        assert_eq!(
            outcomes(&report),
            Outcomes {
                ok: 10,
                truncated: 10,
                ..expected(20)
            },
            "for {part:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_whole_unless_its_length_is_known() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n12345").await;
    })
    .await;
    let check = async |expect_length: Option<u64>, expected: Outcome| {
        let stream = Stream {
            expect_length,
            ..new()
        };
        let (outcomes, _) = in_turn(1, address.clone(), stream).await;
        assert_eq!(outcomes, [expected], "for {expect_length:?}");
    };
    check(None, Outcome::Ok).await;
    check(Some(5), Outcome::Ok).await;
    check(Some(6), Outcome::Truncated).await;
    check(Some(4), Outcome::Garbled).await;
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let (address, _taken) = closed_port();
    let report = at_rate(50, address, new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            refused: 50,
            ..expected(50)
        }
    );
    assert_eq!(report.total.connections.opened, 0);
}

#[tokio::test]
async fn another_status_is_counted_by_its_code() {
    let address = server(|number, mut stream| async move {
        read_head(&mut stream).await;
        let status = [200, 500, 503, 503][number % 4];
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        write(&mut stream, answer.as_bytes()).await;
    })
    .await;
    let report = at_rate(40, address.clone(), new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 10,
            wrong_status: 30,
            statuses: [(500, 10), (503, 20)].into(),
            ..expected(40)
        }
    );
}

#[tokio::test]
async fn the_expected_status_is_the_one_that_counts() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let stream = Stream {
        expect_status: 404,
        ..new()
    };
    let (outcomes, _) = in_turn(2, address, stream).await;
    assert_eq!(outcomes, [Outcome::Ok; 2]);
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out() {
    let address = server(|number, mut stream| async move {
        read_head(&mut stream).await;
        if number == 0 {
            write(&mut stream, b"HTTP/1.1 200 OK\r\n").await;
        }
        pending().await
    })
    .await;
    let stream = Stream {
        timeout: Duration::from_millis(500),
        ..new()
    };
    let report = at_rate(20, address, stream).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            timeout: 20,
            ..expected(20)
        }
    );
    assert_eq!(report.total.details.values().sum::<u64>(), 20);
}

#[tokio::test]
async fn bytes_that_are_no_http_are_garbled() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n").await;
    })
    .await;
    let report = at_rate(20, address, new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            garbled: 20,
            ..expected(20)
        }
    );
}

#[tokio::test]
async fn a_kept_connection_found_closed_is_stale_and_not_lost() {
    let check = async |end: fn(TcpStream)| {
        let address = server(move |_, mut stream| async move {
            read_head(&mut stream).await;
            write(&mut stream, OK).await;
            end(stream);
        })
        .await;
        let (outcomes, met) = in_turn(10, address, keep_alive(1)).await;
        assert_eq!(outcomes, [Outcome::Ok; 10]);
        assert_eq!(
            met,
            Met {
                opened: 10,
                stale: 9,
                ..Met::default()
            }
        );
    };
    check(drop).await;
    check(reset).await;
}

#[tokio::test]
async fn a_connection_with_more_than_the_answer_is_not_used_again() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        let late_timeout = b"HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n";
        write(&mut stream, &[OK, late_timeout].concat()).await;
        assert_eq!(read_head(&mut stream).await, None, "used once more");
    })
    .await;
    let (outcomes, met) = in_turn(5, address, keep_alive(1)).await;
    assert_eq!(outcomes, [Outcome::Ok; 5]);
    assert_eq!((met.opened, met.reused), (5, 0));
}

/// Connection 0 is closed after its second answer, when nobody listens any more.
#[tokio::test]
async fn idle_connections_serve_while_new_ones_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut served = 0;
                while (number > 0 || served < 2) && read_head(&mut stream).await.is_some() {
                    write(&mut stream, OK).await;
                    served += 1;
                }
            });
        }
    });
    let (outcomes, met) = in_turn(10, address.into(), keep_alive(3)).await;
    use Outcome::{Ok, Refused};
    assert_eq!(outcomes, [Ok, Ok, Ok, Ok, Ok, Ok, Refused, Ok, Ok, Ok]);
    assert_eq!(
        met,
        Met {
            opened: 3,
            reused: 6,
            stale: 1,
            ..Met::default()
        }
    );
}

#[tokio::test]
async fn a_close_after_reading_the_second_request_is_an_eof_on_a_reused_connection() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, OK).await;
        read_head(&mut stream).await;
    })
    .await;
    let (outcomes, met) = in_turn(6, address, keep_alive(1)).await;
    assert_eq!(outcomes, [Outcome::Ok, Outcome::EofReused].repeat(3));
    assert_eq!(
        met,
        Met {
            opened: 3,
            reused: 3,
            ..Met::default()
        }
    );
}

#[tokio::test]
async fn a_reset_after_reading_the_second_request_is_a_reset_on_a_reused_connection() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, OK).await;
        read_head(&mut stream).await;
        reset(stream);
    })
    .await;
    let (outcomes, _) = in_turn(6, address, keep_alive(1)).await;
    assert_eq!(outcomes, [Outcome::Ok, Outcome::ResetReused].repeat(3));
}

#[tokio::test]
async fn an_announced_close_is_obeyed() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        write(&mut stream, answer).await;
        assert_eq!(read_head(&mut stream).await, None, "used once more");
    })
    .await;
    let (outcomes, met) = in_turn(5, address, keep_alive(1)).await;
    assert_eq!(outcomes, [Outcome::Ok; 5]);
    assert_eq!(
        met,
        Met {
            opened: 5,
            announced_close: 5,
            ..Met::default()
        }
    );
}

#[tokio::test]
async fn a_slow_upload_arrives_whole() {
    let address = server(|_, mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("content-length: 100000\r\n"), "{head}");
        let mut body = vec![0; 100_000];
        stream.read_exact(&mut body).await.unwrap();
        assert!(body.iter().all(|&byte| byte == b'x'));
        write(&mut stream, OK).await;
        serve_all(stream).await;
    })
    .await;
    let upload = Stream {
        method: "PUT".to_owned(),
        body_bytes: 100_000,
        body_chunks: 7,
        body_pause: Duration::from_millis(2),
        ..keep_alive(1)
    };
    let (outcomes, _) = in_turn(1, address, upload).await;
    assert_eq!(outcomes, [Outcome::Ok]);
}

#[tokio::test]
async fn an_early_answer_ends_an_upload_and_its_connection() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, OK).await;
        pending().await
    })
    .await;
    let upload = Stream {
        body_bytes: 2,
        body_chunks: 2,
        body_pause: PATIENCE * 60,
        ..keep_alive(1)
    };
    let (outcomes, met) = in_turn(3, address, upload).await;
    assert_eq!(outcomes, [Outcome::Ok; 3]);
    assert_eq!(
        met,
        Met {
            opened: 3,
            ..Met::default()
        }
    );
}

#[tokio::test]
async fn answers_are_counted_by_instance() {
    let address = server(|number, mut stream| async move {
        read_head(&mut stream).await;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nx-zdt-instance: v{}\r\ncontent-length: 0\r\n\r\n",
            1 + number / 30
        );
        write(&mut stream, answer.as_bytes()).await;
    })
    .await;
    let report = at_rate(40, address, new()).await;
    assert_eq!(
        report.total.instances,
        [("v1".to_owned(), 30), ("v2".to_owned(), 10)].into()
    );
}

#[tokio::test]
async fn a_full_unix_queue_cannot_be_connected_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let socket = UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    // Holds two connections, one more than it is asked for; nobody accepts them.
    let _listener = socket.listen(1).unwrap();
    let stream = Stream {
        timeout: Duration::from_millis(300),
        ..new()
    };
    let report = at_rate(10, Address::Unix(path), stream).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            timeout: 2,
            connect: 8,
            ..expected(10)
        }
    );
}

#[tokio::test]
async fn a_missing_unix_socket_cannot_be_connected_to() {
    let directory = tempfile::tempdir().unwrap();
    let report = at_rate(5, Address::Unix(directory.path().join("none")), new()).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            connect: 5,
            ..expected(5)
        }
    );
    assert!(report.valid);
}
