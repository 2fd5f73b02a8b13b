//! Decides how a request ended, and counts the endings. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// How one request ended. Every request that was due ends in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The whole answer arrived, with the expected status.
    Ok,
    /// Nobody listened.
    Refused,
    /// The connection was reset before the first byte of the answer.
    Reset,
    /// As [`Outcome::Reset`], on a keep-alive connection that had answered before.
    ResetReused,
    /// The connection was closed before the first byte of the answer.
    Eof,
    /// As [`Outcome::Eof`], on a keep-alive connection that had answered before.
    EofReused,
    /// The connection ended in the middle of the answer.
    Truncated,
    /// The answer was not complete in time.
    Timeout,
    /// The whole answer arrived, with another status.
    WrongStatus(u16),
    /// The connection could not be made for another reason, such as a full
    /// Unix socket queue (`EAGAIN`).
    Connect,
    /// What arrived is not HTTP, or not the announced length.
    Garbled,
    /// The request failed, or was never sent, because of this client.
    Client,
    /// HTTP/2 only: the server stated that it never processed the request.
    Retryable,
}

/// How many requests ended in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Requests that were due: always `ok + lost() + retryable` in a finished report.
    pub scheduled: u64,
    pub ok: u64,
    pub refused: u64,
    pub reset: u64,
    pub reset_reused: u64,
    pub eof: u64,
    pub eof_reused: u64,
    pub truncated: u64,
    pub timeout: u64,
    pub wrong_status: u64,
    pub connect: u64,
    pub garbled: u64,
    pub client: u64,
    /// Never processed by the server, and it said so: any client may send it again.
    pub retryable: u64,
    /// Pooled connections found closed when a request picked them. Nothing was
    /// written; the request went out on a fresh connection and counts as that ended.
    pub stale: u64,
    /// The answers counted in `wrong_status`, by code.
    pub statuses: BTreeMap<u16, u64>,
}

impl Outcome {
    /// Everything but [`Outcome::Ok`] and [`Outcome::Retryable`].
    pub fn is_lost(self) -> bool {
        !matches!(self, Outcome::Ok | Outcome::Retryable)
    }

    /// The name under which a report counts it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Reset => "reset",
            Outcome::ResetReused => "reset_reused",
            Outcome::Eof => "eof",
            Outcome::EofReused => "eof_reused",
            Outcome::Truncated => "truncated",
            Outcome::Timeout => "timeout",
            Outcome::WrongStatus(_) => "wrong_status",
            Outcome::Connect => "connect",
            Outcome::Garbled => "garbled",
            Outcome::Client => "client",
            Outcome::Retryable => "retryable",
        }
    }

    /// Classifies a failed `connect`.
    pub(crate) fn of_connect_error(error: &io::Error) -> Outcome {
        match errno(error) {
            Some(errno) if is_ours(errno) => Outcome::Client,
            Some(Errno::ECONNREFUSED) => Outcome::Refused,
            Some(Errno::ECONNRESET | Errno::ECONNABORTED) => Outcome::Reset,
            Some(Errno::ETIMEDOUT) => Outcome::Timeout,
            _ => Outcome::Connect,
        }
    }

    /// Classifies a connection that ended before the answer was complete.
    pub(crate) fn of_end(end: End, seen: Seen, connection: Connection) -> Outcome {
        match (end, seen, connection) {
            (End::OurFault, _, _) => Outcome::Client,
            (End::TimedOut, _, _) => Outcome::Timeout,
            (_, Seen::Part, _) => Outcome::Truncated,
            (End::Eof, Seen::Nothing, Connection::Fresh) => Outcome::Eof,
            (End::Eof, Seen::Nothing, Connection::Reused) => Outcome::EofReused,
            (End::Reset, Seen::Nothing, Connection::Fresh) => Outcome::Reset,
            (End::Reset, Seen::Nothing, Connection::Reused) => Outcome::ResetReused,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Eof,
    Reset,
    TimedOut,
    OurFault,
}

/// How much of an answer had arrived by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    Part,
}

/// Whether the connection had answered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Fresh,
    Reused,
}

impl End {
    /// What an error while reading or writing says about the peer.
    ///
    /// `EPIPE` follows a close that was already received, so it is an end, not a reset.
    pub(crate) fn of_error(error: &io::Error) -> End {
        match errno(error) {
            Some(errno) if is_ours(errno) => return End::OurFault,
            Some(Errno::ETIMEDOUT) => return End::TimedOut,
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => End::Eof,
            _ => End::Reset,
        }
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// Errors that speak of this process or machine, not of the server.
fn is_ours(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOMEM
            | Errno::ENOBUFS
            | Errno::EADDRNOTAVAIL
            | Errno::EADDRINUSE
    )
}

impl Outcomes {
    /// Everything but ok, retryable and stale.
    pub fn lost(&self) -> u64 {
        self.refused
            + self.reset
            + self.reset_reused
            + self.eof
            + self.eof_reused
            + self.truncated
            + self.timeout
            + self.wrong_status
            + self.connect
            + self.garbled
            + self.client
    }

