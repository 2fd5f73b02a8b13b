//! What a process is for, and how it is kept running.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{AbsolutePath, Exec, Name, UserName};

/// How long a command of [`Stop`] may take for which nothing else is said.
pub const HOOK_LIMIT: Duration = Duration::from_secs(10);

/// What the processes of a service are there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// They serve on sockets.
    #[default]
    Web,
    /// They take work from elsewhere: any number of them, none with a socket.
    Worker,
    /// A worker of which two must never run at the same time.
    Singleton,
    /// What others of the same release need and what outlives their deployments, such as a cache.
    Service,
}

/// How a manager learns that a process is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// It says `READY=1`.
    #[default]
    Notify,
    /// It counts as ready once it was started; its health says more.
    Started,
}

/// How a process is asked to end: quiet, drain, then the command or the signal, then `SIGKILL`.
///
/// Each command gets the environment of the process and `ZDT_PID`. Its failure is told, and stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Tells it to take no new work.
    pub quiet: Option<Exec>,
    /// Runs until it has finished its work.
    pub drain: Option<Exec>,
    /// How long that may take, or, without `drain`, how long it may take to end by itself; zero: neither is waited for.
    pub drain_limit: Duration,
    /// In the place of the signal.
    pub command: Option<Exec>,
    pub signal: Signal,
}

/// When a process that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// Before the first start; each further one takes `factor` times as long, up to `longest`.
    pub pause: Duration,
    pub factor: u32,
    pub longest: Duration,
    /// So often within `within`, and then no more; `None`: for ever.
    pub limit: Option<u32>,
    /// `None`: since it was last started by somebody.
    pub within: Option<Duration>,
    /// Ready for so long, and all is forgotten.
    pub healthy: Duration,
}

/// How much memory all processes of one instance may have together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes; above, the service is restarted gracefully.
    pub limit: u64,
    /// Bytes; above, it is told, once until it was below again.
    pub warn: Option<u64>,
    /// How often it is looked at.
    pub every: Duration,
}

/// Ports for a program that cannot take over a socket: each process gets one that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub from: u16,
    pub to: u16,
}

/// What the launcher is told, which systemd has in files of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Where commands reach it; `None`: a path that follows from that of `zdt.toml`.
    pub control: Option<AbsolutePath>,
    pub mode: u32,
    pub owner: Option<UserName>,
    pub group: Option<UserName>,
    /// The directory of what outlives it; `None`: as above.
    pub state: Option<AbsolutePath>,
    pub output: Output,
    /// How many lines of each process are kept for `zdt-units logs`.
    pub lines: u32,
}

/// Where the output of processes goes, besides the lines that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Line by line on the launcher's standard error, each with the name of its instance.
    #[default]
    Prefixed,
    /// The same as JSON, on its standard output.
    Json,
    /// `NAME.log` in this directory, as it comes.
    Files(AbsolutePath),
    /// The journal, without a way through the launcher.
    Journal,
}

/// Whose releases a service runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Another service of this file, with which it is deployed, rolled back and restarted.
    pub of: Name,
    /// Where they are.
    pub root: AbsolutePath,
    /// It drains while the other one does, not after it.
    pub drain_early: bool,
}

impl Stop {
    /// How long it may take until the process is told to end, and with a command until it was.
    pub fn before_the_end(&self) -> Duration {
        self.limits().into_iter().sum()
    }

    /// How long the longest command of them may take.
    pub(super) fn longest_command(&self) -> Duration {
        self.limits().into_iter().max().unwrap_or_default()
    }

    fn limits(&self) -> [Duration; 3] {
        let hook = |hook: &Option<Exec>| hook.as_ref().map_or(Duration::ZERO, |_| HOOK_LIMIT);
        [hook(&self.quiet), self.drain_limit, hook(&self.command)]
    }
}

impl Memory {
    /// How often it is looked at where nothing is said.
    pub const EVERY: Duration = Duration::from_secs(5);
}

impl Ports {
    /// The one port there is to choose from, if there is one.
    pub fn fixed(self) -> Option<u16> {
        (self.from == self.to).then_some(self.from)
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            quiet: None,
            drain: None,
            drain_limit: Duration::ZERO,
            command: None,
            signal: Signal::SIGTERM,
        }
    }
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(500),
            factor: 2,
            longest: Duration::from_secs(10),
            limit: None,
            within: None,
            healthy: Duration::from_secs(10),
        }
    }
}

impl Default for Launcher {
    fn default() -> Self {
        Self {
            control: None,
            mode: 0o600,
            owner: None,
            group: None,
            state: None,
            output: Output::default(),
            lines: 50,
        }
    }
}
