//! Which connections are open and what each of them does.
//!
//! A connection writes its own few atomics and reads no clock; whoever wants
//! to know how long it has been quiet scans, and compares with the scan before.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::drain::Drain;

/// What is shared by the connections of one server.
#[derive(Debug)]
pub(super) struct Registry {
    conns: Mutex<Slab<Entry>>,
    /// Once it has started, answers announce the close.
    drain: Drain,
    /// Descriptors are short: answers announce the close, too.
    short: AtomicBool,
    /// Connections that stay open go to the next process, so no answer
    /// announces a close because of the stop.
    hands_over: AtomicBool,
    /// Something ended that a stop may wait for.
    pub(super) changed: Notify,
    pub(super) totals: Totals,
}

/// Counts over the life of the server, by connections that have ended.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) connections: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) during_drain: AtomicU64,
    pub(super) quiet_closed: AtomicU64,
    pub(super) handed_over: AtomicU64,
    /// Requests of which a part had arrived when the connection was closed.
    pub(super) cut_half_read: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    conn: Arc<Conn>,
    /// [`Conn::activity`] at the last scan, and when it was first seen.
    seen: u32,
    since: Instant,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Protocol {
    /// Nothing was read yet.
    Silent,
    Http1,
    Http2,
    /// Left HTTP, such as a WebSocket.
    Upgraded,
    /// On its way to the next process.
    Leaving,
    /// Said its last word and waits for the peer to close.
    Closing,
}

/// What becomes of the acknowledgement of the ping between two GOAWAYs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Acknowledgement {
    Passes,
    /// Is to be held when it comes.
    Awaited,
    Held,
}

/// What a connection is asked to do. Requests for more replace those for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Ask {
    Nothing,
    /// Go to the next process, with what was read of a request, once no answer
    /// is being made.
    HandOver,
    /// Close once no request is there, not even a part of one.
    CloseQuiet,
    /// Close, unless a request is being answered.
    CloseHalfRead,
    /// End now.
    Cut,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) registry: Arc<Registry>,
    /// Opened before the stop.
    old: bool,
    /// Answers only health probes, which no stop waits for.
    pub(super) health: bool,
    protocol: AtomicU8,
    /// Requests in flight that began before the stop, and since.
    old_requests: AtomicU32,
    new_requests: AtomicU32,
    /// A part of a request head was read.
    half_read: AtomicBool,
    /// The kernel did not take all of the answer yet.
    unsent: AtomicBool,
    /// The request in flight has, or had, a body.
    pub(super) has_body: AtomicBool,
    /// The request in flight leaves HTTP, or a stream of HTTP/2 did (RFC 8441).
    pub(super) has_tunnel: AtomicBool,
    acknowledgement: AtomicU8,
    /// The request with a body, or its answer, says that it is the last.
    pub(super) is_last: AtomicBool,
    activity: AtomicU32,
    requests: AtomicU32,
    ask: AtomicU8,
    waker: AtomicWaker,
}

/// What a connection does, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) old: bool,
    pub(super) doing: Doing,
    pub(super) quiet_for: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Accepted, and nothing was read.
    Silent,
    /// Between two requests of HTTP/1.1.
    Idle,
    /// A part of a request head was read.
    HalfRead,
    /// HTTP/1.1 with a request in flight, from before the stop or since.
    Busy {
        old: u64,
        new: u64,
    },
    /// HTTP/2 with so many streams in flight.
    Http2 {
        old: u64,
        new: u64,
    },
    Upgraded,
    Leaving,
    Closing,
}

impl Registry {
    pub(super) fn new(drain: Drain, hands_over: bool) -> Arc<Self> {
        Arc::new(Self {
            conns: Mutex::default(),
            drain,
            short: AtomicBool::new(false),
            hands_over: AtomicBool::new(hands_over),
            changed: Notify::new(),
            totals: Totals::default(),
        })
    }

