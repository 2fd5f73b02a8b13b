//! What the process before this one, or one beside it, hands to this process:
//! read from queues, and given to whoever asked for its label.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::message::{self, MOST_DESCRIPTORS};
use super::sibling::Door;
use super::{Item, STORED_AS, Talk, queue};
use crate::listen::listeners;
use crate::notify;

/// The answer to a message that asks for one.
pub(super) const TAKEN: &[u8] = b"A";

/// Descriptors that are left for the work of the process.
const RESERVE: u64 = 64;

/// How often is looked whether descriptors became free.
const FREE: Duration = Duration::from_millis(20);

/// Takes an item. Called in order, and quick.
type Route = Arc<dyn Fn(Item) + Send + Sync>;

/// What this process is given.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    taken: AtomicU64,
    closed: AtomicU64,
}

#[derive(Default)]
struct State {
    routes: HashMap<String, Route>,
    /// Came before anybody asked for its label.
    waiting: Vec<Item>,
    /// From now on, what nobody asked for is closed.
    settled: bool,
    /// Those that read what the last process left with the manager.
    readers: JoinSet<()>,
    /// What they have not read stays there for the next process.
    stopped: bool,
}

/// What a process took over when it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) taken: u64,
    /// Closed, because nothing here serves it.
    pub(crate) closed: u64,
}

impl Inbox {
    /// The one of this process.
    pub(crate) fn of_process() -> &'static Self {
        static INBOX: OnceLock<Inbox> = OnceLock::new();
        INBOX.get_or_init(Self::default)
    }

    /// Gives everything under `label` to `route`, beginning with what came already.
    pub(crate) fn route(&self, label: &str, route: impl Fn(Item) + Send + Sync + 'static) {
        let route: Route = Arc::new(route);
        let mut state = self.lock();
        let (mine, others) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|item| &*item.label == label);
        state.waiting = others;
        state.routes.insert(label.to_owned(), route.clone());
        drop(state);
        mine.into_iter().for_each(|item| route(item));
    }

    /// Reads what the last process left with the manager, and closes what
    /// nobody here asked for. Returns when all of it was read that is there now.
    pub(crate) async fn take_over(&'static self) -> Taken {
        let stored = listeners().map_or_else(|_| Vec::new(), |left| left.take_fds(STORED_AS));
        let store = (!stored.is_empty()).then(|| Arc::new(Stored));
        for queue in stored {
            let (settle, settled) = oneshot::channel();
            let store = store.clone();
            let reader = match queue::with_reactor(queue) {
                Ok(queue) => Reader::new(queue),
                Err(error) => {
                    tracing::warn!(%error, "what the last process handed over cannot be read");
                    continue;
                }
            };
            self.lock().readers.spawn(async move {
                let mut settle = Some(settle);
                self.read(reader, &mut settle).await;
                // Before the process says that it is ready: once it is, it may be
                // told to stop, and what it stores then has the same name.
                drop(store);
                drop(settle);
            });
            let _ = settled.await;
        }
        drop(store);
        let mut state = self.lock();
        state.settled = true;
        let unclaimed = std::mem::take(&mut state.waiting);
        drop(state);
        unclaimed.into_iter().for_each(|item| self.close(&item));
        Taken {
            taken: self.taken.load(Relaxed),
            closed: self.closed.load(Relaxed),
        }
    }

    /// Takes no more from the manager: what has not been read is the next process's,
    /// beside what this one stores.
    pub(crate) async fn stop(&self) {
        let mut readers = {
            let mut state = self.lock();
            state.stopped = true;
            std::mem::take(&mut state.readers)
        };
        readers.shutdown().await;
    }

    /// Takes what a process hands over that is still there.
    pub(crate) fn read_from(&'static self, process: Talk) {
        let reader = Reader::new(process.into_queue());
        tokio::spawn(async move { self.read(reader, &mut None).await });
    }

    /// Reads a queue to its end; drops what is in `settle` when it has to wait.
    async fn read(&self, mut reader: Reader, settle: &mut Option<oneshot::Sender<()>>) {
        let mut room = Room::default();
        loop {
            if !room.take(MOST_DESCRIPTORS) {
                settle.take();
                sleep(FREE).await;
                continue;
            }
            match reader.try_next() {
                Ok(Some(items)) => {
                    room.give_back(MOST_DESCRIPTORS.saturating_sub(items.len()));
                    self.deliver(items);
                    // Those that were taken start to be served meanwhile.
                    tokio::task::yield_now().await;
                }
                Ok(None) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    settle.take();
                    if reader.readable().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a hand-over broke off");
                    return;
                }
            }
        }
    }

    fn deliver(&self, items: Vec<Item>) {
        for item in items {
            let mut state = self.lock();
            let route = state.routes.get(&*item.label).cloned();
            match route {
                Some(route) => {
                    drop(state);
                    self.taken.fetch_add(1, Relaxed);
                    route(item);
                }
                None if state.settled => {
                    drop(state);
                    self.close(&item);
                }
                None => state.waiting.push(item),
            }
        }
    }

    /// Better closed than held by a process that will never answer.
    fn close(&self, item: &Item) {
        if self.closed.fetch_add(1, Relaxed) == 0 {
            tracing::warn!(
                "closed a descriptor for `{}`, which nobody here takes",
                item.label
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Inbox")
            .field("labels", &state.routes.keys())
            .field("waiting", &state.waiting.len())
            .finish_non_exhaustive()
    }
}

/// Takes the queues out of the manager's store when the last of them was read:
/// a process that crashes before leaves them to the next one.
struct Stored;

impl Drop for Stored {
    fn drop(&mut self) {
        if !Inbox::of_process().lock().stopped {
            let _ = notify::unstore(STORED_AS);
        }
    }
}

/// The receiving end of a queue.
struct Reader {
    queue: UnixStream,
    /// The beginning of a state that comes in parts.
    begun: Vec<u8>,
}

impl Reader {
    fn new(queue: UnixStream) -> Self {
        Self {
            queue,
            begun: Vec::new(),
        }
    }

    async fn readable(&self) -> io::Result<()> {
        self.queue.readable().await
    }

    /// The items of the next message, which are ours once this returns.
    fn try_next(&mut self) -> io::Result<Option<Vec<Item>>> {
        let receive = || queue::receive(&self.queue);
        let received = match receive() {
            // The kernel is asked first, because the runtime hears of a queue that is
            // new a moment later. Now it learns that it is empty.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.queue.try_io(Interest::READABLE, receive)
            }
            received => received,
        };
        let Some(received) = received? else {
            return Ok(None);
        };
        if received.truncated {
            tracing::warn!("connections were lost: there was no descriptor for them");
        }
        let Ok((head, states)) = message::read(&received.bytes) else {
            let lost = received.descriptors.len();
            tracing::warn!("closed {lost} descriptors: {}", message::Unreadable);
            return Ok(Some(Vec::new()));
        };
        if head.acknowledge {
            // If the sender has given up, it keeps them.
            queue::send(&self.queue, TAKEN, &[])?;
        }
        if head.part {
            states
                .iter()
                .for_each(|part| self.begun.extend_from_slice(part));
            return Ok(Some(Vec::new()));
        }
        let label: Arc<str> = head.label.into();
        let items = received.descriptors.into_iter().zip(states);
        let items = items.map(|(fd, state)| {
            let mut whole = std::mem::take(&mut self.begun);
            whole.extend_from_slice(state);
            Item {
                label: label.clone(),
                version: head.version,
                fd,
                state: whole,
            }
        });
        Ok(Some(items.collect()))
    }
}

