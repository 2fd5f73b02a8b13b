//! A restart under the strict probe, and what its clients met meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use zdt_e2e::machine::Machine;
use zdt_units::probe::{Ended, Held, Live, Load, Outcome, Pattern, Stream, run_observed};

use crate::{Result, next, statistics, units};

/// Between the first answers and the restart.
const SETTLE: Duration = Duration::from_millis(300);

/// The least that is counted behind the end of a restart.
const TAIL: Duration = Duration::from_millis(200);

/// What is done, and under which load.
pub(crate) struct Restart<'a> {
    pub(crate) address: &'a str,
    /// The restart, for a shell.
    pub(crate) script: &'a str,
    pub(crate) streams: Vec<Stream>,
    /// From the beginning of the restart to the end of what counts; longer if the restart takes longer.
    pub(crate) window: Duration,
    /// Whether more new clients come until the next process answers one of them.
    pub(crate) until_next: bool,
}

/// What the clients of one load met in the windows of several restarts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) lost: Vec<f64>,
    /// Connections that had to last and were closed.
    pub(crate) closed: Vec<f64>,
    /// Those of them whose last answer had announced it.
    pub(crate) announced: Vec<f64>,
    /// Of answers, in milliseconds.
    pub(crate) latencies: Vec<f64>,
    /// The longest stretch of each window without an answer, in milliseconds.
    pub(crate) gaps: Vec<f64>,
    /// Connections that the first stream made, over the whole of each run.
    pub(crate) opened: Vec<f64>,
    /// What became of the lost, and how often.
    pub(crate) losses: BTreeMap<String, u64>,
}

/// The requests that a restart may have touched.
pub(crate) struct Window {
    began: Duration,
    ended: Duration,
    requests: Vec<Ended>,
    opened: u64,
    held: Held,
    /// From the beginning to the first answer that a new client had from another process, if that was asked for.
    pub(crate) first_answer: Option<Duration>,
}

