//! Where a socket listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::mistake::Mistake;
use super::value::AbsolutePath;

/// One address that a socket can listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(TcpAddress),
    /// At most 107 bytes, which is what the kernel takes.
    Unix(AbsolutePath),
}

/// One TCP address; the port is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpAddress {
    /// `:8080`: every address of the machine, IPv4 and IPv6, on one socket.
    Any { port: u16 },
    /// As written; `[::]:80` takes IPv4 too unless an IPv4 socket has the port.
    One(SocketAddr),
}

impl Address {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        if text.starts_with('/') {
            return unix(text);
        }
        if text.starts_with('@') {
            return Err(Mistake::new(format!("`{text}` is an abstract Unix socket"))
                .hint("use a path: a service with a private network cannot be reached by an abstract name"));
        }
        if let Some(Ok(port)) = text.strip_prefix(':').map(str::parse) {
            return tcp(text, TcpAddress::Any { port });
        }
        if let Ok(address) = text.parse() {
            return tcp(text, TcpAddress::One(address));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return Err(
                Mistake::new(format!("`{text}` does not say on which addresses")).hint(format!(
                    "write `:{text}` for all of them, or `127.0.0.1:{text}`"
                )),
            );
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            let example = SocketAddr::new(ip, 80);
            return Err(Mistake::new(format!("`{text}` has no port"))
                .hint(format!("for example `{example}`")));
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            return Err(Mistake::new("names are not looked up here")
                .hint(format!("write `127.0.0.1:{port}`")));
        }
        Err(not_an_address(text))
    }

    /// Where to connect to reach this address from the same machine.
    pub fn reach(&self) -> Reach {
        match self {
            Self::Unix(path) => Reach::Unix(path.clone()),
            Self::Tcp(address) => Reach::Tcp(address.reach()),
        }
    }

    /// Whether the two cannot be listened on at the same time.
    pub fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(two)) => one == two,
            (Self::Tcp(one), Self::Tcp(two)) => one.collides(*two),
            _ => false,
        }
    }
}

impl TcpAddress {
    pub fn port(self) -> u16 {
        match self {
            Self::Any { port } => port,
            Self::One(address) => address.port(),
        }
    }

    pub fn is_ipv4(self) -> bool {
        matches!(self, Self::One(address) if address.is_ipv4())
    }

    /// Whether it is the IPv6 wildcard, which may take IPv4 too.
    pub fn is_ipv6_wildcard(self) -> bool {
        match self {
            Self::Any { .. } => true,
            Self::One(address) => address.is_ipv6() && address.ip().is_unspecified(),
        }
    }

    /// What to bind.
    pub fn bind(self) -> SocketAddr {
        match self {
            Self::Any { port } => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
            Self::One(address) => address,
        }
    }

    fn reach(self) -> SocketAddr {
        let port = self.port();
        match self {
            Self::Any { .. } => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            Self::One(address) if !address.ip().is_unspecified() => address,
            Self::One(SocketAddr::V4(_)) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            Self::One(SocketAddr::V6(_)) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
        }
    }

    fn collides(self, other: Self) -> bool {
        if self.port() != other.port() {
            return false;
        }
        match (self, other) {
            // `[::]:80` steps back to IPv6 beside an IPv4 socket, so only one family can clash.
            (Self::One(one), Self::One(two)) => {
                let (one, two) = (one.ip(), two.ip());
                one.is_ipv4() == two.is_ipv4()
                    && (one == two || one.is_unspecified() || two.is_unspecified())
            }
            _ => true,
        }
    }
}

/// An address that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    Tcp(SocketAddr),
    Unix(AbsolutePath),
    /// The port that a process was given by the launcher, at this address.
    OwnPort(IpAddr),
}

impl Reach {
    /// Of a process that was given `port`.
    #[must_use]
    pub fn on_port(&self, port: u16) -> Self {
        match self {
            Self::OwnPort(ip) => Self::Tcp(SocketAddr::new(*ip, port)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{path}:"),
            Self::OwnPort(IpAddr::V4(ip)) => write!(f, "http://{ip}:{{{{port}}}}"),
            Self::OwnPort(IpAddr::V6(ip)) => write!(f, "http://[{ip}]:{{{{port}}}}"),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|mistake| D::Error::custom(mistake.message))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any { port } => write!(f, ":{port}"),
            Self::One(address) => address.fmt(f),
        }
    }
}

