//! The stop of a server: one loop over [`drain::phase`], which decides, and a
//! rule for each connection, which is pure as well.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use super::outcome::{Cut, Served, count};
use super::registry::{Ask, Doing, Registry, Seen};
use crate::drain::{self, Census, Drain, Knobs, Phase};
use crate::notify;

/// The longest time between two looks; ends of requests wake the loop sooner.
const LOOK: Duration = Duration::from_millis(10);

/// With so many connections a look is worth a pause before the next one.
const FEW: u64 = 64;

/// How long a client that has its last answer may keep the restart waiting.
const CLOSING: Duration = Duration::from_millis(250);

/// Added to the manager's patience each second, while work goes on.
const EXTENSION: Duration = Duration::from_secs(10);

/// What a stop works with.
pub(super) struct Stop<'a> {
    pub(super) registry: &'a Registry,
    pub(super) drain: &'a Drain,
    pub(super) knobs: Knobs,
    /// Whether connections go to the next process, as far as is known now.
    pub(super) hands_over: bool,
    /// Ends accepting for the app.
    pub(super) doors: &'a watch::Sender<bool>,
    pub(super) accepting: &'a mut JoinSet<()>,
}

impl Stop<'_> {
    /// Runs until nothing is left or time is up, and says what happened.
    pub(super) async fn run(self) -> Served {
        let started = Instant::now();
        let mut phase = Phase::LameDuck;
        let mut said = Duration::ZERO;
        let mut ticks = interval(LOOK);
        loop {
            let now = Instant::now();
            let elapsed = now - started;
            let census = self.look(phase, now, elapsed);
            let next = drain::phase(phase, elapsed, self.knobs, &census);
            if phase == Phase::LameDuck && next != Phase::LameDuck {
                self.doors.send_replace(true);
                while self.accepting.join_next().await.is_some() {}
            }
            if next == Phase::Done {
                return end(self.registry, self.drain, elapsed);
            }
            if next != phase {
                // Once more at once: what was asked of nobody is asked now.
                phase = next;
                continue;
            }
            if elapsed >= said + Duration::from_secs(1) {
                said = elapsed;
                say(phase, &census);
            }
            tokio::select! {
                // Many end at about the same time, and a look at all for each of
                // them would take a time that grows with the square.
                () = self.registry.changed.notified() => if census.open > FEW {
                    sleep(Duration::from_millis(1)).await;
                },
                _ = ticks.tick() => {}
            }
        }
    }

    /// Counts the connections of the app, and asks of each what its turn is.
    fn look(&self, phase: Phase, now: Instant, elapsed: Duration) -> Census {
        let mut census = Census {
            held: self.drain.held(),
            ..Census::default()
        };
        let farewell = match (self.hands_over, self.registry.hands_over()) {
            (false, _) => Farewell::Announced,
            (true, true) => Farewell::HandedOver,
            (true, false) => Farewell::Unannounced,
        };
        self.registry.scan(now, |conn, seen| {
            if conn.health {
                return Ask::Nothing;
            }
            let lingered = elapsed.min(seen.quiet_for) >= self.knobs.linger;
            let settled = lingered || farewell == Farewell::HandedOver;
            enter(&mut census, seen, settled);
            ask(phase, seen, self.knobs, farewell)
        });
        census
    }
}

/// Cuts what is left and counts it.
pub(super) fn end(registry: &Registry, drain: &Drain, took: Duration) -> Served {
    let mut cut = Cut {
        held: drain.held(),
        ..Cut::default()
    };
    registry.scan(Instant::now(), |conn, seen| {
        if conn.health {
            return Ask::Nothing;
        }
        match seen.doing {
            Doing::Busy { old, new } | Doing::Http2 { old, new } => cut.requests += old + new,
            Doing::HalfRead => cut.half_read += 1,
            Doing::Upgraded => cut.upgraded += 1,
            Doing::Silent | Doing::Idle | Doing::Leaving | Doing::Closing => {}
        }
        Ask::Cut
    });
    let totals = &registry.totals;
    cut.half_read += totals.cut_half_read.load(Relaxed);
    Served {
        took,
        connections: totals.connections.load(Relaxed),
        requests: totals.requests.load(Relaxed),
        during_drain: totals.during_drain.load(Relaxed),
        quiet_closed: totals.quiet_closed.load(Relaxed),
        handed_over: totals.handed_over.load(Relaxed),
        cut,
    }
}

