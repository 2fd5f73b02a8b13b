//! The signals that stop a process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Drain,
    End,
    /// Start the program again and let it take over.
    Replace,
}

/// SIGTERM, SIGINT and SIGQUIT, or none of them; and SIGHUP, where it replaces.
#[derive(Debug)]
pub(crate) struct Signals {
    end: Option<[Signal; 3]>,
    replace: Option<Signal>,
}

impl Signals {
    pub(crate) fn new(wanted: bool, replace: bool) -> io::Result<Self> {
        let end = match wanted {
            true => Some([
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
            ]),
            false => None,
        };
        let replace = match replace {
            true => Some(signal(SignalKind::hangup())?),
            false => None,
        };
        Ok(Self { end, replace })
    }

    pub(crate) async fn asked(&mut self) -> Asked {
        let end = async {
            match &mut self.end {
                None => std::future::pending().await,
                Some([terminate, interrupt, quit]) => tokio::select! {
                    _ = terminate.recv() => Asked::Drain,
                    _ = interrupt.recv() => Asked::End,
                    _ = quit.recv() => Asked::End,
                },
            }
        };
        let replace = async {
            match &mut self.replace {
                None => std::future::pending().await,
                Some(hangup) => hangup.recv().await,
            }
        };
        tokio::select! {
            asked = end => asked,
            _ = replace => Asked::Replace,
        }
    }

    /// Waits for a signal that ends at once; managers repeat SIGTERM.
    pub(crate) async fn ended(&mut self) {
        while self.asked().await != Asked::End {}
    }
}
