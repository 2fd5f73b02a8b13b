//! What a process leaves with the supervisor for the next one: the manager's side of `FDSTORE=1`.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::stat::{SFlag, fstat};
use tokio::net::unix::pipe::Receiver;

use super::super::handover::{self, STORED_AS};

/// As `FileDescriptorStoreMax=` of the generated units.
pub(super) const MOST: usize = 16;

/// Descriptors with names, in the order in which they came.
#[derive(Debug)]
pub struct Store {
    most: usize,
    kept: Vec<Kept>,
    next_id: u64,
    /// Tells the ids of those that hang up.
    hang_ups: Epoll,
    /// The same, for the runtime to wait for.
    woken: Receiver,
}

#[derive(Debug)]
struct Kept {
    id: u64,
    name: String,
    watch: bool,
    fd: OwnedFd,
}

impl Store {
    /// With room for so many.
    pub fn new(most: usize) -> io::Result<Self> {
        let hang_ups = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Only waiting is asked of it, and that is the same as with a pipe.
        let woken = Receiver::from_owned_fd_unchecked(hang_ups.0.try_clone()?)?;
        Ok(Self {
            most,
            kept: Vec::new(),
            next_id: 0,
            hang_ups,
            woken,
        })
    }

    /// Keeps `descriptors`, watched until they hang up if `watch` says so. Returns how many it closed for want of room.
    pub(super) fn keep(&mut self, name: &str, watch: bool, descriptors: Vec<OwnedFd>) -> usize {
        let mut closed = 0;
        for fd in descriptors {
            if self.kept.iter().any(|kept| is_same(&kept.fd, &fd)) {
                continue;
            }
            if self.kept.len() == self.most {
                closed += 1;
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            if watch {
                // Hang-ups and errors are told whatever is asked for. The kernel refuses what never has any, such as
                // a regular file.
                let nothing = EpollEvent::new(EpollFlags::empty(), id);
                let _ = self.hang_ups.add(&fd, nothing);
            }
            let name = name.to_owned();
            self.kept.push(Kept {
                id,
                name,
                watch,
                fd,
            });
        }
        closed
    }

    /// Closes all that are called `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.retain(|kept| kept.name != name);
    }

    /// Closes them all, and so every connection that waits in a queue.
    pub(super) fn empty(&mut self) {
        self.retain(|_| false);
    }

    fn retain(&mut self, wanted: impl Fn(&Kept) -> bool) {
        let hang_ups = &self.hang_ups;
        self.kept.retain(|kept| {
            let wanted = wanted(kept);
            if !wanted {
                // It stays open, and watched, where the process has it too. This fails if it was not watched.
                let _ = hang_ups.delete(&kept.fd);
            }
            wanted
        });
    }

    /// Waits until some hang up, and closes them; waits for ever if none does. Cancel-safe.
    pub(super) async fn hang_up(&mut self) {
        while self.woken.readable().await.is_ok() {
            let mut events = [EpollEvent::empty(); MOST];
            let told = self.hang_ups.wait(&mut events, EpollTimeout::ZERO);
            match &events[..told.unwrap_or_default()] {
                [] => {
                    let nothing = || Err(io::ErrorKind::WouldBlock.into());
                    let _: io::Result<()> = self.woken.try_io(nothing);
                }
                told => {
                    self.retain(|kept| told.iter().all(|event| event.data() != kept.id));
                    return;
                }
            }
        }
        pending().await
    }

    /// Closes the connections in queues that nobody took, and says how many.
    pub(super) fn close_untaken(&mut self) -> io::Result<usize> {
        let mut closed = 0;
        for kept in self.kept.iter().filter(|kept| kept.name == STORED_AS) {
            closed += handover::close_left_behind(&kept.fd)?;
        }
        self.remove(STORED_AS);
        Ok(closed)
    }

    /// The same, with whether they are watched.
    pub(super) fn watched(&self) -> impl Iterator<Item = (&str, bool, BorrowedFd<'_>)> {
        let kept = self.kept.iter();
        kept.map(|kept| (kept.name.as_str(), kept.watch, kept.fd.as_fd()))
    }

    /// Their names, and themselves.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.kept
            .iter()
            .map(|kept| (kept.name.as_str(), kept.fd.as_fd()))
    }
}

/// Whether both mean the same open file, as far as can be seen: the two ends of a pipe differ in their flags, and what
/// has no file of its own, such as an event counter, cannot be told apart.
fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    let (Ok(a), Ok(b)) = (fstat(&one), fstat(&other)) else {
        return false;
    };
    let kind = SFlag::from_bits_truncate(a.st_mode & SFlag::S_IFMT.bits());
    let telling = [
        SFlag::S_IFSOCK,
        SFlag::S_IFIFO,
        SFlag::S_IFREG,
        SFlag::S_IFDIR,
    ];
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
        && telling.contains(&kind)
        && fcntl(one, FcntlArg::F_GETFL) == fcntl(other, FcntlArg::F_GETFL)
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::host::until;

    fn names(store: &Store) -> Vec<&str> {
        store.kept().map(|(name, _)| name).collect()
    }

    fn stream() -> (OwnedFd, UnixStream) {
        let (kept, other) = UnixStream::pair().unwrap();
        (kept.into(), other)
    }

    #[tokio::test]
    async fn what_is_the_same_is_kept_once() {
        let mut store = Store::new(MOST).unwrap();
        let (fd, _other) = stream();
        let again = fd.try_clone().unwrap();
        assert_eq!(store.keep("a", true, vec![fd]), 0);
        assert_eq!(store.keep("b", true, vec![again]), 0);
        // Both ends have one inode.
        let (reader, writer) = pipe().unwrap();
        assert_eq!(
            store.keep("pipe", false, vec![reader.into(), writer.into()]),
            0
        );
        assert_eq!(names(&store), ["a", "pipe", "pipe"]);
    }

    #[tokio::test]
    async fn what_has_no_room_is_closed_and_counted() {
        let mut store = Store::new(2).unwrap();
        let (descriptors, others): (Vec<_>, Vec<_>) = (0..5).map(|_| stream()).unzip();
        assert_eq!(store.keep("x", true, descriptors), 3);
        let (kept, rest) = (&others[..2], &others[2..]);
        let is_open = |mut other: &UnixStream| other.write(b"x").is_ok();
        assert!(kept.iter().all(is_open));
        until("all that had no room are closed", || {
            !rest.iter().any(is_open)
        });
        store.remove("y");
        assert_eq!(names(&store), ["x", "x"]);
        store.remove("x");
        assert_eq!(names(&store), [""; 0]);
    }

    #[tokio::test]
    async fn what_hangs_up_is_dropped_unless_it_is_not_watched() {
        let mut store = Store::new(MOST).unwrap();
        let (watched, other) = stream();
        let (silent, silent_other) = stream();
        let (half, mut half_other) = stream();
        store.keep("watched", true, vec![watched]);
        store.keep("silent", false, vec![silent]);
        store.keep("half", true, vec![half]);
        let (reader, writer) = pipe().unwrap();
        store.keep("pipe", true, vec![writer.into()]);
        // It says something and nothing more, and can still be answered.
        half_other.write_all(b"more").unwrap();
        half_other.shutdown(std::net::Shutdown::Write).unwrap();
        drop((other, silent_other, reader));
        let limit = Duration::from_secs(60);
        while names(&store) != ["silent", "half"] {
            timeout(limit, store.hang_up()).await.unwrap();
        }
    }
}
