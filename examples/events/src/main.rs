//! Server-sent events that a browser goes on with after a restart, without a gap.
//!
//! Run with `cargo run -p ticker`, then open <http://127.0.0.1:8080>.
#![expect(
    clippy::disallowed_methods,
    reason = "its ticks are those of the clock"
)]

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Html;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream, StreamExt as _};
use zdt::{Drain, Watch};

/// How soon the browser comes back after a stream has ended.
const RETRY: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let drain = Drain::new();
    let watch = drain.watch();
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/ticks", get(move |headers| ticks(headers, watch)));
    let served = zdt::serve(zdt::listener_or("127.0.0.1:8080")?, app)
        .drain(&drain)
        .await?;
    eprintln!("ticker: {served}");
    Ok(())
}

/// Every tick after the one that the browser had last, until the process stops.
async fn ticks(
    headers: HeaderMap,
    watch: Watch,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let seen = headers.get("last-event-id");
    let seen = seen.and_then(|seen| seen.to_str().ok()?.parse().ok());
    let first = seen.map_or_else(next_tick, |seen: u64| seen.saturating_add(1));

    let hint = stream::iter([Ok(Event::default().retry(RETRY))]);
    let ticks = stream::unfold(first, |tick| async move {
        wait_for(tick).await;
        let event = Event::default().id(tick.to_string()).data("tick");
        Some((Ok(event), tick + 1))
    });
    let stop = async move { watch.draining().await };
    Sse::new(hint.chain(ticks).take_until(Box::pin(stop))).keep_alive(KeepAlive::default())
}

/// Ticks are numbered since 1970, so that every process knows those of the past.
const TICK: Duration = Duration::from_millis(20);

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn next_tick() -> u64 {
    u64::try_from(since_1970().as_millis() / TICK.as_millis()).unwrap_or(0) + 1
}

async fn wait_for(tick: u64) {
    let millis = tick.saturating_mul(20);
    let due = Duration::from_millis(millis);
    tokio::time::sleep(due.saturating_sub(since_1970())).await;
}
