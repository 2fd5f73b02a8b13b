//! What balancers say of their servers, and how their files are edited. Pure: text in, data or text out.

pub mod haproxy;
pub mod nginx;
pub mod traefik;

use std::fmt;

use serde::Serialize;

use crate::config::{list, nearest};

/// The servers of one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    pub backend: String,
    pub servers: Vec<Server>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    pub name: String,
    pub state: State,
    /// What the balancer says, or what its file has.
    pub says: String,
    /// Requests, or connections where it passes on no requests; `None`: the balancer does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
}

/// Whether new requests come to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Up,
    /// The balancer found it unwell.
    Down,
    /// Somebody took it out.
    Out,
}

impl Pool {
    pub fn server(&self, name: &str) -> Result<&Server, Trouble> {
        let known: Vec<&str> = self.servers.iter().map(|server| &*server.name).collect();
        let found = self.servers.iter().find(|server| server.name == name);
        found.ok_or_else(|| unknown("server", name, &format!(" in `{}`", self.backend), &known))
    }

    /// No other one would take its requests.
    pub fn is_last_up(&self, name: &str) -> bool {
        let is_up = |server: &&Server| server.state == State::Up;
        let mut up = self.servers.iter().filter(is_up);
        up.next().is_some_and(|server| server.name == name) && up.next().is_none()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Out => "out",
        })
    }
}

/// Why a text does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Counted from 1.
    pub line: Option<usize>,
    pub what: String,
    pub hint: String,
}

impl Trouble {
    fn new(
        line: impl Into<Option<usize>>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            line: line.into(),
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Trouble {}

/// There is none of that name, but others.
fn unknown(kind: &str, name: &str, place: &str, known: &[&str]) -> Trouble {
    let hint = match (nearest(name, known), known.is_empty()) {
        (_, true) => format!("there is no {kind}{place} at all"),
        (Some(meant), _) => format!("did you mean `{meant}`? there is {}", list(known)),
        (None, _) => format!("there is {}", list(known)),
    };
    Trouble::new(None, format!("there is no {kind} `{name}`{place}"), hint)
}

/// What a comment says of the server on its line: `# zdt: web1`.
fn marker(comment: &str) -> Option<&str> {
    let said = comment.trim_start_matches('#').trim_start();
    said.strip_prefix("zdt:")?.split_whitespace().next()
}
