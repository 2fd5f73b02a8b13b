//! Descriptors that stay open while this process becomes another program.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Whether it stays open then.
pub(super) fn inherit(fd: impl AsFd, inherit: bool) -> io::Result<()> {
    let mut flags = fcntl_getfd(&fd)?;
    flags.set(FdFlags::CLOEXEC, !inherit);
    Ok(fcntl_setfd(&fd, flags)?)
}

/// Leaves it open, and says under which number it is found.
pub(super) fn leave(fd: impl AsFd) -> io::Result<RawFd> {
    inherit(&fd, true)?;
    Ok(fd.as_fd().as_raw_fd())
}

/// What was left open under `number`.
pub(super) fn take(number: RawFd) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    // Close-on-exec, whatever the other one is.
    let fd = pidfd_getfd(&own, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::IntoRawFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_left_open_is_taken() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let number = leave(&one).unwrap();
        assert_eq!(number, one.into_raw_fd());
        let taken = take(number).unwrap();
        assert!(fcntl_getfd(&taken).unwrap().contains(FdFlags::CLOEXEC));
        UnixStream::from(taken).write_all(b"here").unwrap();
        let mut text = String::new();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
    }
}
