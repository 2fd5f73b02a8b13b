//! Settings on a listening socket that another process holds.
//!
//! The manager sets them when it opens the socket and never again. The socket
//! is one, whoever has a descriptor of it, so they can be set from here.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use nix::sys::socket::{SockaddrStorage, UnixAddr, getsockname, getsockopt, setsockopt, sockopt};
use nix::unistd::{Group, User, chown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::supervisor::sockets::DeferAccept;
use crate::model::Address;
use crate::plan::SocketOption;

/// Sets `options` on the sockets that process `pid` listens with on `addresses`.
pub(super) fn set(pid: u32, addresses: &[Address], options: &[SocketOption]) -> Result<(), String> {
    for address in addresses {
        let socket = find(pid, address)
            .map_err(|error| format!("failed to get the socket from process {pid}: {error}"))?
            .ok_or_else(|| format!("process {pid} does not listen on `{address}`"))?;
        for option in options {
            apply(&socket, address, option)
                .map_err(|error| format!("failed to set {option} on `{address}`: {error}"))?;
        }
    }
    Ok(())
}

/// The socket that process `pid` listens with on `address`.
pub(super) fn find(pid: u32, address: &Address) -> io::Result<Option<OwnedFd>> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = number.ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let is_socket = fs::read_link(entry.path()).is_ok_and(|target| {
            target
                .as_os_str()
                .as_encoded_bytes()
                .starts_with(b"socket:")
        });
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|_| is_socket) else {
            continue;
        };
        // Closed meanwhile, perhaps; a missing right is the same for all of them.
        let socket = match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::BADF) => continue,
            Err(error) => return Err(error.into()),
        };
        if listens_on(&socket, address) {
            return Ok(Some(socket));
        }
    }
    Ok(None)
}

fn listens_on(socket: &OwnedFd, address: &Address) -> bool {
    if getsockopt(socket, sockopt::AcceptConn) != Ok(true) {
        return false;
    }
    let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
    match address {
        Address::Tcp(tcp) => {
            let name = getsockname::<SockaddrStorage>(fd).ok();
            let bound = name.as_ref().and_then(|name| {
                let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
                v4.or_else(|| {
                    name.as_sockaddr_in6()
                        .map(|v6| SocketAddr::V6((*v6).into()))
                })
            });
            bound == Some(tcp.bind())
        }
        Address::Unix(path) => getsockname::<UnixAddr>(fd)
            .is_ok_and(|name| name.path() == Some(path.as_str().as_ref())),
    }
}

fn apply(socket: &OwnedFd, address: &Address, option: &SocketOption) -> io::Result<()> {
    let path = || match address {
        Address::Unix(path) => Ok(path.as_str()),
        Address::Tcp(_) => Err(io::Error::other("it has no file")),
    };
    match option {
        SocketOption::Backlog(length) => {
            let length = i32::try_from(*length).unwrap_or(i32::MAX);
            rustix::net::listen(socket, length)?;
        }
        SocketOption::NoDelay(on) => setsockopt(socket, sockopt::TcpNoDelay, on)?,
        SocketOption::DeferAccept(seconds) => {
            let seconds = usize::try_from(*seconds).unwrap_or(usize::MAX);
            setsockopt(socket, DeferAccept, &seconds)?;
        }
        SocketOption::Mode(mode) => fs::set_permissions(path()?, Permissions::from_mode(*mode))?,
        SocketOption::User(name) => {
            let user = User::from_name(name)?.ok_or_else(|| unknown("user"))?;
            chown(path()?, Some(user.uid), None)?;
        }
        SocketOption::Group(name) => {
            let group = Group::from_name(name)?.ok_or_else(|| unknown("group"))?;
            chown(path()?, None, Some(group.gid))?;
        }
    }
    Ok(())
}

fn unknown(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no such {what}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_is_found_by_its_address_and_set() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let options = [SocketOption::NoDelay(true), SocketOption::Backlog(7)];
        let pid = std::process::id();
        set(pid, std::slice::from_ref(&address), &options).unwrap();
        assert_eq!(getsockopt(&listener, sockopt::TcpNoDelay), Ok(true));
        drop(listener);
        let gone = set(pid, std::slice::from_ref(&address), &options).unwrap_err();
        assert_eq!(
            gone,
            format!("process {pid} does not listen on `{address}`")
        );
    }
}
