//! The manager's own socket, made readable for a strict D-Bus client.
//!
//! There systemd gives its well-known name as the sender of what it sends
//! (`sd-bus` does so on purpose, to look as on the bus). The specification
//! wants a unique name in that field, zbus insists on it and drops the
//! connection. So the name is changed, in its first byte, into a unique one of
//! the same length; nothing looks at it, because there is only one peer.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

#[derive(Debug)]
pub(super) struct Private(pub(super) UnixStream);

impl Socket for Private {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = self.0.into_split();
        let reader = Reader {
            stream: read,
            raw: Vec::new(),
            ready: Vec::new(),
        };
        Split::new(reader, Writer(write))
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    stream: OwnedReadHalf,
    /// As it came.
    raw: Vec<u8>,
    /// The rest of one whole frame.
    ready: Vec<u8>,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            if !self.ready.is_empty() {
                let taken = self.ready.len().min(buffer.len());
                buffer[..taken].copy_from_slice(&self.ready[..taken]);
                self.ready.drain(..taken);
                // This half does not offer to take descriptors, so none are sent.
                return Ok((taken, Vec::new()));
            }
            if let Some(length) = frame_length(&self.raw) {
                self.ready = self.raw.drain(..length).collect();
                name_sender(&mut self.ready);
                continue;
            }
            if self.stream.read_buf(&mut self.raw).await? == 0 {
                return Ok((0, Vec::new()));
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Writer(OwnedWriteHalf);

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// The fixed part of a message, up to the length of its fields.
const FIXED: usize = 16;

/// The length of the first frame, if it is whole: a message, which begins with
/// its byte order, or a line of the greeting before the first message.
fn frame_length(raw: &[u8]) -> Option<usize> {
    let length = match raw.first()? {
        b'l' | b'B' => FIXED + fields_length(raw)?.next_multiple_of(8) + number(raw, 4)?,
        _ => raw.iter().position(|byte| *byte == b'\n')? + 1,
    };
    (raw.len() >= length).then_some(length)
}

fn fields_length(raw: &[u8]) -> Option<usize> {
    number(raw, 12)
}

fn number(raw: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 4] = raw.get(at..at + 4)?.try_into().ok()?;
    let number = match raw.first()? {
        b'B' => u32::from_be_bytes(bytes),
        _ => u32::from_le_bytes(bytes),
    };
    usize::try_from(number).ok()
}

/// Changes the sender field of a message if it is not a unique name.
fn name_sender(frame: &mut [u8]) {
    // Field 7, of type `s`, after the length of the text.
    const SENDER: &[u8] = b"\x07\x01s\0";
    const NAME: &[u8] = b"org.freedesktop.systemd1\0";
    let Some(fields) = fields_length(frame).filter(|_| matches!(frame[0], b'l' | b'B')) else {
        return;
    };
    // Each field begins at a multiple of eight.
    for at in (FIXED..FIXED + fields).step_by(8) {
        let text = at + SENDER.len() + 4;
        if frame[at..].starts_with(SENDER)
            && frame.get(text..).is_some_and(|rest| rest.starts_with(NAME))
        {
            frame[text] = b':';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply as systemd sends it: its serial 1, the sender, and a body of five bytes.
    fn message() -> Vec<u8> {
        let mut message = b"l\x02\x01\x01\x05\0\0\0\x01\0\0\0\x29\0\0\0".to_vec();
        message.extend(b"\x05\x01u\0\x07\0\0\0");
        message.extend(b"\x07\x01s\0\x18\0\0\0org.freedesktop.systemd1\0");
        message.extend([0; 7]);
        message.extend(b"body.");
        message
    }

    #[tokio::test]
    async fn the_sender_becomes_a_unique_name_and_nothing_else_changes() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut reader, _writer) = Private(ours).split().take();
        let sent = [b"OK 1234\r\n".as_slice(), &message(), &message()].concat();

        let mut received = Vec::new();
        let mut buffer = [0; 7];
        for part in sent.chunks(11) {
            theirs.write_all(part).await.unwrap();
        }
        while received.len() < sent.len() {
            let (read, _) = reader.recvmsg(&mut buffer).await.unwrap();
            received.extend(&buffer[..read]);
        }

        let expected = String::from_utf8(sent)
            .unwrap()
            .replace("org.freedesktop", ":rg.freedesktop");
        assert_eq!(String::from_utf8(received).unwrap(), expected);
    }

    #[tokio::test]
    async fn the_end_in_the_middle_of_a_message_is_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut reader, _writer) = Private(ours).split().take();
        theirs.write_all(&message()[..30]).await.unwrap();
        drop(theirs);
        assert_eq!(reader.recvmsg(&mut [0; 16]).await.unwrap().0, 0);
    }
}