fn tcp(text: &str, address: TcpAddress) -> Result<Address, Mistake> {
    if address.port() == 0 {
        return Err(Mistake::new(format!("`{text}` has no fixed port"))
            .hint("port 0 is another one at every start; choose one"));
    }
    if matches!(address, TcpAddress::One(SocketAddr::V6(v6)) if v6.scope_id() != 0) {
        return Err(
            Mistake::new(format!("`{text}` names an interface by number")).hint(
                "the number may change at the next boot; listen on `[::]` or a global address",
            ),
        );
    }
    Ok(Address::Tcp(address))
}

fn unix(text: &str) -> Result<Address, Mistake> {
    let path = AbsolutePath::parse(text)?;
    if text.len() > 107 {
        return Err(Mistake::new(format!(
            "the path of a Unix socket has at most 107 bytes, this one has {}",
            text.len()
        )));
    }
    if path.is_directory() {
        return Err(Mistake::new(format!(
            "`{text}` is a directory, not a socket"
        )));
    }
    Ok(Address::Unix(path))
}

fn not_an_address(text: &str) -> Mistake {
    Mistake::new(format!("`{text}` is not an address"))
        .hint("write `0.0.0.0:80`, `[::]:80`, `:80` for both, or a path like `/run/shop.sock`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collide(one: &str, two: &str) -> bool {
        let one = Address::parse(one).unwrap();
        let two = Address::parse(two).unwrap();
        assert_eq!(one.collides(&two), two.collides(&one));
        one.collides(&two)
    }

    #[test]
    fn what_cannot_be_listened_on_together_collides() {
        let colliding = [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            (":80", "0.0.0.0:80"),
            (":80", "[::]:80"),
            ("[::]:80", "[::1]:80"),
            ("/run/a.sock", "/run/a.sock"),
        ];
        let apart = [
            ("0.0.0.0:80", "0.0.0.0:81"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("0.0.0.0:80", "[::]:80"),
            ("/run/a.sock", "/run/b.sock"),
            ("/run/a.sock", ":80"),
        ];
        assert_eq!(colliding.map(|(one, two)| collide(one, two)), [true; 6]);
        assert_eq!(apart.map(|(one, two)| collide(one, two)), [false; 5]);
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        let reached = [":80", "0.0.0.0:80", "[::]:80", "10.0.0.5:80", "/run/a.sock"]
            .map(|text| Address::parse(text).unwrap().reach().to_string());
        assert_eq!(
            reached,
            [
                "http://127.0.0.1:80",
                "http://127.0.0.1:80",
                "http://[::1]:80",
                "http://10.0.0.5:80",
                "unix:/run/a.sock:",
            ]
        );
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        let said: Vec<_> = [
            "80",
            "::1",
            "localhost:80",
            "shop",
            ":0",
            "@abstract",
            "/run/",
            ":x",
        ]
        .iter()
        .map(|text| Address::parse(text).unwrap_err())
        .map(|mistake| {
            format!(
                "{} -- {}",
                mistake.message,
                mistake.hint.unwrap_or_default()
            )
        })
        .collect();
        assert_eq!(
            said,
            [
                "`80` does not say on which addresses -- write `:80` for all of them, or `127.0.0.1:80`",
                "`::1` has no port -- for example `[::1]:80`",
                "names are not looked up here -- write `127.0.0.1:80`",
                "`shop` is not an address -- write `0.0.0.0:80`, `[::]:80`, `:80` for both, or a path like `/run/shop.sock`",
                "`:0` has no fixed port -- port 0 is another one at every start; choose one",
                "`@abstract` is an abstract Unix socket -- use a path: a service with a private network cannot be reached by an abstract name",
                "`/run/` is a directory, not a socket -- ",
                "`:x` is not an address -- write `0.0.0.0:80`, `[::]:80`, `:80` for both, or a path like `/run/shop.sock`",
            ]
        );
    }
}
