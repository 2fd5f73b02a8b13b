//! Writes without ever making anyone wait: a thread writes, and what comes while it cannot is counted instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// So many bytes may wait.
pub(super) const MOST: usize = 1 << 20;

/// From one attempt that failed to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Entry {
    /// Whose it is.
    pub(super) name: Arc<str>,
    pub(super) bytes: Vec<u8>,
    /// For how many lines it stands.
    lines: u64,
}

/// Where lines end up.
pub(super) trait Destination: Send + 'static {
    /// May take as long as it does. Returns of whom nothing could be written.
    fn write(&mut self, entries: &[Entry]) -> BTreeSet<Arc<str>>;
}

/// The line that stands for so many lines of somebody.
pub(super) type Missing = fn(name: &str, count: u64) -> Vec<u8>;

/// The sending side; cheap to clone. The thread ends when all are dropped and all is written.
#[derive(Clone)]
pub(super) struct Writer(Arc<Handle>);

struct Handle(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    missing: Missing,
}

#[derive(Default)]
struct Queue {
    entries: Vec<Entry>,
    /// Of the entries, and of those that are being written.
    bytes: usize,
    writing: bool,
    closed: bool,
    /// How many lines of whom were not taken, since it was last told.
    missed: BTreeMap<Arc<str>, u64>,
}

impl Writer {
    pub(super) fn new(mut to: impl Destination, missing: Missing) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            missing,
        });
        let writing = shared.clone();
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || while writing.write(&mut to) {})?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Returns at once.
    pub(super) fn push(&self, name: &Arc<str>, bytes: Vec<u8>) {
        let shared = &self.0.0;
        let mut queue = shared.queue();
        if queue.bytes + bytes.len() > MOST {
            *queue.missed.entry(name.clone()).or_default() += 1;
            return;
        }
        if let Some(lines) = queue.missed.remove(name) {
            shared.note(&mut queue, name.clone(), lines);
        }
        queue.push(Entry {
            name: name.clone(),
            bytes,
            lines: 1,
        });
        drop(queue);
        shared.changed.notify_all();
    }

    /// Waits until all is written, but not longer; whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let shared = &self.0.0;
        let rest = |queue: &mut Queue| queue.writing || !queue.is_empty();
        let waited = shared
            .changed
            .wait_timeout_while(shared.queue(), limit, rest);
        let (queue, result) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(queue);
        !result.timed_out()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is short, so it may go beyond the bound.
    fn note(&self, queue: &mut Queue, name: Arc<str>, lines: u64) {
        let bytes = (self.missing)(&name, lines);
        queue.push(Entry { name, bytes, lines });
    }

    /// Waits for something, and writes it; whether there may be more.
    fn write(&self, to: &mut impl Destination) -> bool {
        let nothing = |queue: &mut Queue| queue.is_empty() && !queue.closed;
        let waited = self.changed.wait_while(self.queue(), nothing);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        if queue.entries.is_empty() {
            for (name, lines) in std::mem::take(&mut queue.missed) {
                self.note(&mut queue, name, lines);
            }
        }
        let entries = std::mem::take(&mut queue.entries);
        if entries.is_empty() {
            return false;
        }
        queue.writing = true;
        drop(queue);
        let failed = to.write(&entries);

        let mut queue = self.queue();
        queue.writing = false;
        queue.bytes = queue.entries.iter().map(|entry| entry.bytes.len()).sum();
        if !failed.is_empty() {
            for entry in entries {
                if !failed.contains(&entry.name) {
                    continue;
                }
                *queue.missed.entry(entry.name).or_default() += entry.lines;
            }
            if queue.closed {
                return false;
            }
            let waited = self
                .changed
                .wait_timeout_while(queue, PAUSE, |queue| !queue.closed);
            drop(waited);
        } else {
            drop(queue);
        }
        self.changed.notify_all();
        true
    }
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes.len();
        self.entries.push(entry);
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.missed.is_empty()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
