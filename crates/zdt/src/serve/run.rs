//! The life of a server: ready, serving, told to stop, drained.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::accept::{Door, Shared};
use super::connection::Http;
use super::outcome::{ServeError, Served, count};
use super::probes::Probes;
use super::registry::Registry;
use super::successor::{self, Parent};
use super::timeouts::enforce;
use super::{Serve, environment, stop};
use crate::drain::Watch;
use crate::handover::{Inbox, Outbox, Siblings, Taken, Ways};
use crate::health::Health;
use crate::listen::{Listeners, listeners};
use crate::notify;
use crate::signal::{Asked, Signals};

impl Serve {
    pub(super) async fn run(mut self) -> Result<Served, ServeError> {
        if self.environment {
            self.knobs = environment::knobs(self.knobs)?;
        }
        raise_descriptor_limit();
        let room = Inbox::make_room();
        let parent = Parent::find();
        let replace_limit = match self.environment {
            true => environment::replace_limit()?,
            false => environment::REPLACE_LIMIT,
        };
        let replaces = self.replace || (self.environment && environment::replaces());
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
        // The app is in them: who awaits this may count on it being gone.
        let mut routed = Vec::new();
        let mut accepting = JoinSet::new();
        if warm {
            let addresses = self.addresses();
            routed.extend(self.doors.iter().map(|door| door.take_over(&shared)));
            if let Some(room) = room {
                let _ = room.await;
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
            // Whoever is told that this process is ready may stop a sibling at once.
            siblings = beside(ways);
            announce(&addresses, taken);
            Inbox::of_process().open();
            if is_main {
                match until_stopped(&watch, &mut stop, replace_limit).await {
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
        let inbox = Inbox::of_process();
        inbox.stop().await;
        if registry.hands_over() && Outbox::of_process().await.is_none() {
            registry.keeps_all();
        }
        let outbox = registry.hands_over().then(Outbox::opened).flatten();
        let passed_on = inbox.pass_on(outbox).await;
        registry.totals.handed_over.fetch_add(passed_on, Relaxed);
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
async fn until_stopped(watch: &Watch, stop: &mut Signals, replace_limit: Duration) -> Asked {
    let draining = watch.draining();
    tokio::pin!(draining);
    let mut pings = notify::watchdog_limit().map(|limit| every(limit / 3));
    loop {
        tokio::select! {
            () = &mut draining => return Asked::Drain,
            asked = stop.asked() => match asked {
                Asked::Replace => if successor::replace(replace_limit).await.is_ok() {
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

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: &mut Option<Interval>) {
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
        let connections = count(taken.taken, "connection");
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
