//! What happens when in the demo. Pure.

use std::time::Duration;

use crate::probe::{Pattern, Stream};

/// One run: how long, and what when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    length: Duration,
    restarts: u32,
    first_restart: Duration,
    /// From one restart to the next; every second one meets a slow request.
    restart_every: Duration,
    slow_takes: Duration,
    slow_every: Duration,
}

/// The wait of a client between connecting and sending.
pub(super) const THINK: Duration = Duration::from_millis(20);
pub(super) const KEPT: usize = 16;
pub(super) const RATE: u32 = 300;

/// The streams of requests that are answered at once.
pub(super) const QUICK: [&str; 2] = ["new", "kept"];
pub(super) const SLOW: &str = "slow";

impl Schedule {
    pub(crate) fn full() -> Self {
        Self {
            length: Duration::from_secs(12),
            restarts: 5,
            first_restart: Duration::from_millis(2200),
            restart_every: Duration::from_secs(2),
            slow_takes: Duration::from_millis(1500),
            slow_every: Duration::from_secs(4),
        }
    }

    /// Two restarts, the second of which meets a slow request.
    pub(crate) fn quick() -> Self {
        Self {
            length: Duration::from_millis(4600),
            restarts: 2,
            first_restart: Duration::from_millis(1200),
            restart_every: Duration::from_millis(1500),
            slow_takes: Duration::from_secs(1),
            slow_every: Duration::from_millis(2500),
        }
    }

    /// How long requests are due.
    pub(crate) fn length(self) -> Duration {
        self.length
    }

    pub(crate) fn restarts(self) -> u32 {
        self.restarts
    }

    pub(super) fn slow_takes(self) -> Duration {
        self.slow_takes
    }

    /// When the restarts begin.
    pub(super) fn restart_times(self) -> impl Iterator<Item = Duration> {
        (0..self.restarts).map(move |n| self.first_restart + self.restart_every * n)
    }

    pub(super) fn streams(self) -> Vec<Stream> {
        let quick = |name: &str, pattern, think| Stream {
            name: name.to_owned(),
            pattern,
            think,
            rate: RATE.into(),
            requests: Some(u64::from(RATE) * self.length_millis() / 1000),
            ..Stream::default()
        };
        let slow_every = self.slow_every.as_secs_f64();
        vec![
            quick(QUICK[0], Pattern::New, THINK),
            quick(
                QUICK[1],
                Pattern::KeepAlive { connections: KEPT },
                Duration::ZERO,
            ),
            Stream {
                name: SLOW.to_owned(),
                rate: 1.0 / slow_every,
                requests: Some((self.length.as_secs_f64() / slow_every).ceil() as u64),
                path: format!("/slow?ms={}", self.slow_takes.as_millis()),
                ..Stream::default()
            },
        ]
    }

    fn length_millis(self) -> u64 {
        u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_restart_meets_a_slow_request() {
        let meets = |schedule: Schedule| -> Vec<bool> {
            let slow_since = |at: Duration| at.as_millis() % schedule.slow_every.as_millis();
            let times = schedule.restart_times();
            times
                .map(|at| slow_since(at) < schedule.slow_takes.as_millis())
                .collect()
        };
        assert_eq!(meets(Schedule::full()), [false, true, false, true, false]);
        assert_eq!(meets(Schedule::quick()), [false, true]);
    }

    #[test]
    fn all_restarts_are_over_before_the_load_is() {
        for schedule in [Schedule::full(), Schedule::quick()] {
            let last = schedule.restart_times().last().unwrap();
            let rest = schedule.length - last;
            assert!(rest > schedule.slow_takes + Duration::from_millis(200));
            let slow = &schedule.streams()[2];
            let last_slow =
                schedule.slow_every * u32::try_from(slow.requests.unwrap() - 1).unwrap();
            assert!(last_slow + schedule.slow_takes <= schedule.length);
        }
    }
}
