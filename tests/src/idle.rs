//! Thousands of clients that were answered once and then say nothing, held by the
//! test itself.
#![expect(clippy::disallowed_methods, reason = "waits for a while")]

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use zdt_units::probe::raise_file_limit;

use crate::machine::Machine;

const LIMIT: Duration = Duration::from_secs(20);

/// Connections without a request, in the machine's network.
#[derive(Debug)]
pub struct Idle {
    sockets: Vec<TcpStream>,
}

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survivors {
    /// By the text of the answer.
    pub answered: BTreeMap<String, usize>,
    /// By what happened instead.
    pub ended: BTreeMap<String, usize>,
}

impl Survivors {
    fn count(&mut self, asked: io::Result<String>) {
        let (counts, what) = match asked {
            Ok(answer) => (&mut self.answered, answer),
            Err(error) => (&mut self.ended, name(&error)),
        };
        *counts.entry(what).or_default() += 1;
    }

    pub fn kept(&self) -> usize {
        self.answered.values().sum()
    }

    /// Those that neither answered nor ended: the clients that hang.
    pub fn hang(&self) -> usize {
        let hang = |(what, n): (&String, &usize)| (what == "hangs").then_some(*n);
        self.ended.iter().filter_map(hang).sum()
    }
}

impl fmt::Display for Survivors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kept", self.kept())?;
        self.ended
            .iter()
            .try_for_each(|(what, n)| write!(f, ", {n} {what}"))
    }
}

impl Idle {
    /// Opens connections and has each of them answered.
    pub fn open(machine: &Machine, address: &str, count: usize) -> io::Result<Self> {
        raise_file_limit()?;
        let open = || -> io::Result<Vec<TcpStream>> {
            let mut sockets = Vec::with_capacity(count);
            for _ in 0..count {
                let mut socket = TcpStream::connect(address)?;
                socket.set_read_timeout(Some(LIMIT))?;
                ask(&mut socket)?;
                sockets.push(socket);
            }
            Ok(sockets)
        };
        let sockets = machine.in_net(open).map_err(Error::other)??;
        Ok(Self { sockets })
    }

    /// Asks on each, with so much `patience` for each answer.
    pub fn ask_all(&mut self, patience: Duration) -> Survivors {
        let mut survivors = Survivors::default();
        for socket in &mut self.sockets {
            let asked = socket.set_read_timeout(Some(patience));
            survivors.count(asked.and_then(|()| ask(socket)));
        }
        survivors
    }

    /// Asks on all at once; who has its answer closes.
    pub fn ask_and_leave(self, patience: Duration) -> io::Result<Survivors> {
        let mut survivors = Survivors::default();
        let mut waiting = self.sockets;
        for socket in &mut waiting {
            socket.write_all(REQUEST)?;
            socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        }
        let end = Instant::now() + patience;
        while !waiting.is_empty() && Instant::now() < end {
            waiting.retain_mut(|socket| match socket.peek(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                _ => {
                    survivors.count(answer(socket));
                    false
                }
            });
        }
        for _ in waiting {
            survivors.count(Err(ErrorKind::WouldBlock.into()));
        }
        Ok(survivors)
    }
}

fn name(error: &Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock => "hangs".to_owned(),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => "closed".to_owned(),
        ErrorKind::ConnectionReset => "reset".to_owned(),
        _ => error.to_string(),
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: app\r\n\r\n";

fn ask(socket: &mut TcpStream) -> io::Result<String> {
    socket.write_all(REQUEST)?;
    answer(socket)
}

/// The text of an answer. One that announces the close is an error.
fn answer(socket: &mut TcpStream) -> io::Result<String> {
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match socket.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&buffer[..n]),
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        match body.len() >= length {
            true if !head.starts_with("http/1.1 200") => {
                let status = head.lines().next().unwrap_or_default();
                return Err(Error::other(status.to_owned()));
            }
            true if head.contains("connection: close") => {
                return Err(Error::other("answered with `connection: close`"));
            }
            true => return Ok(body.trim_end().to_owned()),
            false => {}
        }
    }
}
