//! One connected socket, TCP or Unix: connects, reads, writes, and tells whether
//! the peer has closed it. Effects only; it decides nothing.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) async fn connect(address: &Address) -> io::Result<Socket> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // A delayed small write would be measured as the server's delay. The
                // call fails on a connection that is already reset, which the next
                // read reports better.
                let _ = stream.set_nodelay(true);
                Ok(Socket::Tcp(stream))
            }
            Address::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        }
    }

    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Socket::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_read(buffer)
                }
                Socket::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_read(buffer)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match self {
                Socket::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
                Socket::Unix(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
            };
            match written {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// True if the connection is open and silent, as an idle one has to be.
    ///
    /// Asks the kernel, not the reactor: a close that arrived a microsecond ago counts.
    pub(crate) fn is_idle(&self) -> bool {
        let fd: RawFd = match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        };
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(fd, &mut [0], flags) == Err(Errno::EAGAIN)
    }
}

/// Holds write errors back until reading has shown how the connection ended.
///
/// A peer may say a last word (an answer, a GOAWAY) and close while this side
/// is still writing. The failed write must not hide that word.
#[derive(Debug)]
pub(crate) struct ReadsToTheEnd {
    socket: Socket,
    failed_write: Option<io::ErrorKind>,
}

impl ReadsToTheEnd {
    pub(crate) fn new(socket: Socket) -> ReadsToTheEnd {
        ReadsToTheEnd {
            socket,
            failed_write: None,
        }
    }
}

impl AsyncRead for ReadsToTheEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        })?;
        // The kernel reports a reset once, and the write has taken the report.
        if buffer.filled().len() == before
            && let Some(io::ErrorKind::ConnectionReset) = self.failed_write
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadsToTheEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.failed_write.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        });
        match written {
            Err(error) => {
                self.failed_write = Some(error.kind());
                Poll::Ready(Ok(bytes.len()))
            }
            Ok(n) => Poll::Ready(Ok(n)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
