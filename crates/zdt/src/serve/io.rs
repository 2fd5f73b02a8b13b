//! The bytes of one connection, and how it ends.
//!
//! Three things that the HTTP library does not do: tell the protocol from the
//! first bytes without taking them, say that half a request was read, and close
//! so that the last answer is not destroyed by a reset (RFC 9112, 9.6).

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::ack::Frames;
use super::registry::{Acknowledgement, Conn, Protocol, Registered};
use crate::listen::Stream;

/// RFC 9113, 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the peer may take to close after the last answer, and how much it
/// may still send.
const CLOSE_TIME: Duration = Duration::from_secs(2);
const CLOSE_BYTES: usize = 1 << 20;

/// A connection. It counts as open until this is dropped, wherever it is: an
/// upgrade moves it into the hands of the app.
#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    /// Read before, and not yet by the HTTP library.
    read: Bytes,
    registered: Registered,
    closing: Closing,
    /// HTTP/2 only.
    frames: Option<Frames>,
}

#[derive(Debug)]
enum Closing {
    Not,
    /// Our side is closed; reads what the peer still sends.
    HalfClosed {
        time: Option<Pin<Box<Sleep>>>,
        bytes: usize,
    },
    Done,
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Http1,
    Http2,
    /// None came, and it goes to the next process.
    Leave,
    /// The peer closed without a byte.
    End,
}

impl Io {
    /// `read` is what was read from `stream` already, such as by the process
    /// before this one.
    pub(super) fn new(stream: Stream, read: Bytes, registered: Registered) -> Self {
        Self {
            stream,
            read,
            registered,
            closing: Closing::Not,
            frames: None,
        }
    }

    /// Follows the frames that the client sends, from the first on.
    pub(super) fn follow_frames(&mut self) {
        self.frames = Some(Frames::new());
    }

    pub(super) fn conn(&self) -> &Arc<Conn> {
        &self.registered.conn
    }

    pub(super) fn registered(&self) -> &Registered {
        &self.registered
    }

    /// Waits for the first bytes and tells the protocol. They stay in the
    /// kernel.
    ///
    /// `seen` is the length of a preface that was incomplete before, so that a
    /// peer that stops in the middle of it is not waited for in a circle.
    pub(super) fn poll_first(
        &self,
        cx: &mut Context<'_>,
        seen: &mut usize,
    ) -> Poll<io::Result<First>> {
        if !self.read.is_empty() {
            return Poll::Ready(Ok(First::Http1));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let looked = self.stream.try_peek(|| match self.peek(seen)? {
                Some(first) => Ok(first),
                None => Err(io::ErrorKind::WouldBlock.into()),
            });
            match looked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Puts back what was read and not used.
    pub(super) fn with_read(mut self, read: Bytes) -> Self {
        if !read.is_empty() {
            self.read = match self.read.is_empty() {
                true => read,
                false => [read, self.read].concat().into(),
            };
        }
        self
    }

    /// The socket, what was read from it, and its place among the open ones.
    pub(super) fn into_parts(self) -> (Stream, Bytes, Registered) {
        (self.stream, self.read, self.registered)
    }

    /// The socket, to look at while the HTTP library owns the rest.
    pub(super) fn socket(&self) -> Socket {
        Socket(self.stream.as_fd().as_raw_fd())
    }

    /// What waits in the kernel; `None` when it is the beginning of a preface.
    fn peek(&self, seen: &mut usize) -> io::Result<Option<First>> {
        let mut bytes = [0; HTTP2_PREFACE.len()];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let length = match recv(self.stream.as_fd().as_raw_fd(), &mut bytes, flags) {
            Ok(length) => length,
            Err(Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let begins = HTTP2_PREFACE.starts_with(&bytes[..length]);
        Ok(match length {
            0 => Some(First::End),
            _ if !begins => Some(First::Http1),
            _ if length == HTTP2_PREFACE.len() => Some(First::Http2),
            // No more came since the last look: it is not a preface.
            _ if length == *seen => Some(First::Http1),
            _ => {
                *seen = length;
                None
            }
        })
    }

    /// Whether the peer may still be sending something that a reset would
    /// answer: the rest of a body, or another request on a connection that it
    /// believes open.
    fn peer_may_send(&self) -> bool {
        self.conn().has_body.load(Relaxed) || self.conn().registry.announces_close()
    }

    /// Follows the frames in what was read; returns how much is left of it.
    fn follow(&mut self, bytes: &mut [u8]) -> usize {
        let Some(frames) = &mut self.frames else {
            return bytes.len();
        };
        let conn = &self.registered.conn;
        let hold = conn.acknowledgement() == Acknowledgement::Awaited;
        let left = frames.follow(bytes, hold);
        if hold && frames.holds() {
            conn.set_acknowledgement(Acknowledgement::Held);
        }
        left
    }

    /// Up to `space` bytes of the acknowledgement that was held, once it may
    /// be read.
    fn released(&mut self, space: usize) -> &[u8] {
        match (&mut self.frames, self.registered.conn.acknowledgement()) {
            (Some(frames), Acknowledgement::Passes) => frames.release(space),
            _ => &[],
        }
    }

    /// Reads and drops what the peer sends, until it closes or a bound is hit.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::HalfClosed { time, bytes } = &mut self.closing else {
            return Poll::Ready(());
        };
        let mut space = [MaybeUninit::uninit(); 4096];
        loop {
            let mut buf = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    *bytes += buf.filled().len();
                    if *bytes > CLOSE_BYTES {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let time = time.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIME)));
        time.as_mut().poll(cx)
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>, wanted: usize) {
        let unsent = match result {
            Poll::Ready(Ok(written)) => *written < wanted,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        };
        self.conn().set_unsent(unsent);
    }
}

/// A socket that is looked at and not owned; it is not used after its [`Io`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket(RawFd);

impl Socket {
    /// Whether bytes wait in the kernel, announced or not.
    pub(super) fn has_bytes(self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.0, &mut [0], flags), Ok(1))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.read.is_empty() {
            let length = this.read.len().min(buf.remaining());
            buf.put_slice(&this.read[..length]);
            this.read.advance(length);
            this.conn().has_read();
            return Poll::Ready(Ok(()));
        }
        if this.conn().reads_no_more() {
            // The task of the connection ends it after this poll.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let released = this.released(buf.remaining());
        if !released.is_empty() {
            buf.put_slice(released);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let read = buf.filled().len() - before;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.registered.conn.has_read();
            let left = this.follow(&mut buf.filled_mut()[before..]);
            buf.set_filled(before + left);
            // Nothing left is not the end, which it would look like.
            if left > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(&result, buf.len());
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(&result, bufs.iter().map(|buf| buf.len()).sum());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.conn().protocol() == Protocol::Leaving {
            // It goes on in another process.
            return Poll::Ready(Ok(()));
        }
        if matches!(this.closing, Closing::Not) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.closing = match this.peer_may_send() {
                true => Closing::HalfClosed {
                    time: None,
                    bytes: 0,
                },
                false => Closing::Done,
            };
            this.conn().speaks(Protocol::Closing);
        }
        ready!(this.poll_drained(cx));
        this.closing = Closing::Done;
        Poll::Ready(Ok(()))
    }
}
