//! Reads one HTTP/1 answer from bytes that arrive in any pieces. Pure.
//!
//! The body is counted, not kept. What matters is whether the answer is
//! complete, because a truncated answer is a loss.

/// One answer, while it arrives.
#[derive(Debug)]
pub(crate) struct Answer {
    request: Request,
    state: State,
    /// The bytes of the current head, chunk-size line or trailer line.
    held: Vec<u8>,
    head: Head,
    body: u64,
    surplus: bool,
}

/// What about the request decides where its answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Answered without a body, whatever the head says.
    Head,
    Other,
}

/// What the head of the answer said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The connection ends with this answer.
    pub(crate) close: bool,
    /// The value of `x-zdt-instance`.
    pub(crate) instance: Option<String>,
}

/// Why the bytes are no HTTP/1 answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Garbled(pub(crate) String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Sized { left: u64 },
    ChunkSize,
    Chunk { left: u64 },
    ChunkEnd,
    Trailer,
    UntilClose,
    Done,
}

/// A head longer than this is taken for garbage.
const MAX_HEAD: usize = 64 * 1024;
const MAX_LINE: usize = 8 * 1024;

impl Answer {
    pub(crate) fn new(request: Request) -> Answer {
        Answer {
            request,
            state: State::Head,
            held: Vec::new(),
            head: Head::default(),
            body: 0,
            surplus: false,
        }
    }

    /// Makes ready for the next answer, in the memory of this one.
    pub(crate) fn again(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.clear();
        *self = Answer {
            held,
            ..Answer::new(self.request)
        };
    }

    /// Takes the next bytes; true once the answer is complete.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, Garbled> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.feed_head(bytes)?,
                State::Sized { left } => {
                    let (rest, left) = self.skip(bytes, left);
                    self.state = if left == 0 {
                        State::Done
                    } else {
                        State::Sized { left }
                    };
                    rest
                }
                State::Chunk { left } => {
                    let (rest, left) = self.skip(bytes, left);
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::Chunk { left }
                    };
                    rest
                }
                State::ChunkSize | State::ChunkEnd | State::Trailer => self.feed_line(bytes)?,
                State::UntilClose => self.skip(bytes, u64::MAX).0,
                State::Done => {
                    self.surplus = true;
                    break;
                }
            };
        }
        Ok(self.state == State::Done)
    }

    /// True if the answer may end with the connection, and so is complete now.
    pub(crate) fn ends_at_eof(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// True once any byte of the answer has arrived, interim answers included.
    pub(crate) fn has_begun(&self) -> bool {
        self.state != State::Head || !self.held.is_empty() || self.head.status != 0
    }

    /// What the head said; `None` before it is complete.
    pub(crate) fn head(&self) -> Option<&Head> {
        (self.state != State::Head).then_some(&self.head)
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        self.body
    }

    /// True if another request may follow on the same connection.
    pub(crate) fn is_reusable(&self) -> bool {
        self.state == State::Done && !self.head.close && !self.surplus
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64) -> (&'a [u8], u64) {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.body += here as u64;
        (&bytes[here..], left - here as u64)
    }

    /// Takes bytes up to and including the end of a line, and acts on the line.
    fn feed_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Garbled> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        self.held.extend_from_slice(line);
        if self.held.len() > MAX_LINE {
            return Err(Garbled("a chunk line is too long".to_owned()));
        }
        if end.is_none() {
            return Ok(rest);
        }

        let line = std::mem::take(&mut self.held);
        let is_empty = line == b"\r\n";
        self.state = match self.state {
            State::ChunkSize => match httparse::parse_chunk_size(&line) {
                Ok(httparse::Status::Complete((_, 0))) => State::Trailer,
                Ok(httparse::Status::Complete((_, left))) => State::Chunk { left },
                _ => return Err(Garbled("a chunk has no valid size".to_owned())),
            },
            State::ChunkEnd if is_empty => State::ChunkSize,
            State::Trailer if is_empty => State::Done,
            State::Trailer => State::Trailer,
            _ => {
                return Err(Garbled(
                    "a chunk is longer than its announced size".to_owned(),
                ));
            }
        };
        Ok(rest)
    }

    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Garbled> {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);

        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(&self.held) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.held.len() > MAX_HEAD => {
                return Err(Garbled("the head of the answer does not end".to_owned()));
            }
            Ok(httparse::Status::Partial) => return Ok(&[]),
            Err(error) => return Err(Garbled(error.to_string())),
        };

        let (head, state) = understand(&parsed, self.request)?;
        // `100 Continue` and its like come before the answer.
        let is_interim = matches!(head.status, 100 | 102..=199);
        self.head = head;
        self.state = if is_interim { State::Head } else { state };
        self.held.clear();
        Ok(&bytes[length - before..])
    }
}

