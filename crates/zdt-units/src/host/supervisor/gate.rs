//! Where a helper waits until it is told which program to become.
//!
//! It says when it does: it is the user of the process then, and in its cgroup, so that nothing of that is left to do
//! when the process before it has ended and clients wait. When whoever started it is gone, it goes too.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, Write};
use std::iter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix;

use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

/// `SCM_MAX_FD`, `unix(7)`: so many descriptors fit into a message.
const MOST: usize = 253;

/// The byte of a message after which another one comes, and that of the last one.
const MORE: u8 = b'+';
const LAST: u8 = b'.';

/// What a helper says first: it waits.
const WAITS: u8 = b'w';

/// What a helper says of a program that it could not run is not longer.
const LONGEST_REASON: usize = 4096;

/// What a helper becomes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<OsString>,
}

/// The end of the launcher.
#[derive(Debug)]
pub(super) struct Gate {
    socket: UnixStream,
    /// What the helper is told when it is let through, the text first.
    held: Vec<OwnedFd>,
    is_open: bool,
}

impl Gate {
    /// And the end of the helper, for its standard input.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (socket, theirs) = unix::net::UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let gate = Self {
            socket: UnixStream::from_std(socket)?,
            held: Vec::new(),
            is_open: false,
        };
        Ok((gate, theirs.into()))
    }

    /// Returns when the helper waits, or has ended. Cancel-safe.
    pub(super) async fn waits(&self) {
        // Nothing is read, so it stays readable.
        let _ = self.socket.readable().await;
    }

    /// `shared` are the descriptors of the program from 3 on.
    pub(super) fn hold(&mut self, program: &Program, shared: Vec<OwnedFd>) -> io::Result<()> {
        // Not through the socket: a long environment would fill it, and this would wait for the helper.
        let mut text = File::from(memfd_create("program", MemfdFlags::CLOEXEC)?);
        text.write_all(&serde_json::to_vec(program)?)?;
        self.held = iter::once(text.into()).chain(shared).collect();
        Ok(())
    }

    /// Tells the helper what is held. One that is gone says why in [`reason`](Self::reason), or has left an exit status.
    pub(super) fn open(&mut self) {
        self.is_open = true;
        let held = std::mem::take(&mut self.held);
        let fds: Vec<BorrowedFd<'_>> = held.iter().map(AsFd::as_fd).collect();
        let mut chunks = fds.chunks(MOST).peekable();
        while let Some(chunk) = chunks.next() {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(chunk));
            let byte = [if chunks.peek().is_some() { MORE } else { LAST }];
            let sent = sendmsg(
                &self.socket,
                &[IoSlice::new(&byte)],
                &mut control,
                SendFlags::NOSIGNAL,
            );
            if sent.is_err() {
                return;
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// After its end: why the helper could not become the program.
    pub(super) fn reason(&self) -> Option<String> {
        let mut said = Vec::new();
        let mut room = [0; LONGEST_REASON];
        // Not by way of the runtime, which may not have looked at it yet.
        while let Ok((length @ 1.., _)) = recv(&self.socket, &mut room, RecvFlags::DONTWAIT) {
            said.extend(room.get(..length)?);
        }
        let reason = said.strip_prefix(&[WAITS]).unwrap_or(&said);
        (!reason.is_empty()).then(|| String::from_utf8_lossy(reason).into_owned())
    }
}

/// The end of the helper.
#[derive(Debug)]
pub(crate) struct Waiting(OwnedFd);

impl Waiting {
    pub(crate) fn at_stdin() -> io::Result<Self> {
        let above = rustix::stdio::raw_stderr() + 1;
        Ok(Self(fcntl_dupfd_cloexec(io::stdin(), above)?))
    }

    /// Waits for the program, and its descriptors from 3 on. Fails with [`ErrorKind::UnexpectedEof`] when nobody is left who
    /// could tell.
    pub(crate) fn program(&mut self) -> io::Result<(Program, Vec<OwnedFd>)> {
        // To nobody, if nobody tells it anything either.
        let _ = self.say(&[WAITS]);
        let mut told = Vec::new();
        let mut byte = [MORE];
        while byte == [MORE] {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let into = &mut [IoSliceMut::new(&mut byte)];
            let received = recvmsg(&self.0, into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            if received.bytes == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    told.extend(rights);
                }
            }
        }
        let mut told = told.into_iter();
        let mut text = File::from(told.next().ok_or(ErrorKind::InvalidData)?);
        text.rewind()?;
        let mut bytes = Vec::new();
        text.read_to_end(&mut bytes)?;
        let shared: Vec<OwnedFd> = told.collect();
        // Out of the way of those of the program, which take the numbers from 3 on.
        let above = i32::try_from(shared.len()).map_err(io::Error::other)? + 3;
        self.0 = fcntl_dupfd_cloexec(&self.0, above)?;
        Ok((serde_json::from_slice(&bytes)?, shared))
    }

    /// Why it becomes nothing.
    pub(crate) fn tell(&self, reason: &str) -> io::Result<()> {
        self.say(reason.as_bytes())
    }

    fn say(&self, words: &[u8]) -> io::Result<()> {
        unix::net::UnixStream::from(self.0.try_clone()?).write_all(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            program: "/srv/shop/bin/shop".into(),
            arguments: vec!["--site".into(), "eu\n\"".into()],
            environment: vec![("LISTEN_FDS".into(), "600".into())],
            directory: None,
        }
    }

    #[tokio::test]
    async fn a_program_arrives_with_all_its_descriptors() {
        let (mut gate, theirs) = Gate::pair().unwrap();
        // More than one message carries, each of another file.
        let files: Vec<OwnedFd> = (0..600_usize)
            .map(|number| {
                let mut file = File::from(memfd_create("one", MemfdFlags::CLOEXEC).unwrap());
                file.write_all(&number.to_le_bytes()).unwrap();
                file.into()
            })
            .collect();
        gate.hold(&program(), files).unwrap();
        assert!(!gate.is_open());
        gate.open();
        let (arrived, shared) = Waiting(theirs).program().unwrap();
        gate.waits().await;
        assert_eq!(arrived, program());
        let numbers = shared.into_iter().map(|fd| {
            let mut file = File::from(fd);
            file.rewind().unwrap();
            let mut bytes = [0; size_of::<usize>()];
            file.read_exact(&mut bytes).unwrap();
            usize::from_le_bytes(bytes)
        });
        assert!(numbers.eq(0..600));
    }

    #[tokio::test]
    async fn a_helper_whose_launcher_is_gone_becomes_nothing() {
        let (mut gate, theirs) = Gate::pair().unwrap();
        gate.hold(&program(), Vec::new()).unwrap();
        drop(gate);
        let error = Waiting(theirs).program().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn why_there_is_no_program_is_heard_after_the_end() {
        let (mut gate, theirs) = Gate::pair().unwrap();
        gate.hold(&program(), Vec::new()).unwrap();
        gate.open();
        let waiting = Waiting(theirs);
        waiting.tell("there is no such user").unwrap();
        // It never looked at what it was told.
        drop(waiting);
        assert_eq!(gate.reason().as_deref(), Some("there is no such user"));
    }
}
