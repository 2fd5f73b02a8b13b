//! What a release does wrong. A file beside its program says it, so it goes with the release and
//! not with the machine.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: reads files of the release and of the kernel"
)]

use std::fs::read_to_string;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};

/// How long a release that does not last serves.
const GOOD_FOR: Duration = Duration::from_millis(300);

/// A word in the file `fault`, and behind it maybe the unit in which alone it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It exits at once.
    Exit,
    /// It never gets ready.
    Hang,
    /// It says that it is ready, and is unwell from then on.
    Unwell,
    /// It serves, nobody answers for its health, and the socket for that is open.
    Mute,
    /// It serves, and soon ends as if it had been told to.
    End,
    /// It serves, and soon falls.
    Abort,
}

impl Fault {
    /// That of the program that runs.
    pub fn here() -> Option<Self> {
        let program = std::env::current_exe().ok()?;
        let file = read_to_string(program.with_file_name("fault")).ok()?;
        let mut words = file.split_ascii_whitespace();
        let fault = match words.next()? {
            "exit" => Self::Exit,
            "hang" => Self::Hang,
            "unwell" => Self::Unwell,
            "mute" => Self::Mute,
            "end" => Self::End,
            "abort" => Self::Abort,
            _ => return None,
        };
        words.next().is_none_or(is_here).then_some(fault)
    }

    /// To be run once the process serves.
    pub async fn show(self) {
        let signal = match self {
            Self::End => Signal::SIGTERM,
            Self::Abort => Signal::SIGABRT,
            Self::Exit | Self::Hang | Self::Unwell | Self::Mute => return,
        };
        tokio::time::sleep(GOOD_FOR).await;
        // It cannot fail for a signal that exists.
        let _ = raise(signal);
    }
}

/// Whether this process is one of `unit`.
pub(crate) fn is_here(unit: &str) -> bool {
    let cgroup = read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup.trim_end().ends_with(&format!("/{unit}"))
}
