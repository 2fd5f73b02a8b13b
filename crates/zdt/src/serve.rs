//! Serves an app and stops it so that no client notices.
//!
//! The only room that knows all the others: listeners come in, [`Health`] is
//! told, [`notify`] tells the manager, and [`drain`] decides
//! when what ends. It owns the accept loops and every connection, because the
//! usual graceful shutdown loses those that were accepted and not yet read.

mod accept;
mod ack;
mod app;
#[cfg(feature = "axum")]
mod axum;
mod body;
mod connection;
mod environment;
#[cfg(feature = "axum")]
mod gate;
mod io;
mod outcome;
mod probes;
mod registry;
mod request;
mod run;
mod stop;
mod successor;
mod timeouts;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use self::accept::Door;
pub use self::app::App;
pub use self::connection::detach;
#[cfg(feature = "axum")]
pub use self::gate::{Announcing, AnnouncingLayer, Gate, GatedListener, GatedStream};
pub use self::outcome::{Cut, ServeError, Served};
use self::timeouts::Timeouts;
use crate::drain::{Drain, Knobs};
use crate::health::Health;
use crate::listen::Listener;

/// Serves `app` on `listener` until the process is told to stop, and then
/// drains it.
///
/// `app` is a tower service: an `axum::Router`, tonic's routes, or
/// `tower::service_fn`. It is served over HTTP/1.1 and over HTTP/2 with prior
/// knowledge.
///
/// # What happens at SIGTERM
///
/// 1. `/readyz` answers 503 `draining`, `/livez` stays 200; the manager hears
///    `STOPPING=1`; every [`Watch`](crate::Watch) resolves.
/// 2. New connections are still accepted and answered, while the grace time
///    runs and while requests are in flight that began before the signal, so
///    that a slow one delays nobody else.
/// 3. Accepting ends. New connections queue in the kernel for the next
///    process. HTTP/2 clients get GOAWAY.
/// 4. What was accepted is finished. HTTP/1.1 connections go to the next
///    process, at once or after their answer, where there is a way; see
///    [`handover`](crate::handover).
/// 5. What is left at the limit is cut, counted, and returned.
///
/// Where there is no way, HTTP/1.1 answers say `Connection: close` from the
/// signal on, and a connection without a request is waited for, for the linger
/// time, before it is closed.
///
/// Another SIGTERM changes nothing. SIGINT and SIGQUIT end at once.
///
/// The app is dropped with its last connection, and what it holds with it, such
/// as a database that has to be closed. Only a request that was cut may hold it
/// longer, until the runtime ends.
///
/// # Errors
///
/// Awaited, it gives a [`ServeError`] where it cannot begin. What goes wrong with
/// one connection, or one `accept(2)`, ends neither the others nor this.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::get};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Router::new().route("/", get(|| async { "hello\n" }));
/// let served = zdt::serve(zdt::listener_or("127.0.0.1:8080")?, app).await?;
/// println!("{served}");
/// # Ok(()) }
/// # }
/// ```
pub fn serve(listener: impl Into<Listener>, app: impl App) -> Serve {
    Serve {
        doors: vec![Door::new(listener.into(), app)],
        health: None,
        drain: Drain::new(),
        knobs: Knobs::default(),
        timeouts: Timeouts::default(),
        signals: true,
        peers: false,
        environment: true,
        handover: true,
        replace: false,
    }
}

/// A server that is set up and not yet running. See [`serve`].
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve {
    doors: Vec<Door>,
    health: Option<Health>,
    drain: Drain,
    knobs: Knobs,
    timeouts: Timeouts,
    signals: bool,
    peers: bool,
    environment: bool,
    handover: bool,
    replace: bool,
}

impl Serve {
    /// Serves another app on another listener, under the same drain.
    pub fn also(mut self, listener: impl Into<Listener>, app: impl App) -> Self {
        self.doors.push(Door::new(listener.into(), app));
        self
    }

    /// Accepts only once `health` is ready, and keeps it told. When it has a
    /// listener of its own, answers there from now to the end of the drain.
    pub fn health(mut self, health: Health) -> Self {
        self.health = Some(health);
        self
    }

    /// Stops when `drain` is started, as well as by signal.
    pub fn drain(mut self, drain: &Drain) -> Self {
        self.drain = drain.clone();
        self
    }

    /// How long to accept and answer as ever after SIGTERM, so that a load
    /// balancer with several backends can look away. Default 0; environment
    /// `ZDT_DRAIN_GRACE`.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.knobs.grace = grace;
        self
    }

    /// How long requests may take after the grace time before they are cut.
    /// Default 30 s; environment `ZDT_DRAIN_LIMIT`.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.knobs.limit = limit;
        self
    }

    /// How long a connection without a request is waited for, where it is not
    /// handed over: an idle one to be told of the close, a new one to send its
    /// first bytes. Default 1 s; environment `ZDT_DRAIN_LINGER`.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.knobs.linger = linger;
        self
    }

    /// How long a connection may be open without a request. Default 120 s.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.timeouts.idle = idle;
        self
    }

    /// How long a request head may take to arrive. Default 30 s.
    pub fn header_read_timeout(mut self, header_read: Duration) -> Self {
        self.timeouts.header_read = header_read;
        self
    }

    /// Puts the client's address into the extensions of each request: a
    /// [`Peer`](crate::Peer), and for TCP an `axum::extract::ConnectInfo`.
    pub fn connect_info(mut self) -> Self {
        self.peers = true;
        self
    }

    /// Leaves signals to the program, which starts the [`drain`](Self::drain)
    /// by itself.
    pub fn ignore_signals(mut self) -> Self {
        self.signals = false;
        self
    }

    /// Leaves the environment variables alone, which otherwise replace what
    /// [`grace`](Self::grace), [`limit`](Self::limit) and
    /// [`linger`](Self::linger) say: the unit knows its stop timeout.
    pub fn ignore_environment(mut self) -> Self {
        self.environment = false;
        self
    }

    /// Whether connections that are open at the stop go to the next process,
    /// where there is a way; see [`handover`](crate::handover). Default true.
    ///
    /// With `false` answers announce the close, and what was read stays here: for
    /// an app whose next release cannot go on with a connection of this one.
    pub fn handover(mut self, handover: bool) -> Self {
        self.handover = handover;
        self
    }

    /// Whether `SIGHUP` starts the program again and lets the new process take
    /// over inside the same unit (`systemctl reload`): the port never waits, and
    /// a new process that fails leaves this one serving. Default false;
    /// environment `ZDT_RELOAD=1`.
    ///
    /// What the unit says about the process, such as its sandbox, does not change
    /// by this; a restart does that.
    pub fn replace_on_hangup(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    fn addresses(&self) -> String {
        let addresses: Vec<String> = self
            .doors
            .iter()
            .map(|door| door.listener.to_string())
            .collect();
        addresses.join(", ")
    }
}

impl IntoFuture for Serve {
    type Output = Result<Served, ServeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("addresses", &self.addresses())
            .field("knobs", &self.knobs)
            .finish_non_exhaustive()
    }
}
