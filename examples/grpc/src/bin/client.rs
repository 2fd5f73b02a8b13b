//! A client of the clock that counts what a restart costs.
//!
//! `client [ADDRESS]`, until its standard input ends.
//!
//! It sends again only what was never sent: while a connection leaves, hyper hands back the calls
//! that it had not written yet, and tonic reports them as `Cancelled`.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use self::proto::clock_client::ClockClient;
use self::proto::{NowRequest, Tick, TicksRequest};

mod proto {
    tonic::include_proto!("clock.v1");
}

/// Calls that are in flight at any time.
const CALLS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let clock = ClockClient::new(Endpoint::from_shared(address)?.connect_lazy());

    let ended = Arc::new(AtomicBool::new(false));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(call(clock.clone(), ended.clone()));
    }
    let streams = tokio::spawn(follow(clock, ended.clone()));
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    ended.store(true, Ordering::Relaxed);

    let mut tally = Tally::default();
    for calls in calls.join_all().await {
        tally.add(calls);
    }
    let failed: u32 = tally.failed.values().sum();
    println!(
        "{} calls answered, {failed} failed, {} sent again",
        tally.answered, tally.unsent
    );
    let (ticks, broken) = streams.await?;
    println!("{ticks}, {} broken", broken.failed.values().sum::<u32>());
    tally.add(broken);
    for (failure, times) in tally.failed {
        println!("{times} times {failure}");
    }
    Ok(())
}

/// What became of the calls.
#[derive(Debug, Default)]
struct Tally {
    answered: u32,
    unsent: u32,
    failed: BTreeMap<String, u32>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.unsent += other.unsent;
        for (failure, times) in other.failed {
            *self.failed.entry(failure).or_default() += times;
        }
    }

    fn fail(&mut self, status: &Status) {
        let failure = format!("{:?}: {}", status.code(), causes(status));
        *self.failed.entry(failure).or_default() += 1;
    }
}

/// Call after call.
async fn call(mut clock: ClockClient<Channel>, ended: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    while !ended.load(Ordering::Relaxed) {
        match clock.now(NowRequest {}).await {
            Ok(_) => tally.answered += 1,
            Err(status) if was_never_sent(&status) => tally.unsent += 1,
            Err(status) => tally.fail(&status),
        }
    }
    tally
}

/// Whether a call can be sent again, whatever it does: the server has not seen it.
fn was_never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_canceled();
        }
        cause = error.source();
    }
    false
}

/// Follows the ticks; where one stream ends, another goes on.
async fn follow(mut clock: ClockClient<Channel>, ended: Arc<AtomicBool>) -> (String, Tally) {
    let mut tally = Tally::default();
    let (mut last, mut ticks, mut missing, mut twice, mut streams) = (0, 0, 0, 0, 0);
    while !ended.load(Ordering::Relaxed) {
        let mut stream = match clock.ticks(TicksRequest { after: last }).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if was_never_sent(&status) => continue,
            Err(status) => {
                tally.fail(&status);
                continue;
            }
        };
        streams += 1;
        let end = loop {
            match stream.message().await {
                Ok(Some(Tick { number })) => {
                    ticks += 1;
                    twice += u64::from(number <= last);
                    missing += if last == 0 {
                        0
                    } else {
                        number.saturating_sub(last + 1)
                    };
                    last = number;
                }
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
            if ended.load(Ordering::Relaxed) {
                break None;
            }
        };
        match end {
            Some(status) if status.code() != Code::Unavailable => tally.fail(&status),
            _ => {}
        }
    }
    let ticks = format!("{ticks} ticks, {missing} missing, {twice} twice, {streams} streams");
    (ticks, tally)
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
}