impl Seen {
    pub(crate) fn add(&mut self, window: &Window) {
        let count = |wanted: fn(&Ended) -> bool| {
            window.requests.iter().filter(|&end| wanted(end)).count() as f64
        };
        self.lost.push(count(|end| end.outcome.is_lost()));
        self.opened.push(window.opened as f64);
        let ended = |by| window.held.ended.get(by).copied().unwrap_or_default();
        // A wrong answer leaves its connection open; it counts with the lost requests.
        self.closed
            .push((window.held.lost() - ended("wrong_status")) as f64);
        self.announced.push(ended("announced_close") as f64);
        for end in window.requests.iter().filter(|end| end.outcome.is_lost()) {
            let name = match end.outcome {
                Outcome::WrongStatus(status) => format!("status {status}:"),
                other => other.name().to_owned(),
            };
            *self.losses.entry(name).or_default() += 1;
        }
        let answers = window
            .requests
            .iter()
            .filter(|end| end.outcome == Outcome::Ok);
        let mut answered = Vec::new();
        for answer in answers {
            let latency = answer.ended.saturating_sub(answer.due);
            self.latencies.push(milliseconds(latency));
            answered.push(answer.ended.min(window.ended));
        }
        self.gaps.push(milliseconds(longest_gap(
            window.began,
            answered,
            window.ended,
        )));
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The longest stretch of a window in which nothing happened.
fn longest_gap(began: Duration, mut events: Vec<Duration>, ended: Duration) -> Duration {
    events.push(ended);
    events.sort();
    let mut last = began;
    let mut longest = Duration::ZERO;
    for event in events {
        longest = longest.max(event.saturating_sub(last));
        last = event;
    }
    longest
}

/// Restarts once.
pub(crate) fn observe(machine: &Machine, restart: &Restart<'_>) -> Result<Window> {
    let load = Load {
        target: restart.address.parse()?,
        streams: restart.streams.clone(),
    };
    units::in_net(machine, async || run(machine, restart, &load).await)
}

async fn run(machine: &Machine, restart: &Restart<'_>, load: &Load) -> Result<Window> {
    let (observer, mut ends) = mpsc::unbounded_channel();
    let address = restart.address.parse()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let live = Live::new();
    let clock = Instant::now();
    let script = async {
        let _stops_at_the_end = stop;
        live.until_ok(first_answers(&load.streams)).await;
        tokio::time::sleep(SETTLE).await;
        let old = match restart.until_next {
            true => Some(next::who_answers(address).await?),
            false => None,
        };
        let began = clock.elapsed();
        let first_answer = async {
            match &old {
                Some(old) => next::first_answer(address, old).await.map(Some),
                None => Ok(None),
            }
        };
        let (_, first_answer) =
            tokio::try_join!(units::script(machine, restart.script), first_answer)?;
        let rest = (began + restart.window).saturating_sub(clock.elapsed());
        tokio::time::sleep(rest.max(TAIL)).await;
        Result::Ok((began, clock.elapsed(), first_answer))
    };
    let stopping = async {
        let _ = stopped.await;
    };
    let (report, window) =
        tokio::join!(run_observed(load, &live, Some(observer), stopping), script,);
    let (began, ended, first_answer) = window?;
    if !report.valid {
        return Err(format!("the probe failed: {}", report.warnings.join("; ")).into());
    }
    let mut requests = Vec::new();
    while let Ok(end) = ends.try_recv() {
        if end.ended >= began && end.due <= ended {
            requests.push(end);
        }
    }
    Ok(Window {
        began,
        ended,
        requests,
        opened: report.streams[0].connections.opened,
        held: report.total.held.unwrap_or_default(),
        first_answer,
    })
}

/// So many that each connection that has to last has answered, where all streams send as often.
fn first_answers(streams: &[Stream]) -> u64 {
    let held = streams.iter().map(|stream| match stream.pattern {
        Pattern::Hold { connections } => connections * streams.len(),
        _ => 1,
    });
    held.max().unwrap_or(1) as u64
}

impl Seen {
    pub(crate) fn lost_per_restart(&self) -> f64 {
        statistics::mean(&self.lost)
    }

    pub(crate) fn closed_per_restart(&self) -> f64 {
        statistics::mean(&self.closed)
    }

    pub(crate) fn announced_per_restart(&self) -> f64 {
        statistics::mean(&self.announced)
    }

    pub(crate) fn opened_per_restart(&self) -> f64 {
        statistics::mean(&self.opened)
    }

    pub(crate) fn p99(&self) -> f64 {
        statistics::quantile(&self.latencies, 0.99)
    }

    pub(crate) fn longest(&self) -> f64 {
        statistics::most(&self.latencies)
    }

    pub(crate) fn gap(&self) -> f64 {
        statistics::median(&self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_may_be_at_either_end_of_the_window() {
        let check = |events: &[u64], expected: u64| {
            let events = events.iter().map(|&at| Duration::from_millis(at)).collect();
            let [began, ended] = [100, 200].map(Duration::from_millis);
            assert_eq!(
                longest_gap(began, events, ended),
                Duration::from_millis(expected)
            );
        };
        check(&[], 100);
        check(&[190, 130, 160], 30);
        check(&[150, 150], 50);
        check(&[110, 120], 80);
    }

    #[test]
    fn a_wrong_answer_closes_no_connection() {
        let ended = [
            ("announced_close", 4),
            ("closed_idle", 2),
            ("wrong_status", 6),
        ];
        let window = Window {
            began: Duration::ZERO,
            ended: Duration::from_secs(1),
            requests: Vec::new(),
            opened: 40,
            held: Held {
                connections: 32,
                kept: 20,
                ended: ended.map(|(by, n)| (by.to_owned(), n)).into(),
            },
            first_answer: None,
        };
        let mut seen = Seen::default();
        seen.add(&window);
        assert_eq!([&seen.closed, &seen.announced], [&[6.0], &[4.0]]);
    }

    #[test]
    fn a_restart_waits_until_each_connection_that_has_to_last_has_answered() {
        let stream = |pattern| Stream {
            pattern,
            ..Stream::default()
        };
        assert_eq!(first_answers(&[stream(Pattern::New)]), 1);
        let pool = stream(Pattern::KeepAlive { connections: 32 });
        let held = stream(Pattern::Hold { connections: 32 });
        assert_eq!(first_answers(&[pool, held]), 64);
    }
}