    /// Registers a connection that was accepted just now.
    pub(super) fn open(self: &Arc<Self>, health: bool) -> Registered {
        let conn = Arc::new(Conn {
            registry: self.clone(),
            old: !self.is_draining(),
            health,
            protocol: AtomicU8::new(Protocol::Silent as u8),
            old_requests: AtomicU32::new(0),
            new_requests: AtomicU32::new(0),
            half_read: AtomicBool::new(false),
            unsent: AtomicBool::new(false),
            has_body: AtomicBool::new(false),
            has_tunnel: AtomicBool::new(false),
            acknowledgement: AtomicU8::new(Acknowledgement::Passes as u8),
            is_last: AtomicBool::new(false),
            activity: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            ask: AtomicU8::new(Ask::Nothing as u8),
            waker: AtomicWaker::new(),
        });
        let key = self.lock().insert(Entry {
            conn: conn.clone(),
            seen: 0,
            since: Instant::now(),
        });
        Registered { conn, key }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.has_started()
    }

    /// Whether answers must end their connection.
    pub(super) fn announces_close(&self) -> bool {
        self.short.load(Relaxed) || (self.is_draining() && !self.hands_over())
    }

    pub(super) fn hands_over(&self) -> bool {
        self.hands_over.load(Relaxed)
    }

    /// There is nobody to hand over to, from now on.
    pub(super) fn keeps_all(&self) {
        self.hands_over.store(false, Relaxed);
    }

    pub(super) fn set_short(&self, short: bool) {
        self.short.store(short, Relaxed);
    }

