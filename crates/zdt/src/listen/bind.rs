//! Binds an address where nothing was passed, and says when that is wrong.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

use super::Socket;

/// As much as the system allows; it cuts to `net.core.somaxconn` or its like.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
const BACKLOG: Backlog = Backlog::MAXALLOWABLE;
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
const BACKLOG: Backlog = Backlog::MAXCONN;

pub(super) fn bind(address: &str) -> io::Result<Socket> {
    if address.contains('/') {
        return unix(Path::new(address)).map(Socket::Unix);
    }
    let tcp = TcpListener::bind(address)?;
    // Connections inherit it from the listener.
    setsockopt(&tcp, sockopt::TcpNoDelay, &true)?;
    // std asks for 128; a second `listen` only changes the backlog.
    listen(&tcp, BACKLOG)?;
    Ok(Socket::Tcp(tcp))
}

fn unix(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Whether the file at `path` is a socket that no process listens on.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether the operator said that binding under systemd is meant.
#[expect(clippy::disallowed_methods, reason = "a switch of the environment")]
pub(super) fn allowed() -> bool {
    std::env::var_os("ZDT_ALLOW_BIND").is_some_and(|value| value == "1")
}

/// The systemd service that runs this very process, as opposed to one that an
/// ancestor belongs to: a shell in a terminal is not a service.
#[expect(
    clippy::disallowed_methods,
    reason = "systemd tells by the environment"
)]
pub(super) fn systemd_unit() -> Option<String> {
    // systemd 248 and newer name the process they started.
    let started_us = match std::env::var("SYSTEMD_EXEC_PID") {
        Ok(pid) => pid == std::process::id().to_string(),
        Err(_) => {
            std::env::var_os("INVOCATION_ID").is_some() && nix::unistd::getppid().as_raw() == 1
        }
    };
    if !started_us {
        return None;
    }
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok()?;
    unit_of(&cgroup).or_else(|| Some("this service".into()))
}

/// The innermost service in the text of `/proc/self/cgroup`.
fn unit_of(cgroup: &str) -> Option<String> {
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.rsplit('/'))
        .find(|part| part.ends_with(".service"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_read_from_either_cgroup_version() {
        let check = |cgroup: &str, expected: Option<&str>| {
            assert_eq!(unit_of(cgroup).as_deref(), expected);
        };
        check("0::/system.slice/shop.service\n", Some("shop.service"));
        check(
            "5:pids:/\n1:name=systemd:/system.slice/shop@2.service\n0::/\n",
            Some("shop@2.service"),
        );
        check(
            "0::/user.slice/user@1000.service/app.slice/shop.service",
            Some("shop.service"),
        );
        check("0::/user.slice/session-2.scope\n", None);
    }

    #[test]
    fn a_unix_socket_left_behind_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let address = path.to_str().unwrap();
        let first = bind(address).unwrap();
        assert_eq!(bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(address).unwrap();
        let file = dir.path().join("file");
        fs::File::create(&file).unwrap();
        assert_eq!(
            bind(file.to_str().unwrap()).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
