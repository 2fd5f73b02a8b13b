//! What a verification found. Pure data (`"v": 1` in JSON) from which every report is made.
//!
//! Times are milliseconds from the start of the load, if their names do not say otherwise.

use serde::{Deserialize, Serialize};

use crate::probe::{Histogram, Latency, Outcomes, Timeline};

/// The version of the shape; it stays 1 while changes only add.
pub const VERSION: u32 = 1;

/// Everything that a report needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    pub v: u32,
    pub subject: Subject,
    /// What repeats it: the program and its arguments, as they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    pub host: Host,
    /// Where the clients connected.
    pub target: String,
    /// The start of the load, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// From the start of the load to the end of its last request.
    pub elapsed_ms: u64,
    /// How many threads of the machine the clients and the program shared.
    pub cpus: usize,
    pub restarts: Vec<Restart>,
    /// One row for each client of the table, tried or not, in the order of the table.
    pub clients: Vec<Client>,
    pub checks: Vec<Check>,
    /// What a reader must know before trusting the figures.
    pub warnings: Vec<String>,
    pub verdict: Verdict,
}

/// What was restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A service of `zdt.toml`.
    Service(String),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// Who restarted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Host {
    #[serde(rename = "systemd")]
    Systemd,
    #[serde(rename = "zdt-units run")]
    Supervisor,
}

/// One restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// From 1.
    pub nth: u32,
    /// When it was asked for.
    pub began_ms: u64,
    /// When the new process was ready, or the restart had failed.
    pub ended_ms: u64,
    /// In order, without overlap.
    pub phases: Vec<Phase>,
    /// The old process did not end in time and was killed.
    pub killed: bool,
    /// What the old process last said of itself.
    pub status: Option<String>,
    /// Why it did not end with a process that serves.
    pub failed: Option<String>,
    /// Requests lost that were due or in flight between its begin and the first answers after it.
    pub lost: u64,
    /// The longest that a request of a quick client waited meanwhile.
    pub longest_wait_ms: u64,
}

/// A part of a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    pub kind: PhaseKind,
    pub from_ms: u64,
    pub to_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PhaseKind {
    /// From the signal to the end of the old process.
    Stopping,
    /// From there until the new process is ready.
    Starting,
    /// The new process serves; what else there is to do or to prove.
    Confirming,
}

/// What one client of the table did, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// As `--only` takes it.
    pub name: String,
    /// In half a sentence.
    pub does: String,
    pub status: Status,
    /// Why it was not tried, or what else there is to know.
    pub note: Option<String>,
    /// Requests, or WebSockets. Always `ok + lost + retryable`.
    pub sent: u64,
    pub ok: u64,
    /// Including the idle connections that were closed without notice.
    pub lost: u64,
    /// Refused by HTTP/2 as never processed; safe to send again, so neither ok nor lost.
    pub retryable: u64,
    /// Which losses, the most frequent first.
    pub losses: Vec<Loss>,
    /// Of the requests as the probe classifies them, where `stale` ones are not lost.
    pub outcomes: Outcomes,
    /// Restarts that it had a request in flight at. The others prove nothing for it.
    pub met: u32,
    /// Of the ok answers, from the moment each was due.
    pub latency: Latency,
    pub histogram: Histogram,
    /// The longest stretch without a success around a restart.
    pub gap_ms: u64,
    /// The longest that a request in flight at a restart waited, beyond what it takes by itself.
    #[serde(default)]
    pub longest_wait_ms: u64,
    pub timeline: Timeline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Passed,
    Lost,
    /// The program does not do what this client needs, restart or not.
    NotSpoken,
    /// Left out, or it cannot be tried without being told more.
    NotTried,
    /// Tried, but no restart had a request of it in flight.
    NotMet,
}

/// Requests that were lost in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// `refused`, `reset`, `eof`, `stale`, ... as the probe names its classes.
    pub class: String,
    /// In words.
    pub what: String,
    pub count: u64,
    /// Why this usually happens, and what to do.
    pub advice: String,
}

/// Something about the program that the host has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `socket`, `ready`, `exit`, `children`, ...
    pub name: String,
    /// `None`: it could not be seen.
    pub passed: Option<bool>,
    /// What was seen, and what to do about it.
    pub says: String,
}

/// The end of it all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub kind: VerdictKind,
    pub sent: u64,
    pub lost: u64,
    /// In one line.
    pub says: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Nothing was lost.
    Lossless,
    Lossy,
    /// The figures say nothing about the restarts.
    Invalid,
    /// A restart did not end with a process that serves.
    Failed,
}

impl Verified {
    /// The row of that client.
    pub fn client(&self, name: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_read_back_as_they_were_written() {
        for text in [
            include_str!("samples/lossless.json"),
            include_str!("samples/lossy.json"),
        ] {
            let read: Verified = serde_json::from_str(text).unwrap();
            let again = serde_json::to_string(&read).unwrap();
            assert_eq!(again, text.trim_end());
            for client in &read.clients {
                let of = |status| read.client(&client.name).unwrap().status == status;
                assert_eq!(client.sent, client.ok + client.lost + client.retryable);
                assert_eq!(client.lost > 0, of(Status::Lost), "{}", client.name);
            }
        }
    }
}
