//! Decides what a stream's requests are made of: bytes for HTTP/1, a typed
//! head for HTTP/2, and the pieces of the body. Pure.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri, header};

use super::answer;
use super::{Pattern, Stream, Target};

/// Why a stream describes no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    #[error("`{0}` is not a method; write it as `GET`")]
    Method(String),
    #[error("`{0}` is not a path; it starts with `/` and has no spaces")]
    Path(String),
    #[error("`{0}` is not a host")]
    Host(String),
    #[error("`{0}` is not a header; write it as `name: value`")]
    Header(String),
    #[error("a rate of `{0}` requests a second cannot be sent; write a number above 0")]
    Rate(String),
    #[error("at least 1 connection is needed")]
    NoConnections,
}

/// What every request of a stream sends.
#[derive(Debug)]
pub(crate) struct Request {
    /// The head and, for HTTP/1, the first bytes of the body, sent in one write.
    pub(crate) first: Vec<u8>,
    /// How many bytes of the body are in `first`.
    pub(crate) first_body: u64,
    pub(crate) head: http::Request<()>,
    /// Where `first` pauses; 0 if it does not.
    pub(crate) head_half: usize,
    pub(crate) head_pause: Duration,
    pub(crate) pieces: Vec<u64>,
    pub(crate) pause: Duration,
    pub(crate) kind: answer::Request,
}

/// What bodies are made of.
pub(crate) static FILLER: [u8; 16 * 1024] = [b'x'; 16 * 1024];

impl Request {
    pub(crate) fn new(target: &Target, stream: &Stream) -> Result<Request, StreamError> {
        if let Pattern::KeepAlive { connections: 0 }
        | Pattern::Http2 { connections: 0 }
        | Pattern::Hold { connections: 0 } = stream.pattern
        {
            return Err(StreamError::NoConnections);
        }
        if !stream.rate.is_finite() || stream.rate <= 0.0 {
            return Err(StreamError::Rate(stream.rate.to_string()));
        }
        let method = Method::from_bytes(stream.method.as_bytes())
            .map_err(|_| StreamError::Method(stream.method.clone()))?;
        let host = stream.host.as_ref().unwrap_or(&target.host);
        if !stream.path.starts_with('/') {
            return Err(StreamError::Path(stream.path.clone()));
        }
        let path = stream
            .path
            .parse::<http::uri::PathAndQuery>()
            .map_err(|_| StreamError::Path(stream.path.clone()))?;
        let uri = Uri::builder()
            .scheme("http")
            .authority(host.as_str())
            .path_and_query(path.clone())
            .build()
            .map_err(|_| StreamError::Host(host.clone()))?;

        let mut head = http::Request::new(());
        *head.method_mut() = method.clone();
        *head.uri_mut() = uri;
        let headers = head.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("zdt-probe"));
        for (name, value) in &stream.headers {
            let wrong = || StreamError::Header(format!("{name}: {value}"));
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?,
                HeaderValue::from_str(value).map_err(|_| wrong())?,
            );
        }
        if stream.body_bytes > 0 || matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, stream.body_bytes.into());
        }

        let pieces = pieces(stream.body_bytes, stream.body_chunks);
        let first_body = pieces.first().map_or(0, |&n| n.min(FILLER.len() as u64));
        let mut first = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
        for (name, value) in head.headers() {
            first.extend(name.as_str().bytes());
            first.extend(b": ");
            first.extend(value.as_bytes());
            first.extend(b"\r\n");
        }
        if stream.pattern == Pattern::New && stream.announce_close {
            first.extend(b"connection: close\r\n");
        }
        first.extend(b"\r\n");
        let head_half = if stream.head_pause.is_zero() {
            0
        } else {
            first.len() / 2
        };
        first.extend(FILLER.iter().take(usize::try_from(first_body).unwrap_or(0)));

        Ok(Request {
            first,
            first_body,
            kind: if method == Method::HEAD {
                answer::Request::Head
            } else {
                answer::Request::Other
            },
            head,
            head_half,
            head_pause: stream.head_pause,
            pieces,
            pause: stream.body_pause,
        })
    }
}

/// Cuts a body into pieces of nearly the same size, none of them empty.
fn pieces(bytes: u64, chunks: u32) -> Vec<u64> {
    let chunks = u128::from(chunks.max(1));
    let upto = |n: u128| (u128::from(bytes) * n / chunks) as u64;
    (0..chunks)
        .map(|n| upto(n + 1) - upto(n))
        .filter(|&piece| piece > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        ":80".parse().unwrap()
    }

    fn text(stream: &Stream) -> String {
        match Request::new(&target(), stream) {
            Ok(request) => String::from_utf8(request.first).unwrap(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_request_is_written_as_http1() {
        assert_eq!(
            text(&Stream::default()),
            "GET / HTTP/1.1\r\nhost: 127.0.0.1:80\r\nuser-agent: zdt-probe\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            text(&Stream {
                pattern: Pattern::KeepAlive { connections: 1 },
                method: "POST".to_owned(),
                path: "/a?b=c".to_owned(),
                host: Some("example.org".to_owned()),
                headers: vec![("x-a".to_owned(), "b".to_owned())],
                body_bytes: 3,
                ..Stream::default()
            }),
            "POST /a?b=c HTTP/1.1\r\nhost: example.org\r\nuser-agent: zdt-probe\r\nx-a: b\r\ncontent-length: 3\r\n\r\nxxx"
        );
    }

    #[test]
    fn a_pause_in_the_head_is_in_its_middle() {
        let stream = Stream {
            head_pause: Duration::from_millis(1),
            method: "POST".to_owned(),
            body_bytes: 1000,
            ..Stream::default()
        };
        let request = Request::new(&target(), &stream).unwrap();
        let (before, after) = request.first.split_at(request.head_half);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text(before).starts_with("POST / HTTP/1.1\r\n"));
        assert!(!text(before).contains("\r\n\r\n"));
        assert!(text(after).contains("\r\n\r\nxxx"));
    }

    #[test]
    fn a_stream_that_describes_no_request_is_an_error() {
        let check = |stream: Stream, expected: &str| assert_eq!(text(&stream), expected);
        check(
            Stream {
                method: "A B".to_owned(),
                ..Stream::default()
            },
            "error: `A B` is not a method; write it as `GET`",
        );
        check(
            Stream {
                path: "/a b".to_owned(),
                ..Stream::default()
            },
            "error: `/a b` is not a path; it starts with `/` and has no spaces",
        );
        check(
            Stream {
                headers: vec![("a".to_owned(), "b\r\nc: d".to_owned())],
                ..Stream::default()
            },
            "error: `a: b\r\nc: d` is not a header; write it as `name: value`",
        );
        check(
            Stream {
                rate: 0.0,
                ..Stream::default()
            },
            "error: a rate of `0` requests a second cannot be sent; write a number above 0",
        );
    }

    #[test]
    fn the_pieces_of_a_body_are_the_body() {
        assert_eq!(pieces(0, 3), Vec::<u64>::new());
        assert_eq!(pieces(10, 1), [10]);
        assert_eq!(pieces(10, 3), [3, 3, 4]);
        assert_eq!(pieces(2, 5), [1, 1]);
        assert_eq!(pieces(u64::MAX, 2).iter().sum::<u64>(), u64::MAX);
    }
}
