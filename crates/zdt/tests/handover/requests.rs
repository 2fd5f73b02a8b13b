//! Streams of pipelined requests, and the pieces in which they are sent.

use std::time::Duration;

use proptest::prelude::*;

/// What one client sends, the last request asking for the close.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    requests: Vec<Request>,
    cuts: Vec<Cut>,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Request {
    id: u64,
    /// How long the app takes.
    ms: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// An answer of a known length.
    Sized(usize),
    /// An answer in so many chunks.
    Pieces(usize),
    /// A body of a known length, sent back.
    Echo(usize),
    /// A body in chunks of these lengths, sent back.
    EchoChunked(Vec<usize>),
}

/// Where the bytes are cut, in parts of 65,536 of the whole, and the pause there.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: u16,
    pause: Duration,
}

pub(crate) fn connection() -> impl Strategy<Value = Connection> {
    let cut = (any::<u16>(), 0_u64..4_000).prop_map(|(at, pause)| Cut {
        at,
        pause: Duration::from_micros(pause),
    });
    let parts = (
        prop::collection::vec(request(), 1..8),
        prop::collection::vec(cut, 0..8),
    );
    parts.prop_map(|(requests, mut cuts)| {
        cuts.sort_by_key(|cut| cut.at);
        Connection {
            requests,
            cuts,
            bytes: Vec::new(),
        }
    })
}

fn request() -> impl Strategy<Value = Request> {
    let kind = prop_oneof![
        4 => (0_usize..2_000).prop_map(Kind::Sized),
        1 => (0_usize..300_000).prop_map(Kind::Sized),
        2 => (0_usize..20).prop_map(Kind::Pieces),
        2 => (0_usize..2_000).prop_map(Kind::Echo),
        1 => (0_usize..100_000).prop_map(Kind::Echo),
        2 => prop::collection::vec(1_usize..3_000, 0..6).prop_map(Kind::EchoChunked),
    ];
    let ms = prop_oneof![4 => Just(0), 1 => 1_u64..6];
    (kind, ms).prop_map(|(kind, ms)| Request { id: 0, ms, kind })
}

/// Gives every request a number of its own, and writes the bytes.
pub(crate) fn number(connections: &mut [Connection]) {
    let mut ids = 1..;
    for connection in connections {
        connection.bytes.clear();
        let last = connection.requests.len() - 1;
        for (index, request) in connection.requests.iter_mut().enumerate() {
            request.id = ids.next().unwrap_or_default();
            request.write(index == last, &mut connection.bytes);
        }
    }
}

pub(crate) fn ids(connections: &[Connection]) -> impl Iterator<Item = u64> {
    let requests = connections.iter().flat_map(|it| &it.requests);
    requests.map(|request| request.id)
}

impl Request {
    fn write(&self, is_last: bool, to: &mut Vec<u8>) {
        let Self { id, ms, kind } = self;
        let close = if is_last { "connection: close\r\n" } else { "" };
        let mut head = |method: &str, path: &str, more: &str| {
            let query = format!("id={id}&ms={ms}");
            let line =
                format!("{method} {path}{query} HTTP/1.1\r\nhost: test\r\n{close}{more}\r\n");
            to.extend(line.bytes());
        };
        match kind {
            Kind::Sized(length) => head("GET", &format!("/sized?len={length}&"), ""),
            Kind::Pieces(count) => head("GET", &format!("/pieces?len={count}&"), ""),
            Kind::Echo(length) => {
                head("POST", "/echo?", &format!("content-length: {length}\r\n"));
                to.extend(std::iter::repeat_n(b'e', *length));
            }
            Kind::EchoChunked(chunks) => {
                head("POST", "/echo?", "transfer-encoding: chunked\r\n");
                for &length in chunks {
                    to.extend(format!("{length:x}\r\n").bytes());
                    to.extend(std::iter::repeat_n(b'c', length));
                    to.extend(b"\r\n");
                }
                to.extend(b"0\r\n\r\n");
            }
        }
    }
}

impl Connection {
    /// What is written at once, and the pause behind it.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&[u8], Duration)> {
        let mut begin = 0;
        let ends = self.cuts.iter().map(|cut| {
            let end = self.bytes.len() * usize::from(cut.at) / 65_536;
            (end, cut.pause)
        });
        let whole = std::iter::once((self.bytes.len(), Duration::ZERO));
        ends.chain(whole).map(move |(end, pause)| {
            let piece = &self.bytes[begin..end];
            begin = end;
            (piece, pause)
        })
    }
}