    /// Those of [`Self::lost`] that were on their way when a connection was closed that had answered before.
    pub fn lost_on_kept(&self) -> u64 {
        self.reset_reused + self.eof_reused
    }

    pub(crate) fn record(&mut self, outcome: Outcome) {
        self.scheduled += 1;
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Refused => &mut self.refused,
            Outcome::Reset => &mut self.reset,
            Outcome::ResetReused => &mut self.reset_reused,
            Outcome::Eof => &mut self.eof,
            Outcome::EofReused => &mut self.eof_reused,
            Outcome::Truncated => &mut self.truncated,
            Outcome::Timeout => &mut self.timeout,
            Outcome::WrongStatus(status) => {
                *self.statuses.entry(status).or_default() += 1;
                &mut self.wrong_status
            }
            Outcome::Connect => &mut self.connect,
            Outcome::Garbled => &mut self.garbled,
            Outcome::Client => &mut self.client,
            Outcome::Retryable => &mut self.retryable,
        } += 1;
    }

    /// The non-zero losses, in words a person can read, with their counts.
    pub fn losses(&self) -> Vec<(String, u64)> {
        let statuses = self
            .statuses
            .iter()
            .map(|(code, n)| format!("{code}: {n}"))
            .collect::<Vec<_>>()
            .join(", ");
        [
            ("refused".to_owned(), self.refused),
            ("reset before the answer".to_owned(), self.reset),
            (
                "reset before the answer on a reused connection".to_owned(),
                self.reset_reused,
            ),
            ("closed before the answer".to_owned(), self.eof),
            (
                "closed before the answer on a reused connection".to_owned(),
                self.eof_reused,
            ),
            ("answer cut short".to_owned(), self.truncated),
            ("timed out".to_owned(), self.timeout),
            (format!("wrong status ({statuses})"), self.wrong_status),
            ("could not connect".to_owned(), self.connect),
            ("garbled answer".to_owned(), self.garbled),
            ("fault of this client".to_owned(), self.client),
        ]
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect()
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ok, {} lost", self.ok, self.lost())?;
        for (index, (what, n)) in self.losses().iter().enumerate() {
            let lead = if index == 0 { ": " } else { ", " };
            write!(f, "{lead}{n} {what}")?;
        }
        if self.retryable > 0 {
            write!(f, "; {} retryable", self.retryable)?;
        }
        if self.stale > 0 {
            write!(f, "; {} stale", self.stale)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_error_is_classified_by_whose_fault_it_is() {
        let check = |errno: Errno, expected: Outcome| {
            let error = io::Error::from_raw_os_error(errno as i32);
            assert_eq!(Outcome::of_connect_error(&error), expected, "for {errno}");
        };
        check(Errno::ECONNREFUSED, Outcome::Refused);
        check(Errno::ECONNRESET, Outcome::Reset);
        check(Errno::ETIMEDOUT, Outcome::Timeout);
        check(Errno::EAGAIN, Outcome::Connect);
        check(Errno::ENOENT, Outcome::Connect);
        check(Errno::EHOSTUNREACH, Outcome::Connect);
        check(Errno::EMFILE, Outcome::Client);
        check(Errno::ENFILE, Outcome::Client);
        check(Errno::EADDRNOTAVAIL, Outcome::Client);
        check(Errno::ENOBUFS, Outcome::Client);
    }

    #[test]
    fn a_broken_connection_is_classified_by_what_had_arrived() {
        use Connection::{Fresh, Reused};
        use Seen::{Nothing, Part};
        let check = |end, seen, connection, expected| {
            assert_eq!(Outcome::of_end(end, seen, connection), expected);
        };
        check(End::Eof, Nothing, Fresh, Outcome::Eof);
        check(End::Eof, Nothing, Reused, Outcome::EofReused);
        check(End::Reset, Nothing, Fresh, Outcome::Reset);
        check(End::Reset, Nothing, Reused, Outcome::ResetReused);
        check(End::Eof, Part, Reused, Outcome::Truncated);
        check(End::Reset, Part, Fresh, Outcome::Truncated);
        check(End::TimedOut, Part, Fresh, Outcome::Timeout);
        check(End::OurFault, Nothing, Fresh, Outcome::Client);
    }

    #[test]
    fn stale_and_retryable_are_counted_apart() {
        let mut outcomes = Outcomes::default();
        outcomes.record(Outcome::Ok);
        outcomes.record(Outcome::Retryable);
        outcomes.record(Outcome::WrongStatus(503));
        outcomes.record(Outcome::EofReused);
        outcomes.stale += 1;
        assert_eq!(outcomes.scheduled, 4);
        assert_eq!(outcomes.lost(), 2);
        assert_eq!(
            outcomes.to_string(),
            "1 ok, 2 lost: 1 closed before the answer on a reused connection, \
             1 wrong status (503: 1); 1 retryable; 1 stale"
        );
    }
}
