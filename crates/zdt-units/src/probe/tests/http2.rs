//! Losses over HTTP/2, and what a GOAWAY makes of them.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{closed_port, read_head, reset, server, write};
use super::{Met, PATIENCE, at_rate, in_turn, outcomes, together};
use crate::probe::{Outcome, Outcomes, Pattern, Stream};

fn http2(connections: usize) -> Stream {
    Stream {
        pattern: Pattern::Http2 { connections },
        timeout: PATIENCE,
        ..Stream::default()
    }
}

fn expected(scheduled: u64) -> Outcomes {
    Outcomes {
        scheduled,
        ..Outcomes::default()
    }
}

/// Serves a connection with the `h2` crate; `answer` gets each request with its number.
async fn serve(
    stream: TcpStream,
    answer: impl Fn(usize, http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>),
) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut number = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        answer(number, request, respond);
        number += 1;
    }
}

fn answer(status: u16, mut respond: h2::server::SendResponse<Bytes>) {
    let response = Response::builder()
        .status(status)
        .header("x-zdt-instance", "v1")
        .body(())
        .unwrap();
    let mut body = respond.send_response(response, false).unwrap();
    body.send_data(Bytes::from_static(b"ok"), true).unwrap();
}

/// A connection served frame by frame.
struct Frames {
    stream: TcpStream,
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` in the static table of RFC 7541.
const STATUS_200: &[u8] = &[0x88];

impl Frames {
    async fn handshake(mut stream: TcpStream) -> Frames {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let settings = frame(4, 0, 0, &[]);
        stream.write_all(&settings).await.unwrap();
        Frames { stream }
    }

    /// Reads frames until the head of `n` more requests has arrived.
    async fn read_requests(&mut self, n: usize) {
        let mut seen = 0;
        while seen < n {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            seen += usize::from(head[3] == HEADERS);
        }
    }

    async fn write(&mut self, frames: &[Vec<u8>]) {
        self.stream.write_all(&frames.concat()).await.unwrap();
    }

    /// Keeps the connection open until the client closes it.
    async fn linger(mut self) {
        while matches!(self.stream.read(&mut [0; 1024]).await, Ok(1..)) {}
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200)
}

fn go_away(last_stream: u32, reason: Reason) -> Vec<u8> {
    let payload = [last_stream.to_be_bytes(), u32::from(reason).to_be_bytes()];
    frame(GOAWAY, 0, 0, &payload.concat())
}

#[tokio::test]
async fn a_good_server_loses_nothing_over_http2() {
    let address = server(|_, stream| serve(stream, |_, _, respond| answer(200, respond))).await;
    let report = at_rate(300, address, http2(3)).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 300,
            ..expected(300)
        }
    );
    assert_eq!(report.total.connections.opened, 3);
    assert_eq!(report.total.connections.reused, 297);
    assert_eq!(report.total.instances, [("v1".to_owned(), 300)].into());
}

#[tokio::test]
async fn another_status_is_counted_over_http2() {
    let address = server(|_, stream| {
        serve(stream, |number, _, respond| {
            answer(if number % 2 == 0 { 503 } else { 200 }, respond);
        })
    })
    .await;
    let report = at_rate(20, address, http2(1)).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 10,
            wrong_status: 10,
            statuses: [(503, 10)].into(),
            ..expected(20)
        }
    );
}

#[tokio::test]
async fn a_refused_stream_is_retryable_and_another_reset_is_not() {
    let address = server(|_, stream| {
        serve(stream, |number, _, mut respond| match number % 4 {
            0 => respond.send_reset(Reason::REFUSED_STREAM),
            1 => respond.send_reset(Reason::INTERNAL_ERROR),
            _ => answer(200, respond),
        })
    })
    .await;
    let report = at_rate(40, address, http2(1)).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            ok: 20,
            reset: 10,
            retryable: 10,
            ..expected(40)
        }
    );
    assert_eq!(report.lost(), 10);
}

#[tokio::test]
async fn streams_above_the_last_one_of_a_goaway_are_retryable() {
    let address = server(|_, stream| async {
        let mut frames = Frames::handshake(stream).await;
        frames.read_requests(5).await;
        // Streams 1, 3, 5, 7, 9: the first two are answered, the others never were seen.
        frames
            .write(&[go_away(3, Reason::NO_ERROR), ok(1), ok(3)])
            .await;
        frames.linger().await;
    })
    .await;
    let (outcomes, _) = together(5, address, http2(1)).await;
    use Outcome::{Ok, Retryable};
    assert_eq!(outcomes, [Ok, Ok, Retryable, Retryable, Retryable]);
}

#[tokio::test]
async fn streams_that_a_goaway_promised_to_answer_are_lost_with_the_connection() {
    let address = server(|number, stream| async move {
        let mut frames = Frames::handshake(stream).await;
        frames.read_requests(4).await;
        frames.write(&[go_away(5, Reason::NO_ERROR), ok(1)]).await;
        if number == 0 {
            drop(frames);
        } else {
            reset(frames.stream);
        }
    })
    .await;
    use Outcome::{Eof, Ok, Reset, Retryable};
    let (outcomes, _) = together(4, address.clone(), http2(1)).await;
    assert_eq!(outcomes, [Ok, Eof, Eof, Retryable]);
    let (outcomes, _) = together(4, address, http2(1)).await;
    assert_eq!(outcomes, [Ok, Reset, Reset, Retryable]);
}

#[tokio::test]
async fn a_goaway_between_requests_loses_nothing() {
    let address = server(|_, stream| async {
        let mut frames = Frames::handshake(stream).await;
        frames.read_requests(1).await;
        frames.write(&[ok(1), go_away(1, Reason::NO_ERROR)]).await;
        frames.linger().await;
    })
    .await;
    let (outcomes, met) = in_turn(4, address, http2(1)).await;
    assert_eq!(outcomes, [Outcome::Ok; 4]);
    assert_eq!(
        met,
        Met {
            opened: 4,
            announced_close: 3,
            ..Met::default()
        }
    );
}

#[tokio::test]
async fn a_connection_closed_between_requests_is_stale() {
    let address = server(|_, stream| async {
        let mut frames = Frames::handshake(stream).await;
        frames.read_requests(1).await;
        frames.write(&[ok(1)]).await;
    })
    .await;
    let (outcomes, met) = in_turn(4, address, http2(1)).await;
    assert_eq!(outcomes, [Outcome::Ok; 4]);
    assert_eq!(
        met,
        Met {
            opened: 4,
            stale: 3,
            ..Met::default()
        }
    );
}

#[tokio::test]
async fn a_connection_that_ends_under_its_requests_loses_them() {
    let address = server(|number, stream| async move {
        let mut frames = Frames::handshake(stream).await;
        frames.read_requests(3).await;
        let part = frame(HEADERS, END_HEADERS, 3, STATUS_200);
        frames.write(&[ok(1), part]).await;
        if number == 0 {
            drop(frames);
        } else {
            reset(frames.stream);
        }
    })
    .await;
    use Outcome::{Eof, Ok, Reset, Truncated};
    let (outcomes, _) = together(3, address.clone(), http2(1)).await;
    assert_eq!(outcomes, [Ok, Truncated, Eof]);
    let (outcomes, _) = together(3, address, http2(1)).await;
    assert_eq!(outcomes, [Ok, Truncated, Reset]);
}

#[tokio::test]
async fn a_stream_reset_in_its_answer_is_a_truncation() {
    let address = server(|_, stream| async {
        let mut frames = Frames::handshake(stream).await;
        frames.read_requests(1).await;
        let reason = u32::from(Reason::REFUSED_STREAM).to_be_bytes();
        frames
            .write(&[
                frame(HEADERS, END_HEADERS, 1, STATUS_200),
                frame(RST_STREAM, 0, 1, &reason),
            ])
            .await;
        frames.linger().await;
    })
    .await;
    let (outcomes, _) = in_turn(1, address, http2(1)).await;
    assert_eq!(outcomes, [Outcome::Truncated]);
}

#[tokio::test]
async fn a_server_without_http2_is_garbled() {
    let address = server(|_, mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
    })
    .await;
    let (outcomes, _) = in_turn(2, address, http2(1)).await;
    assert_eq!(outcomes, [Outcome::Garbled; 2]);
}

#[tokio::test]
async fn a_closed_port_refuses_http2() {
    let (address, _taken) = closed_port();
    let report = at_rate(20, address, http2(2)).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            refused: 20,
            ..expected(20)
        }
    );
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out_over_http2() {
    let address = server(|_, stream| async {
        let mut frames = Frames::handshake(stream).await;
        frames.read_requests(1).await;
        frames.linger().await;
    })
    .await;
    let stream = Stream {
        timeout: Duration::from_millis(300),
        ..http2(1)
    };
    let report = at_rate(10, address, stream).await;
    assert_eq!(
        outcomes(&report),
        Outcomes {
            timeout: 10,
            ..expected(10)
        }
    );
}

#[tokio::test]
async fn an_upload_arrives_whole_over_http2() {
    let address = server(|_, stream| {
        serve(stream, |_, mut request, respond| {
            tokio::spawn(async move {
                let mut length = 0;
                while let Some(data) = request.body_mut().data().await {
                    let data = data.unwrap();
                    length += data.len();
                    let _ = request
                        .body_mut()
                        .flow_control()
                        .release_capacity(data.len());
                }
                answer(if length == 300_000 { 200 } else { 400 }, respond);
            });
        })
    })
    .await;
    let stream = Stream {
        method: "POST".to_owned(),
        body_bytes: 300_000,
        body_chunks: 3,
        body_pause: Duration::from_millis(2),
        expect_length: Some(2),
        ..http2(1)
    };
    let (outcomes, _) = in_turn(3, address, stream).await;
    assert_eq!(outcomes, [Outcome::Ok; 3]);
}
