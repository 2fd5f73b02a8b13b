//! One process that no other can be mistaken for: a descriptor of it, `pidfd_open(2)`, and what `/proc` says of it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::{
    PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::net::unix::pipe::Receiver;

use super::event::Exit;

#[derive(Debug)]
pub(super) struct Pidfd {
    /// Only waiting is asked of it, and that is the same as with a pipe.
    fd: Receiver,
    pub(super) pid: Pid,
    pub(super) start_time: u64,
}

/// What a process is to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Running,
    Ended(Exit),
    /// Not a child of this process, or one that was collected.
    NoChild,
}

impl Pidfd {
    pub(super) fn open(pid: Pid) -> io::Result<Self> {
        let number = rustix::process::Pid::from_raw(pid.as_raw());
        let number = number.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        let fd = pidfd_open(number, PidfdFlags::empty())?;
        // Read while the descriptor is open already, so it is of the same process.
        let start_time = Stat::of(pid)?.start_time;
        Ok(Self {
            fd: Receiver::from_owned_fd_unchecked(fd)?,
            pid,
            start_time,
        })
    }

    /// The one that started then, and not another one that has its number now.
    pub(super) fn open_same(pid: Pid, start_time: u64) -> io::Result<Self> {
        let opened = Self::open(pid)?;
        match opened.start_time == start_time {
            true => Ok(opened),
            false => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Returns when it has ended, a child or not. Cancel-safe.
    pub(super) async fn ended(&self) {
        // It stays readable, so what is known of it never has to be cleared.
        if self.fd.readable().await.is_err() {
            std::future::pending().await
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        let mut watched = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let number = rustix::process::Signal::from_named_raw(signal as i32);
        let signal = number.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }

    /// Looks, and leaves it uncollected: as long as that is so, nobody else gets its number.
    pub(super) fn status(&self) -> Status {
        self.wait(WaitIdOptions::NOWAIT)
    }

    pub(super) fn collect(&self) -> Status {
        self.wait(WaitIdOptions::empty())
    }

    fn wait(&self, how: WaitIdOptions) -> Status {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | how;
        match waitid(WaitId::PidFd(self.fd.as_fd()), options) {
            Ok(None) => Status::Running,
            Ok(Some(status)) => Status::Ended(exit(&status)),
            Err(_) => Status::NoChild,
        }
    }
}

fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

/// Some of `/proc/PID/stat`, `proc_pid_stat(5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    state: u8,
    pub(super) parent: Pid,
    pub(super) group: Pid,
    /// In clock ticks since boot.
    pub(super) start_time: u64,
}

impl Stat {
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Of all processes that can be seen.
    pub(super) fn all() -> impl Iterator<Item = (Pid, Self)> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?);
            Some((pid, Self::of(pid).ok()?))
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name of the program is in brackets, and may have any byte in it.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            state: *fields.next()?.as_bytes().first()?,
            parent: Pid::from_raw(fields.next()?.parse().ok()?),
            group: Pid::from_raw(fields.next()?.parse().ok()?),
            start_time: fields.nth(16)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let text =
            b"4242 (a) b\xff (c) R 17 4240 4240 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let expected = Stat {
            state: b'R',
            parent: Pid::from_raw(17),
            group: Pid::from_raw(4240),
            start_time: 987_654,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse(b"4242 (cut) R 17"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[tokio::test]
    async fn a_number_alone_is_not_the_same_process() {
        let own = Pid::this();
        let start_time = Stat::of(own).unwrap().start_time;
        let opened = Pidfd::open_same(own, start_time).unwrap();
        assert_eq!(opened.status(), Status::NoChild);
        assert!(!opened.has_ended());
        let other = Pidfd::open_same(own, start_time + 1).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::NotFound);
    }
}