/// How an HTTP/1.1 connection between two requests ends for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// Answers said so, or there was time to send.
    Announced,
    /// It does not: the next process has it.
    HandedOver,
    /// It was to be handed over, and nobody takes it any more.
    Unannounced,
}

/// Enters a connection in the census.
fn enter(census: &mut Census, seen: Seen, settled: bool) {
    census.open += 1;
    match seen.doing {
        Doing::Busy { old, new } | Doing::Http2 { old, new } => {
            census.old_requests += old;
            census.new_requests += new;
        }
        Doing::Silent | Doing::Idle | Doing::HalfRead => {
            census.unsettled += u64::from(seen.old && !settled);
        }
        Doing::Upgraded => census.upgraded += 1,
        Doing::Leaving => {}
        Doing::Closing => {
            // Its client has the answer and is slow to close; better it is
            // waited for while the door is open than when others queue.
            census.unsettled += u64::from(seen.old && seen.quiet_for < CLOSING);
        }
    }
}

/// What a connection is asked, given the phase.
///
/// While the door is open everything may take its time. Then HTTP/1.1
/// connections are handed over, at once or after their answer.
///
/// Where they cannot be, one between two requests closes at once, because its
/// client was told so or had the whole linger time to send; one on which a first
/// request may be on its way is waited for.
fn ask(phase: Phase, seen: Seen, knobs: Knobs, farewell: Farewell) -> Ask {
    let lingered = seen.quiet_for >= knobs.linger;
    match (phase, seen.doing) {
        (Phase::LameDuck, _) => Ask::Nothing,
        (_, Doing::Idle | Doing::Silent | Doing::HalfRead | Doing::Busy { .. })
            if farewell == Farewell::HandedOver =>
        {
            Ask::HandOver
        }
        (_, Doing::Busy { .. } | Doing::Leaving) => Ask::Nothing,
        (_, Doing::Idle) if lingered || farewell == Farewell::Announced => Ask::CloseQuiet,
        (_, Doing::Idle) => Ask::Nothing,
        (_, Doing::Silent) if lingered => Ask::CloseQuiet,
        (_, Doing::HalfRead) if lingered => Ask::CloseHalfRead,
        (_, Doing::Silent | Doing::HalfRead) => Ask::Nothing,
        // A client that does not answer the ping between two GOAWAYs would be
        // waited for until the limit.
        (_, Doing::Http2 { old: 0, new: 0 }) if lingered => Ask::Cut,
        (_, Doing::Http2 { .. } | Doing::Upgraded) => Ask::CloseQuiet,
        (_, Doing::Closing) if seen.quiet_for >= CLOSING => Ask::Cut,
        (_, Doing::Closing) => Ask::Nothing,
    }
}

/// Tells the manager that the stop goes on and may take longer.
fn say(phase: Phase, census: &Census) {
    let doing = match phase {
        Phase::LameDuck => "draining, still accepting",
        _ => "draining, accepts no more",
    };
    let text = format!(
        "{doing}: {} in flight, {} upgraded, {} open",
        count(census.old_requests + census.new_requests, "request"),
        census.upgraded,
        count(census.open, "connection"),
    );
    // A manager that cannot be reached must not stop the stop.
    let _ = notify::status(&text).and_then(|()| notify::extend_timeout(EXTENSION));
}

