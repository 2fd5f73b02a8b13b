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

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{MsgFlags, UnixAddr, UnixCredentials, recvmsg, setsockopt, sockopt};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// What `systemd` takes too; a longer message is cut, and its cut line means nothing.
const LONGEST_MESSAGE: usize = 4096;

/// The most descriptors that the kernel lets one message carry.
const MOST_DESCRIPTORS: usize = 253;

#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    /// In a directory of its own; both are removed with the socket.
    path: PathBuf,
}

/// One message and who sent it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) sender: i32,
    pub(super) bytes: Vec<u8>,
    /// Closing them is the answer to `BARRIER=1`.
    pub(super) descriptors: Vec<OwnedFd>,
}

impl NotifySocket {
    /// Binds in a directory of its own. `others` can send to it too: processes of another user.
    pub(super) fn bind(others: bool) -> io::Result<Self> {
        let mut failed = io::Error::other("there is no directory for the notify socket");
        for place in places() {
            match Self::bind_in(&place, others) {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn bind_in(place: &Path, others: bool) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("zdt-").tempdir_in(place)?;
        let path = directory.path().join("notify");
        let bound = Self::bind_at(&path)?;
        if others {
            // Whoever may speak is told by credentials, not by who can reach it.
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
        }
        let _ = directory.keep();
        Ok(bound)
    }

    /// In the place of one that a process was told of.
    pub(super) fn again(path: &Path) -> io::Result<Self> {
        let rights = fs::symlink_metadata(path)?.permissions();
        fs::remove_file(path)?;
        let bound = Self::bind_at(path)?;
        fs::set_permissions(path, rights)?;
        Ok(bound)
    }

    fn bind_at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        // No process that could send without its credentials knows the name yet.
        setsockopt(&socket, sockopt::PassCred, &true)?;
        let path = path.to_owned();
        Ok(Self { socket, path })
    }

    /// One that was bound by the program before this one.
    pub(super) fn resume(path: PathBuf, fd: OwnedFd) -> io::Result<Self> {
        let socket = UnixDatagram::from_std(fd.into())?;
        Ok(Self { socket, path })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn receive(&self) -> io::Result<Received> {
        self.socket
            .async_io(Interest::READABLE, || receive(self.socket.as_fd()))
            .await
    }

    /// A message that has arrived already, if there is one.
    pub(super) fn try_receive(&self) -> Option<Received> {
        receive(self.socket.as_fd()).ok()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let Some(directory) = self.path.parent() {
            let _ = fs::remove_dir(directory);
        }
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

fn receive(socket: BorrowedFd<'_>) -> io::Result<Received> {
    let sender = sender_of_next(socket)?;
    let mut bytes = vec![0; LONGEST_MESSAGE];
    if sender == 0 {
        // From outside of what this process can see. `rustix` knows no such number, and nobody wants its descriptors.
        let flags = MsgFlags::MSG_DONTWAIT;
        let length = nix::sys::socket::recv(socket.as_raw_fd(), &mut bytes, flags)?;
        bytes.truncate(length);
        return Ok(Received {
            sender,
            bytes,
            descriptors: Vec::new(),
        });
    }
    let mut space = [MaybeUninit::uninit();
        rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    )?;
    bytes.truncate(message.bytes);
    let mut descriptors = Vec::new();
    for control in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = control {
            descriptors.extend(rights);
        }
    }
    Ok(Received {
        sender,
        bytes,
        descriptors,
    })
}

/// The process that sent the next message, which stays where it is.
fn sender_of_next(socket: BorrowedFd<'_>) -> io::Result<i32> {
    // Without room for descriptors none is opened; then the message counts as cut, and `nix` shows nothing of it. The
    // credentials come first.
    let mut space = cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut [], Some(&mut space), flags)?;
    let pid = space.get(size_of::<libc::cmsghdr>()..).unwrap_or_default();
    Ok(pid.first_chunk().map_or(0, |pid| i32::from_ne_bytes(*pid)))
}

impl Received {
    /// Answers a barrier: the sender sees that all it said before was heard.
    pub(super) fn done(self) {
        drop(self.descriptors);
    }
}
