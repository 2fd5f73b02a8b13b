//! Decides how far a stopping process is, and lets others watch it stop.
//!
//! The deciding half ([`Knobs`], [`Census`], [`phase`]) is pure: counts and
//! elapsed time in, a phase out. The watching half is a handle for handlers
//! that would otherwise never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How long each part of a stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Knobs {
    /// Time for a load balancer to look away before anything changes.
    pub(crate) grace: Duration,
    /// Time for everything that was accepted, counted from the end of grace.
    pub(crate) limit: Duration,
    /// How long a connection without a request is waited for.
    pub(crate) linger: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            grace: Duration::ZERO,
            limit: Duration::from_secs(30),
            linger: Duration::from_secs(1),
        }
    }
}

impl Knobs {
    /// When whatever is left is cut, counted from the stop signal.
    pub(crate) fn end(&self) -> Duration {
        self.grace + self.limit
    }

    /// When accepting ends at the latest. The rest is for requests that were
    /// accepted last: they too are answered before the end.
    fn lame_duck_end(&self) -> Duration {
        self.end() - self.linger.min(self.limit / 5)
    }
}

/// What is open while a process stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Requests that were in flight when the signal came.
    pub(crate) old_requests: u64,
    /// Requests that came after it.
    pub(crate) new_requests: u64,
    /// Connections from before the signal on which a request may be on its
    /// way: idle HTTP/1.1, silent, or with half a head read, and not lingered
    /// for yet.
    pub(crate) unsettled: u64,
    /// Connections that became something else, such as WebSockets.
    pub(crate) upgraded: u64,
    /// Background work that asked to be waited for.
    pub(crate) held: u64,
    /// All connections, whatever they do.
    pub(crate) open: u64,
}

/// The phases of a stop, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accepts and answers as ever, so that old requests delay nobody else.
    LameDuck,
    /// Accepts no more; new connections queue in the kernel for the next
    /// process. Finishes what was accepted.
    Finishing,
    /// Nothing is left, or time is up.
    Done,
}

/// The phase after `elapsed` since the stop signal. Phases never go back.
pub(crate) fn phase(now: Phase, elapsed: Duration, knobs: Knobs, census: &Census) -> Phase {
    if elapsed >= knobs.end() {
        return Phase::Done;
    }
    match now {
        Phase::LameDuck => {
            let busy = census.old_requests + census.upgraded + census.held > 0;
            let over = elapsed >= knobs.grace && !busy && census.unsettled == 0;
            match over || elapsed >= knobs.lame_duck_end() {
                true => Phase::Finishing,
                false => Phase::LameDuck,
            }
        }
        Phase::Finishing if census.open + census.held == 0 => Phase::Done,
        other => other,
    }
}

/// Starts the stop of a [`Serve`](crate::Serve), and hands out watches of it.
///
/// A signal does the same; this is for programs that stop by themselves and for
/// handlers that live long.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let drain = zdt::Drain::new();
/// let watch = drain.watch();
/// assert!(!watch.is_draining());
/// drain.start();
/// watch.draining().await;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Read at each answer, so not behind the lock of the channel. Set before
    /// anybody is told: whoever was told announces the close.
    draining: AtomicBool,
    told: watch::Sender<bool>,
    held: AtomicU64,
}

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            draining: AtomicBool::new(false),
            told: watch::Sender::new(false),
            held: AtomicU64::new(0),
        }))
    }

    /// Starts it. Starting it again changes nothing.
    pub fn start(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.told.send_replace(true);
    }

    pub(crate) fn has_started(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// A watch of this drain.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(self.0.clone())
    }

    /// How much background work asks to be waited for.
    pub(crate) fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells a handler that the process stops.
