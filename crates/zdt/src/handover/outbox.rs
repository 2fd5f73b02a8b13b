//! What this process hands to the next one: collected into messages and sent
//! the best way there is. Whoever sends is told whether it arrived.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::inbox::{Inbox, TAKEN};
use super::message::{Head, LONGEST, MOST_DESCRIPTORS, Writer};
use super::{Item, STORED_AS, Talk, Ways, queue, sibling};
use crate::notify;

/// Connections that stop being busy at about the same time share a message.
const GATHER: Duration = Duration::from_millis(1);

/// How long the manager may take to store a queue.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// How long a sibling may take to read a message, a thousand times what it needs.
const SIBLING_LIMIT: Duration = Duration::from_secs(2);

/// Queues that are stored at most; a manager has room for 16 descriptors.
const MOST_QUEUES: usize = 8;

/// Sends to the next process.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    items: mpsc::UnboundedSender<Sending>,
}

static OUTBOX: OnceCell<Option<Outbox>> = OnceCell::const_new();

#[derive(Debug)]
struct Sending {
    item: Item,
    /// Gets the item back when it cannot be sent.
    done: oneshot::Sender<Result<(), Item>>,
}

impl Outbox {
    /// The one of this process, opened at the first call; `None` when there is
    /// no way to another process.
    pub(crate) async fn of_process() -> Option<&'static Self> {
        OUTBOX
            .get_or_init(|| async {
                Inbox::of_process().stop().await;
                let mut road = Road::new(Ways::of_process());
                road.next().await.then(|| Self::open(road))
            })
            .await
            .as_ref()
    }

    /// The same, if it was opened before.
    pub(crate) fn opened() -> Option<&'static Self> {
        OUTBOX.get()?.as_ref()
    }

    /// Everything goes to the process at the other end of `talk`, and nowhere else.
    ///
    /// To be called before anything was sent.
    pub(crate) fn lead_to(talk: Talk) {
        let road = Road {
            way: Way::Process(talk.into_queue()),
            ..Road::new(&Ways::default())
        };
        let _ = OUTBOX.set(Some(Self::open(road)));
    }

    fn open(road: Road) -> Self {
        let (items, sending) = mpsc::unbounded_channel();
        tokio::spawn(run(road, sending));
        Self { items }
    }

    /// Sends `item`, or gives it back.
    pub(crate) async fn send(&self, item: Item) -> Result<(), Item> {
        let (done, sent) = oneshot::channel();
        self.items
            .send(Sending { item, done })
            .map_err(|error| error.0.item)?;
        // The task answers each, and ends after the last sender.
        sent.await.unwrap_or(Ok(()))
    }
}

