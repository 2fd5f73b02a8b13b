//! Who listens where a socket is to be opened.

#![expect(clippy::disallowed_methods, reason = "reads /proc")]

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use crate::model::{Address, Ipv6, Listen, UnitName};

/// A process with a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    /// None where another user's processes cannot be looked into.
    pub(super) pid: Option<u32>,
    pub(super) program: Option<String>,
    /// By its control group.
    pub(super) unit: Option<UnitName>,
}

/// The one who keeps `address` of `listen` from being bound.
pub(super) fn in_the_way(listen: &Listen, address: &Address) -> Option<Listening> {
    let inodes = match (listen, address) {
        (Listen::Tcp { ipv6, .. }, Address::Tcp(tcp)) => {
            let wanted = tcp.bind();
            if can_bind(wanted, *ipv6) {
                return None;
            }
            listening_tcp(wanted)
        }
        (_, Address::Unix(path)) => listening_unix(path.as_str()),
        _ => return None,
    };
    if inodes.is_empty() {
        return None;
    }
    // The manager has it too, where a service got it from a socket unit, and it came first.
    Some(match holders(&inodes).into_iter().min() {
        None => Listening {
            pid: None,
            program: None,
            unit: None,
        },
        Some(pid) => Listening {
            pid: Some(pid),
            program: fs::read_to_string(format!("/proc/{pid}/comm"))
                .ok()
                .map(|name| name.trim_end().to_owned()),
            unit: unit_of(pid),
        },
    })
}

/// As systemd would bind it. Whatever else is wrong is for systemd to say.
fn can_bind(address: SocketAddr, ipv6: Option<Ipv6>) -> bool {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let tried = || {
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        if let Some(ipv6) = ipv6.filter(|_| address.is_ipv6()) {
            setsockopt(&fd, sockopt::Ipv6V6Only, &(ipv6 == Ipv6::Only))?;
        }
        let name = SockaddrStorage::from(address);
        bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &name)
    };
    !matches!(tried(), Err(Errno::EADDRINUSE))
}

/// Inodes of sockets that listen on the same port of the same or of all addresses.
fn listening_tcp(wanted: SocketAddr) -> Vec<u64> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) =
                (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let Some((ip, port)) = parse_local(local) else {
                continue;
            };
            let overlaps = ip == wanted.ip() || ip.is_unspecified() || wanted.ip().is_unspecified();
            if port == wanted.port() && overlaps {
                inodes.extend(inode.parse::<u64>().ok());
            }
        }
    }
    inodes
}

/// `0100007F:1F90`: words in the byte order of the machine.
pub(super) fn parse_local(local: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for word in 0..ip.len() / 8 {
        let word = u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into(),
    };
    Some((ip, port))
}

fn listening_unix(path: &str) -> Vec<u64> {
    const ACCEPTS: &str = "00010000";
    let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let listens = fields.get(3) == Some(&ACCEPTS) && fields.get(7) == Some(&path);
            listens.then(|| fields.get(6)?.parse().ok()).flatten()
        })
        .collect()
}

/// Processes that have one of these sockets open.
pub(super) fn holders(inodes: &[u64]) -> Vec<u32> {
    let names: HashSet<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let mut fds = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
            fds.any(|fd| {
                fs::read_link(fd.path())
                    .is_ok_and(|target| names.contains(&*target.to_string_lossy()))
            })
            .then_some(pid)
        })
        .collect()
}

/// The innermost unit in `/proc/PID/cgroup`.
pub(super) fn unit_of(pid: u32) -> Option<UnitName> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut parts = line.rsplit('/');
    parts.find_map(|part| {
        let kind = part.rsplit_once('.')?.1;
        matches!(kind, "service" | "scope").then(|| UnitName::parse(part).ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::host::until;
    use crate::model::AbsolutePath;

    #[test]
    fn a_listener_is_found_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let Ok(Address::Tcp(tcp)) = Address::parse(&listener.local_addr().unwrap().to_string())
        else {
            panic!("an address that was bound does not parse");
        };
        let listen = Listen::Tcp {
            addresses: vec![tcp],
            ipv6: None,
            defer_accept: true,
        };
        let found = in_the_way(&listen, &Address::Tcp(tcp)).unwrap();
        assert_eq!(found.pid, Some(std::process::id()));
        drop(listener);
        until("nobody in the way", || {
            in_the_way(&listen, &Address::Tcp(tcp)).is_none()
        });
    }

    #[test]
    fn a_file_without_a_listener_is_not_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let path = AbsolutePath::parse(path.to_str().unwrap()).unwrap();
        let listen = Listen::Unix {
            paths: vec![path.clone()],
            mode: 0o600,
            user: None,
            group: None,
        };
        let address = Address::Unix(path);
        let found = in_the_way(&listen, &address).unwrap();
        assert_eq!(found.pid, Some(std::process::id()));
        drop(listener);
        until("nobody in the way", || {
            in_the_way(&listen, &address).is_none()
        });
    }
}