///
/// For WebSocket and event-stream handlers, which nothing else would end: they
/// select on [`draining`](Self::draining), say goodbye to the client, and
/// return. Their connections are waited for, up to the limit, and counted when
/// they are cut.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Whether the stop has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Waits until the stop begins. Cancel-safe.
    pub async fn draining(&self) {
        let mut seen = self.0.told.subscribe();
        // The sender is in `self`, so the wait cannot fail.
        let _ = seen.wait_for(|draining| *draining).await;
    }

    /// Asks the stop to wait for background work that no connection shows,
    /// until the guard is dropped or the limit is reached.
    ///
    /// # Example
    ///
    /// ```
    /// let drain = zdt::Drain::new();
    /// let hold = drain.watch().hold();
    /// std::thread::spawn(move || {
    ///     // Write the journal to its end.
    ///     drop(hold);
    /// });
    /// ```
    #[must_use = "the stop waits only while the guard lives"]
    pub fn hold(&self) -> Hold {
        self.0.held.fetch_add(1, Ordering::Relaxed);
        Hold(self.0.clone())
    }
}

/// Background work that a stop waits for. See [`Watch::hold`].
#[derive(Debug)]
pub struct Hold(Arc<Shared>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOBS: Knobs = Knobs {
        grace: Duration::from_secs(2),
        limit: Duration::from_secs(30),
        linger: Duration::from_secs(1),
    };

    fn check(now: Phase, millis: u64, knobs: Knobs, census: Census, expected: Phase) {
        let elapsed = Duration::from_millis(millis);
        assert_eq!(phase(now, elapsed, knobs, &census), expected);
    }

    fn no_grace() -> Knobs {
        Knobs {
            grace: Duration::ZERO,
            ..KNOBS
        }
    }

    #[test]
    fn an_idle_process_stops_accepting_at_once() {
        check(
            Phase::LameDuck,
            0,
            no_grace(),
            Census::default(),
            Phase::Finishing,
        );
        check(
            Phase::Finishing,
            0,
            no_grace(),
            Census::default(),
            Phase::Done,
        );
    }

    #[test]
    fn grace_is_waited_out_even_when_nothing_is_open() {
        check(
            Phase::LameDuck,
            1_999,
            KNOBS,
            Census::default(),
            Phase::LameDuck,
        );
        check(
            Phase::LameDuck,
            2_000,
            KNOBS,
            Census::default(),
            Phase::Finishing,
        );
    }

    #[test]
    fn an_old_request_keeps_the_door_open_for_others() {
        let census = Census {
            old_requests: 1,
            open: 1,
            ..Census::default()
        };
        check(Phase::LameDuck, 28_000, no_grace(), census, Phase::LameDuck);
        // The last second belongs to those who were let in meanwhile.
        check(
            Phase::LameDuck,
            29_000,
            no_grace(),
            census,
            Phase::Finishing,
        );
        check(
            Phase::Finishing,
            29_999,
            no_grace(),
            census,
            Phase::Finishing,
        );
        check(Phase::Finishing, 30_000, no_grace(), census, Phase::Done);
    }

    #[test]
    fn new_requests_do_not_keep_the_door_open() {
        let census = Census {
            new_requests: 5,
            open: 5,
            ..Census::default()
        };
        check(Phase::LameDuck, 0, no_grace(), census, Phase::Finishing);
        check(Phase::Finishing, 10, no_grace(), census, Phase::Finishing);
    }

    #[test]
    fn quiet_connections_are_lingered_for_while_others_are_served() {
        let census = Census {
            unsettled: 3,
            open: 3,
            ..Census::default()
        };
        check(Phase::LameDuck, 5_000, no_grace(), census, Phase::LameDuck);
        check(
            Phase::LameDuck,
            29_000,
            no_grace(),
            census,
            Phase::Finishing,
        );
    }

    #[test]
    fn held_work_is_waited_for_until_the_limit() {
        let census = Census {
            held: 1,
            ..Census::default()
        };
        check(Phase::LameDuck, 5_000, no_grace(), census, Phase::LameDuck);
        check(
            Phase::Finishing,
            29_999,
            no_grace(),
            census,
            Phase::Finishing,
        );
        check(Phase::Finishing, 30_000, no_grace(), census, Phase::Done);
    }

    #[test]
    fn a_guard_counts_while_it_lives() {
        let drain = Drain::new();
        let hold = drain.watch().hold();
        assert_eq!(drain.held(), 1);
        drop(hold);
        assert_eq!(drain.held(), 0);
    }
}
