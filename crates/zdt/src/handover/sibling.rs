//! Where the processes of one service find each other: a directory with a
//! socket of each that serves.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use tokio::net::{UnixListener, UnixStream};

use super::queue;

const BACKLOG: i32 = 128;

/// The socket of this process; gone when this is dropped.
#[derive(Debug)]
pub(super) struct Door {
    socket: UnixListener,
    path: PathBuf,
}

impl Door {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(own_name());
        // Left by a process that had our number and crashed.
        let _ = std::fs::remove_file(&path);
        let socket = seqpacket()?;
        bind(&socket, &SocketAddrUnix::new(&path)?)?;
        listen(&socket, BACKLOG)?;
        let socket = UnixListener::from_std(socket.into())?;
        Ok(Self { socket, path })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        let (queue, _) = self.socket.accept().await?;
        Ok(queue)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The other processes in `directory`, the youngest first.
pub(super) fn others(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut others: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str() != Some(&own_name()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    others.sort_unstable();
    others.into_iter().rev().map(|(_, path)| path).collect()
}

/// A connection to the process that listens on `path`.
pub(super) fn call(path: &Path) -> io::Result<UnixStream> {
    let socket = seqpacket()?;
    queue::widen(&socket);
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => queue::with_reactor(socket),
        Err(error) => {
            if error == rustix::io::Errno::CONNREFUSED {
                // Its process is gone.
                let _ = std::fs::remove_file(path);
            }
            Err(error.into())
        }
    }
}

fn seqpacket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let family = AddressFamily::UNIX;
    Ok(socket_with(family, SocketType::SEQPACKET, flags, None)?)
}

fn own_name() -> String {
    format!("{}.sock", std::process::id())
}
