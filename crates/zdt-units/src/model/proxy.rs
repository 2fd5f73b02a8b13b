//! What a reverse proxy in front of a service has to know.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::mistake::Mistake;
use super::{Address, Ports, Reach, Service, TcpAddress};

/// By which names clients ask for a service, and where it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Empty: every host that no other service has.
    pub domains: Vec<Domain>,
    /// Never empty.
    pub servers: Vec<Server>,
    /// For so long after a request a reload of nginx leaves its connection alone.
    pub keepalive_min_timeout: Option<Duration>,
}

/// One address of a service, as the proxy reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub name: ServerName,
    /// Neither a wildcard nor a port that is known later.
    pub address: Reach,
}

/// The name of a host on the web, in lower case: `shop.example`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// The name of a server in a proxy: a letter or a digit, then at most 62 of `A-Za-z0-9._-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl Domain {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let wrong = |what: &str| Mistake::new(format!("`{text}` {what}"));
        if let Some((_, after)) = text.split_once("://") {
            let host = after.split(['/', ':']).next().unwrap_or_default();
            return Err(wrong("is a URL, not a domain").hint(format!("write `{host}`")));
        }
        if text.contains('*') {
            return Err(wrong("is a pattern").hint("write each domain out"));
        }
        if !text.is_ascii() {
            return Err(wrong("is not written as it is sent")
                .hint("write the form that begins with `xn--` (IDNA)"));
        }
        if let Some((host, port)) = text.split_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(wrong("has a port").hint(format!(
                "write `{host}`: on which ports it is asked for is up to the proxy"
            )));
        }
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(wrong("is not a domain").hint("for example `shop.example`"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ServerName {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let mut bytes = text.bytes();
        let starts_well = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if starts_well && bytes.all(plain) && text.len() <= 63 {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Mistake::new(format!("`{text}` does not do as the name of a server"))
                .hint("use a letter or a digit, then up to 62 letters, digits, `.`, `_` and `-`"),
        )
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Server {
    pub(super) fn address(text: &str) -> Result<Reach, Mistake> {
        const HINT: &str =
            "write the address by which the proxy reaches this server: `10.0.0.11:8080`";
        let address = Address::parse(text).map_err(|mistake| mistake.hint(HINT))?;
        let wildcard = match address {
            Address::Tcp(TcpAddress::Any { .. }) => true,
            Address::Tcp(TcpAddress::One(address)) => address.ip().is_unspecified(),
            Address::Unix(_) => false,
        };
        match wildcard {
            true => Err(
                Mistake::new(format!("`{text}` can be listened on, not connected to")).hint(HINT),
            ),
            false => Ok(address.reach()),
        }
    }
}

impl Service {
    /// What the file says, or its main socket for every host. `None`: nothing that a proxy could reach.
    pub fn proxied(&self) -> Option<Proxy> {
        let own = || Proxy::of_this_machine(self.name.as_str(), Vec::new(), self.main_reach()?);
        self.proxy.clone().or_else(own)
    }

    /// Where a proxy on the same machine connects to.
    pub(crate) fn main_reach(&self) -> Option<Reach> {
        let is_health = |name: &str| name == "health" && self.health.is_some();
        let mut sockets = self.sockets.iter();
        let main = sockets.find(|socket| !is_health(socket.name.as_str()));
        let main = main.and_then(|socket| socket.listen.addresses().first().map(Address::reach));
        main.or_else(|| self.ports.and_then(Ports::fixed).map(on_loopback))
    }
}

impl Proxy {
    pub(super) fn of_this_machine(
        service: &str,
        domains: Vec<Domain>,
        address: Reach,
    ) -> Option<Self> {
        let name = ServerName::parse(service).ok()?;
        let servers = vec![Server { name, address }];
        Some(Self {
            domains,
            servers,
            keepalive_min_timeout: None,
        })
    }
}

pub(super) fn on_loopback(port: u16) -> Reach {
    Reach::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
}

/// Whether only the machine that listens on it can connect to `address`.
pub(super) fn is_at_home(address: &Address) -> bool {
    match address {
        Address::Tcp(TcpAddress::Any { .. }) => false,
        Address::Tcp(TcpAddress::One(address)) => address.ip().is_loopback(),
        Address::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_what_is_sent_as_a_host() {
        let good = [
            "shop.example",
            "localhost",
            "A.Example",
            "xn--bcher-kva.example",
            "1.example",
        ];
        let read = good.map(|text| Domain::parse(text).unwrap().to_string());
        assert_eq!(
            read,
            [
                "shop.example",
                "localhost",
                "a.example",
                "xn--bcher-kva.example",
                "1.example"
            ]
        );
        let bad = [
            "",
            ".example",
            "shop.example.",
            "-a.example",
            "a b",
            "*.example",
            "https://shop.example/",
            "shop.example:80",
            "bücher.example",
            "shop_1.example",
        ];
        let said = bad.map(|text| Domain::parse(text).unwrap_err());
        let hints = said.map(|mistake| mistake.hint.unwrap_or_default());
        assert_eq!(
            hints,
            [
                "for example `shop.example`",
                "for example `shop.example`",
                "for example `shop.example`",
                "for example `shop.example`",
                "for example `shop.example`",
                "write each domain out",
                "write `shop.example`",
                "write `shop.example`: on which ports it is asked for is up to the proxy",
                "write the form that begins with `xn--` (IDNA)",
                "for example `shop.example`",
            ]
        );
        assert!(Domain::parse(&format!("{}.example", "a".repeat(64))).is_err());
    }

    #[test]
    fn a_server_is_where_a_proxy_can_connect_to() {
        let read = ["10.0.0.11:8080", "[fd00::1]:80", "/run/shop.sock"]
            .map(|text| Server::address(text).unwrap().to_string());
        assert_eq!(
            read,
            [
                "http://10.0.0.11:8080",
                "http://[fd00::1]:80",
                "unix:/run/shop.sock:"
            ]
        );
        for text in [":80", "0.0.0.0:80", "[::]:80", "web1:80", "10.0.0.1"] {
            assert!(Server::address(text).is_err(), "{text}");
        }
    }
}
