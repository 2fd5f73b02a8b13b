//! The recipe that everybody copies: `listenfd`, `axum::serve`, and
//! `with_graceful_shutdown`. The control of every zdt test.

use std::error::Error;
use std::process::ExitCode;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use zdt_e2e::router::router;
use zdt_e2e::startup::{Crash, start_up};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Err(Crash) = start_up().await {
        return Ok(ExitCode::FAILURE);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    // Does nothing in a unit without `Type=notify`.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let stop = async move {
        terminate.recv().await;
    };
    let mut inherited = ListenFd::from_env();
    // Says no, and leaves it there, if the descriptor is a Unix socket.
    if let Ok(Some(tcp)) = inherited.take_tcp_listener(0) {
        tcp.set_nonblocking(true)?;
        let listener = TcpListener::from_std(tcp)?;
        axum::serve(listener, router())
            .with_graceful_shutdown(stop)
            .await?;
    } else if let Some(unix) = inherited.take_unix_listener(0)? {
        unix.set_nonblocking(true)?;
        let listener = UnixListener::from_std(unix)?;
        axum::serve(listener, router())
            .with_graceful_shutdown(stop)
            .await?;
    } else {
        let listener = TcpListener::bind(address()).await?;
        axum::serve(listener, router())
            .with_graceful_shutdown(stop)
            .await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where it binds when it was passed nothing.
#[expect(clippy::disallowed_methods, reason = "the edge: reads the environment")]
fn address() -> String {
    std::env::var("BIND").unwrap_or_else(|_| "127.0.0.1:8080".to_owned())
}
