//! The socket on which the service says that it is ready: the manager's side
//! of `sd_notify(3)`.
//!
//! A path, because common libraries (the crate `sd-notify` for one) know no
//! abstract names. Who may speak is decided by the sender's credentials, which
//! the kernel vouches for.

#![expect(
    clippy::disallowed_methods,
    reason = "hosts are where files are made, and where is told by the environment"
)]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, recvmsg, setsockopt, sockopt,
};
use tempfile::TempDir;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// What `systemd` takes too; a longer message is cut, and its cut line means nothing.
const LONGEST_MESSAGE: usize = 4096;

/// The most descriptors that the kernel lets one message carry.
const MOST_DESCRIPTORS: usize = 253;

#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    /// Removed with the socket.
    _directory: TempDir,
}

/// One message and who sent it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) sender: i32,
    pub(super) bytes: Vec<u8>,
    descriptors: Descriptors,
}

/// Descriptors that came with a message. Nobody keeps them yet, and closing
/// them is the answer to `BARRIER=1`.
#[derive(Debug, Default)]
struct Descriptors(Vec<RawFd>);

impl Drop for Descriptors {
    fn drop(&mut self) {
        for fd in self.0.drain(..) {
            let _ = nix::unistd::close(fd);
        }
    }
}

impl NotifySocket {
    /// Binds in a directory of its own that only this user can enter.
    pub(super) fn bind() -> io::Result<Self> {
        let mut failed = io::Error::other("there is no directory for the notify socket");
        for place in places() {
            match Self::bind_in(&place) {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn bind_in(place: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("zdt-").tempdir_in(place)?;
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        // No process that could send without its credentials knows the name yet.
        setsockopt(&socket, sockopt::PassCred, &true)?;
        Ok(Self {
            socket,
            path,
            _directory: directory,
        })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn receive(&self) -> io::Result<Received> {
        self.socket
            .async_io(Interest::READABLE, || receive(self.socket.as_raw_fd()))
            .await
    }

    /// A message that has arrived already, if there is one.
    pub(super) fn try_receive(&self) -> Option<Received> {
        receive(self.socket.as_raw_fd()).ok()
    }
}

/// Where a short-lived file may be, the best first: a container may have few of them.
fn places() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let common = ["/run", "/tmp", "/dev/shm"].map(PathBuf::from);
    own.into_iter()
        .chain([std::env::temp_dir()])
        .chain(common)
        .filter(|place| place.is_absolute())
}

fn receive(fd: RawFd) -> io::Result<Received> {
    let mut buffer = vec![0; LONGEST_MESSAGE];
    let mut space = cmsg_space!(UnixCredentials, [RawFd; MOST_DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(fd, &mut slices, Some(&mut space), flags)?;

    let length = message.bytes;
    let mut sender = 0;
    let mut descriptors = Descriptors::default();
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::ScmRights(fds) => descriptors.0.extend(fds),
            ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
            _ => {}
        }
    }
    buffer.truncate(length);
    Ok(Received {
        sender,
        bytes: buffer,
        descriptors,
    })
}

impl Received {
    /// Answers a barrier: the sender sees that all it said before was heard.
    pub(super) fn done(self) {
        drop(self.descriptors);
    }
}
