//! What can go wrong with a machine.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Output, Reason};

#[derive(Debug)]
pub enum Error {
    /// This host cannot boot one, or the machine lacks what a test needs.
    Unavailable(Reason),
    /// The boot scripts or systemd did not get through; what they said.
    Boot { said: String },
    /// A command could not be run.
    Start { command: String, source: io::Error },
    /// A command ended, but not well.
    Failed(Box<Output>),
    /// A namespace could not be entered.
    Enter { path: PathBuf, source: io::Error },
    /// Something did not come true in time.
    TimedOut { what: String, limit: Duration },
}

impl Error {
    pub(super) fn start(command: &Command, source: io::Error) -> Self {
        Self::Start {
            command: line(command),
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "not possible here: {reason}"),
            Self::Boot { said } => write!(f, "the machine did not boot: {}", said.trim_end()),
            Self::Start { command, .. } => write!(f, "failed to run `{command}`"),
            Self::Failed(output) => {
                let code = output.code.map_or("a signal".to_owned(), |c| c.to_string());
                write!(
                    f,
                    "`{}` ended with {code}\n{}{}",
                    output.command, output.stdout, output.stderr
                )
            }
            Self::Enter { path, .. } => write!(f, "failed to enter `{}`", path.display()),
            Self::TimedOut { what, limit } => write!(f, "not within {limit:?}: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } | Self::Enter { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A command as a person would type it, without what starts it in a
/// namespace.
pub(super) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let own = words.iter().position(|word| word == "--");
    words[own.map_or(0, |at| at + 1)..].join(" ")
}
