//! The client against servers that are known to lose requests: each loss must be
//! seen, counted once, and counted in its class.
//!
//! Two ways to send: [`at_rate`] is the whole client, for servers whose behaviour
//! depends on the connection only; [`in_turn`] sends the next request when the
//! last one has ended, which makes the state of a pool exact.

mod hold;
mod http1;
mod http2;
mod open_loop;
mod server;

use std::future::pending;
use std::time::Duration;

use super::drive::Job;
use super::outcome::{Outcome, Outcomes};
use super::record::Trace;
use super::{Address, Load, Report, Stream, Target, run};

/// Sends `n` requests at 1000 a second, on whatever pattern `stream` has.
async fn at_rate(n: u64, address: Address, stream: Stream) -> Report {
    let load = Load {
        target: Target::new(address),
        streams: vec![Stream {
            rate: 1000.0,
            requests: Some(n),
            ..stream
        }],
    };
    run(&load, pending()).await
}

/// The outcomes of one stream, with what the sum of all streams must agree with.
fn outcomes(report: &Report) -> Outcomes {
    assert_eq!(report.streams.len(), 1);
    let stream = &report.streams[0];
    assert_eq!(report.total.outcomes, stream.outcomes);
    let timeline = &stream.timeline;
    let sum = |counts: &[u32]| counts.iter().map(|&n| u64::from(n)).sum::<u64>();
    assert_eq!(sum(&timeline.ok), stream.outcomes.ok);
    assert_eq!(sum(&timeline.lost), stream.outcomes.lost());
    stream.outcomes.clone()
}

/// Sends `n` requests, each when the one before it has ended.
async fn in_turn(n: usize, address: Address, stream: Stream) -> (Vec<Outcome>, Met) {
    let job = Job::new(0, &Target::new(address), &stream);
    let mut ended = Vec::new();
    for _ in 0..n {
        ended.push(job.request().await);
    }
    sum(ended)
}

/// Sends `n` requests at the same time.
async fn together(n: usize, address: Address, stream: Stream) -> (Vec<Outcome>, Met) {
    let job = Job::new(0, &Target::new(address), &stream);
    sum(futures_util::future::join_all((0..n).map(|_| job.request())).await)
}

/// What the requests met with their connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Met {
    opened: u64,
    reused: u64,
    stale: u64,
    announced_close: u64,
}

fn sum(ended: Vec<(Outcome, Trace)>) -> (Vec<Outcome>, Met) {
    let mut met = Met::default();
    let mut outcomes = Vec::new();
    for (outcome, trace) in ended {
        met.opened += trace.opened;
        met.reused += u64::from(trace.reused);
        met.stale += trace.stale;
        met.announced_close += trace.announced_close;
        outcomes.push(outcome);
    }
    (outcomes, met)
}

/// Long enough for every answer, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(60);
