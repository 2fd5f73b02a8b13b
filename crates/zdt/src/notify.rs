//! Tells the service manager what the process does: `sd_notify(3)`.
//!
//! `sd-notify` writes the datagrams; by hand are only the barrier and abstract
//! addresses (`@name`), which it lacks, and the rule that a reload names its
//! time. Every function does
//! nothing and succeeds when no manager listens (`NOTIFY_SOCKET` is not set).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sd_notify::NotifyState as State;

/// `READY=1`: start-up, or a reload, is finished.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
///
/// # Example
///
/// ```
/// zdt::notify::ready()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn ready() -> io::Result<()> {
    send(&[State::Ready])
}

/// `STATUS=`: one line that `systemctl status` shows.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
pub fn status(text: &str) -> io::Result<()> {
    // A newline would start another assignment.
    send(&[State::Status(&text.replace('\n', " "))])
}

/// `STOPPING=1`: the process drains and will exit.
///
/// Not for a process that handed its work to a child inside the same unit: with
/// `NotifyAccess=all` it stops the unit.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
pub fn stopping() -> io::Result<()> {
    send(&[State::Stopping])
}

/// `RELOADING=1` with `MONOTONIC_USEC=`, which `Type=notify-reload` requires.
///
/// Followed by [`ready`] when the reload is done.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
pub fn reloading() -> io::Result<()> {
    send(&[State::Reloading, State::monotonic_usec_now()?])
}

/// `MAINPID=` and `READY=1` in one datagram: `pid` serves from now on.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
pub fn main_pid_ready(pid: u32) -> io::Result<()> {
    send(&[State::MainPid(pid), State::Ready])
}

/// `WATCHDOG=1`: still alive.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
pub fn watchdog() -> io::Result<()> {
    send(&[State::Watchdog])
}

/// How long the manager waits between two [`watchdog`] calls before it kills
/// the process (`WatchdogSec=`); `None` when it does not watch this process.
///
/// # Example
///
/// ```
/// assert_eq!(zdt::notify::watchdog_limit(), None);
/// ```
#[must_use]
pub fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// `EXTEND_TIMEOUT_USEC=`: the start or stop that runs may take `time` more,
/// counted from now.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
pub fn extend_timeout(time: Duration) -> io::Result<()> {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    send(&[State::ExtendTimeoutUsec(micros)])
}

/// `BARRIER=1`: returns when the manager has read all messages sent before.
///
/// For a process that exits right after its last message, which would
/// otherwise race with its own end.
///
/// # Errors
///
/// When the manager's socket cannot be written to, or `TimedOut` when the
/// manager did not answer within `limit`.
pub fn barrier(limit: Duration) -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    sd_notify::notify_with_fds(&[State::Custom("BARRIER=1")], &[writer.as_fd()])?;
    drop(writer);
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    match poll(
        &mut [PollFd::new(reader.as_fd(), PollFlags::POLLHUP)],
        limit,
    )? {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the service manager did not answer a notify barrier",
        )),
        _ => Ok(()),
    }
}

/// `FDSTORE=1`: the manager keeps a copy of `fd` and gives it, called `name`,
/// to the next process of this service.
///
/// Kept over a restart and a crash, and closed at a stop. A manager that has
/// no store for this service (`FileDescriptorStoreMax=`) closes its copy and
/// says nothing.
///
/// With `FDPOLL=0`, so that it also keeps a socket or pipe whose other end is
/// closed (systemd 246; an older one drops it then).
///
/// # Errors
///
/// When there is no manager, or its socket cannot be written to.
pub fn store(name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
    if !is_managed() {
        return Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "no service manager listens",
        ));
    }
    let states = [
        State::FdStore,
        State::FdName(name),
        State::Custom("FDPOLL=0"),
    ];
    sd_notify::notify_with_fds(&states, &[fd])
}

/// `FDSTOREREMOVE=1`: the manager closes its copies of what is stored as `name`.
///
/// # Errors
///
/// When the manager's socket cannot be written to.
pub fn unstore(name: &str) -> io::Result<()> {
    send(&[State::FdStoreRemove, State::FdName(name)])
}

#[expect(
    clippy::disallowed_methods,
    reason = "the service manager tells by the environment"
)]
fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Says nothing from now on, or speaks again: a manager listens only to the
/// main process of a unit.
#[cfg(feature = "serve")]
pub(crate) fn mute(mute: bool) {
    MUTED.store(mute, Ordering::Relaxed);
}

static MUTED: AtomicBool = AtomicBool::new(false);

fn send(states: &[State<'_>]) -> io::Result<()> {
    if MUTED.load(Ordering::Relaxed) {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = abstract_address() {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        return socket.send_to_addr(message.as_bytes(), &address).map(drop);
    }
    sd_notify::notify(states)
}

/// The name behind the `@` of an address without a file.
#[cfg(target_os = "linux")]
#[expect(
    clippy::disallowed_methods,
    reason = "the service manager tells by the environment"
)]
fn abstract_address() -> Option<String> {
    let address = std::env::var("NOTIFY_SOCKET").ok()?;
    address.strip_prefix('@').map(str::to_owned)
}