    /// Looks at every connection and passes on what `decide` asks of it.
    pub(super) fn scan(&self, now: Instant, mut decide: impl FnMut(&Conn, Seen) -> Ask) {
        for (_, entry) in self.lock().iter_mut() {
            let activity = entry.conn.activity.load(Relaxed);
            if activity != entry.seen {
                entry.seen = activity;
                entry.since = now;
            }
            let seen = Seen {
                old: entry.conn.old,
                doing: entry.conn.doing(),
                quiet_for: now.saturating_duration_since(entry.since),
            };
            let ask = decide(&entry.conn, seen);
            entry.conn.request(ask);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Entry>> {
        self.conns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conn {
    pub(super) fn doing(&self) -> Doing {
        let old = u64::from(self.old_requests.load(Relaxed));
        let new = u64::from(self.new_requests.load(Relaxed));
        match self.protocol() {
            Protocol::Silent => Doing::Silent,
            Protocol::Http2 if old + new == 0 && self.has_tunnel.load(Relaxed) => Doing::Upgraded,
            Protocol::Http2 => Doing::Http2 { old, new },
            Protocol::Upgraded => Doing::Upgraded,
            Protocol::Leaving => Doing::Leaving,
            Protocol::Closing => Doing::Closing,
            Protocol::Http1 if old + new > 0 => Doing::Busy { old, new },
            // The body is done, but not all of it is with the kernel.
            Protocol::Http1 if self.unsent.load(Relaxed) => Doing::Busy {
                old: u64::from(self.old),
                new: u64::from(!self.old),
            },
            Protocol::Http1 if self.half_read.load(Relaxed) => Doing::HalfRead,
            Protocol::Http1 => Doing::Idle,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.protocol.load(Relaxed) {
            0 => Protocol::Silent,
            1 => Protocol::Http1,
            2 => Protocol::Http2,
            3 => Protocol::Upgraded,
            4 => Protocol::Leaving,
            _ => Protocol::Closing,
        }
    }

    pub(super) fn speaks(&self, protocol: Protocol) {
        self.protocol.store(protocol as u8, Relaxed);
        self.acted();
    }

    pub(super) fn acknowledgement(&self) -> Acknowledgement {
        match self.acknowledgement.load(Relaxed) {
            0 => Acknowledgement::Passes,
            1 => Acknowledgement::Awaited,
            _ => Acknowledgement::Held,
        }
    }

    pub(super) fn set_acknowledgement(&self, to: Acknowledgement) {
        self.acknowledgement.store(to as u8, Relaxed);
    }

    /// Bytes were read that belong to a request head, or to a body.
    ///
    /// Only the first of them counts as activity: a head that trickles in is
    /// as slow as one that stopped.
    pub(super) fn has_read(&self) {
        if !self.half_read.load(Relaxed) {
            self.half_read.store(true, Relaxed);
            self.acted();
        }
    }

    pub(super) fn set_unsent(&self, unsent: bool) {
        self.unsent.store(unsent, Relaxed);
        self.acted();
    }

    /// Only the connection's own task writes, so this need not be one
    /// indivisible step.
    fn acted(&self) {
        self.activity
            .store(self.activity.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The answer is done, the request is not, and it is the last: the HTTP
    /// library closes when it has all of it.
    pub(super) fn ends_by_itself(&self) -> bool {
        self.has_body.load(Relaxed) && self.is_last.load(Relaxed)
    }

    /// Whether a request was ever begun.
    pub(super) fn has_begun(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// On its way out, it starts no request that is not here yet.
    pub(super) fn reads_no_more(&self) -> bool {
        self.ask() == Ask::HandOver
            && self.registry.hands_over()
            && self.protocol() == Protocol::Http1
            && self.has_begun()
            && !self.has_body.load(Relaxed)
            && !self.has_tunnel.load(Relaxed)
    }

    pub(super) fn ask(&self) -> Ask {
        match self.ask.load(Acquire) {
            0 => Ask::Nothing,
            1 => Ask::HandOver,
            2 => Ask::CloseQuiet,
            3 => Ask::CloseHalfRead,
            _ => Ask::Cut,
        }
    }

    fn request(&self, ask: Ask) {
        if ask > self.ask() {
            self.ask.store(ask as u8, Release);
            self.waker.wake();
        }
    }
}

/// The side of a connection's task: hears what the connection is asked.
#[derive(Debug)]
pub(super) struct Ear<'a> {
    conn: &'a Conn,
    /// What was registered last, and what was asked then: registering anew at
    /// each poll would be felt at each request.
    waker: Option<Waker>,
    heard: Ask,
}

impl<'a> Ear<'a> {
    pub(super) fn new(conn: &'a Conn) -> Self {
        Self {
            conn,
            waker: None,
            heard: Ask::Nothing,
        }
    }

    /// What is asked now; the task is woken when more is.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>) -> Ask {
        let registered = self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if !registered || self.conn.ask() != self.heard {
            // A call to wake takes the waker, so it is registered again.
            self.conn.waker.register(cx.waker());
            self.waker = Some(cx.waker().clone());
            self.heard = self.conn.ask();
        }
        self.conn.ask()
    }
}

/// A connection in the registry; it is open until this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) conn: Arc<Conn>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let registry = &self.conn.registry;
        if !self.conn.health {
            let requests = u64::from(self.conn.requests.load(Relaxed));
            registry.totals.connections.fetch_add(1, Relaxed);
            registry.totals.requests.fetch_add(requests, Relaxed);
        }
        registry.lock().remove(self.key);
        if registry.is_draining() {
            registry.changed.notify_one();
        }
    }
}

/// A request in flight: from its head to the last byte of its answer's body.
#[derive(Debug)]
pub(super) struct InFlight {
    conn: Arc<Conn>,
    old: bool,
}

impl InFlight {
    /// Called by the connection's own task, as all that counts requests up.
    pub(super) fn begin(conn: &Arc<Conn>) -> Self {
        let old = !conn.registry.is_draining();
        conn.half_read.store(false, Relaxed);
        let requests = conn.requests.load(Relaxed).wrapping_add(1);
        conn.requests.store(requests, Relaxed);
        let this = Self {
            conn: conn.clone(),
            old,
        };
        this.count(1);
        this
    }

    /// Whether the answer is the last of its connection.
    pub(super) fn is_last(&self) -> bool {
        self.conn.registry.announces_close() || self.conn.ask() > Ask::HandOver
    }

    /// The connection leaves HTTP with this answer.
    pub(super) fn leaves_http(&self) {
        self.conn.has_tunnel.store(true, Relaxed);
    }

    /// This answer is the last, because the app says so.
    pub(super) fn says_last(&self) {
        self.conn.is_last.store(true, Relaxed);
    }

    pub(super) fn has_body(&self) -> bool {
        self.conn.has_body.load(Relaxed)
    }

    fn count(&self, by: i32) {
        let counter = match self.old {
            true => &self.conn.old_requests,
            false => &self.conn.new_requests,
        };
        match self.conn.protocol() {
            // Streams run in tasks of their own.
            Protocol::Http2 => {
                counter.fetch_add(by.cast_unsigned(), Relaxed);
            }
            // One request at a time, in the task of the connection.
            _ => counter.store(counter.load(Relaxed).wrapping_add_signed(by), Relaxed),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.conn.half_read.store(false, Relaxed);
        self.conn.acted();
        self.count(-1);
        let registry = &self.conn.registry;
        if registry.is_draining() {
            let answered = u64::from(!self.conn.health);
            registry.totals.during_drain.fetch_add(answered, Relaxed);
            registry.changed.notify_one();
        }
    }
}
