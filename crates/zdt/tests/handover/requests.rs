//! Streams of pipelined requests, and the pieces in which they are sent.

use std::time::Duration;

use proptest::prelude::*;

/// What one client sends, the last request asking for the close.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    requests: Vec<Request>,
    cuts: Vec<Cut>,
    bytes: Vec<u8>,
    /// Where a pause is in the bytes, in their order.
    pauses: Vec<(usize, Duration)>,
}

#[derive(Clone, Debug)]
struct Request {
    id: u64,
    /// How long the client is silent before it.
    silence: Duration,
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
    let cut = (any::<u16>(), pause()).prop_map(|(at, pause)| Cut { at, pause });
    let parts = (
        prop::collection::vec(request(), 1..8),
        prop::collection::vec(cut, 0..8),
    );
    parts.prop_map(|(requests, cuts)| Connection {
        requests,
        cuts,
        bytes: Vec::new(),
        pauses: Vec::new(),
    })
}

fn pause() -> impl Strategy<Value = Duration> {
    let micros = prop_oneof![2 => 0_u64..2_000, 1 => 2_000_u64..30_000];
    micros.prop_map(Duration::from_micros)
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
    let silence = prop_oneof![1 => Just(Duration::ZERO), 1 => pause()];
    (kind, silence, ms).prop_map(|(kind, silence, ms)| Request {
        id: 0,
        silence,
        ms,
        kind,
    })
}

/// Gives every request a number of its own, and writes the bytes.
pub(crate) fn number(connections: &mut [Connection]) {
    let mut ids = 1..;
    for connection in connections {
        connection.bytes.clear();
        connection.pauses.clear();
        let last = connection.requests.len() - 1;
        for (index, request) in connection.requests.iter_mut().enumerate() {
            request.id = ids.next().unwrap_or_default();
            let here = connection.bytes.len();
            connection.pauses.push((here, request.silence));
            request.write(index == last, &mut connection.bytes);
        }
        let length = connection.bytes.len();
        let cuts = connection.cuts.iter();
        let pauses = cuts.map(|cut| (length * usize::from(cut.at) / 65_536, cut.pause));
        connection.pauses.extend(pauses);
        connection.pauses.sort();
    }
}

pub(crate) fn ids(connections: &[Connection]) -> impl Iterator<Item = u64> {
    let requests = connections.iter().flat_map(|it| &it.requests);
    requests.map(|request| request.id)
}

impl Request {
    fn write(&self, is_last: bool, to: &mut Vec<u8>) {
        let Self { id, ms, kind, .. } = self;
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
        let whole = (self.bytes.len(), Duration::ZERO);
        let pauses = self.pauses.iter().copied().chain([whole]);
        pauses.map(move |(end, pause)| {
            let piece = &self.bytes[begin..end];
            begin = end;
            (piece, pause)
        })
    }
}
