//! A new process of the same service, started by this one (`SIGHUP`), and the
//! other side: being the one that was started.
//!
//! The two talk over a queue that the child inherits under the name
//! [`PARENT`]. The child says [`READY`] when it could serve; the parent tells the
//! manager who the main process is, answers [`GO`], and drains into the queue.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::handover::{Inbox, Outbox, Talk};
use crate::listen::{self, listeners};
use crate::notify;

/// What the child's end of the queue is called.
const PARENT: &str = "zdt-parent";

const READY: &[u8] = b"R";
const GO: &[u8] = b"M";

/// How long the manager may take to learn of the new main process.
const PROMOTE_LIMIT: Duration = Duration::from_secs(5);

/// Between the end of a process's descriptors and its own.
const ENDING: Duration = Duration::from_secs(1);

/// The first descriptor that a child inherits.
const FIRST: i32 = 3;

/// Why this process goes on serving.
#[derive(Debug)]
pub(super) enum Failed {
    /// The sockets are not from a manager, so nobody can take them over.
    NothingInherited,
    NotStarted(io::Error),
    NotReady(ExitStatus),
    /// It closed the queue and lives on: not this library's, or its `serve` was
    /// not reached.
    Silent,
    TooSlow(Duration),
    Manager(io::Error),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingInherited => {
                f.write_str("no socket was passed to this process that another could take over")
            }
            Self::NotStarted(error) => write!(f, "the new process could not be started: {error}"),
            Self::NotReady(status) => {
                write!(f, "the new process ended before it was ready ({status})")
            }
            Self::Silent => f.write_str("the new process does not know that it is to take over"),
            Self::TooSlow(limit) => {
                write!(
                    f,
                    "the new process was not ready within {} s",
                    limit.as_secs()
                )
            }
            Self::Manager(error) => write!(f, "the manager cannot be told: {error}"),
        }
    }
}

/// Starts the program again, waits until it is ready, and makes it the main
/// process of the unit. From then on what this one hands over goes there.
///
/// On failure the new process is gone and the manager knows that the old one serves.
pub(super) async fn replace(limit: Duration) -> Result<u32, Failed> {
    let _ = notify::reloading();
    let replaced = start_and_promote(limit).await;
    if let Err(failed) = &replaced {
        tracing::warn!("reload failed, this process goes on: {failed}");
        let _ = notify::status(&format!("reload FAILED, this process goes on: {failed}"))
            .and_then(|()| notify::ready());
    }
    replaced
}

async fn start_and_promote(limit: Duration) -> Result<u32, Failed> {
    let (mut child, talk) = start()?;
    let pid = child.id().unwrap_or_default();
    let ready = match timeout(limit, talk.hear()).await {
        Ok(Ok(word)) if word == READY => promote(pid).await,
        Ok(_) => match timeout(ENDING, child.wait()).await {
            Ok(Ok(status)) => Err(Failed::NotReady(status)),
            _ => Err(Failed::Silent),
        },
        Err(_) => Err(Failed::TooSlow(limit)),
    };
    if let Err(failed) = ready {
        let _ = child.kill().await;
        return Err(failed);
    }
    // Nothing that this process says counts from here on.
    notify::mute(true);
    let _ = talk.say(GO).await;
    Outbox::lead_to(talk);
    Ok(pid)
}

async fn promote(pid: u32) -> Result<(), Failed> {
    let told = spawn_blocking(move || {
        notify::main_pid_ready(pid)?;
        notify::barrier(PROMOTE_LIMIT)
    });
    told.await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(Failed::Manager)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a reload is the one moment at which the library starts a process: its own program"
)]
fn start() -> Result<(Child, Talk), Failed> {
    let mut passed = listen::copies().map_err(Failed::NotStarted)?;
    if passed.is_empty() {
        return Err(Failed::NothingInherited);
    }
    let (talk, child_end) = Talk::pair().map_err(Failed::NotStarted)?;
    passed.push((PARENT.to_owned(), child_end));
    let names: Vec<&str> = passed.iter().map(|(name, _)| name.as_str()).collect();
    let mut command = Command::new(program().map_err(Failed::NotStarted)?);
    command
        .args(std::env::args_os().skip(1))
        .env("LISTEN_FDS", passed.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        // They name this process.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_PIDFDID")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null());
    let mappings = (FIRST..)
        .zip(passed)
        .map(|(child_fd, (_, parent_fd))| FdMapping {
            parent_fd,
            child_fd,
        });
    command
        .fd_mappings(mappings.collect())
        .map_err(|error| Failed::NotStarted(io::Error::other(error)))?;
    let child = command.spawn().map_err(Failed::NotStarted)?;
    Ok((child, talk))
}

/// The program by the name it was started with: behind a link, or replaced
/// meanwhile, that is the new release.
fn program() -> io::Result<OsString> {
    match std::env::args_os().next() {
        Some(name) if Path::new(&name).is_absolute() => Ok(name),
        _ => std::env::current_exe().map(Into::into),
    }
}

/// The process that started this one to take its place.
#[derive(Debug)]
pub(super) struct Parent(Talk);

impl Parent {
    /// `None` when a manager started this process, as usual.
    pub(super) fn find() -> Option<Self> {
        let end = listeners().ok()?.take_fds(PARENT).pop()?;
        let talk = Talk::with(end).ok()?;
        // Until then the parent is who the manager listens to.
        notify::mute(true);
        Some(Self(talk))
    }

    /// Says that this process could serve, and returns when it is to.
    ///
    /// An error means that the parent is gone, and with it the unit.
    pub(super) async fn succeed(self) -> io::Result<()> {
        self.0.say(READY).await?;
        match self.0.hear().await? {
            word if word == GO => {}
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        notify::mute(false);
        Inbox::of_process().read_from(self.0);
        Ok(())
    }
}
