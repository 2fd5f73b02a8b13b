//! Measures how long nobody listens, from outside: by connecting, over and over.

#![expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, with its own clock, so that nothing else delays it"
)]

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::event::EventKind;
use crate::model::Reach;

/// Between two rounds. A refusal is told by the kernel at once, so this is the resolution.
const PAUSE: Duration = Duration::from_millis(1);

/// How long somebody who is started is waited for until he listens.
const LATEST: Duration = Duration::from_secs(10);

/// A connection that has to wait was not refused.
const LONGEST: Duration = Duration::from_secs(1);

/// Connects until it is told to stop and somebody listens.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Measured>,
    addresses: Vec<String>,
}

/// What was seen at all addresses together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Measured {
    connections: u32,
    refused: u32,
    /// The last time that someone listened before the first time that nobody did.
    from: Option<Duration>,
    /// The first time that someone listened after the last time that nobody did.
    until: Option<Duration>,
}

impl Watch {
    pub fn start(reach: Vec<Reach>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let addresses = reach.iter().map(Reach::to_string).collect();
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let mut measured = Measured::default();
            let mut last = None;
            let mut end = None;
            loop {
                if told.load(Ordering::Relaxed) {
                    let end = *end.get_or_insert_with(|| started.elapsed() + LATEST);
                    if measured.is_over() || started.elapsed() > end {
                        break;
                    }
                }
                let before = started.elapsed();
                let listens = reach.iter().any(listens);
                measured.take(listens, before, started.elapsed(), &mut last);
                thread::sleep(PAUSE);
            }
            measured
        });
        Self {
            stop,
            thread,
            addresses,
        }
    }

    pub fn finish(self) -> EventKind {
        self.stop.store(true, Ordering::Relaxed);
        let measured = self.thread.join().unwrap_or_default();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        EventKind::Gap {
            addresses: self.addresses,
            connections: measured.connections,
            refused: measured.refused,
            from_ms: measured.from.map(milliseconds),
            until_ms: measured.until.map(milliseconds),
        }
    }
}

impl Measured {
    fn is_over(&self) -> bool {
        self.refused == 0 || self.until.is_some()
    }

    /// One round, which began and ended at these times. The gap is never told
    /// shorter than it was: it begins with the last success and ends with one.
    fn take(
        &mut self,
        listens: bool,
        began: Duration,
        ended: Duration,
        last: &mut Option<Duration>,
    ) {
        self.connections += 1;
        match listens {
            true => {
                *last = Some(began);
                if self.refused > 0 && self.until.is_none() {
                    self.until = Some(ended);
                }
            }
            false => {
                self.refused += 1;
                if self.from.is_none() {
                    self.from = *last;
                }
                self.until = None;
            }
        }
    }
}

fn listens(reach: &Reach) -> bool {
    match reach {
        Reach::Tcp(address) => match TcpStream::connect_timeout(address, LONGEST) {
            Ok(stream) => {
                // Ends it without a time of waiting that would use up the ports.
                let linger = nix::libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                let _ = setsockopt(&stream, sockopt::Linger, &linger);
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::TimedOut,
        },
        Reach::Unix(path) => UnixStream::connect(path.as_str()).is_ok(),
        // Nothing listens there but the process itself.
        Reach::OwnPort(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_from_success_to_success() {
        let ms = Duration::from_millis;
        let mut measured = Measured::default();
        let mut last = None;
        for (at, listens) in [
            (1, true),
            (3, false),
            (5, true),
            (7, false),
            (9, true),
            (11, true),
        ] {
            measured.take(listens, ms(at), ms(at + 1), &mut last);
        }
        let expected = Measured {
            connections: 6,
            refused: 2,
            from: Some(ms(1)),
            until: Some(ms(10)),
        };
        assert_eq!(measured, expected);
    }
}
