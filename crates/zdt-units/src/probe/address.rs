//! Where the requests go: an address as typed becomes a TCP or a Unix address.
//! Pure: no name is ever looked up, so the machine that is measured is the
//! machine that was named.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A listening socket, and the name by which requests ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: Address,
    /// The value of the `Host` header and of `:authority`.
    pub host: String,
}

/// Why a text names no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    #[error("no address given; write it as `127.0.0.1:8080`, `:8080` or `/run/app.sock`")]
    Empty,
    #[error("`{0}` names no port; write it as `{0}:8080`")]
    NoPort(String),
    #[error("`{0}` is not a port number")]
    Port(String),
    #[error(
        "`{0}` is a name, and the probe looks no names up; write the literal address or `localhost`"
    )]
    Name(String),
    #[error("`{0}` asks for TLS, which the probe does not speak; use the plain `http://` port")]
    Tls(String),
    #[error("`{0}` carries a path, which does not belong in an address; give it with `--path`")]
    Path(String),
}

impl Address {
    /// True for a Unix socket, a loopback address, and `0.0.0.0` or `[::]`,
    /// which Linux connects to itself.
    pub fn is_loopback(&self) -> bool {
        match self {
            Address::Unix(_) => true,
            Address::Tcp(address) => {
                let ip = address.ip().to_canonical();
                ip.is_loopback() || ip.is_unspecified()
            }
        }
    }
}

impl Target {
    /// A target with the host that the address itself suggests.
    pub fn new(address: Address) -> Target {
        let host = match &address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        Target { address, host }
    }

    /// Reads an address or an `http://` URL; the URL's path comes back beside it.
    pub fn parse_url(text: &str) -> Result<(Target, Option<String>), AddressError> {
        if text.starts_with("https://") {
            return Err(AddressError::Tls(text.to_owned()));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Ok((Target::new(text.parse()?), None));
        };

        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let path = match path.as_bytes().first() {
            None => None,
            Some(b'?') => Some(format!("/{path}")),
            Some(_) => Some(path.to_owned()),
        };

        let address = match parse_tcp(authority) {
            Err(AddressError::NoPort(host)) => parse_tcp(&format!("{host}:80"))?,
            other => other?,
        };
        let host = if authority.starts_with(':') {
            address.to_string()
        } else {
            authority.to_owned()
        };
        Ok((
            Target {
                address: Address::Tcp(address),
                host,
            },
            path,
        ))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Target::new(Address::Tcp(address))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(AddressError::Empty);
            }
            return Ok(Address::Unix(path.into()));
        }
        if text.starts_with('/') {
            return Ok(Address::Unix(text.into()));
        }
        if text.starts_with("http://") {
            return match Target::parse_url(text)? {
                (target, None) => Ok(target.address),
                (target, Some(path)) if path == "/" => Ok(target.address),
                (_, Some(_)) => Err(AddressError::Path(text.to_owned())),
            };
        }
        if text.starts_with("https://") {
            return Err(AddressError::Tls(text.to_owned()));
        }
        parse_tcp(text).map(Address::Tcp)
    }
}

impl FromStr for Target {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Target, AddressError> {
        match Target::parse_url(text)? {
            (_, Some(path)) if path != "/" => Err(AddressError::Path(text.to_owned())),
            (target, _) => Ok(target),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn parse_tcp(text: &str) -> Result<SocketAddr, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() || text == "localhost" {
        return Err(AddressError::NoPort(match bare.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => text.to_owned(),
        }));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(AddressError::Name(text.to_owned()));
    };
    let port = port
        .parse()
        .map_err(|_| AddressError::Port(port.to_owned()))?;
    match host {
        "" | "localhost" => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => Err(AddressError::Name(host.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Address>() {
            Ok(address) => address.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown, expected, "for `{text}`");
    }

    #[test]
    fn an_address_is_read_as_written() {
        check("127.0.0.1:80", "127.0.0.1:80");
        check("[::1]:80", "[::1]:80");
        check(":8080", "127.0.0.1:8080");
        check("localhost:8080", "127.0.0.1:8080");
        check("unix:/run/x.sock", "unix:/run/x.sock");
        check("unix:x.sock", "unix:x.sock");
        check("/run/x.sock", "unix:/run/x.sock");
        check("http://localhost/", "127.0.0.1:80");
        check("http://[::1]", "[::1]:80");
    }

    #[test]
    fn a_text_that_is_no_address_says_what_to_write() {
        check(
            "",
            "error: no address given; write it as `127.0.0.1:8080`, `:8080` or `/run/app.sock`",
        );
        check(
            "127.0.0.1",
            "error: `127.0.0.1` names no port; write it as `127.0.0.1:8080`",
        );
        check(
            "::1",
            "error: `[::1]` names no port; write it as `[::1]:8080`",
        );
        check("127.0.0.1:http", "error: `http` is not a port number");
        check(":99999", "error: `99999` is not a port number");
        check(
            "example.org:80",
            "error: `example.org` is a name, and the probe looks no names up; write the literal address or `localhost`",
        );
        check(
            "https://localhost",
            "error: `https://localhost` asks for TLS, which the probe does not speak; use the plain `http://` port",
        );
        check(
            "http://localhost/a",
            "error: `http://localhost/a` carries a path, which does not belong in an address; give it with `--path`",
        );
    }

    #[test]
    fn a_url_gives_address_host_and_path() {
        let check = |text: &str, address: &str, host: &str, path: Option<&str>| {
            let (target, found) = Target::parse_url(text).unwrap();
            assert_eq!(target.address.to_string(), address, "for `{text}`");
            assert_eq!(target.host, host, "for `{text}`");
            assert_eq!(found.as_deref(), path, "for `{text}`");
        };
        check(
            "http://localhost:8080/a?b=c#d",
            "127.0.0.1:8080",
            "localhost:8080",
            Some("/a?b=c"),
        );
        check("http://[::1]", "[::1]:80", "[::1]", None);
        check("http://:81?x", "127.0.0.1:81", "127.0.0.1:81", Some("/?x"));
        check(":81", "127.0.0.1:81", "127.0.0.1:81", None);
        check("/run/x", "unix:/run/x", "localhost", None);
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        let check = |text: &str, expected: bool| {
            assert_eq!(
                text.parse::<Address>().unwrap().is_loopback(),
                expected,
                "for `{text}`"
            );
        };
        check("127.9.9.9:1", true);
        check("[::1]:1", true);
        check("[::ffff:127.0.0.1]:1", true);
        check("0.0.0.0:1", true);
        check("/run/x", true);
        check("192.0.2.1:1", false);
        check("[2001:db8::1]:1", false);
    }
}
