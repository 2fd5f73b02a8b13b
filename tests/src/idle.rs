//! Thousands of clients that were answered once and then say nothing, held by the
//! test itself.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

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
    fn ask(&mut self, socket: &mut TcpStream, patience: Duration) {
        let asked = socket
            .set_read_timeout(Some(patience))
            .and_then(|()| ask(socket));
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
            survivors.ask(socket, patience);
        }
        survivors
    }

    /// The same, and each time so many have been asked, the oldest first, they close.
    pub fn ask_in_turns(self, count: usize, patience: Duration) -> Survivors {
        let mut survivors = Survivors::default();
        let mut asked = Vec::new();
        for mut socket in self.sockets {
            survivors.ask(&mut socket, patience);
            asked.push(socket);
            if asked.len() == count {
                asked.clear();
            }
        }
        survivors
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

/// A whole exchange; the text of the answer. One that announces the close is an error.
fn ask(socket: &mut TcpStream) -> io::Result<String> {
    socket.write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")?;
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