/// How many descriptors this process may still open.
#[derive(Debug, Default)]
struct Room(u64);

impl Room {
    /// Whether there is room for so many, which then count as open.
    fn take(&mut self, count: usize) -> bool {
        let count = count as u64;
        if self.0 < count {
            self.0 = Self::look();
        }
        let fits = self.0 >= count;
        if fits {
            self.0 -= count;
        }
        fits
    }

    fn give_back(&mut self, count: usize) {
        self.0 = self.0.saturating_add(count as u64);
    }

    fn look() -> u64 {
        let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return u64::MAX;
        };
        // Their number (Linux 6.2). A list leaves an entry of each in the kernel's
        // cache, which the manager clears away when it reaps this process.
        const FDS: &str = "/proc/self/fd";
        let open = match std::fs::metadata(FDS).map_or(0, |fds| fds.len()) {
            0 => std::fs::read_dir(FDS).map_or(0, |fds| fds.count() as u64),
            open => open,
        };
        // Where it cannot be seen, the kernel has the last word.
        limit.saturating_sub(open + RESERVE)
    }
}

/// Takes what siblings hand over while this process serves.
#[derive(Debug)]
pub(crate) struct Siblings {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Siblings {
    /// Shows this process in `directory`, where siblings that stop look for it.
    pub(crate) fn listen(directory: &Path) -> io::Result<Self> {
        let door = Door::open(directory)?;
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(door, stop.subscribe()));
        Ok(Self { stop, tasks })
    }

    /// Takes no more, and returns when all that was acknowledged is delivered.
    pub(crate) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(door: Door, stop: watch::Receiver<bool>) {
    let mut readers = JoinSet::new();
    let stopped = until(stop.clone());
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = door.accept() => match accepted {
                Ok(queue) => { readers.spawn(read_sibling(queue, stop.clone())); }
                Err(error) => {
                    tracing::warn!(%error, "a sibling cannot hand over to this process");
                    sleep(FREE).await;
                }
            },
            Some(_) = readers.join_next() => {}
        }
    }
    // Nobody finds this process from here on; who has found it gets an answer or an end.
    drop(door);
    while readers.join_next().await.is_some() {}
}

async fn read_sibling(queue: UnixStream, stop: watch::Receiver<bool>) {
    let mut nobody_waits = None;
    tokio::select! {
        biased;
        () = until(stop) => {}
        () = Inbox::of_process().read(Reader::new(queue), &mut nobody_waits) => {}
    }
}

async fn until(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
