//! Queues of connections that one process left for the next one, which did not take them.
//!
//! A queue is a `SOCK_SEQPACKET` socket whose messages carry descriptors. A process that knows hand-over empties it
//! before it says `READY=1`; any other holds it without knowing, and the clients in it wait for as long as it lives.

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{UnixAddr, getsockname};
use rustix::cmsg_space;
use rustix::net::sockopt::socket_type;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketType, recvmsg,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The name of a queue in a descriptor store and in `LISTEN_FDNAMES`.
pub(super) const STORED_AS: &str = "zdt-handover";

/// The most descriptors that the kernel lets one message carry (`SCM_MAX_FD`).
const MOST_DESCRIPTORS: usize = 253;

/// The first inherited descriptor, fixed by `sd_listen_fds(3)`.
const FIRST_FD: RawFd = 3;

/// Closes the connections that process `pid` was started with in a queue and did not take, and says how many.
///
/// For a process that is ready. It takes the right to trace that process, which root has.
pub(crate) fn close_untaken(pid: u32) -> io::Result<usize> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // From here on its number cannot become that of another one.
    let process = pidfd_open(
        number.ok_or(io::ErrorKind::InvalidInput)?,
        PidfdFlags::empty(),
    )?;
    let mut closed = 0;
    for number in queues(&fs::read(format!("/proc/{pid}/environ"))?) {
        match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(queue) => closed += close_left_behind(&queue)?,
            Err(rustix::io::Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(closed)
}

/// The numbers under which a process with this environment was given queues.
fn queues(environment: &[u8]) -> Vec<RawFd> {
    environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"LISTEN_FDNAMES="))
        .into_iter()
        .flat_map(|names| names.split(|byte| *byte == b':').zip(FIRST_FD..))
        .filter(|(name, _)| *name == STORED_AS.as_bytes())
        .map(|(_, number)| number)
        .collect()
}

/// Closes what is in `queue` if it is a queue whose sender has ended, and says how many that were.
pub(super) fn close_left_behind(queue: &OwnedFd) -> io::Result<usize> {
    match is_left_behind(queue) {
        true => close_all(queue),
        false => Ok(0),
    }
}

/// Whether it is a queue whose sender has ended. A process that took its queue has closed it, and may have anything
/// else under that number: one end of a pair has no name, as an accepted connection has.
fn is_left_behind(queue: &OwnedFd) -> bool {
    if socket_type(queue) != Ok(SocketType::SEQPACKET) {
        return false;
    }
    let raw = std::os::fd::AsRawFd::as_raw_fd(queue);
    let unnamed = getsockname::<UnixAddr>(raw)
        .is_ok_and(|name| name.path().is_none() && name.as_abstract().is_none());
    let mut looked = [PollFd::new(queue.as_fd(), PollFlags::empty())];
    let hung_up = poll(&mut looked, PollTimeout::ZERO).is_ok()
        && looked[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP));
    unnamed && hung_up
}

/// Receives all that is in `queue` and closes it; says how many descriptors that were.
fn close_all(queue: impl AsFd) -> io::Result<usize> {
    let mut closed = 0;
    loop {
        // What the message says of them is of no use here.
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(
            &queue,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            flags,
        );
        let received = match received {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN) => return Ok(closed),
            Err(error) => return Err(error.into()),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                closed += descriptors.count();
            }
        }
        if received.bytes == 0 && !received.flags.contains(ReturnFlags::TRUNC) {
            return Ok(closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
    };

    use super::*;
    use crate::host::until;

    fn queue() -> (OwnedFd, OwnedFd) {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    fn send(queue: &OwnedFd, descriptors: &[RawFd]) {
        let bytes = [IoSlice::new(b"zdt1, and more than one byte")];
        let control = [ControlMessage::ScmRights(descriptors)];
        sendmsg::<()>(queue.as_raw_fd(), &bytes, &control, MsgFlags::empty(), None).unwrap();
    }

    #[test]
    fn what_was_left_is_closed_and_counted() {
        let (sender, receiver) = queue();
        let pairs: Vec<_> = (0..MOST_DESCRIPTORS + 10)
            .map(|_| UnixStream::pair().unwrap())
            .collect();
        let raw: Vec<_> = pairs.iter().map(|(_, kept)| kept.as_raw_fd()).collect();
        for some in raw.chunks(MOST_DESCRIPTORS) {
            send(&sender, some);
        }
        assert!(!is_left_behind(&receiver), "its sender is there");
        let clients: Vec<_> = pairs.into_iter().map(|(client, _)| client).collect();
        drop(sender);
        until("a queue without a sender", || is_left_behind(&receiver));
        assert_eq!(close_all(&receiver).unwrap(), MOST_DESCRIPTORS + 10);
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "it is still open");
        }
        assert_eq!(close_all(&receiver).unwrap(), 0);
    }

    #[test]
    fn other_sockets_are_left_alone() {
        let (stream, other) = UnixStream::pair().unwrap();
        drop(other);
        assert!(!is_left_behind(&stream.into()));
        assert!(!is_left_behind(
            &fs::File::open("/dev/null").unwrap().into()
        ));
    }

    #[test]
    fn queues_are_found_by_their_name() {
        let check = |names: &str, wanted: &[RawFd]| {
            let environment = format!("A=1\0LISTEN_FDNAMES={names}\0B=zdt-handover\0");
            assert_eq!(queues(environment.as_bytes()), wanted);
        };
        check("http", &[]);
        check("http:zdt-handover", &[4]);
        check("zdt-handover:http:zdt-handover-2:zdt-handover", &[3, 6]);
        assert!(queues(b"").is_empty());
    }
}
