//! How to find out that a unit is well.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Reach;

/// What is asked, how often, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub probe: Probe,
    /// How many good answers in a row.
    pub successes: u32,
    pub interval: Duration,
    /// Of everything, from the first wait to the last good answer.
    pub timeout: Duration,
    /// Of each question.
    pub attempt_timeout: Duration,
    /// Before the first question to a new process.
    pub start_delay: Duration,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Probe {
    /// As the `zdt` library answers it: with 200, and with the name of its process.
    Ready {
        reach: Reach,
        /// Starts with `/`.
        path: String,
    },
    Http(HttpProbe),
    /// A program that ends with 0, run by whoever asks.
    Command {
        /// The program is looked up on `PATH` if it has no slash.
        command: Vec<String>,
    },
    /// Somebody accepts connections.
    Tcp {
        reach: Reach,
    },
    /// By the word of the manager.
    Active,
}

/// A `GET`, and what is wanted of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    pub reach: Reach,
    /// Starts with `/`; with the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// Never empty; each will do.
    pub status: Vec<u16>,
    /// Is to be in the body.
    pub body: Option<String>,
    pub json: Option<Expected>,
}

/// What is to stand somewhere in a JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// After RFC 6901.
    pub pointer: String,
    pub value: serde_json::Value,
}

impl Probe {
    /// Whether an answer can say which process gave it.
    pub fn may_name_its_process(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Http(_))
    }

    /// Of a process that was given `port`.
    #[must_use]
    pub fn on_port(&self, port: u16) -> Self {
        let mut probe = self.clone();
        match &mut probe {
            Self::Ready { reach, .. } | Self::Tcp { reach } => *reach = reach.on_port(port),
            Self::Http(http) => http.reach = http.reach.on_port(port),
            Self::Command { .. } | Self::Active => {}
        }
        probe
    }

    /// Where it connects to, if it does.
    pub fn reach(&self) -> Option<&Reach> {
        match self {
            Self::Ready { reach, .. } | Self::Tcp { reach } => Some(reach),
            Self::Http(http) => Some(&http.reach),
            Self::Command { .. } | Self::Active => None,
        }
    }

    /// What is asked, as people name it.
    pub fn target(&self) -> String {
        match self {
            Self::Ready { reach, path } => format!("{reach}{path}"),
            Self::Http(http) => format!("{}{}", http.reach, http.path),
            Self::Command { command } => command.join(" "),
            Self::Tcp { reach } => match reach {
                Reach::Tcp(address) => address.to_string(),
                Reach::Unix(path) => path.to_string(),
                own @ Reach::OwnPort(_) => {
                    let shown = own.to_string();
                    shown.trim_start_matches("http://").to_owned()
                }
            },
            Self::Active => "active".to_owned(),
        }
    }
}

/// What is seen when it is well: `` `URL` answers 200 ``.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target();
        match self {
            Self::Ready { .. } => write!(f, "`{target}` answers 200"),
            Self::Http(http) => {
                let status: Vec<String> = http.status.iter().map(u16::to_string).collect();
                write!(f, "`{target}` answers {}", status.join(" or "))?;
                let body = http.body.iter().map(|text| format!("`{text}`"));
                let json = http.json.iter();
                let json = json.map(|json| format!("`{}` = `{}`", json.pointer, json.value));
                let wanted: Vec<String> = body.chain(json).collect();
                match wanted.is_empty() {
                    true => Ok(()),
                    false => write!(f, " with {}", wanted.join(" and ")),
                }
            }
            Self::Command { .. } => write!(f, "`{target}` succeeds"),
            Self::Tcp { .. } => write!(f, "`{target}` accepts connections"),
            Self::Active => f.write_str("its manager says that it is active"),
        }
    }
}
