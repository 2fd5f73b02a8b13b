//! Listeners as tokio types: accept on every socket of a [`Listener`](super::Listener).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::Socket;

/// Connections from all sockets of a [`Listener`](super::Listener).
///
/// [`accept`](Self::accept) is cancel-safe: what was not accepted stays in the
/// kernel's queue, for this process or the next.
#[derive(Debug)]
pub struct Incoming {
    sockets: Vec<AsyncSocket>,
    /// Where to look first, so that a busy socket cannot starve the others.
    next: usize,
}

#[derive(Debug)]
pub(crate) enum AsyncSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Incoming {
    pub(super) fn new(sockets: Vec<Socket>) -> io::Result<Self> {
        let sockets = sockets
            .into_iter()
            .map(AsyncSocket::new)
            .collect::<io::Result<_>>()?;
        Ok(Self { sockets, next: 0 })
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`. After `EMFILE` and its like a caller waits a few
    /// milliseconds; other errors concern one connection only.
    pub async fn accept(&mut self) -> io::Result<(Stream, Peer)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        for _ in 0..self.sockets.len() {
            self.next = (self.next + 1) % self.sockets.len();
            if let Poll::Ready(accepted) = self.sockets[self.next].poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    #[cfg(feature = "axum")]
    pub(crate) fn first_address(&self) -> io::Result<Peer> {
        let first = self
            .sockets
            .first()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(match first {
            AsyncSocket::Tcp(tcp) => Peer::Tcp(tcp.local_addr()?),
            AsyncSocket::Unix(unix) => {
                Peer::Unix(unix.local_addr()?.as_pathname().map(Path::to_owned))
            }
        })
    }

    #[cfg(feature = "serve")]
    pub(crate) fn into_sockets(self) -> Vec<AsyncSocket> {
        self.sockets
    }
}

impl AsyncSocket {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(tcp) => {
                tcp.set_nonblocking(true)?;
                Self::Tcp(TcpListener::from_std(tcp)?)
            }
            Socket::Unix(unix) => {
                unix.set_nonblocking(true)?;
                Self::Unix(UnixListener::from_std(unix)?)
            }
        })
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        self.stay_nonblocking()?;
        Poll::Ready(Ok(match self {
            Self::Tcp(tcp) => {
                let (stream, peer) = ready!(tcp.poll_accept(cx))?;
                (Stream::Tcp(stream), Peer::Tcp(peer))
            }
            Self::Unix(unix) => {
                let (stream, peer) = ready!(unix.poll_accept(cx))?;
                let path = peer.as_pathname().map(Path::to_owned);
                (Stream::Unix(stream), Peer::Unix(path))
            }
        }))
    }
}

impl AsyncSocket {
    /// `O_NONBLOCK` belongs to the socket and not to a process. Whenever systemd
    /// passes the socket to another process it clears the flag, unless that
    /// unit has `NonBlocking=yes`, and from then on an accept from the empty
    /// queue would hold up this thread and every connection on it.
    fn stay_nonblocking(&self) -> io::Result<()> {
        let fd = match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        };
        let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
        if !flags.contains(OFlag::O_NONBLOCK) {
            fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client on a Unix socket; most have no path of their own.
    Unix(Option<std::path::PathBuf>),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(Some(path)) => write!(f, "{}", path.display()),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

#[cfg(feature = "serve")]
impl Stream {
    /// A connection that another process accepted, and who is at its other end.
    pub(crate) fn from_fd(fd: std::os::fd::OwnedFd) -> io::Result<(Self, Peer)> {
        let family = rustix::net::sockopt::socket_domain(&fd)?;
        if family == rustix::net::AddressFamily::UNIX {
            let stream = std::os::unix::net::UnixStream::from(fd);
            stream.set_nonblocking(true)?;
            let path = stream.peer_addr()?.as_pathname().map(Path::to_owned);
            return Ok((Self::Unix(UnixStream::from_std(stream)?), Peer::Unix(path)));
        }
        let stream = std::net::TcpStream::from(fd);
        stream.set_nonblocking(true)?;
        let peer = stream.peer_addr()?;
        Ok((Self::Tcp(TcpStream::from_std(stream)?), Peer::Tcp(peer)))
    }

    /// The socket, still open and no longer with the reactor.
    pub(crate) fn into_fd(self) -> io::Result<std::os::fd::OwnedFd> {
        Ok(match self {
            Self::Tcp(tcp) => tcp.into_std()?.into(),
            Self::Unix(unix) => unix.into_std()?.into(),
        })
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read_ready(cx))
    }

    /// Looks at the first bytes that wait in the kernel, without taking them,
    /// and clears readiness when `look` answers `WouldBlock`.
    pub(crate) fn try_peek<T>(&self, look: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        each!(self, stream => stream.try_io(tokio::io::Interest::READABLE, look))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        each!(self, stream => stream.as_fd())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
