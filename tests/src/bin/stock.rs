//! The recipe that everybody copies: `listenfd`, `axum::serve`, and
//! `with_graceful_shutdown`. The control of every zdt test.

use std::error::Error;
use std::process::ExitCode;

use listenfd::ListenFd;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use zdt_e2e::router::router;
use zdt_e2e::startup::{Crash, start_up};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Err(Crash) = start_up().await {
        return Ok(ExitCode::FAILURE);
    }
    let listener = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(inherited) => {
            inherited.set_nonblocking(true)?;
            TcpListener::from_std(inherited)?
        }
        None => TcpListener::bind("127.0.0.1:8080").await?,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    // Does nothing in a unit without `Type=notify`.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    axum::serve(listener, router())
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}
