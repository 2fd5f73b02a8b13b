//! What the process before this one, or one beside it, hands to this process:
//! read from queues, and given to whoever asked for its label.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::resource::{Resource, getrlimit};
use rustix::io::fcntl_dupfd_cloexec;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::message::{self, MOST_DESCRIPTORS};
use super::sibling::Door;
use super::{Item, Outbox, STORED_AS, Talk, queue};
use crate::listen::listeners;
use crate::notify;

/// The answer to a message that asks for one.
pub(super) const TAKEN: &[u8] = b"A";

/// Descriptors that are left for the work of the process.
const RESERVE: u64 = 64;

/// The highest number that room is made for; the table takes 8 bytes for each.
const MANY: u64 = (1 << 14) - 1;

/// So many connections are begun before others have their turn.
const FEW: usize = 32;

/// How often is looked whether descriptors became free.
const FREE: Duration = Duration::from_millis(20);

/// Takes an item. Called in order, and quick.
type Route = Arc<dyn Fn(Item) + Send + Sync>;

/// What this process is given.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    closed: AtomicU64,
}

#[derive(Default)]
struct State {
    routes: HashMap<String, Route>,
    /// Came before this process was ready.
    waiting: VecDeque<Item>,
    /// This process is ready: what comes goes to its route, or is closed.
    open: bool,
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

    /// Gives everything under `label` to `route`, once this process is ready, and until the
    /// answer is dropped.
    pub(crate) fn route(
        &'static self,
        label: &str,
        route: impl Fn(Item) + Send + Sync + 'static,
    ) -> Routed {
        let label = label.to_owned();
        let route: Route = Arc::new(route);
        self.lock().routes.insert(label.clone(), route.clone());
        Routed {
            inbox: self,
            label,
            route,
        }
    }

    /// Makes room for thousands of descriptors at once, if there is something to
    /// take over.
    ///
    /// The kernel doubles a table that is full, and waits each time until no
    /// thread of the process looks at the old one: eight times some 10 ms on the
    /// way to 15,000.
    pub(crate) fn make_room() -> Option<JoinHandle<()>> {
        let stored = listeners().is_ok_and(|left| left.has(STORED_AS));
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        let highest = i32::try_from(limit.saturating_sub(1).min(MANY)).ok()?;
        // Closed at once; the table stays wide.
        stored.then(|| spawn_blocking(move || drop(fcntl_dupfd_cloexec(io::stderr(), highest))))
    }

    /// Reads what the last process left with the manager, and closes what
    /// nobody here asked for. Returns when all of it was read that is there now,
    /// and keeps it until [`open`](Self::open).
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
        let waiting = std::mem::take(&mut state.waiting);
        let (wanted, others): (VecDeque<_>, VecDeque<_>) = waiting
            .into_iter()
            .partition(|item| state.routes.contains_key(&*item.label));
        let taken = wanted.len() as u64;
        state.waiting = wanted;
        drop(state);
        others.iter().for_each(|item| self.close(item));
        Taken {
            taken,
            closed: self.closed.load(Relaxed),
        }
    }

    /// Gives what was taken over to its routes, after the process said that it is
    /// ready: to serve thousands takes longer than to have them.
    pub(crate) fn open(&'static self) {
        self.lock().open = true;
        tokio::spawn(self.give_waiting());
    }

    async fn give_waiting(&self) {
        loop {
            let items = self.some_waiting();
            if items.is_empty() {
                return;
            }
            self.deliver(items);
            // New clients are served meanwhile.
            tokio::task::yield_now().await;
        }
    }

    fn some_waiting(&self) -> Vec<Item> {
        let mut state = self.lock();
        let some = state.waiting.len().min(FEW);
        state.waiting.drain(..some).collect()
    }

    /// Takes no more from the manager: what has not been read is the next process's,
    /// beside what this one stores.
    pub(crate) async fn stop(&self) {
        let mut readers = {
            let mut state = self.lock();
            state.stopped = true;
            state.open = true;
            std::mem::take(&mut state.readers)
        };
        readers.shutdown().await;
    }

    /// What was taken over and has not been begun here: it goes on to the next
    /// process, and what cannot is begun here after all.
    pub(crate) async fn pass_on(&self, outbox: Option<&Outbox>) -> u64 {
        let waiting = std::mem::take(&mut self.lock().waiting);
        let Some(outbox) = outbox else {
            self.deliver(waiting);
            return 0;
        };
        let sent = join_all(waiting.into_iter().map(|item| outbox.send(item))).await;
        let (passed, stay): (Vec<_>, Vec<_>) = sent.into_iter().partition(Result::is_ok);
        self.deliver(stay.into_iter().filter_map(Result::err));
        passed.len() as u64
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

    fn deliver(&self, items: impl IntoIterator<Item = Item>) {
        for item in items {
            let mut state = self.lock();
            let route = state.routes.get(&*item.label).cloned();
            match route {
                _ if !state.open => state.waiting.push_back(item),
                Some(route) => {
                    drop(state);
                    route(item);
                }
                None => {
                    drop(state);
                    self.close(&item);
                }
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

/// As long as it lives, its route is taken.
pub(crate) struct Routed {
    inbox: &'static Inbox,
    label: String,
    route: Route,
}

impl Drop for Routed {
    fn drop(&mut self) {
        let mut state = self.inbox.lock();
        let current = state.routes.get(&self.label);
        // Another one may have taken over the label.
        if current.is_some_and(|route| Arc::ptr_eq(route, &self.route)) {
            state.routes.remove(&self.label);
        }
    }
}

impl fmt::Debug for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Routed").field(&self.label).finish()
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
