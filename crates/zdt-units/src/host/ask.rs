//! One HTTP request, one answer; never a second try.

use std::io::ErrorKind;
use std::time::Duration;

use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::ready::Reply;
use crate::model::Reach;
use crate::observe::Claim;

/// More than any body of an answer to a probe.
const LONGEST_BODY: usize = 1024 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) path: &'a str,
    /// They win over those that are sent anyway.
    pub(super) headers: &'a [(String, String)],
    pub(super) wants_body: bool,
}

/// Whether nobody listens at `reach`. A connection that is made is closed
/// again; one that has to wait is not refused.
pub(super) async fn is_refused(reach: &Reach) -> bool {
    let refused = |error: std::io::Error| {
        matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::NotFound
        )
    };
    let connected = timeout(Duration::from_secs(1), connect(reach)).await;
    connected.is_ok_and(|connected| connected.is_err_and(refused))
}

/// Whoever asks puts the port in beforehand.
const NO_PORT: &str = "the process was given no port";

/// Connects, and closes the connection again.
pub(super) async fn connect(reach: &Reach) -> std::io::Result<()> {
    match reach {
        Reach::Tcp(address) => TcpStream::connect(address).await.map(drop),
        Reach::Unix(path) => UnixStream::connect(path.as_str()).await.map(drop),
        Reach::OwnPort(_) => Err(std::io::Error::other(NO_PORT)),
    }
}

/// The error says in a few words why there was no answer.
pub(super) async fn get(reach: &Reach, question: Question<'_>) -> Result<Reply, String> {
    let refused = |error: std::io::Error| format!("no connection: {error}");
    match reach {
        Reach::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(refused)?;
            exchange(stream, &address.to_string(), question).await
        }
        Reach::Unix(socket) => {
            let stream = UnixStream::connect(socket.as_str())
                .await
                .map_err(refused)?;
            exchange(stream, "localhost", question).await
        }
        Reach::OwnPort(_) => Err(NO_PORT.to_owned()),
    }
}

async fn exchange<S>(stream: S, host: &str, question: Question<'_>) -> Result<Reply, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(host, question).map_err(|error| format!("no request: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let asked = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let claim = response.headers().get("x-zdt-instance");
        let claim = claim.map(|value| Claim::parse(&String::from_utf8_lossy(value.as_bytes())));
        let body = match question.wants_body {
            false => Vec::new(),
            true => Limited::new(response.into_body(), LONGEST_BODY)
                .collect()
                .await
                .map_err(|error| {
                    let cause = error
                        .source()
                        .map_or_else(|| error.to_string(), ToString::to_string);
                    format!("the body of the answer is not whole: {cause}")
                })?
                .to_bytes()
                .into(),
        };
        Ok(Reply {
            status,
            claim: claim.unwrap_or_default(),
            body,
        })
    };
    let mut asked = std::pin::pin!(asked);
    let mut connection = std::pin::pin!(connection);
    // The connection has to be driven; what its end means the request says.
    tokio::select! {
        answer = &mut asked => answer,
        _ = &mut connection => asked.await,
    }
}

fn request(host: &str, question: Question<'_>) -> http::Result<Request<Empty<&'static [u8]>>> {
    let mut request = Request::get(question.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "zdt-units")
        .header(header::CONNECTION, "close")
        .body(Empty::new())?;
    for (name, value) in question.headers {
        let name: http::HeaderName = name.parse()?;
        request.headers_mut().insert(name, value.parse()?);
    }
    Ok(request)
}

fn broken(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        _ if error.is_incomplete_message() => {
            "the connection was closed before the answer".to_owned()
        }
        _ if error.is_parse() => format!("not an HTTP answer: {error}"),
        Some(cause) => format!("connection broken: {cause}"),
        None => format!("connection broken: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What `exchange` makes of a server that writes `parts`, one after the other.
    async fn answered(parts: &[&str]) -> Result<Reply, String> {
        let (client, mut server) = tokio::io::duplex(4096);
        let serve = async {
            let mut request = [0; 512];
            let read = server.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            assert!(request.starts_with("GET /readyz?a=1 HTTP/1.1\r\n"));
            assert!(request.contains("\r\nhost: shop.example\r\n"), "{request}");
            for part in parts {
                server.write_all(part.as_bytes()).await.unwrap();
            }
            drop(server);
        };
        let headers = [("Host".to_owned(), "shop.example".to_owned())];
        let question = Question {
            path: "/readyz?a=1",
            headers: &headers,
            wants_body: true,
        };
        let asked = exchange(client, "a:1", question);
        tokio::join!(serve, asked).1
    }

    #[tokio::test]
    async fn an_answer_may_come_in_parts_and_names_the_instance() {
        let answer = answered(&[
            "HTTP/1.1 503 Service Un",
            "available\r\nX-Zdt-Instance: pid=7 release=v2\r\ntransfer-encoding: chunked\r\n",
            "\r\n1\r\n{\r\n",
            "1\r\n}\r\n0\r\n\r\n",
        ])
        .await;
        assert_eq!(
            answer,
            Ok(Reply {
                status: 503,
                claim: Claim {
                    pid: Some(7),
                    release: Some("v2".to_owned()),
                    ..Claim::default()
                },
                body: b"{}".to_vec(),
            })
        );
    }

    #[tokio::test]
    async fn half_an_answer_is_none() {
        assert_eq!(
            answered(&["HTTP/1.1 200 OK\r\n"]).await,
            Err("the connection was closed before the answer".to_owned())
        );
        assert_eq!(
            answered(&["SSH-2.0-OpenSSH\r\n\r\n"]).await,
            Err("not an HTTP answer: invalid HTTP version parsed".to_owned())
        );
        assert_eq!(
            answered(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}"]).await,
            Err(
                "the body of the answer is not whole: end of file before message length reached"
                    .to_owned()
            )
        );
    }
}
