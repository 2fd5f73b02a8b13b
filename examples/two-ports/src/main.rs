//! A public port, an admin port, and a health port of its own.
//!
//! Run with `cargo run -p tickets`, then open <http://127.0.0.1:8080> and <http://127.0.0.1:9000>.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::{Router, routing::get};
use zdt::{Health, Listener};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Started by systemd without its sockets it ends here, before anything is bound.
    let http = zdt::listener_or("127.0.0.1:8080")?;
    let (admin, health) = match zdt::listeners() {
        Ok(passed) => (
            passed.take("admin")?,
            Health::new().listen(passed.take("health")?),
        ),
        Err(_) => (Listener::bind("127.0.0.1:9000")?, Health::new()),
    };
    let sold = Arc::new(AtomicU64::new(0));
    let public = Router::new().route("/", get(buy)).with_state(sold.clone());
    let office = Router::new().route("/", get(count)).with_state(sold);
    health.ready();
    let served = zdt::serve(http, public)
        .also(admin, office)
        .health(health)
        .await?;
    eprintln!("tickets: {served}");
    Ok(())
}

async fn buy(State(sold): State<Arc<AtomicU64>>) -> String {
    format!("ticket {}\n", sold.fetch_add(1, Ordering::Relaxed) + 1)
}

async fn count(State(sold): State<Arc<AtomicU64>>) -> String {
    format!("{} sold by this process\n", sold.load(Ordering::Relaxed))
}
