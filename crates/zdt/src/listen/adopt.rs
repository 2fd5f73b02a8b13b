//! Turns a number into an owned descriptor, after looking at what it is.
//!
//! The only unsafe code of the crate. `listenfd` checks the type of a socket,
//! but not that it listens, so a connected socket (`Accept=yes`) or a plain
//! file ends as an error at the first `accept`; here it is named at start.

#![expect(
    unsafe_code,
    reason = "a descriptor number from the environment has no safe constructor"
)]

use std::fmt;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getpeername, getsockname, getsockopt,
    sockopt,
};
use nix::sys::stat::{SFlag, fstat};

use super::Socket;

/// What a descriptor turned out to be.
#[derive(Debug)]
pub(super) enum Inherited {
    Listener(Socket),
    /// Anything else that a manager hands over: datagram and raw sockets,
    /// FIFOs, files (`OpenFile=`), stored descriptors (`FDSTORE=1`).
    Other(OwnedFd, Kind),
}

/// What an open descriptor is, in words, for error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Closed,
    TcpListener(String),
    UnixListener(String),
    Stream { connected_to: Option<String> },
    OtherSocket(&'static str),
    Fifo,
    Other(&'static str),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Closed => f.write_str("not open"),
            Kind::TcpListener(address) => write!(f, "a TCP socket listening on `{address}`"),
            Kind::UnixListener(path) => write!(f, "a Unix socket listening on `{path}`"),
            Kind::Stream {
                connected_to: Some(peer),
            } => write!(f, "a connection to `{peer}`, not a listening socket"),
            Kind::Stream { connected_to: None } => f.write_str("a socket that does not listen"),
            Kind::OtherSocket(what) => write!(f, "a {what} socket"),
            Kind::Fifo => f.write_str("a pipe"),
            Kind::Other(what) => write!(f, "a {what}"),
        }
    }
}

impl Kind {
    fn is_listener(&self) -> bool {
        matches!(self, Kind::TcpListener(_) | Kind::UnixListener(_))
    }
}

/// Looks at `fd` without taking it.
pub(super) fn look(fd: RawFd) -> Kind {
    if fd < 0 {
        return Kind::Closed;
    }
    // SAFETY: the borrow ends in this function, and every call made with it
    // answers EBADF when the number is not an open descriptor.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let Ok(stat) = fstat(fd) else {
        return Kind::Closed;
    };
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFSOCK => look_at_socket(fd),
        SFlag::S_IFIFO => Kind::Fifo,
        SFlag::S_IFREG => Kind::Other("regular file"),
        SFlag::S_IFDIR => Kind::Other("directory"),
        SFlag::S_IFCHR => Kind::Other("character device"),
        SFlag::S_IFBLK => Kind::Other("block device"),
        _ => Kind::Other("descriptor without a file, such as an epoll instance"),
    }
}

fn look_at_socket(fd: BorrowedFd<'_>) -> Kind {
    match getsockopt(&fd, sockopt::SockType) {
        Ok(SockType::Stream | SockType::SeqPacket) => {}
        Ok(SockType::Datagram) => return Kind::OtherSocket("datagram"),
        Ok(SockType::Raw) => return Kind::OtherSocket("raw"),
        _ => return Kind::OtherSocket("unusual"),
    }
    let address = getsockname::<SockaddrStorage>(fd.as_raw_fd());
    let family = address.as_ref().ok().and_then(SockaddrLike::family);
    let shown = address.map_or_else(|_| "?".to_owned(), |address| address.to_string());
    if getsockopt(&fd, sockopt::AcceptConn) != Ok(true) {
        let peer = getpeername::<SockaddrStorage>(fd.as_raw_fd());
        return Kind::Stream {
            connected_to: peer.ok().map(|peer| peer.to_string()),
        };
    }
    match (family, getsockopt(&fd, sockopt::SockType)) {
        (Some(AddressFamily::Inet | AddressFamily::Inet6), _) => Kind::TcpListener(shown),
        (Some(AddressFamily::Unix), Ok(SockType::Stream)) => Kind::UnixListener(shown),
        (Some(AddressFamily::Unix), _) => Kind::OtherSocket("sequential-packet"),
        _ => Kind::OtherSocket("stream"),
    }
}

/// Takes `fd` and keeps it from being inherited by child processes; `None`
/// when it is not open.
pub(super) fn adopt(fd: RawFd) -> Option<Inherited> {
    let kind = look(fd);
    if kind == Kind::Closed {
        return None;
    }
    // SAFETY: `look` found it open, `listen::inherited` calls this once for a
    // number in the life of the process, and the service manager started the
    // process with the descriptor as ours (`sd_listen_fds(3)`).
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    close_on_exec(owned.as_fd()).ok()?;
    Some(match kind {
        Kind::TcpListener(_) => Inherited::Listener(Socket::Tcp(TcpListener::from(owned))),
        Kind::UnixListener(_) => Inherited::Listener(Socket::Unix(UnixListener::from(owned))),
        other => Inherited::Other(owned, other),
    })
}

/// Whether `fd` is a listening socket in this process.
pub(super) fn listens(fd: RawFd) -> bool {
    look(fd).is_listener()
}

/// A copy of `fd`, which is open.
#[cfg(feature = "serve")]
pub(super) fn copy(fd: RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: the borrow ends in this function, and `dup` answers EBADF when the
    // number is not an open descriptor.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned()
}

fn close_on_exec(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpStream, UdpSocket};
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn kind(fd: &impl AsRawFd) -> String {
        look(fd.as_raw_fd()).to_string()
    }

    #[test]
    fn every_kind_of_descriptor_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            kind(&listener),
            format!("a TCP socket listening on `{address}`")
        );
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(
            kind(&client),
            format!("a connection to `{address}`, not a listening socket")
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let unix = UnixListener::bind(&path).unwrap();
        assert_eq!(
            kind(&unix),
            format!("a Unix socket listening on `{}`", path.display())
        );
        let (pair, _other) = UnixStream::pair().unwrap();
        assert!(kind(&pair).ends_with("not a listening socket"));
        assert_eq!(
            kind(&UdpSocket::bind("127.0.0.1:0").unwrap()),
            "a datagram socket"
        );
        assert_eq!(kind(&UnixDatagram::unbound().unwrap()), "a datagram socket");
        assert_eq!(kind(&std::io::pipe().unwrap().0), "a pipe");
        assert_eq!(
            kind(&std::fs::File::open("/proc/self/exe").unwrap()),
            "a regular file"
        );
        assert_eq!(kind(&std::fs::File::open("/").unwrap()), "a directory");
        assert_eq!(
            kind(&std::fs::File::open("/dev/null").unwrap()),
            "a character device"
        );
        assert_eq!(look(-1), Kind::Closed);
        assert_eq!(look(i32::MAX), Kind::Closed);
    }

    #[test]
    fn an_adopted_listener_is_closed_on_exec() {
        let fd = TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
        // std sets the flag; a manager does not.
        // SAFETY: `fd` was just released by its owner.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let Some(Inherited::Listener(Socket::Tcp(listener))) = adopt(fd) else {
            panic!("not adopted");
        };
        assert_eq!(
            fcntl(&listener, FcntlArg::F_GETFD),
            Ok(FdFlag::FD_CLOEXEC.bits())
        );
    }

    #[test]
    fn what_does_not_listen_is_kept_as_it_is() {
        let (pair, _other) = UnixStream::pair().unwrap();
        assert!(matches!(
            adopt(pair.into_raw_fd()),
            Some(Inherited::Other(_, Kind::Stream { .. }))
        ));
        assert!(adopt(i32::MAX).is_none());
    }
}
