//! The launcher's control socket: who gets in, what they ask, and how answers reach them.
//!
//! A client costs the launcher one descriptor and a bounded number of bytes, and only for a bounded time unless it
//! keeps up: whoever says nothing, too much or nonsense is told so and closed, whoever does not read is dropped.

mod access;
mod connection;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    socket, sockopt,
};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(super) use self::access::{Access, Peer};
pub(super) use self::connection::Answers;
use self::connection::Room;
use super::protocol::{Answer, LONGEST_QUESTION, Question, Refusal};
use crate::host::{Effect, Failure};

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// At a time; more wait in the queue of the kernel.
    connections: usize,
    /// Bytes of a question.
    question: usize,
    /// Until a question is whole.
    asking: Duration,
    /// Bytes of answers that wait for a reader.
    waiting: usize,
    /// How long a reader may take for none of them.
    stall: Duration,
    /// How long nobody is accepted after the kernel had no descriptor for one.
    pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            question: LONGEST_QUESTION,
            asking: Duration::from_secs(5),
            waiting: 1 << 20,
            stall: Duration::from_secs(10),
            pause: Duration::from_millis(100),
        }
    }
}

/// Needs a tokio runtime. Removes its file when it is dropped.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    /// Of the file, so that only our own is removed.
    inode: u64,
    listener: Arc<UnixListener>,
    accepting: JoinHandle<()>,
    asked: mpsc::Receiver<Asked>,
    slots: Arc<Semaphore>,
    limits: Limits,
}

/// One question, which may be asked by who asks it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) by: Peer,
    pub(super) answers: Answers,
}

impl Control {
    /// Listens at `path`, unless a launcher is at work there. Nobody can connect before the rights are as in `access`.
    pub(super) fn bind(path: &Path, access: &Access) -> Result<Self, Failure> {
        Self::bind_within(path, access, Limits::default())
    }

    fn bind_within(path: &Path, access: &Access, limits: Limits) -> Result<Self, Failure> {
        let address = UnixAddr::new(path).map_err(|_| too_long(path))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new()
            .recursive(true)
            .mode(access.directory_mode())
            .create(parent);
        made.map_err(|error| Failure::io("make directory", parent, &error))?;
        // Of two launchers that start at once, the second sees the first one listen.
        let _starting = lock(parent)?;
        clear(path, &address)?;
        let failed = |error: Errno| Failure::io("listen at", path, &error.into());
        let fd = stream_socket().map_err(failed)?;
        bind(fd.as_raw_fd(), &address).map_err(failed)?;
        let started = access.apply(path).and_then(|rights| {
            listen(&fd, Backlog::MAXALLOWABLE).map_err(failed)?;
            Self::listening(fd, path, rights, limits)
        });
        if started.is_err() {
            let _ = fs::remove_file(path);
        }
        started
    }

    /// Goes on with a listening socket that [`fd`](Self::fd) gave.
    pub(super) fn resume(fd: OwnedFd, path: &Path, access: &Access) -> Result<Self, Failure> {
        let rights = access.apply(path)?;
        Self::listening(fd, path, rights, Limits::default())
    }

    fn listening(
        fd: OwnedFd,
        path: &Path,
        rights: access::Rights,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io("listen at", path, &error);
        let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
        let listener = std::os::unix::net::UnixListener::from(fd);
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = Arc::new(UnixListener::from_std(listener).map_err(failed)?);
        let (ask, asked) = mpsc::channel(limits.connections);
        let slots = Arc::new(Semaphore::new(limits.connections));
        let room = Room {
            ask,
            rights: Arc::new(rights),
            limits,
            lasting: Arc::new(Semaphore::new(limits.connections.div_ceil(2))),
        };
        let accepting = tokio::spawn(accept(Arc::clone(&listener), Arc::clone(&slots), room));
        Ok(Self {
            path: path.to_owned(),
            inode,
            listener,
            accepting,
            asked,
            slots,
            limits,
        })
    }

    /// The next question. Cancel-safe.
    pub(super) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The listening socket, for the program that this one becomes. Who connects meanwhile waits in its queue.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Accepts nobody any more, and returns once all answers are written. Who was not answered to the end is told that
    /// the launcher ends; who does not read is not waited for.
    pub(super) async fn finish(mut self) {
        self.end();
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let _ = timeout(self.limits.stall, self.slots.acquire_many(all)).await;
    }

    fn end(&mut self) {
        self.accepting.abort();
        self.asked.close();
        while let Ok(asked) = self.asked.try_recv() {
            asked.answers.send(Answer::Failed(connection::ending()));
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.end();
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn accept(listener: Arc<UnixListener>, slots: Arc<Semaphore>, room: Room) {
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let room = room.clone();
                tokio::spawn(async move {
                    connection::serve(stream, room).await;
                    drop(slot);
                });
            }
            // No descriptor is free; whoever it is stays in the queue.
            Err(_) => sleep(room.limits.pause).await,
        }
    }
}

fn stream_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

/// Held while a launcher looks whether another one listens in `directory`, and begins to.
fn lock(directory: &Path) -> Result<File, Failure> {
    let opened = File::open(directory);
    let directory_file = opened.map_err(|error| Failure::io("open", directory, &error))?;
    match directory_file.try_lock() {
        Ok(()) => Ok(directory_file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(format!(
            "another launcher is starting in `{}`",
            directory.display()
        ))
        .without_effect()),
        Err(TryLockError::Error(error)) => Err(Failure::io("lock", directory, &error)),
    }
}

/// Removes the socket that a killed launcher left.
fn clear(path: &Path, address: &UnixAddr) -> Result<(), Failure> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let shown = path.display();
    if !meta.file_type().is_socket() {
        return Err(
            Failure::new(format!("`{shown}` is there, and is no socket"))
                .hint("move it away, or choose another path for the control socket")
                .without_effect(),
        );
    }
    let failed = |error: Errno| Failure::io("look who listens at", path, &error.into());
    let client = stream_socket().map_err(failed)?;
    match connect(client.as_raw_fd(), address) {
        Err(Errno::ECONNREFUSED) => {
            fs::remove_file(path).map_err(|error| Failure::io("replace", path, &error))
        }
        Err(Errno::ENOENT) => Ok(()),
        // A full queue has somebody behind it too.
        Ok(()) | Err(Errno::EAGAIN) => {
            let who = getsockopt(&client, sockopt::PeerCredentials).map(|peer| peer.pid());
            let process = match who {
                Ok(pid) if pid > 0 => format!(" (process {pid})"),
                _ => String::new(),
            };
            let reason = format!("a launcher{process} is at work there: it listens at `{shown}`");
            Err(Failure::new(reason)
                .hint("end it with `zdt-units shutdown`, or give this one another control socket")
                .without_effect())
        }
        Err(error) => Err(failed(error)),
    }
}

fn too_long(path: &Path) -> Failure {
    let length = path.as_os_str().len();
    Failure::new(format!(
        "the path of a Unix socket has at most 107 bytes, `{}` has {length}",
        path.display()
    ))
    .hint("set `control` under `[launcher]` to a shorter one")
    .without_effect()
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            reason: failure.reason,
            hint: failure.hint,
            untouched: failure.effect == Effect::None,
            output: failure.output,
        }
    }
}

#[cfg(test)]
mod tests;