/// Decides from a complete head how long the body is (RFC 9112, section 6.3).
fn understand(
    parsed: &httparse::Response<'_, '_>,
    request: Request,
) -> Result<(Head, State), Garbled> {
    let mut head = Head {
        status: parsed.code.unwrap_or_default(),
        close: parsed.version == Some(0),
        instance: None,
    };
    let mut length: Option<u64> = None;
    let mut coding: Option<String> = None;

    for header in parsed.headers.iter() {
        let text = String::from_utf8_lossy(header.value);
        let text = text.trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = text
                .parse()
                .map_err(|_| Garbled("the content length is no number".to_owned()))?;
            if length.is_some_and(|known| known != value) {
                return Err(Garbled("two different content lengths".to_owned()));
            }
            length = Some(value);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            coding = text
                .rsplit(',')
                .next()
                .map(|last| last.trim().to_ascii_lowercase());
        } else if header.name.eq_ignore_ascii_case("connection") {
            for option in text.split(',').map(str::trim) {
                if option.eq_ignore_ascii_case("close") {
                    head.close = true;
                } else if option.eq_ignore_ascii_case("keep-alive") && parsed.version == Some(0) {
                    head.close = false;
                }
            }
        } else if header.name.eq_ignore_ascii_case("x-zdt-instance") {
            head.instance = Some(text.to_owned());
        }
    }

    let state = if request == Request::Head || matches!(head.status, 100..=199 | 204 | 304) {
        State::Done
    } else if let Some(coding) = coding {
        if coding == "chunked" {
            State::ChunkSize
        } else {
            State::UntilClose
        }
    } else {
        match length {
            Some(0) => State::Done,
            Some(left) => State::Sized { left },
            None => State::UntilClose,
        }
    };
    // After `101` the connection speaks another protocol.
    if state == State::UntilClose || head.status == 101 {
        head.close = true;
    }
    Ok((head, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader knows after the bytes have arrived.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Read {
        done: Result<bool, Garbled>,
        ends_at_eof: bool,
        status: Option<u16>,
        body: u64,
        reusable: bool,
    }

    fn read(request: Request, pieces: &[&[u8]]) -> Read {
        let mut answer = Answer::new(request);
        let mut done = Ok(false);
        for piece in pieces {
            done = answer.feed(piece);
            if done.is_err() {
                break;
            }
        }
        Read {
            done,
            ends_at_eof: answer.ends_at_eof(),
            status: answer.head().map(|head| head.status),
            body: answer.body_bytes(),
            reusable: answer.is_reusable(),
        }
    }

    fn check(text: &str, done: bool, ends_at_eof: bool, body: u64, reusable: bool) {
        let read = read(Request::Other, &[text.as_bytes()]);
        assert_eq!(
            (read.done, read.ends_at_eof, read.body, read.reusable),
            (Ok(done), ends_at_eof, body, reusable),
            "for {text:?}"
        );
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            true,
            true,
            3,
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            false,
            false,
            2,
            false,
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            true,
            true,
            0,
            true,
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", true, true, 0, true);
        check("HTTP/1.1 200 OK\r\n\r\nabc", false, true, 3, false);
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            true,
            true,
            2,
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: 1\r\n\r\n",
            true,
            true,
            2,
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            false,
            false,
            2,
            false,
        );
    }

    #[test]
    fn a_connection_is_reused_only_after_a_polite_complete_answer() {
        check(
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
            true,
            true,
            0,
            false,
        );
        check(
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            true,
            true,
            0,
            false,
        );
        check(
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            true,
            true,
            0,
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            true,
            true,
            1,
            false,
        );
        check("HTTP/1.1 101 Switching\r\n\r\n", true, true, 0, false);
    }

    #[test]
    fn an_interim_answer_is_not_the_answer() {
        let both = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
        let read = read(Request::Other, &[both.as_bytes()]);
        assert_eq!((read.done, read.status), (Ok(true), Some(503)));

        let mut interim = Answer::new(Request::Other);
        assert_eq!(interim.feed(b"HTTP/1.1 103 Hints\r\n\r\n"), Ok(false));
        assert!(interim.has_begun());
        assert!(!interim.ends_at_eof());
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(read(Request::Head, &[text]).done, Ok(true));
    }

    #[test]
    fn bytes_that_are_no_answer_are_garbled() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                read(Request::Other, &[text.as_bytes()]).done,
                Err(Garbled(expected.to_owned())),
                "for {text:?}"
            );
        };
        check("SSH-2.0-OpenSSH_9.2\r\n", "invalid HTTP version");
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "the content length is no number",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "two different content lengths",
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "a chunk has no valid size",
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "a chunk is longer than its announced size",
        );
    }

    #[test]
    fn the_instance_is_read() {
        let mut answer = Answer::new(Request::Other);
        answer
            .feed(b"HTTP/1.1 200 OK\r\nX-Zdt-Instance: v2-17 \r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        assert_eq!(answer.head().unwrap().instance.as_deref(), Some("v2-17"));
    }

    fn chunked(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            text.extend(format!("{:x}\r\n", chunk.len()).bytes());
            text.extend(chunk);
            text.extend(b"\r\n");
        }
        text.extend(b"0\r\n\r\n");
        text
    }

    proptest! {
        #[test]
        fn a_chunked_answer_reads_the_same_split_at_every_byte(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
        ) {
            let text = chunked(&chunks);
            let whole = read(Request::Other, &[&text]);
            let body: usize = chunks.iter().map(Vec::len).sum();
            prop_assert_eq!(&whole.done, &Ok(true));
            prop_assert_eq!(whole.body, body as u64);
            for at in 0..=text.len() {
                let (left, right) = text.split_at(at);
                prop_assert_eq!(&read(Request::Other, &[left, right]), &whole);
                // Less than everything is never a complete answer.
                if at < text.len() {
                    let part = read(Request::Other, &[left]);
                    prop_assert_eq!(part.done, Ok(false));
                    prop_assert!(!part.ends_at_eof);
                }
            }
            let single: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(&read(Request::Other, &single), &whole);
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            read(Request::Other, &pieces);
        }
    }
}
