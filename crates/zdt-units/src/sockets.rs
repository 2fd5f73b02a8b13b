//! What the kernel says about listening sockets at one moment: who waits, and who is served. Data
//! only; a host fills it in.

use std::net::SocketAddr;

use crate::model::Address;

/// Where a socket is bound. IPv4 addresses in IPv6 clothes are written as IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    Tcp(SocketAddr),
    Unix(String),
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub local: Local,
    /// Connections that nobody has accepted.
    pub waiting: u32,
    /// How many may wait; `None` where the kernel does not say.
    pub limit: Option<u32>,
    pub inode: u64,
}

/// All of them, and every connection that a process has accepted or made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    pub listeners: Vec<Listener>,
    /// The local end of each.
    pub connections: Vec<Local>,
    /// Why some of it is missing.
    pub lacks: Option<String>,
}

/// The queue of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    pub waiting: u32,
    pub limit: Option<u32>,
}

/// Counters of the whole network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// TCP connections that were made to any listener.
    pub passive_opens: u64,
    /// Times that a connection found a queue full.
    pub overflows: u64,
}

impl Sockets {
    /// The sockets that listen at `address`; more than one with `SO_REUSEPORT`.
    pub fn at<'a>(&'a self, address: &Address) -> impl Iterator<Item = &'a Listener> + use<'a> {
        let local = Local::of(address);
        self.listeners
            .iter()
            .filter(move |listener| listener.local == local)
    }

    /// `None` where nobody listens.
    pub fn queue(&self, address: &Address) -> Option<Queue> {
        let queues = self.at(address).map(|listener| Queue {
            waiting: listener.waiting,
            limit: listener.limit,
        });
        queues.reduce(Queue::and)
    }

    /// Connections that were accepted at `address` and are open.
    pub fn live(&self, address: &Address) -> usize {
        let local = Local::of(address);
        let has_own =
            |connection: &Local| self.listeners.iter().any(|own| own.local == *connection);
        let here = |connection: &&Local| match (&local, *connection) {
            (local, connection) if local == connection => true,
            (Local::Tcp(bound), Local::Tcp(end)) => {
                bound.ip().is_unspecified()
                    && bound.port() == end.port()
                    && (bound.is_ipv6() || end.is_ipv4())
                    && !has_own(connection)
            }
            _ => false,
        };
        self.connections.iter().filter(here).count()
    }
}

impl Queue {
    pub fn and(self, other: Self) -> Self {
        Self {
            waiting: self.waiting + other.waiting,
            limit: self.limit.zip(other.limit).map(|(one, two)| one + two),
        }
    }

    /// How many more may come. The kernel takes one more than the limit says.
    pub fn room(self) -> Option<u32> {
        Some((self.limit? + 1).saturating_sub(self.waiting))
    }
}

impl Local {
    pub fn of(address: &Address) -> Self {
        match address {
            Address::Tcp(address) => Self::tcp(address.bind()),
            Address::Unix(path) => Self::Unix(path.to_string()),
        }
    }

    pub fn tcp(address: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn listener(text: &str, waiting: u32) -> Listener {
        Listener {
            local: Local::of(&address(text)),
            waiting,
            limit: Some(4096),
            inode: 1,
        }
    }

    #[test]
    fn a_connection_counts_for_the_socket_that_took_it() {
        let end = |text: &str| Local::tcp(text.parse().unwrap());
        let sockets = Sockets {
            listeners: vec![
                listener(":80", 2),
                listener("127.0.0.1:80", 0),
                listener("/run/a.sock", 1),
            ],
            connections: vec![
                end("10.0.0.1:80"),
                end("[::ffff:10.0.0.1]:80"),
                end("[::1]:80"),
                end("127.0.0.1:80"),
                end("127.0.0.1:40000"),
                Local::Unix("/run/a.sock".to_owned()),
            ],
            lacks: None,
        };
        let live =
            [":80", "127.0.0.1:80", "/run/a.sock", ":81"].map(|text| sockets.live(&address(text)));
        assert_eq!(live, [3, 1, 1, 0]);
        assert_eq!(
            sockets.queue(&address(":80")).and_then(Queue::room),
            Some(4095)
        );
        assert_eq!(sockets.queue(&address(":81")), None);
    }

    #[test]
    fn two_sockets_of_one_address_have_two_queues() {
        let sockets = Sockets {
            listeners: vec![listener("127.0.0.1:80", 3), listener("127.0.0.1:80", 4)],
            ..Sockets::default()
        };
        let queue = sockets.queue(&address("127.0.0.1:80")).unwrap();
        assert_eq!((queue.waiting, queue.limit), (7, Some(8192)));
    }
}
