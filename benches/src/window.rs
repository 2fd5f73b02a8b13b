//! A restart under the strict probe, and what its clients met meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use zdt_e2e::machine::Machine;
use zdt_units::probe::{Ended, Live, Load, Outcome, Stream, run_observed};

use crate::{Result, statistics, units};

/// Between the first answers and the restart.
const SETTLE: Duration = Duration::from_millis(300);

/// The least that is counted behind the end of a restart.
const TAIL: Duration = Duration::from_millis(200);

/// What is done, and under which load.
pub(crate) struct Restart<'a> {
    pub(crate) address: &'a str,
    /// The restart, for a shell.
    pub(crate) script: &'a str,
    pub(crate) stream: Stream,
    /// From the beginning of the restart to the end of what counts; longer if the restart takes longer.
    pub(crate) window: Duration,
}

/// What the clients of one load met in the windows of several restarts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) lost: Vec<f64>,
    /// Kept connections that were found closed.
    pub(crate) stale: Vec<f64>,
    /// Of answers, in milliseconds.
    pub(crate) latencies: Vec<f64>,
    /// The longest stretch of each window without an answer, in milliseconds.
    pub(crate) gaps: Vec<f64>,
    /// Connections that were made, over the whole of each run.
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
}

impl Seen {
    pub(crate) fn add(&mut self, window: &Window) {
        let count = |wanted: fn(&Ended) -> bool| {
            window.requests.iter().filter(|&end| wanted(end)).count() as f64
        };
        self.lost.push(count(|end| end.outcome.is_lost()));
        self.stale.push(count(|end| end.stale));
        self.opened.push(window.opened as f64);
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

fn milliseconds(time: Duration) -> f64 {
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
        streams: vec![restart.stream.clone()],
    };
    units::in_net(machine, async || run(machine, restart, &load).await)
}

async fn run(machine: &Machine, restart: &Restart<'_>, load: &Load) -> Result<Window> {
    let (observer, mut ends) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let live = Live::new();
    let clock = Instant::now();
    let script = async {
        let _stops_at_the_end = stop;
        live.until_ok(1).await;
        tokio::time::sleep(SETTLE).await;
        let began = clock.elapsed();
        let restarted = units::script(machine, restart.script).await;
        let rest = (began + restart.window).saturating_sub(clock.elapsed());
        tokio::time::sleep(rest.max(TAIL)).await;
        restarted.map(|()| (began, clock.elapsed()))
    };
    let stopping = async {
        let _ = stopped.await;
    };
    let (report, window) =
        tokio::join!(run_observed(load, &live, Some(observer), stopping), script,);
    let (began, ended) = window?;
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
        opened: report.total.connections.opened,
    })
}

impl Seen {
    pub(crate) fn lost_per_restart(&self) -> f64 {
        statistics::mean(&self.lost)
    }

    pub(crate) fn stale_per_restart(&self) -> f64 {
        statistics::mean(&self.stale)
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
}
