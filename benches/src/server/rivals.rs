//! `ecdysis` and `shellflip`, each as its documentation shows, in front of `axum::serve` with its graceful shutdown.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;
use ecdysis::tokio_ecdysis::{SignalKind as EcdysisSignal, StopOnShutdown, TokioEcdysisBuilder};
use futures_util::{Stream, StreamExt as _};
use listenfd::ListenFd;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sd_notify::NotifyState;
use shellflip::RestartConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use super::Args;
use crate::Result;

/// Binds once; on SIGHUP the program starts itself again and hands the socket down.
pub(super) async fn ecdysis(args: &Args) -> Result<()> {
    let mut builder = TokioEcdysisBuilder::new(EcdysisSignal::hangup())?;
    builder.stop_on_signal(EcdysisSignal::terminate())?;
    tokio::time::sleep(args.start_up).await;
    let accepted = builder.build_listen_tcp(StopOnShutdown::Yes, args.listen, |socket, at| {
        socket.set_reuse_address(true)?;
        socket.bind(&at.into())?;
        socket.listen(1024)?;
        Ok(socket.into())
    })?;
    let (_ecdysis, over) = builder.ready()?;
    // Its own notification needs systemd 253; this works with any.
    sd_notify::notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready])?;
    let listener = Accepted {
        connections: accepted,
        address: args.listen,
    };
    serve(listener, async move {
        // Both a stop and a restart end it.
        let _ = over.await;
    })
    .await
}

/// systemd holds the socket; on SIGUSR1 the program starts itself again.
pub(super) async fn shellflip(args: &Args) -> Result<()> {
    shellflip::fixup_systemd_env();
    let inherited = ListenFd::from_env()
        .take_tcp_listener(0)?
        .ok_or("no socket was passed")?;
    // The next process finds it where systemd put it.
    fcntl(&inherited, FcntlArg::F_SETFD(FdFlag::empty()))?;
    inherited.set_nonblocking(true)?;
    let listener = TcpListener::from_std(inherited)?;
    tokio::time::sleep(args.start_up).await;
    let config = RestartConfig {
        environment: vec![("LISTEN_FDS".into(), "1".into())],
        ..RestartConfig::default()
    };
    let restarted = config.try_into_restart_task()?;
    let mut terminate = signal(SignalKind::terminate())?;
    serve(listener, async move {
        tokio::select! {
            _ = restarted => {}
            _ = terminate.recv() => {}
        }
    })
    .await
}

async fn serve<L>(listener: L, stop: impl Future<Output = ()> + Send + 'static) -> Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    axum::serve(listener, super::router())
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// A stream of connections as what axum serves.
struct Accepted<S> {
    connections: S,
    address: SocketAddr,
}

impl<S> Listener for Accepted<S>
where
    S: Stream<Item = io::Result<TcpStream>> + Unpin + Send + 'static,
{
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.connections.next().await {
                Some(Ok(connection)) => return (connection, self.address),
                Some(Err(_)) => {}
                // It stopped accepting; the graceful shutdown ends the rest.
                None => return pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
