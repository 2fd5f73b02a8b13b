//! Where a server is taken out of rotation before something is done to it, and put back after.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Mistake;

/// One server of a load balancer, and how it is taken out there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub balancer: Balancer,
    pub server: Member,
    /// What is waited after the balancer was told, where nobody can say what is in flight.
    pub settle: Duration,
    /// Until nothing is in flight there; and until it is up again once it was put back.
    pub timeout: Duration,
}

/// Whoever passes requests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balancer {
    /// Over its runtime API.
    Haproxy { control: Control },
    /// A file of its own configuration, with the `upstream` in it.
    Nginx {
        file: PathBuf,
        /// Ends with 0 if nginx would take its files.
        test: Vec<String>,
        reload: Vec<String>,
    },
    /// A file of its file provider, which it reads again by itself.
    Traefik {
        file: PathBuf,
        /// Where it says which servers it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api: Option<SocketAddr>,
    },
    /// Whatever these programs talk to.
    Command {
        drain: Vec<String>,
        restore: Vec<String>,
    },
}

/// Where HAProxy takes commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

/// `BACKEND/SERVER`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub backend: String,
    pub server: String,
}

impl Rotation {
    /// Where the balancer says nothing else.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
}

impl Balancer {
    /// How it is tested and reloaded where nobody says.
    pub fn nginx(file: PathBuf) -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self::Nginx {
            file,
            test: words(&["nginx", "-t"]),
            reload: words(&["systemctl", "reload", "nginx"]),
        }
    }

    /// Where Traefik's API is: `IP:PORT`.
    pub fn traefik_api(text: &str) -> Result<SocketAddr, Mistake> {
        text.parse().map_err(|_| {
            Mistake::new(format!("`{text}` is not where Traefik's API is"))
                .hint("write `IP:PORT`, as in `127.0.0.1:8080`")
        })
    }

    /// What is waited where nobody says: only for who does not tell what is in flight.
    pub fn settle(&self) -> Duration {
        match self {
            // It takes a change every two seconds at most; the rest is for what is in flight.
            Self::Traefik { .. } => Duration::from_secs(5),
            Self::Haproxy { .. } | Self::Nginx { .. } | Self::Command { .. } => Duration::ZERO,
        }
    }
}

impl Balancer {
    /// What is said of what is in flight there after a drain, as it counts it.
    pub fn left_there(&self, left: u64) -> String {
        match (self, left) {
            (Self::Nginx { .. }, 1) => {
                "1 worker of before the reload still has connections".to_owned()
            }
            (Self::Nginx { .. }, left) => {
                format!("{left} workers of before the reload still have connections")
            }
            (_, 1) => "1 request is still in flight there".to_owned(),
            (_, left) => format!("{left} requests are still in flight there"),
        }
    }
}

impl Control {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
            Some(1..) if !text.contains(['/', ' ']) => Ok(Self::Tcp(text.to_owned())),
            _ => Err(
                Mistake::new(format!("`{text}` is not where HAProxy takes commands"))
                    .hint("write the path of its `stats socket`, or `HOST:PORT`"),
            ),
        }
    }
}

impl Member {
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let known = |text: &str| !text.is_empty() && !text.chars().any(is_foreign);
        match text.split_once('/') {
            Some((backend, server)) if known(backend) && known(server) => Ok(Self {
                backend: backend.to_owned(),
                server: server.to_owned(),
            }),
            _ => Err(
                Mistake::new(format!("`{text}` does not name a server of a balancer"))
                    .hint("write `BACKEND/SERVER`, as in `shop/web1`"),
            ),
        }
    }
}

/// What would be another word, or another command, to a balancer; an address has `/`, `:` and brackets.
fn is_foreign(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(char, ';' | '#' | '"' | '\'' | '\\' | '{' | '}')
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Haproxy { control } => write!(f, "HAProxy at `{control}`"),
            Self::Nginx { file, .. } => write!(f, "nginx in `{}`", file.display()),
            Self::Traefik { file, .. } => write!(f, "Traefik in `{}`", file.display()),
            Self::Command { drain, .. } => write!(f, "`{}`", drain[0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_backend_and_no_command_in_it() {
        let member = Member::parse("shop/10.0.0.11:8080").unwrap();
        assert_eq!(
            (&*member.backend, &*member.server),
            ("shop", "10.0.0.11:8080")
        );
        assert_eq!(
            Member::parse("shop/http://[::1]:80/").unwrap().server,
            "http://[::1]:80/"
        );
        for text in [
            "shop",
            "/web1",
            "shop/",
            "shop/a b",
            "shop/a;show info",
            "shop/a\nb",
            "a#b/c",
            "",
        ] {
            assert!(Member::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn haproxy_is_a_path_or_a_port() {
        assert_eq!(
            Control::parse("/run/haproxy/admin.sock"),
            Ok(Control::Unix("/run/haproxy/admin.sock".into()))
        );
        for text in ["127.0.0.1:9999", "[::1]:9999", "lb.example:9999"] {
            assert_eq!(Control::parse(text), Ok(Control::Tcp(text.to_owned())));
        }
        for text in [
            "",
            "admin.sock",
            ":9999",
            "lb:0",
            "lb:x",
            "lb:99999",
            "a b:1",
            "run/x:1",
        ] {
            assert!(Control::parse(text).is_err(), "{text:?}");
        }
    }
}