/// Answers the last probes, by the same rule as everything else: one that was
/// accepted and has sent nothing is not closed in its face.
pub(super) async fn close_health(registry: &Registry, knobs: Knobs) {
    let ended = async {
        let mut ticks = interval(LOOK);
        loop {
            let mut open = 0;
            registry.scan(Instant::now(), |conn, seen| match conn.health {
                true => {
                    open += 1;
                    ask(Phase::Finishing, seen, knobs, Farewell::Announced)
                }
                false => Ask::Nothing,
            });
            if open == 0 {
                return;
            }
            tokio::select! {
                () = registry.changed.notified() => {}
                _ = ticks.tick() => {}
            }
        }
    };
    // A probe that does not end loses nothing but itself.
    let _ = timeout(knobs.linger + CLOSING, ended).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(phase: Phase, doing: Doing, quiet_millis: u64, expected: Ask) {
        check_with(Farewell::Announced, phase, doing, quiet_millis, expected);
    }

    fn check_with(
        farewell: Farewell,
        phase: Phase,
        doing: Doing,
        quiet_millis: u64,
        expected: Ask,
    ) {
        let seen = Seen {
            old: true,
            doing,
            quiet_for: Duration::from_millis(quiet_millis),
        };
        let ask = ask(phase, seen, Knobs::default(), farewell);
        assert_eq!(ask, expected);
    }

    #[test]
    fn nothing_is_closed_while_the_door_is_open() {
        for doing in [
            Doing::Silent,
            Doing::Idle,
            Doing::HalfRead,
            Doing::Busy { old: 1, new: 0 },
            Doing::Http2 { old: 0, new: 0 },
            Doing::Upgraded,
            Doing::Closing,
        ] {
            check(Phase::LameDuck, doing, 60_000, Ask::Nothing);
        }
    }

    #[test]
    fn a_request_in_flight_is_never_asked_to_end() {
        let busy = Doing::Busy { old: 0, new: 1 };
        check(Phase::Finishing, busy, 60_000, Ask::Nothing);
        let streams = Doing::Http2 { old: 0, new: 1 };
        check(Phase::Finishing, streams, 60_000, Ask::CloseQuiet);
    }

    #[test]
    fn a_silent_connection_is_waited_for() {
        check(Phase::Finishing, Doing::Silent, 999, Ask::Nothing);
        check(Phase::Finishing, Doing::Silent, 1_000, Ask::CloseQuiet);
        check(Phase::Finishing, Doing::HalfRead, 999, Ask::Nothing);
        check(Phase::Finishing, Doing::HalfRead, 1_000, Ask::CloseHalfRead);
    }

    #[test]
    fn an_idle_one_had_its_time_before() {
        check(Phase::Finishing, Doing::Idle, 0, Ask::CloseQuiet);
    }

    #[test]
    fn what_is_handed_over_waits_for_nothing_but_its_answer() {
        let http1 = [
            Doing::Idle,
            Doing::Silent,
            Doing::HalfRead,
            Doing::Busy { old: 1, new: 0 },
        ];
        for doing in http1 {
            let over = Farewell::HandedOver;
            check_with(over, Phase::LameDuck, doing, 60_000, Ask::Nothing);
            check_with(over, Phase::Finishing, doing, 0, Ask::HandOver);
        }
        let streams = Doing::Http2 { old: 0, new: 1 };
        check_with(
            Farewell::HandedOver,
            Phase::Finishing,
            streams,
            0,
            Ask::CloseQuiet,
        );
    }

    #[test]
    fn without_an_announcement_an_idle_one_is_waited_for_too() {
        let late = Farewell::Unannounced;
        check_with(late, Phase::Finishing, Doing::Idle, 999, Ask::Nothing);
        check_with(late, Phase::Finishing, Doing::Idle, 1_000, Ask::CloseQuiet);
    }

    #[test]
    fn a_peer_that_does_not_react_is_not_waited_for_until_the_limit() {
        check(Phase::Finishing, Doing::Closing, 250, Ask::Cut);
        check(
            Phase::Finishing,
            Doing::Http2 { old: 0, new: 0 },
            1_000,
            Ask::Cut,
        );
    }
}
