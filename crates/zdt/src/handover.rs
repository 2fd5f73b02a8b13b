//! Gives open connections, and anything else that is a descriptor, to the next
//! process of this service, so that nobody at their other end notices a restart.
//!
//! [`serve`](crate::serve) does this by itself with HTTP/1.1 connections that
//! are between two requests. This module is for what only the app knows how to
//! go on with, such as WebSockets: it takes the connection out of HTTP
//! ([`detach`]), describes in a few bytes where it was, and [keeps](Detached::keep)
//! it. The next process [receives](receive) both.
//!
//! # Where it goes
//!
//! 1. To a process of the same service that serves now, if there is one
//!    (`ZDT_HANDOVER_DIR`: where they meet).
//! 2. Else into the service manager's descriptor store (`ZDT_HANDOVER=1`, or
//!    systemd's `FDSTORE`), which gives it to the process that it starts next.
//!    `systemctl stop` empties the store: a real stop really closes.
//!
//! With neither, [`Detached::keep`] gives the connection back at once.
//!
//! # Example
//!
//! ```no_run
//! # async fn example(watch: zdt::Watch, upgraded: hyper::upgrade::Upgraded) -> Option<()> {
//! // At start: go on with what the last process kept.
//! let mut kept = zdt::handover::receive("chat");
//! tokio::spawn(async move {
//!     while let Some(kept) = kept.next().await {
//!         println!("{} bytes say where it was", kept.state.len());
//!     }
//! });
//!
//! // At the stop: keep what is open.
//! watch.draining().await;
//! let connection = zdt::handover::detach(upgraded).ok()?;
//! let mut state = b"nick=ann".to_vec();
//! state.extend_from_slice(connection.unread());
//! if let Err(lost) = connection.keep("chat", 1, state).await {
//!     eprintln!("{lost}: its client is told to come again");
//! }
//! # Some(()) }
//! ```

mod inbox;
mod message;
mod outbox;
mod queue;
mod sibling;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::mpsc;

pub(crate) use self::inbox::{Inbox, Routed, Siblings, Taken};
pub(crate) use self::outbox::Outbox;
pub(crate) use self::queue::Talk;
pub use crate::serve::detach;

/// What a queue is called in the manager's store.
const STORED_AS: &str = "zdt-handover";

/// The longest label.
const LONGEST_LABEL: usize = 200;

/// A descriptor on its way from one process to another.
#[derive(Debug)]
pub(crate) struct Item {
    /// Who is to have it.
    pub(crate) label: Arc<str>,
    /// Of the state.
    pub(crate) version: u16,
    pub(crate) fd: OwnedFd,
    pub(crate) state: Vec<u8>,
}

impl Item {
    fn kind(&self) -> (&str, u16) {
        (&self.label, self.version)
    }
}

/// How descriptors get to another process of this service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// The manager keeps them for the process that it starts next.
    pub(crate) store: bool,
    /// Where processes that serve at the same time meet.
    pub(crate) siblings: Option<PathBuf>,
}

impl Ways {
    /// Those of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "units and managers tell by environment variables"
    )]
    pub(crate) fn of_process() -> &'static Self {
        static WAYS: OnceLock<Ways> = OnceLock::new();
        WAYS.get_or_init(|| Self::read(|name| std::env::var(name).ok()))
    }

    fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let wanted = lookup("ZDT_HANDOVER");
        let room = lookup("FDSTORE").and_then(|number| number.parse::<u32>().ok());
        if wanted.as_deref() == Some("0") {
            return Self::default();
        }
        let store = wanted.as_deref() == Some("1") || room.is_some_and(|room| room > 0);
        Self {
            store: store && lookup("NOTIFY_SOCKET").is_some(),
            siblings: lookup("ZDT_HANDOVER_DIR").map(PathBuf::from),
        }
    }

    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What another process of this service kept.
#[derive(Debug)]
#[non_exhaustive]
pub struct Kept {
    /// The descriptor. Sockets are non-blocking.
    pub fd: OwnedFd,
    /// The version of the state, as given to [`Detached::keep`].
    pub version: u16,
    /// What the other process wrote about it.
    pub state: Vec<u8>,
}

/// What arrives under one label. See [`receive`].
#[derive(Debug)]
pub struct Receiver {
    kept: mpsc::UnboundedReceiver<Kept>,
    _routed: Routed,
}

impl Receiver {
    /// The next one; pends while there is none. Cancel-safe.
    pub async fn next(&mut self) -> Option<Kept> {
        self.kept.recv().await
    }
}

