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
#[cfg(feature = "axum")]
mod gate;
mod io;
mod outcome;
mod registry;
mod request;
mod stop;
mod successor;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tower_service::Service;

use self::accept::{Door, Shared};
pub use self::app::App;
use self::connection::Http;
pub use self::connection::detach;
#[cfg(feature = "axum")]
pub use self::gate::{Announcing, AnnouncingLayer, Gate, GatedListener, GatedStream};
pub use self::outcome::{Cut, ServeError, Served};
use self::registry::{Ask, Doing, Registry};
use self::successor::Parent;
use crate::drain::{Drain, Knobs, Watch};
use crate::handover::{Inbox, Outbox, Siblings, Taken, Ways};
use crate::health::Health;
use crate::listen::{Listener, Listeners, listeners};
use crate::notify;
use crate::signal::{Asked, Signals};

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
///    that a slow one delays nobody else. HTTP/1.1 answers say
///    `Connection: close`.
/// 3. Accepting ends. New connections queue in the kernel for the next
///    process. HTTP/2 clients get GOAWAY.
/// 4. What was accepted is finished. A connection that has sent nothing yet is
///    waited for as well, for the linger time.
/// 5. What is left at the limit is cut, counted, and returned.
///
/// Another SIGTERM changes nothing. SIGINT and SIGQUIT end at once.
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

