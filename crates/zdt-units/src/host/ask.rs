//! One HTTP request, one answer; never a second try.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::model::Reach;
use crate::observe::Claim;

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) claim: Claim,
}

/// How long one request may take. A connection that waits in the queue of a
/// process that hangs would otherwise use up the whole limit.
const LIMIT: Duration = Duration::from_secs(5);

/// More than any head of an answer to a probe.
const LONGEST_HEAD: usize = 16 * 1024;

/// Whether nobody listens at `reach`. A connection that is made is closed
/// again; one that has to wait is not refused.
pub(super) async fn is_refused(reach: &Reach) -> bool {
    let connected = async {
        match reach {
            Reach::Tcp(address) => TcpStream::connect(address).await.map(drop),
            Reach::Unix(path) => UnixStream::connect(path.as_str()).await.map(drop),
        }
    };
    let refused = |error: std::io::Error| {
        matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::NotFound
        )
    };
    let connected = timeout(Duration::from_secs(1), connected).await;
    connected.is_ok_and(|connected| connected.is_err_and(refused))
}

/// `GET path`; the error says in a few words why there was no answer.
pub(super) async fn get(reach: &Reach, path: &str) -> Result<Answer, String> {
    let refused = |error: std::io::Error| format!("no connection: {error}");
    let asked = async {
        match reach {
            Reach::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                exchange(stream, &address.to_string(), path).await
            }
            Reach::Unix(socket) => {
                let stream = UnixStream::connect(socket.as_str())
                    .await
                    .map_err(refused)?;
                exchange(stream, "localhost", path).await
            }
        }
    };
    timeout(LIMIT, asked)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}", crate::model::span(LIMIT))))
}

async fn exchange<S>(mut stream: S, host: &str, path: &str) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: zdt-units\r\nconnection: close\r\n\r\n"
    );
    let broken = |error: std::io::Error| format!("connection broken: {error}");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;

    let mut head = Vec::new();
    loop {
        let read = stream.read_buf(&mut head).await.map_err(broken)?;
        if let Some(answer) = parse(&head)? {
            return Ok(answer);
        }
        if read == 0 {
            return Err("the connection was closed before the answer".to_owned());
        }
        if head.len() > LONGEST_HEAD {
            return Err("the head of the answer does not end".to_owned());
        }
    }
}

/// `None` while the head is not whole.
fn parse(head: &[u8]) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(head)
        .map_err(|error| format!("not an HTTP answer: {error}"))?;
    if parsed.is_partial() {
        return Ok(None);
    }
    let claim = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("x-zdt-instance"))
        .map(|header| Claim::parse(&String::from_utf8_lossy(header.value)));
    Ok(Some(Answer {
        status: response.code.expect("a whole head has a status"),
        claim: claim.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `exchange` makes of a server that writes `parts`, one after the other.
    async fn answered(parts: &[&str]) -> Result<Answer, String> {
        let (client, mut server) = tokio::io::duplex(4096);
        let serve = async {
            let mut request = [0; 512];
            let read = server.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\nhost: a:1\r\n"));
            for part in parts {
                server.write_all(part.as_bytes()).await.unwrap();
            }
            drop(server);
        };
        let asked = exchange(client, "a:1", "/readyz");
        tokio::join!(serve, asked).1
    }

    #[tokio::test]
    async fn the_head_may_come_in_parts_and_names_the_instance() {
        let answer = answered(&[
            "HTTP/1.1 503 Service Un",
            "available\r\nX-Zdt-Instance: pid=7 release=v2\r\n",
            "\r\n{}",
        ])
        .await;
        assert_eq!(
            answer,
            Ok(Answer {
                status: 503,
                claim: Claim {
                    pid: Some(7),
                    release: Some("v2".to_owned()),
                    ..Claim::default()
                },
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
            Err("not an HTTP answer: invalid HTTP version".to_owned())
        );
    }
}
