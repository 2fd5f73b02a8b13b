//! The signals that stop a process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Drain,
    End,
}

/// SIGTERM, SIGINT and SIGQUIT, or none of them.
#[derive(Debug)]
pub(crate) struct Signals(Option<[Signal; 3]>);

impl Signals {
    pub(crate) fn new(wanted: bool) -> io::Result<Self> {
        if !wanted {
            return Ok(Self(None));
        }
        Ok(Self(Some([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
        ])))
    }

    pub(crate) async fn asked(&mut self) -> Asked {
        match &mut self.0 {
            None => std::future::pending().await,
            Some([terminate, interrupt, quit]) => tokio::select! {
                _ = terminate.recv() => Asked::Drain,
                _ = interrupt.recv() => Asked::End,
                _ = quit.recv() => Asked::End,
            },
        }
    }

    /// Waits for a signal that ends at once; managers repeat SIGTERM.
    pub(crate) async fn ended(&mut self) {
        while self.asked().await != Asked::End {}
    }
}
