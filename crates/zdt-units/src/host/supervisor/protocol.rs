//! What is said on the launcher's control socket: one question a connection, as a line of JSON, and answers, a line
//! each, up to one that is the last. Data only.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::model::{Name, UnitName};
use crate::observe::UnitState;

/// A longer question is refused.
pub const LONGEST_QUESTION: usize = 1 << 20;

/// The version of what is said; it stays 1 while changes only add.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// [`Answer::Launcher`].
    Hello,
    /// [`Answer::Unit`] for each that is known; of all where none is named.
    Units {
        #[serde(default)]
        units: Vec<UnitName>,
        /// With all processes of each, which takes longer to find out.
        #[serde(default)]
        whole: bool,
    },
    /// Each of these is followed to its end: [`Answer::Told`], then the last answer.
    Start {
        unit: UnitName,
    },
    Restart {
        units: Vec<UnitName>,
    },
    Reload {
        unit: UnitName,
    },
    /// Gone, and not remembered as failed.
    Stop {
        units: Vec<UnitName>,
        /// They are started again soon: what a process leaves waits for the next one, and is not closed.
        #[serde(default)]
        held: bool,
    },
    /// Runs a task to its end.
    Task {
        unit: UnitName,
    },
    CloseUntaken {
        unit: UnitName,
    },
    /// The services as `text` describes them, which is that of `zdt.toml`: for processes that are started from now on,
    /// and at once for sockets and services that are new.
    Load {
        text: String,
    },
    /// Opens the sockets of a service, or closes them, and then clients are refused.
    OpenSockets {
        service: Name,
    },
    CloseSockets {
        service: Name,
    },
    /// [`Answer::Line`], the oldest first; with `follow` without an end.
    Logs {
        /// `shop`, or one instance of it: `shop@2.service`. Everything where none is named.
        #[serde(default)]
        of: Vec<String>,
        lines: usize,
        follow: bool,
    },
    /// Processes of a launcher that was killed, which this one did not take up.
    Orphans,
    StopOrphans,
    /// Everything drains and ends, the launcher too.
    Shutdown,
    /// Becomes `program`, or what its own file is now, with all sockets and processes.
    Upgrade {
        program: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Launcher(About),
    Unit(Box<UnitReport>),
    Orphan(Orphan),
    Line(Line),
    /// What is seen meanwhile.
    Told {
        event: EventKind,
    },
    /// The last one.
    Done,
    /// The last one.
    Failed(Refusal),
}

/// Why something was not done, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Nothing was changed by it.
    pub untouched: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub v: u32,
    /// Of the program.
    pub version: String,
    pub pid: u32,
    pub since: SystemTime,
    /// `zdt.toml`; `None`: it was started by flags.
    pub config: Option<PathBuf>,
    /// What it has read.
    pub text: String,
    pub state: PathBuf,
    /// How often it became another program.
    pub upgrades: u32,
}

/// One unit, and what only a launcher knows of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    pub service: Name,
    pub state: UnitState,
    /// When its process was started.
    pub since: Option<SystemTime>,
    /// How long it took to be ready.
    pub start_ms: Option<u64>,
    /// How often a process was started.
    pub generation: u64,
    pub memory: Option<MemoryReport>,
    pub port: Option<u16>,
    /// Processes of the same group, the main one first.
    pub children: Vec<Child>,
    /// What it printed last.
    pub output: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Of all its processes together.
    pub bytes: u64,
    /// Proportional (PSS): shared pages count once for all who share them. Else resident (RSS).
    pub proportional: bool,
    /// Restarts because of it.
    pub restarts: u32,
    pub last_restart: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    pub pid: u32,
    pub command: String,
    pub bytes: u64,
}

/// A process without a launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    pub unit: UnitName,
    pub pid: u32,
    /// As in field 22 of `/proc/PID/stat`: with the number it means one process and no other.
    pub start_time: u64,
    /// Why it was not taken up.
    pub why: String,
}

/// What a process printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub time: SystemTime,
    pub unit: UnitName,
    pub pid: u32,
    /// On its standard error.
    pub error: bool,
    pub text: String,
}
