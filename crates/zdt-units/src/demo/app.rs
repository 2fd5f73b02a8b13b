//! The small app of the demo, served in two ways.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::routing::any;
use listenfd::ListenFd;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use zdt::Health;

/// Why the app does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error(transparent)]
    Listen(#[from] zdt::ListenError),
    #[error(transparent)]
    Serve(#[from] zdt::ServeError),
    #[error("no socket was passed; the demo starts this program, or `zdt-units run` does")]
    NotPassed,
    #[error("failed to {what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
}

fn router() -> Router {
    Router::new()
        .route("/", any(|| async { "hello\n" }))
        .route("/slow", any(slow))
}

#[derive(Deserialize)]
struct Pause {
    ms: u64,
}

async fn slow(Query(Pause { ms }): Query<Pause>) -> &'static str {
    sleep(Duration::from_millis(ms)).await;
    "hello at last\n"
}

/// Serves with zdt: the whole program of an app.
///
/// Health is answered where a socket for it was passed.
pub(crate) async fn zdt() -> Result<(), AppError> {
    let passed = zdt::listeners()?;
    if !passed.names().iter().any(|name| name == "health") {
        zdt::serve(zdt::listener()?, router()).await?;
        return Ok(());
    }
    let health = Health::new().listen(passed.take("health")?);
    health.ready();
    zdt::serve(passed.take("http")?, router())
        .health(health)
        .await?;
    Ok(())
}

/// Serves by the usual recipe: `listenfd`, `axum::serve`, `with_graceful_shutdown`.
pub(crate) async fn stock() -> Result<(), AppError> {
    let io = |what| move |source| AppError::Io { what, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(io("listen for SIGTERM"))?;
    let passed = ListenFd::from_env()
        .take_tcp_listener(0)
        .map_err(io("take the socket"))?
        .ok_or(AppError::NotPassed)?;
    passed
        .set_nonblocking(true)
        .map_err(io("set up the socket"))?;
    let listener = TcpListener::from_std(passed).map_err(io("set up the socket"))?;
    zdt::notify::ready().map_err(io("say `READY=1`"))?;
    axum::serve(listener, router())
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
        .map_err(io("serve"))
}