async fn run(mut road: Road, mut sending: mpsc::UnboundedReceiver<Sending>) {
    let mut batch = Vec::new();
    let mut open = true;
    while sending.recv_many(&mut batch, MOST_DESCRIPTORS).await > 0 {
        while batch.len() < MOST_DESCRIPTORS {
            let space = MOST_DESCRIPTORS - batch.len();
            match timeout(GATHER, sending.recv_many(&mut batch, space)).await {
                Ok(more) if more > 0 => {}
                _ => break,
            }
        }
        // One message has one label and one version.
        batch.sort_by(|a, b| a.item.kind().cmp(&b.item.kind()));
        let mut rest: VecDeque<Sending> = batch.drain(..).collect();
        while !rest.is_empty() && open {
            let parcel = Parcel::pack(&mut rest);
            match road.carry(&parcel).await {
                Ok(()) => {
                    for sent in parcel.items {
                        let _ = sent.done.send(Ok(()));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a hand-over broke off, another way is tried");
                    parcel
                        .items
                        .into_iter()
                        .rev()
                        .for_each(|item| rest.push_front(item));
                    if !road.next().await {
                        tracing::warn!(%error, "nothing more can be handed over");
                        open = false;
                    }
                }
            }
        }
        for unsent in rest {
            let _ = unsent.done.send(Err(unsent.item));
        }
    }
}

/// Items that share one message, whose states may need messages before it.
struct Parcel {
    items: Vec<Sending>,
}

impl Parcel {
    /// Takes from the front of `rest` what fits into one message.
    fn pack(rest: &mut VecDeque<Sending>) -> Self {
        let mut items: Vec<Sending> = Vec::new();
        let mut room = LONGEST / 2;
        while let Some(next) = rest.front() {
            let fits = next.item.state.len() + 4 <= room && items.len() < MOST_DESCRIPTORS;
            let alike = items
                .first()
                .is_none_or(|first| first.item.kind() == next.item.kind());
            let joins = items.is_empty() || (fits && alike);
            if !joins {
                break;
            }
            room = room.saturating_sub(next.item.state.len() + 4);
            items.extend(rest.pop_front());
        }
        Self { items }
    }

    /// The messages, of which only the last has descriptors.
    fn messages(&self, acknowledge: bool) -> Vec<Writer> {
        let Some(first) = self.items.first() else {
            return Vec::new();
        };
        let head = Head {
            label: &first.item.label,
            version: first.item.version,
            acknowledge,
            part: false,
        };
        let mut messages = Vec::new();
        let mut last = Writer::new(&head);
        for Sending { item, .. } in &self.items {
            let mut state = item.state.as_slice();
            // Only the one item of a parcel can be longer than a message.
            while state.len() > last.room() {
                let mut part = Writer::new(&Head {
                    part: true,
                    ..head.clone()
                });
                let (begin, rest) = state.split_at(part.room());
                part.push(begin);
                messages.push(part);
                state = rest;
            }
            last.push(state);
        }
        messages.push(last);
        messages
    }
}

/// The ways that are left, and the one that is taken.
struct Road {
    siblings: VecDeque<PathBuf>,
    store: bool,
    way: Way,
}

enum Way {
    None,
    /// A process that reads while we send.
    Process(UnixStream),
    /// The manager, who keeps the other end for the process that it starts next.
    Store {
        sender: OwnedFd,
        queues: usize,
    },
}

impl Road {
    fn new(ways: &Ways) -> Self {
        let siblings = ways.siblings.as_deref().map(sibling::others);
        Self {
            siblings: siblings.unwrap_or_default().into(),
            store: ways.store,
            way: Way::None,
        }
    }

    /// Turns to the next way that is open.
    async fn next(&mut self) -> bool {
        while let Some(path) = self.siblings.pop_front() {
            if let Ok(process) = sibling::call(&path) {
                self.way = Way::Process(process);
                return true;
            }
        }
        self.way = match std::mem::take(&mut self.store) {
            true => match store().await {
                Ok(sender) => Way::Store { sender, queues: 1 },
                Err(error) => {
                    tracing::debug!(%error, "the manager stores no descriptors");
                    Way::None
                }
            },
            false => Way::None,
        };
        !matches!(self.way, Way::None)
    }

    async fn carry(&mut self, parcel: &Parcel) -> io::Result<()> {
        match &mut self.way {
            Way::None => Err(io::ErrorKind::NotConnected.into()),
            Way::Process(process) => carry_to_process(process, parcel).await,
            Way::Store { sender, queues } => loop {
                match carry_to_store(sender, parcel) {
                    Err(error)
                        if error.kind() == io::ErrorKind::WouldBlock && *queues < MOST_QUEUES =>
                    {
                        // Full: the next process gets one more queue.
                        *sender = store().await?;
                        *queues += 1;
                    }
                    other => return other,
                }
            },
        }
    }
}

fn carry_to_store(sender: &OwnedFd, parcel: &Parcel) -> io::Result<()> {
    let mut messages = parcel.messages(false);
    let last = messages.pop();
    for part in messages {
        queue::send(sender, part.bytes(), &[])?;
    }
    match last {
        Some(last) => send_with_descriptors(sender, &last, parcel),
        None => Ok(()),
    }
}

/// Sends, and waits until the process says that it has the descriptors.
async fn carry_to_process(process: &UnixStream, parcel: &Parcel) -> io::Result<()> {
    let mut messages = parcel.messages(true);
    let Some(last) = messages.pop() else {
        return Ok(());
    };
    let mut at_last = false;
    let carry = async {
        for part in &messages {
            let send = || queue::send(process, part.bytes(), &[]);
            process.async_io(Interest::WRITABLE, send).await?;
            acknowledged(process).await?;
        }
        at_last = true;
        let send = || send_with_descriptors(process, &last, parcel);
        process.async_io(Interest::WRITABLE, send).await?;
        acknowledged(process).await
    };
    let carried = timeout(SIBLING_LIMIT, carry).await;
    let Err(error) = carried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) else {
        return Ok(());
    };
    // From here on it cannot acknowledge, and without that it does not serve
    // what it got. What it acknowledged before is still to be read.
    let _ = shutdown(process, Shutdown::Both);
    match at_last && acknowledged_before(process) {
        true => Ok(()),
        false => Err(error),
    }
}

fn acknowledged_before(process: &UnixStream) -> bool {
    matches!(queue::receive(process), Ok(Some(word)) if word.bytes == TAKEN)
}

async fn acknowledged(process: &UnixStream) -> io::Result<()> {
    let receive = || queue::receive(process);
    match process.async_io(Interest::READABLE, receive).await? {
        Some(word) if word.bytes == TAKEN => Ok(()),
        _ => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

fn send_with_descriptors(sender: impl AsFd, message: &Writer, parcel: &Parcel) -> io::Result<()> {
    let descriptors: Vec<_> = parcel.items.iter().map(|it| it.item.fd.as_fd()).collect();
    queue::send(sender, message.bytes(), &descriptors)
}

/// A new queue whose other end the manager has.
async fn store() -> io::Result<OwnedFd> {
    let (sender, receiver) = queue::pair()?;
    let stored = spawn_blocking(move || {
        notify::store(STORED_AS, receiver.as_fd())?;
        notify::barrier(STORE_LIMIT)
    });
    stored.await.map_err(io::Error::other)??;
    // A manager without a store has closed it by now.
    let mut looked = [PollFd::new(sender.as_fd(), PollFlags::empty())];
    poll(&mut looked, PollTimeout::ZERO)?;
    match looked[0].revents() {
        Some(events) if events.contains(PollFlags::POLLHUP) => {
            Err(io::Error::other("it closed what it was given"))
        }
        _ => Ok(sender),
    }
}
