//! The clock: one call, and one stream that a restart ends in time.
#![expect(clippy::disallowed_methods, reason = "a clock tells the time")]

use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, Stream};
use tonic::{Request, Response, Status};
use zdt::Watch;

use self::proto::clock_server::Clock;
pub use self::proto::clock_server::ClockServer;
use self::proto::{NowRequest, Tick, TicksRequest};

mod proto {
    tonic::include_proto!("clock.v1");
}

const TICK: Duration = Duration::from_millis(100);

/// How many ticks of the past a stream begins with at most: a minute.
const PAST: u64 = 600;

#[derive(Debug)]
pub struct Clockwork {
    watch: Watch,
}

impl Clockwork {
    pub fn new(watch: Watch) -> Self {
        Self { watch }
    }
}

#[tonic::async_trait]
impl Clock for Clockwork {
    type TicksStream = Pin<Box<dyn Stream<Item = Result<Tick, Status>> + Send>>;

    async fn now(&self, _: Request<NowRequest>) -> Result<Response<Tick>, Status> {
        let number = now();
        Ok(Response::new(Tick { number }))
    }

    async fn ticks(
        &self,
        request: Request<TicksRequest>,
    ) -> Result<Response<Self::TicksStream>, Status> {
        let last = match request.into_inner().after {
            0 => now(),
            after => after.clamp(now().saturating_sub(PAST), now()),
        };
        let ticks = stream::unfold(
            (last + 1, Some(self.watch.clone())),
            |(number, watch)| async move {
                let watch = watch?;
                tokio::select! {
                    biased;
                    () = until(number) => Some((Ok(Tick { number }), (number + 1, Some(watch)))),
                    // Clients take UNAVAILABLE as: ask again.
                    () = watch.draining() => {
                        Some((Err(Status::unavailable("the service restarts")), (number, None)))
                    }
                }
            },
        );
        Ok(Response::new(Box::pin(ticks)))
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The last tick.
fn now() -> u64 {
    u64::try_from(since_1970().as_millis() / TICK.as_millis()).unwrap_or(u64::MAX)
}

async fn until(tick: u64) {
    let due = TICK * u32::try_from(tick.saturating_sub(now())).unwrap_or(u32::MAX);
    let late =
        Duration::from_nanos(u64::try_from(since_1970().as_nanos() % TICK.as_nanos()).unwrap_or(0));
    tokio::time::sleep(due.saturating_sub(late)).await;
}