/// How long a new process may take until it could serve in place of this one.
const REPLACE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Timeouts {
    /// Between two requests on a connection, and before the first. Longer than
    /// what common proxies use (Traefik 90 s, nginx 60 s), so that they close
    /// first and never send into a closing connection.
    idle: Duration,
    /// From the first byte of a request head to its last.
    header_read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(120),
            header_read: Duration::from_secs(30),
        }
    }
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

    /// How long a connection without a request is waited for: an idle one to
    /// be told of the close, a new one to send its first bytes. Default 1 s;
    /// environment `ZDT_DRAIN_LINGER`.
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

    #[expect(
        clippy::disallowed_methods,
        reason = "units whose strategy is a reload say so by an environment variable"
    )]
    fn replaces(&self) -> bool {
        let told = std::env::var("ZDT_RELOAD").is_ok_and(|value| value == "1");
        self.replace || (self.environment && told)
    }

    async fn run(mut self) -> Result<Served, ServeError> {
        if self.environment {
            self.knobs = knobs_from_environment(self.knobs)?;
        }
        raise_descriptor_limit();
        let parent = Parent::find();
        let replaces = self.replaces();
        let mut stop = Signals::new(self.signals, replaces).map_err(ServeError::Signal)?;
        let ways = match self.handover {
            true => Ways::of_process(),
            false => &Ways::default(),
        };
        let hands_over = !ways.are_none() || (self.handover && replaces);
        let registry = Registry::new(self.drain.clone(), hands_over);
        let health = self.health.take().unwrap_or_else(|| {
            let health = Health::new();
            health.ready();
            health
        });
        enforce(self.timeouts, &registry).map_err(ServeError::Thread)?;
        let shared = Shared {
            registry: registry.clone(),
            http: Arc::new(Http::new()),
            peers: self.peers,
            health: false,
        };

        let probes = watch::Sender::new(false);
        let mut probing = JoinSet::new();
        if let Some(listener) = health.take_listener() {
            let shared = Shared {
                health: true,
                ..shared.clone()
            };
            Door::new(listener, Probes(health.clone()))
                .accept(&shared, &probes, &mut probing)
                .map_err(ServeError::Listener)?;
        }
        let mut checks = JoinSet::new();
        checks.spawn(health.clone().run_checks());

        let watch = self.drain.watch();
        let warm = tokio::select! {
            () = health.until_ready() => true,
            () = watch.draining() => false,
            asked = until_told(&mut stop) => match asked {
                Asked::End => return Ok(Served::default()),
                _ => false,
            },
        };
        let doors = watch::Sender::new(false);
        let mut siblings = None;
        let mut accepting = JoinSet::new();
        if warm {
            let addresses = self.addresses();
            for door in &self.doors {
                door.take_over(&shared);
            }
            let taken = Inbox::of_process().take_over().await;
            for door in std::mem::take(&mut self.doors) {
                door.accept(&shared, &doors, &mut accepting)
                    .map_err(ServeError::Listener)?;
            }
            let is_main = match parent {
                None => true,
                // Without its parent it is no unit's main process.
                Some(parent) => parent.succeed().await.is_ok(),
            };
            announce(&addresses, taken);
            siblings = beside(ways);
            if is_main {
                match until_stopped(&watch, &mut stop).await {
                    Asked::Drain => {}
                    Asked::End => return Ok(stop::end(&registry, &self.drain, Duration::ZERO)),
                    // The new process answers probes.
                    Asked::Replace => drop(probes.send_replace(true)),
                }
            }
        }

        health.draining();
        self.drain.start();
        let _ = notify::stopping();
        if let Some(siblings) = siblings.take() {
            Siblings::close(siblings).await;
        }
        if registry.hands_over() && Outbox::of_process().await.is_none() {
            registry.keeps_all();
        }
        let stopping = stop::Stop {
            registry: &registry,
            drain: &self.drain,
            knobs: self.knobs,
            hands_over: registry.hands_over(),
            doors: &doors,
            accepting: &mut accepting,
        };
        let stopped = Instant::now();
        let served = tokio::select! {
            served = stopping.run() => served,
            () = stop.ended() => stop::end(&registry, &self.drain, stopped.elapsed()),
        };
        probes.send_replace(true);
        while probing.join_next().await.is_some() {}
        stop::close_health(&registry, self.knobs).await;
        let _ = notify::status(&served.to_string());
        Ok(served)
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

/// A process that does not serve yet cannot be replaced.
async fn until_told(stop: &mut Signals) -> Asked {
    loop {
        match stop.asked().await {
            Asked::Replace => {}
            asked => return asked,
        }
    }
}

/// Feeds the watchdog until the stop, or until another process took over.
async fn until_stopped(watch: &Watch, stop: &mut Signals) -> Asked {
    let draining = watch.draining();
    tokio::pin!(draining);
    let mut pings = notify::watchdog_limit().map(|limit| every(limit / 3));
    loop {
        tokio::select! {
            () = &mut draining => return Asked::Drain,
            asked = stop.asked() => match asked {
                Asked::Replace => if successor::replace(REPLACE_LIMIT).await.is_ok() {
                    return Asked::Replace;
                },
                asked => return asked,
            },
            () = tick(&mut pings) => {
                // Proof of life: a worker takes up and ends a new task.
                let _ = tokio::spawn(async {}).await;
                let _ = notify::watchdog();
            }
        }
    }
}

/// Closes connections that take longer than the timeouts allow, for as long as
/// the server lives.
///
/// On a thread beside the runtime: while a timer is armed, a worker reads the
/// clock each time it runs out of work, and each request pays for that.
#[expect(clippy::disallowed_methods, reason = "a thread of its own may sleep")]
fn enforce(timeouts: Timeouts, registry: &Arc<Registry>) -> std::io::Result<()> {
    let registry = Arc::downgrade(registry);
    let sweeps = move || {
        while let Some(registry) = registry.upgrade() {
            registry.scan(Instant::now(), |_, seen| match seen.doing {
                Doing::Silent | Doing::Idle if seen.quiet_for >= timeouts.idle => Ask::CloseQuiet,
                Doing::HalfRead if seen.quiet_for >= timeouts.header_read => Ask::CloseHalfRead,
                _ => Ask::Nothing,
            });
            drop(registry);
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    let thread = std::thread::Builder::new().name("zdt-timeouts".into());
    thread.spawn(sweeps).map(drop)
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Says that the process serves, and what it was given and does not serve:
/// clients of such a listener would hang.
fn announce(addresses: &str, taken: Taken) {
    let unclaimed = listeners().map_or_else(|_| Vec::new(), |left| Listeners::unclaimed(&left));
    let mut status = format!("serving {addresses}");
    if taken != Taken::default() {
        let connections = outcome::count(taken.taken, "connection");
        status = format!("{status}; took over {connections}");
    }
    if taken.closed > 0 {
        let closed = taken.closed;
        status = format!("{status}, CLOSED {closed} that nobody here serves");
    }
    if !unclaimed.is_empty() {
        let unclaimed = unclaimed.join(", ");
        tracing::warn!("inherited but never taken, its clients hang: {unclaimed}");
        status = format!("{status}; NOT serving {unclaimed}, which nobody took");
    }
    let _ = notify::status(&status).and_then(|()| notify::ready());
}

/// Shows this process to those that serve beside it, who hand over to it when
/// they stop.
fn beside(ways: &Ways) -> Option<Siblings> {
    let directory = ways.siblings.as_ref()?;
    match Siblings::listen(directory) {
        Ok(siblings) => Some(siblings),
        Err(error) => {
            let directory = directory.display();
            tracing::warn!(%error, "siblings cannot hand over to this process in `{directory}`");
            None
        }
    }
}

/// A queue that filled during a restart wants more descriptors at once than
/// the soft limit of 1,024 that systemd gives for the sake of `select(2)`.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Without it accepting merely pauses when descriptors run out.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The environment replaces what the program says: the unit that sets it also
/// sets the time after which systemd kills.
#[expect(
    clippy::disallowed_methods,
    reason = "units set the knobs by environment variables"
)]
fn knobs_from_environment(knobs: Knobs) -> Result<Knobs, ServeError> {
    let read = |variable: &'static str, default: Duration| match std::env::var(variable) {
        Err(_) => Ok(default),
        Ok(value) => {
            humantime::parse_duration(&value).map_err(|_| ServeError::Knob { variable, value })
        }
    };
    Ok(Knobs {
        grace: read("ZDT_DRAIN_GRACE", knobs.grace)?,
        limit: read("ZDT_DRAIN_LIMIT", knobs.limit)?,
        linger: read("ZDT_DRAIN_LINGER", knobs.linger)?,
    })
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

/// The health endpoints as a service.
#[derive(Clone, Debug)]
struct Probes(Health);

impl Service<Request<Incoming>> for Probes {
    type Response = Response<String>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let answer = self.0.answer(request.method(), request.uri());
        std::future::ready(Ok(answer.unwrap_or_else(|| {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        })))
    }
}
