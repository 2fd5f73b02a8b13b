//! The kernel's socket diagnostics: how many wait in which queue, and how many are served.
//!
//! Over netlink, which `ss` uses too. Where that is not permitted, `/proc/net/tcp` has all but the
//! limits.

#![expect(clippy::disallowed_methods, reason = "reads /proc")]

use std::fs;
use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN};
use netlink_packet_sock_diag::inet::{self, ExtensionFlags, InetRequest, InetResponse, SocketId};
use netlink_packet_sock_diag::unix::nlas::UnixDiagName;
use netlink_packet_sock_diag::unix::{self, ShowFlags, UnixRequest, UnixResponse};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::listeners::parse_local;
use crate::sockets::{Counters, Listener, Local, Sockets};

/// Every listener and every accepted connection of this network namespace.
pub fn sockets() -> Sockets {
    match by_netlink() {
        Ok(sockets) => sockets,
        Err(error) => Sockets {
            lacks: Some(format!(
                "the kernel's socket diagnostics say no ({error}), so from `/proc/net/tcp`: no limits \
                 of queues, and nothing about Unix sockets"
            )),
            ..by_proc(
                &fs::read_to_string("/proc/net/tcp").unwrap_or_default(),
                &fs::read_to_string("/proc/net/tcp6").unwrap_or_default(),
            )
        },
    }
}

/// `None` where `/proc` does not show them.
pub fn counters() -> Option<Counters> {
    let snmp = fs::read_to_string("/proc/net/snmp").ok()?;
    let netstat = fs::read_to_string("/proc/net/netstat").ok()?;
    Some(Counters {
        passive_opens: counter(&snmp, "Tcp:", "PassiveOpens")?,
        overflows: counter(&netstat, "TcpExt:", "ListenOverflows")?,
    })
}

/// A line of names, then a line of values, both with the same first word.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names
        .split_ascii_whitespace()
        .zip(values.split_ascii_whitespace());
    pairs.find(|(known, _)| *known == name)?.1.parse().ok()
}

fn by_netlink() -> io::Result<Sockets> {
    let mut sockets = Sockets::default();
    for (family, any) in [
        (AF_INET, SocketId::new_v4()),
        (AF_INET6, SocketId::new_v6()),
    ] {
        let request = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: inet::StateFlags::LISTEN
                | inet::StateFlags::ESTABLISHED
                | inet::StateFlags::CLOSE_WAIT,
            socket_id: any,
        });
        dump(request, &mut sockets)?;
    }
    let request = SockDiagMessage::UnixRequest(UnixRequest {
        state_flags: unix::StateFlags::LISTEN | unix::StateFlags::ESTABLISHED,
        inode: 0,
        show_flags: ShowFlags::NAME | ShowFlags::RQLEN,
        cookie: [0xff; 8],
    });
    dump(request, &mut sockets)?;
    Ok(sockets)
}

/// Sends one request and reads its answer to the end.
fn dump(request: SockDiagMessage, into: &mut Sockets) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    loop {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    take_tcp(&socket, into);
                }
                NetlinkPayload::InnerMessage(SockDiagMessage::UnixResponse(socket)) => {
                    take_unix(&socket, into);
                }
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // The length is without the padding that keeps messages on multiples of four.
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn take_tcp(socket: &InetResponse, into: &mut Sockets) {
    let header = &socket.header;
    let id = &header.socket_id;
    let local = Local::tcp(SocketAddr::new(id.source_address, id.source_port));
    let inode = u64::from(header.inode);
    if header.state == TCP_LISTEN {
        into.listeners.push(Listener {
            local,
            waiting: header.recv_queue,
            limit: Some(header.send_queue),
            inode,
        });
    } else if inode != 0 {
        // One that waits in a queue has no file yet, and so no inode.
        into.connections.push(local);
    }
}

fn take_unix(socket: &UnixResponse, into: &mut Sockets) {
    let Some(UnixDiagName::Pathname(path)) = socket.name() else {
        return;
    };
    let local = Local::Unix(path.to_string_lossy().into_owned());
    if socket.header.state == TCP_LISTEN {
        into.listeners.push(Listener {
            local,
            waiting: socket.number_of_pending_connection().unwrap_or_default(),
            limit: socket.max_number_of_pending_connection(),
            inode: u64::from(socket.header.inode),
        });
    } else {
        // An accepted one has the name of its listener.
        into.connections.push(local);
    }
}

fn by_proc(tcp: &str, tcp6: &str) -> Sockets {
    let mut sockets = Sockets::default();
    let lines = tcp.lines().skip(1).chain(tcp6.lines().skip(1));
    for line in lines {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(local), Some(state), Some(queues), Some(inode)) =
            (fields.get(1), fields.get(3), fields.get(4), fields.get(9))
        else {
            continue;
        };
        let (Some((ip, port)), Ok(inode)) = (parse_local(local), inode.parse::<u64>()) else {
            continue;
        };
        let local = Local::tcp(SocketAddr::new(ip, port));
        let waiting = queues
            .split_once(':')
            .and_then(|(_, rx)| u32::from_str_radix(rx, 16).ok());
        match *state {
            "0A" => sockets.listeners.push(Listener {
                local,
                waiting: waiting.unwrap_or_default(),
                limit: None,
                inode,
            }),
            "01" | "08" if inode != 0 => sockets.connections.push(local),
            _ => {}
        }
    }
    sockets
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::model::Address;

    /// Three connect, one is accepted.
    #[test]
    fn queues_and_connections_are_those_that_were_made() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bound = listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(bound).unwrap()).collect();
        clients[0].write_all(b"x").unwrap();
        let accepted = listener.accept().unwrap();
        let address = Address::parse(&bound.to_string()).unwrap();

        let seen = by_netlink().unwrap();
        let queue = seen.queue(&address).unwrap();
        assert_eq!((queue.waiting, seen.live(&address)), (2, 1));
        // `std` asks for 4096 or less, and `net.core.somaxconn` may cut it.
        assert!(queue.limit.is_some_and(|limit| limit > 0), "{queue:?}");

        let tcp = fs::read_to_string("/proc/net/tcp").unwrap();
        let plainer = by_proc(&tcp, "");
        let queue = plainer.queue(&address).unwrap();
        assert_eq!(
            (queue.waiting, queue.limit, plainer.live(&address)),
            (2, None, 1)
        );

        drop(accepted);
    }

    #[test]
    fn unix_sockets_have_queues_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let clients = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
        let accepted = listener.accept().unwrap();
        let address = Address::parse(path.to_str().unwrap()).unwrap();

        let seen = by_netlink().unwrap();
        let queue = seen.queue(&address).unwrap();
        assert_eq!((queue.waiting, seen.live(&address)), (1, 1));
        assert!(queue.limit.is_some_and(|limit| limit > 0), "{queue:?}");
        drop((accepted, clients));
    }

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: ActiveOpens PassiveOpens\nTcp: 7 9\n";
        assert_eq!(counter(text, "Tcp:", "PassiveOpens"), Some(9));
        assert_eq!(counter(text, "Tcp:", "CurrEstab"), None);
        let now = counters().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap();
        assert!(counters().unwrap().passive_opens > now.passive_opens);
    }
}
