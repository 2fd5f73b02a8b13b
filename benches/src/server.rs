//! The servers that are measured. All are this same program, so that loading it costs each of them the same.

mod floor;
#[cfg(feature = "rivals")]
mod rivals;
mod tokio;

use std::net::SocketAddr;
use std::time::Duration;

use ::tokio::net::TcpListener;
use ::tokio::signal::unix::{SignalKind, signal};
use axum::Router;
use axum::routing::get;
use clap::ValueEnum;
use listenfd::ListenFd;

use crate::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    which: Which,
    /// Where to listen if no socket is passed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How long it takes to start.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    start_up: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Zdt,
    /// `axum::serve` on the socket that zdt would serve, with its settings.
    Axum,
    /// What everybody copies: `listenfd`, `axum::serve`, `with_graceful_shutdown`.
    Stock,
    /// Accepts with tokio and answers without HTTP.
    Tokio,
    /// As little as a socket-activated program can be.
    Floor,
    Ecdysis,
    Shellflip,
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Which::Zdt => "zdt",
            Which::Axum => "axum",
            Which::Stock => "stock",
            Which::Tokio => "tokio",
            Which::Floor => "floor",
            Which::Ecdysis => "ecdysis",
            Which::Shellflip => "shellflip",
        }
    }
}

/// Serves until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    // It has no runtime to start.
    if args.which == Which::Floor {
        std::thread::sleep(args.start_up);
        return floor::serve();
    }
    ::tokio::runtime::Runtime::new()?.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    match args.which {
        Which::Zdt => zdt(args).await,
        Which::Axum => axum(args).await,
        Which::Stock => stock(args).await,
        Which::Tokio => tokio::serve().await,
        Which::Floor => floor::serve(),
        #[cfg(feature = "rivals")]
        Which::Ecdysis => rivals::ecdysis(args).await,
        #[cfg(feature = "rivals")]
        Which::Shellflip => rivals::shellflip(args).await,
        #[cfg(not(feature = "rivals"))]
        Which::Ecdysis | Which::Shellflip => Err("built without the feature `rivals`".into()),
    }
}

async fn zdt(args: &Args) -> Result<()> {
    ::tokio::time::sleep(args.start_up).await;
    let listener = zdt::listener_or(args.listen.to_string())?;
    println!("{listener}");
    let served = zdt::serve(listener, router()).await?;
    println!("{served}");
    Ok(())
}

async fn axum(args: &Args) -> Result<()> {
    let listener = zdt::listener_or(args.listen.to_string())?;
    println!("{listener}");
    let Some(zdt::Socket::Tcp(tcp)) = listener.into_sockets().pop() else {
        return Err("not a TCP socket".into());
    };
    tcp.set_nonblocking(true)?;
    axum::serve(TcpListener::from_std(tcp)?, router()).await?;
    Ok(())
}

async fn stock(args: &Args) -> Result<()> {
    ::tokio::time::sleep(args.start_up).await;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    let listener = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(inherited) => {
            inherited.set_nonblocking(true)?;
            TcpListener::from_std(inherited)?
        }
        // With SO_REUSEADDR, as tokio binds.
        None => TcpListener::bind(args.listen).await?,
    };
    println!("{}", listener.local_addr()?);
    // Heard only in a unit with `Type=notify`.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    axum::serve(listener, router())
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// Every answer names the process that gave it.
fn router() -> Router {
    let answer = format!("pid {}\n", std::process::id());
    Router::new().route("/", get(move || std::future::ready(answer.clone())))
}
