//! A free port for a program that opens its own socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use crate::host::Failure;
use crate::host::listeners;
use crate::model::{Address, Listen, Name, Ports, TcpAddress, UnitName};

/// Which unit has which port, of all units of a launcher.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<BTreeMap<UnitName, (Name, u16)>>);

impl Book {
    /// A port for the next process of `unit`, in the place of the one that it had.
    pub(super) fn take(
        &self,
        unit: &UnitName,
        service: &Name,
        ports: Ports,
    ) -> Result<u16, Failure> {
        let mut book = self.open();
        book.remove(unit);
        let taken = book.values().map(|(_, port)| *port).collect();
        let port = free(ports, &taken)?;
        book.insert(unit.clone(), (service.clone(), port));
        Ok(port)
    }

    /// One that a process has already.
    pub(super) fn note(&self, unit: &UnitName, service: &Name, port: u16) {
        self.open().insert(unit.clone(), (service.clone(), port));
    }

    pub(super) fn give_back(&self, unit: &UnitName) {
        self.open().remove(unit);
    }

    /// Of each service that has any: that of its first unit.
    pub(super) fn of_services(&self) -> BTreeMap<Name, u16> {
        let book = self.open();
        let last_first = book.values().rev();
        last_first.cloned().collect()
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<UnitName, (Name, u16)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of so many ports it is said who has them.
const NAMED: usize = 3;

/// The first port of the range that is not `taken`, and that a program could listen on at any address. Another program
/// may take it until the one that it is for does.
pub(super) fn free(ports: Ports, taken: &BTreeSet<u16>) -> Result<u16, Failure> {
    let mut used = Vec::new();
    for port in ports.from..=ports.to {
        if taken.contains(&port) {
            continue;
        }
        match try_bind(port) {
            Ok(()) => return Ok(port),
            Err(Errno::EADDRINUSE) => used.push(port),
            Err(error) => {
                let failure = Failure::new(format!("failed to bind port {port}: {}", error.desc()));
                let failure = match error {
                    Errno::EACCES => {
                        failure.hint("ports below 1024 want root or `CAP_NET_BIND_SERVICE`")
                    }
                    _ => failure,
                };
                return Err(failure.without_effect());
            }
        }
    }
    Err(all_used(ports, taken, &used))
}

/// As a server does, for both families at once.
fn try_bind(port: u16) -> nix::Result<()> {
    let _v4 = bound(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
    match bound(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
        // There is no IPv6 here.
        Ok(_) | Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => Ok(()),
        Err(error) => Err(error),
    }
}

fn bound(address: SocketAddr) -> nix::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

fn all_used(ports: Ports, taken: &BTreeSet<u16>, used: &[u16]) -> Failure {
    let Ports { from, to } = ports;
    let own = taken.range(from..=to).count();
    let mut who: Vec<String> = used.iter().take(NAMED).map(|port| holder(*port)).collect();
    if used.len() > NAMED {
        who.push(format!("{} more in use", used.len() - NAMED));
    }
    if own > 0 {
        who.push(match own {
            1 => "one has another process of this launcher".to_owned(),
            own => format!("{own} have other processes of this launcher"),
        });
    }
    Failure::new(format!(
        "no port from {from} to {to} is free: {}",
        who.join(", ")
    ))
    .hint("give `port` a larger range: while a service is restarted, each of its processes has one")
    .without_effect()
}

fn holder(port: u16) -> String {
    let address = TcpAddress::Any { port };
    let listen = Listen::Tcp {
        addresses: vec![address],
        ipv6: None,
        defer_accept: false,
    };
    match listeners::in_the_way(&listen, &Address::Tcp(address)) {
        Some(who) => match (who.program, who.pid) {
            (Some(program), Some(pid)) => format!("{port} has `{program}` (process {pid})"),
            (None, Some(pid)) => format!("{port} has process {pid}"),
            _ => format!("{port} is in use"),
        },
        None => format!("{port} is in use"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::host::until;

    /// `count` listening sockets on ports in a row, the next one free. No two tests have the same: each has a `place` of
    /// its own, in this process.
    fn row(place: u16, count: u16, ip: &str) -> (u16, Vec<TcpListener>) {
        let process = u16::try_from(std::process::id() % 300).unwrap();
        let from = 20_000 + process * 30 + place * 10;
        let listeners = (from..from + count)
            .map(|port| TcpListener::bind(format!("{ip}:{port}")).unwrap())
            .collect();
        (from, listeners)
    }

    #[test]
    fn what_others_have_is_not_free_at_any_address() {
        for ip in ["0.0.0.0", "127.0.0.1", "[::]", "[::1]"] {
            let (from, listeners) = row(0, 1, ip);
            let ports = Ports { from, to: from + 1 };
            assert_eq!(free(ports, &BTreeSet::new()).unwrap(), from + 1, "{ip}");
            drop(listeners);
            until(ip, || free(ports, &BTreeSet::new()).unwrap() == from);
        }
    }

    #[test]
    fn what_is_taken_is_not_tried() {
        let (from, _none) = row(1, 0, "127.0.0.1");
        let ports = Ports { from, to: from + 1 };
        assert_eq!(free(ports, &BTreeSet::from([from])).unwrap(), from + 1);
        let failure = free(ports, &BTreeSet::from([from, from + 1])).unwrap_err();
        assert_eq!(
            failure.reason,
            format!(
                "no port from {from} to {} is free: 2 have other processes of this launcher",
                from + 1
            )
        );
    }

    #[test]
    fn who_has_them_is_said() {
        let (from, _listeners) = row(2, 5, "0.0.0.0");
        let to = from + 4;
        let failure = free(Ports { from, to }, &BTreeSet::from([to])).unwrap_err();
        let pid = std::process::id();
        let name = std::fs::read("/proc/self/comm").unwrap();
        let name = String::from_utf8(name).unwrap();
        let name = name.trim_end();
        let has = |port| format!("{port} has `{name}` (process {pid})");
        assert_eq!(
            failure.reason,
            format!(
                "no port from {from} to {to} is free: {}, {}, {}, 1 more in use, one has another process of this launcher",
                has(from),
                has(from + 1),
                has(from + 2)
            )
        );
    }
}