/// Receives what other processes of this service keep under `label`: the one
/// before, once [`serve`](crate::serve) is ready to accept, and those beside
/// this one whenever they stop.
///
/// To be called before `serve` is awaited: a descriptor that nobody waits for
/// by then is closed, so that no client hangs.
///
/// A label is received in one place; a second call takes over from the first. Once the receiver is
/// dropped, what comes is closed.
pub fn receive(label: &str) -> Receiver {
    let (sender, receiver) = mpsc::unbounded_channel();
    let routed = Inbox::of_process().route(&app_label(label), move |item| {
        let _ = sender.send(Kept {
            fd: item.fd,
            version: item.version,
            state: item.state,
        });
    });
    Receiver {
        kept: receiver,
        _routed: routed,
    }
}

/// Whether this process has a way to hand anything over. What a manager does in
/// the end is known only when something is kept.
#[must_use]
pub fn is_available() -> bool {
    !Ways::of_process().are_none()
}

/// A connection that has left HTTP and is on its way out of this process.
///
/// A stop waits for it as it waits for every connection.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
    unread: Bytes,
    /// In the registry of the server until then.
    open: Option<Box<dyn std::any::Any + Send>>,
}

impl Detached {
    pub(crate) fn new(
        fd: OwnedFd,
        unread: Bytes,
        open: Option<Box<dyn std::any::Any + Send>>,
    ) -> Self {
        Self { fd, unread, open }
    }

    /// Anything else than a connection, such as a memory file or a listener.
    ///
    /// # Example
    ///
    /// ```
    /// let (ours, _other) = std::os::unix::net::UnixStream::pair()?;
    /// let detached = zdt::handover::Detached::from_fd(ours.into());
    /// assert!(detached.unread().is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::new(fd, Bytes::new(), None)
    }

    /// Bytes that were read from the connection and that nobody has seen yet.
    /// They belong into the state.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// The descriptor, for a program that goes on with it by itself.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Gives it to the next process, which [receives](receive) it under `label`
    /// with a `state` of that `version`.
    ///
    /// Returns when the other process, or the manager, has it.
    ///
    /// # Errors
    ///
    /// [`NotKept`] has the connection, which is still open.
    ///
    /// # Panics
    ///
    /// If `label` is longer than 200 bytes.
    pub async fn keep(self, label: &str, version: u16, state: Vec<u8>) -> Result<(), NotKept> {
        let Self { fd, unread, open } = self;
        let item = Item {
            label: app_label(label).into(),
            version,
            fd,
            state,
        };
        let unsent = match Outbox::of_process().await {
            Some(outbox) => outbox.send(item).await,
            None => Err(item),
        };
        unsent.map_err(|item| NotKept {
            connection: Self::new(item.fd, unread, open),
        })
    }
}

/// Why a descriptor stays with this process.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotKept {
    /// Still open.
    pub connection: Detached,
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no other process of this service, and no descriptor store, takes it")
    }
}

impl std::error::Error for NotKept {}

/// Apps and `serve` do not see each other's labels.
fn app_label(label: &str) -> String {
    assert!(
        label.len() <= LONGEST_LABEL,
        "a label has at most {LONGEST_LABEL} bytes: `{label}`"
    );
    format!("app/{label}")
}

/// The label of a listener's connections.
pub(crate) fn listener_label(name: &str) -> Arc<str> {
    // Four bytes each at most.
    let name: String = name.chars().take(LONGEST_LABEL / 4).collect();
    format!("serve/{name}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], store: bool, siblings: bool) {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let ways = Ways::read(lookup);
        assert_eq!((ways.store, ways.siblings.is_some()), (store, siblings));
    }

    #[test]
    fn the_environment_says_where_to() {
        let manager = ("NOTIFY_SOCKET", "/run/notify");
        let directory = ("ZDT_HANDOVER_DIR", "/run/shop-handover");
        check(&[], false, false);
        check(&[manager], false, false);
        check(&[manager, ("ZDT_HANDOVER", "1")], true, false);
        // Nobody is there to store anything.
        check(&[("ZDT_HANDOVER", "1")], false, false);
        check(&[manager, ("FDSTORE", "16")], true, false);
        check(&[manager, ("FDSTORE", "0")], false, false);
        check(
            &[manager, ("FDSTORE", "16"), ("ZDT_HANDOVER", "0")],
            false,
            false,
        );
        check(&[manager, ("ZDT_HANDOVER", "1"), directory], true, true);
        check(&[directory, ("ZDT_HANDOVER", "0")], false, false);
    }
}
