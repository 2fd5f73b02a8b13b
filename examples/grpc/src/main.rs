//! A tonic service whose restarts cost no call.
//!
//! Run with `cargo run -p clock`, and beside it `cargo run -p clock --bin client`.

mod service;

use tonic::service::Routes;
use zdt::{Drain, Watch};

use self::service::{ClockServer, Clockwork};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let drain = Drain::new();
    let clock = Clockwork::new(drain.watch());
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ClockServer<Clockwork>>().await;
    tokio::spawn(say_goodbye(health, drain.watch()));

    let routes = Routes::new(health_service).add_service(ClockServer::new(clock));
    let served = zdt::serve(zdt::listener_or("127.0.0.1:50051")?, routes.prepare())
        .drain(&drain)
        .await?;
    eprintln!("clock: {served}");
    Ok(())
}

/// Ends the streams of those who watch the health: they too would hold the restart.
async fn say_goodbye(health: tonic_health::server::HealthReporter, watch: Watch) {
    watch.draining().await;
    let mut health = health;
    health.set_not_serving::<ClockServer<Clockwork>>().await;
    for name in ["", "clock.v1.Clock"] {
        health.clear_service_status(name).await;
    }
}
