//! What was said, by number. Whoever knows the last number that a client has knows what it misses.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How many messages are remembered for those who were away.
const REMEMBERED: usize = 1_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    pub number: u64,
    pub from: String,
    pub text: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct History {
    last: u64,
    messages: VecDeque<Message>,
}

/// The room.
#[derive(Debug, Default)]
pub struct Room {
    history: Mutex<History>,
    said: watch::Sender<u64>,
}

impl Room {
    pub fn say(&self, from: &str, text: String) {
        let mut history = self.history();
        history.last += 1;
        let (number, from) = (history.last, from.to_owned());
        history.messages.push_back(Message { number, from, text });
        if history.messages.len() > REMEMBERED {
            history.messages.pop_front();
        }
        self.said.send_replace(number);
    }

    /// The number of the last message.
    pub fn last(&self) -> u64 {
        self.history().last
    }

    /// Up to a hundred messages after `seen`.
    pub fn after(&self, seen: u64) -> Vec<Message> {
        let history = self.history();
        let missed = history.last.saturating_sub(seen);
        let missed = usize::try_from(missed).unwrap_or(usize::MAX);
        let known = history.messages.len().saturating_sub(missed);
        history
            .messages
            .iter()
            .skip(known)
            .take(100)
            .cloned()
            .collect()
    }

    /// Changes when something was said.
    pub fn said(&self) -> watch::Receiver<u64> {
        self.said.subscribe()
    }

    /// The history as a file in memory, which outlives this process.
    pub fn to_file(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create("room", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&postcard::to_stdvec(&*self.history()).map_err(io::Error::other)?)?;
        Ok(file.into())
    }

    /// Goes on where another process was.
    pub fn restore(&self, file: OwnedFd) -> io::Result<()> {
        let mut file = File::from(file);
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        *self.history() = postcard::from_bytes(&text).map_err(io::Error::other)?;
        Ok(())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
