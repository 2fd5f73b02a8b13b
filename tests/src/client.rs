//! One connection of an odd client, byte by byte: it may send half a header,
//! nothing at all, or never read.
//!
//! It connects in the machine's network and then lives in the test. Nothing
//! is repeated and every read has a limit, so what a restart does to the
//! connection is what the test sees: `UnexpectedEof` for a close before the
//! whole answer, `ConnectionReset`, or `WouldBlock` when the limit is over.

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::machine::{self, Machine};

const LIMIT: Duration = Duration::from_secs(10);

/// A connection to a service in the machine.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Stream>,
}

/// An answer, or its head alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A WebSocket message, as one frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Close(Option<u16>),
    Other(u8),
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects to an address such as `127.0.0.1:8080`, and is silent.
    pub fn tcp(machine: &Machine, address: &str) -> io::Result<Self> {
        let connected = machine.in_net(|| TcpStream::connect(address));
        let stream = connected.map_err(|e: machine::Error| Error::other(e))??;
        // A test that sends in two steps means two packets.
        stream.set_nodelay(true)?;
        Self::new(Stream::Tcp(stream))
    }

    /// Connects to a Unix socket of the machine, such as `/run/app.sock`.
    pub fn unix(machine: &Machine, path: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(machine.host_path(path))?;
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> io::Result<Self> {
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        client.set_limit(LIMIT)?;
        Ok(client)
    }

    /// How long a read or a write may wait; ten seconds unless told.
    pub fn set_limit(&mut self, limit: Duration) -> io::Result<()> {
        match self.stream.get_ref() {
            Stream::Tcp(tcp) => {
                tcp.set_read_timeout(Some(limit))?;
                tcp.set_write_timeout(Some(limit))
            }
            Stream::Unix(unix) => {
                unix.set_read_timeout(Some(limit))?;
                unix.set_write_timeout(Some(limit))
            }
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.stream.get_ref() {
            Stream::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            Stream::Unix(unix) => unix.shutdown(Shutdown::Write),
        }
    }

    /// A whole keep-alive exchange.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send_get(path)?;
        self.answer()
    }

    /// A request alone; read the answer later with [`Self::answer`].
    pub fn send_get(&mut self, path: &str) -> io::Result<()> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n"))
    }

    /// The head of a `POST`; the body is for [`Self::send`], or left out.
    pub fn send_post_head(&mut self, path: &str, length: usize) -> io::Result<()> {
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: app\r\ncontent-length: {length}\r\n\r\n"
        ))
    }

    /// Reads a whole answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; parse(length, 10)?];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Reads the head of an answer, whose body is endless or another protocol.
    pub fn head(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).unwrap_or_default();
        let mut answer = Answer {
            status: parse(status, 10).and_then(|code| code.try_into().map_err(strange))?,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(answer);
            };
            let header = (name.to_ascii_lowercase(), value.trim().to_owned());
            answer.headers.push(header);
        }
    }

    /// The next piece of a chunked body, `None` at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = self.line()?;
        let mut chunk = vec![0; parse(&length, 16)?];
        self.stream.read_exact(&mut chunk)?;
        self.line()?;
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Asks for an event stream; read it with [`Self::event`].
    pub fn subscribe(&mut self, path: &str) -> io::Result<Answer> {
        self.send_get(path)?;
        self.head()
    }

    /// The `data` of the next event, `None` when the stream ends as it should.
    pub fn event(&mut self) -> io::Result<Option<String>> {
        while let Some(chunk) = self.chunk()? {
            let text = String::from_utf8_lossy(&chunk);
            if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
                return Ok(Some(data.to_owned()));
            }
        }
        Ok(None)
    }

    /// Becomes a WebSocket.
    pub fn upgrade(&mut self, path: &str) -> io::Result<()> {
        // The key and its answer are the example of RFC 6455, section 1.3.
        self.send(format!(
            "GET {path} HTTP/1.1\r\nhost: app\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))?;
        let head = self.head()?;
        match head.header("sec-websocket-accept") {
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") if head.status == 101 => Ok(()),
            _ => Err(strange(format!("no upgrade: {head:?}"))),
        }
    }

    /// Sends a text message of at most 125 bytes.
    pub fn send_text(&mut self, text: &str) -> io::Result<()> {
        const MASK: [u8; 4] = [7, 77, 177, 27];
        let length = u8::try_from(text.len()).ok().filter(|&length| length < 126);
        let length = length.ok_or_else(|| strange("a text that needs a longer frame"))?;
        let masked = text.bytes().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m);
        let frame = [0x81, 0x80 | length].into_iter().chain(MASK).chain(masked);
        self.send(frame.collect::<Vec<_>>())
    }

    /// Reads the next message, of at most 125 bytes.
    pub fn message(&mut self) -> io::Result<Message> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut payload)?;
        Ok(match head[0] & 0x0f {
            1 => Message::Text(String::from_utf8_lossy(&payload).into_owned()),
            8 => Message::Close(payload.first_chunk().map(|&code| u16::from_be_bytes(code))),
            kind => Message::Other(kind),
        })
    }

    /// Waits for the other side to close: `true` for an orderly close,
    /// `false` when it sends something instead.
    pub fn closes(&mut self) -> io::Result<bool> {
        Ok(self.stream.fill_buf()?.is_empty())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            Self::Unix(unix) => unix.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Unix(unix) => unix.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parse(number: &str, radix: u32) -> io::Result<usize> {
    usize::from_str_radix(number, radix).map_err(|_| strange(format!("not a number: `{number}`")))
}

fn strange(what: impl Display) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_string())
}
