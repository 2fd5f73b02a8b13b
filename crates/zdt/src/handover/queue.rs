//! A queue of descriptors: a `SOCK_SEQPACKET` Unix socket, whose messages carry
//! them (`SCM_RIGHTS`, `unix(7)`).
//!
//! What was sent stays in the kernel, open, for as long as anybody has the
//! receiving end, the manager's descriptor store for one; the sender may exit.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use tokio::io::Interest;
use tokio::net::UnixStream;

use super::message::{LONGEST, MOST_DESCRIPTORS};

/// Asked for; the kernel gives what `net.core.wmem_max` allows.
const BUFFER: usize = 4 << 20;

/// One message as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
    /// This process could not have all of them: it is at its limit.
    pub(super) truncated: bool,
}

/// A new queue: where to send, where to receive. Neither end blocks.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (sender, receiver) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    widen(&sender);
    Ok((sender, receiver))
}

/// Lets more messages wait in what `sender` sends.
pub(super) fn widen(sender: &OwnedFd) {
    // With the default it holds fewer, which is reported when it matters.
    let _ = set_socket_send_buffer_size(sender, BUFFER);
}

/// A queue to a process that lives: words go both ways, descriptors one.
#[derive(Debug)]
pub(crate) struct Talk(UnixStream);

impl Talk {
    /// The end of this process, and the one of a child.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pair()?;
        Ok((Self::with(ours)?, theirs))
    }

    pub(crate) fn with(end: OwnedFd) -> io::Result<Self> {
        with_reactor(end).map(Self)
    }

    pub(crate) async fn say(&self, word: &[u8]) -> io::Result<()> {
        let send = || send(&self.0, word, &[]);
        self.0.async_io(Interest::WRITABLE, send).await
    }

    /// The next word of the other process.
    pub(crate) async fn hear(&self) -> io::Result<Vec<u8>> {
        let receive = || receive(&self.0);
        match self.0.async_io(Interest::READABLE, receive).await? {
            Some(word) => Ok(word.bytes),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(super) fn into_queue(self) -> UnixStream {
        self.0
    }
}

/// Lets the runtime wait for it.
pub(super) fn with_reactor(queue: OwnedFd) -> io::Result<UnixStream> {
    // The type is for streams; what is asked of it here is the same for both.
    let queue = std::os::unix::net::UnixStream::from(queue);
    queue.set_nonblocking(true)?;
    UnixStream::from_std(queue)
}

/// Sends one message; `WouldBlock` when the queue is full.
pub(super) fn send(
    queue: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(queue, &[IoSlice::new(bytes)], &mut control, flags)?;
    Ok(())
}

/// The next message; `WouldBlock` when there is none, `None` when there will be
/// none, because all was received and nobody has the sending end.
pub(super) fn receive(queue: impl AsFd) -> io::Result<Option<Received>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(
        queue,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    )?;
    if received.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some(Received {
        bytes,
        descriptors,
        truncated: received.flags.contains(ReturnFlags::CTRUNC),
    }))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_outlive_their_sender() {
        let (sender, receiver) = pair().unwrap();
        let (mut client, server) = UnixStream::pair().unwrap();
        send(&sender, b"one", &[server.as_fd()]).unwrap();
        drop((sender, server));
        client.write_all(b"hello").unwrap();

        let received = receive(&receiver).unwrap().unwrap();
        assert_eq!(received.bytes, b"one");
        assert!(!received.truncated);
        let [fd] = <[OwnedFd; 1]>::try_from(received.descriptors).unwrap();
        let mut bytes = [0; 5];
        UnixStream::from(fd).read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        assert!(receive(&receiver).unwrap().is_none());
    }

    #[test]
    fn a_queue_that_is_full_says_so() {
        let (sender, receiver) = pair().unwrap();
        let empty = receive(&receiver).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let full = (0..1_000_000)
            .find_map(|_| send(&sender, &[0; 1000], &[]).err())
            .unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn without_a_receiver_nothing_is_sent() {
        let (sender, receiver) = pair().unwrap();
        drop(receiver);
        let error = send(&sender, b"one", &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn closing_a_queue_closes_what_is_in_it() {
        let (sender, receiver) = pair().unwrap();
        let (mut client, server) = UnixStream::pair().unwrap();
        send(&sender, b"one", &[server.as_fd()]).unwrap();
        drop((sender, server, receiver));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}
