//! One client: reads what it says, writes what it has not seen, and stops at any byte.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zdt::Watch;

use crate::room::Room;
use crate::wire::{Heard, Wire};

/// Everything about a client that the next process has to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    nick: String,
    /// The last message that is in its output, or was. New ones begin with the next.
    seen: Option<u64>,
    pub wire: Wire,
}

impl Client {
    /// A client whose handshake is done; `unread` came after it.
    pub fn new(nick: String, seen: Option<u64>, unread: &[u8]) -> Self {
        let wire = Wire::new(unread.to_vec());
        Self { nick, seen, wire }
    }

    /// Talks until the client leaves, or until the process stops: then the client is given back,
    /// between any two bytes.
    pub async fn talk(
        mut self,
        mut socket: TcpStream,
        room: Arc<Room>,
        watch: Watch,
    ) -> Option<(Self, TcpStream)> {
        let (mut from, mut to) = socket.split();
        let mut said = room.said();
        let last = room.last();
        let mut seen = self.seen.map_or(last, |seen| seen.min(last));
        let mut leaves = false;
        loop {
            while let Some(heard) = self.wire.hear().ok()? {
                match heard {
                    Heard::Text(text) => room.say(&self.nick, text),
                    Heard::Goodbye => leaves = true,
                }
            }
            // Only what the client takes: one that does not read costs no memory.
            if self.wire.output.is_empty() && !leaves {
                said.borrow_and_update();
                for message in room.after(seen) {
                    seen = message.number;
                    self.wire.say(serde_json::to_string(&message).ok()?);
                }
            }
            self.seen = Some(seen);
            let Wire { input, output, .. } = &mut self.wire;
            let quiet = output.is_empty();
            if leaves && quiet {
                return None;
            }
            tokio::select! {
                biased;
                () = watch.draining() => break,
                written = to.write(output), if !quiet => {
                    output.drain(..written.ok()?);
                }
                read = from.read_buf(input), if !leaves => {
                    read.ok().filter(|&read| read > 0)?;
                }
                _ = said.changed(), if quiet => {}
            }
        }
        Some((self, socket))
    }

    /// Says that the service restarts, to a client that nobody takes over.
    pub async fn dismiss(mut self, mut socket: TcpStream) {
        self.wire.say_restart();
        // Whether it still hears that is up to the client.
        let _ = socket.write_all(&self.wire.output).await;
        let _ = socket.shutdown().await;
    }
}

/// A descriptor as a socket of this runtime.
pub fn socket(fd: OwnedFd) -> Option<TcpStream> {
    let socket = std::net::TcpStream::from(fd);
    socket.set_nonblocking(true).ok()?;
    TcpStream::from_std(socket).ok()
}
