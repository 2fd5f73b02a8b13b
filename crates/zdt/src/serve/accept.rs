//! Accepts connections until it is told to stop, whatever `accept(2)` says.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use tokio::sync::watch;
use tokio::time::sleep;

use super::app::App;
use super::connection::{self, Http};
use super::io::Io;
use super::registry::Registry;
use super::request::Counting;
use crate::handover::{Inbox, Routed, listener_label};
use crate::listen::{AsyncSocket, Listener, Peer, Stream};

/// The first and the longest pause after the system ran out of descriptors or
/// memory. Short, because connections end all the time.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A listener and the app behind it.
pub(super) struct Door {
    pub(super) listener: Listener,
    /// What its connections are called on their way to another process.
    label: Arc<str>,
    open: Box<dyn Fn(Shared) -> Opened + Send>,
}

/// Takes each connection of one socket, with what was read from it before.
type Opened = Box<dyn FnMut(Stream, Peer, Bytes) + Send>;

/// What the connections of a server have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) registry: Arc<Registry>,
    pub(super) http: Arc<Http>,
    pub(super) peers: bool,
    pub(super) health: bool,
}

impl Door {
    pub(super) fn new(listener: Listener, app: impl App) -> Self {
        let label = label(&listener);
        let labelled = label.clone();
        let open = move |shared: Shared| {
            let app = app.clone();
            let label = labelled.clone();
            let serve = move |stream: Stream, peer: Peer, read: Bytes| {
                let io = Io::new(stream, read, shared.registry.open(shared.health));
                let peer = shared.peers.then_some(peer);
                let app = Counting::new(app.clone(), io.registered(), peer);
                let http = shared.http.clone();
                let label = label.clone();
                tokio::spawn(async move { connection::serve(io, app, &http, &label).await });
            };
            Box::new(serve) as Opened
        };
        Self {
            listener,
            label,
            open: Box::new(open),
        }
    }

    /// Serves what other processes of this service accepted on this listener,
    /// until the answer is dropped.
    pub(super) fn take_over(&self, shared: &Shared) -> Routed {
        let serve = Mutex::new((self.open)(shared.clone()));
        Inbox::of_process().route(&self.label, move |item| {
            // A client that is gone by now has no address.
            if let Ok((stream, peer)) = Stream::from_fd(item.fd) {
                let mut serve = serve.lock().unwrap_or_else(PoisonError::into_inner);
                serve(stream, peer, item.state.into());
            }
        })
    }

    /// Starts accepting on all sockets, until `stop` is true. The returned
    /// tasks end when they will accept nothing more.
    pub(super) fn accept(
        self,
        shared: &Shared,
        stop: &watch::Sender<bool>,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> io::Result<()> {
        for socket in self.listener.into_incoming()?.into_sockets() {
            let serve = (self.open)(shared.clone());
            tasks.spawn(accept(
                socket,
                serve,
                shared.registry.clone(),
                stop.subscribe(),
            ));
        }
        Ok(())
    }
}

/// The name that the socket unit gives it, which the next process knows too.
fn label(listener: &Listener) -> Arc<str> {
    match listener.name() {
        Some(name) => listener_label(name),
        None => listener_label(&listener.to_string()),
    }
}

async fn accept(
    socket: AsyncSocket,
    mut serve: Opened,
    registry: Arc<Registry>,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = stop.wait_for(|stop| *stop);
    tokio::pin!(stopped);
    let mut pause = PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            // Dropping the listener leaves the queue to the next process; it
            // is never shut down, because the socket is shared.
            _ = &mut stopped => return,
            accepted = poll_fn(|cx| socket.poll_accept(cx)) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                serve(stream, peer, Bytes::new());
                if pause > PAUSE {
                    pause = PAUSE;
                    registry.set_short(false);
                }
            }
            Err(error) => match class(&error) {
                Class::OneConnection => {}
                Class::Resources => {
                    tracing::debug!(%error, "accept paused");
                    // Idle connections give their descriptor back sooner.
                    registry.set_short(true);
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Class::Listener => {
                    // Nobody else can receive this one.
                    tracing::error!(%error, "a listener cannot accept");
                    sleep(Duration::from_secs(1)).await;
                }
            },
        }
    }
}

/// Whom an error of `accept(2)` concerns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A connection that broke before it was accepted.
    OneConnection,
    /// The process or system is out of something for the moment.
    Resources,
    /// The socket cannot accept at all.
    Listener,
}

pub(super) fn class(error: &io::Error) -> Class {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => Class::Resources,
        Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EOPNOTSUPP) => Class::Listener,
        _ => Class::OneConnection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_listener_is_reported() {
        let check = |errno: Errno, expected: Class| {
            assert_eq!(class(&io::Error::from_raw_os_error(errno as i32)), expected);
        };
        check(Errno::ECONNABORTED, Class::OneConnection);
        check(Errno::EPERM, Class::OneConnection);
        check(Errno::EMFILE, Class::Resources);
        check(Errno::EINVAL, Class::Listener);
    }
}
