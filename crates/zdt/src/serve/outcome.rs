//! What a server did, what its stop cost, and why it could not run.

use std::fmt;
use std::time::Duration;

/// What a server did, and what its stop cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// From the signal to the end.
    pub took: Duration,
    /// Connections that were served and have ended.
    pub connections: u64,
    /// Requests on them.
    pub requests: u64,
    /// Requests that ended after the signal.
    pub during_drain: u64,
    /// Connections without a request that were closed: kept alive and idle, or
    /// opened and silent.
    pub quiet_closed: u64,
    /// Connections that the next process goes on with.
    pub handed_over: u64,
    /// What did not get its answer.
    pub cut: Cut,
}

/// What a stop cut because its time was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// Requests whose answer was not finished.
    pub requests: u64,
    /// Requests of which only a part had arrived.
    pub half_read: u64,
    /// Connections that had left HTTP, such as WebSockets.
    pub upgraded: u64,
    /// Background work that was held open.
    pub held: u64,
}

impl Cut {
    /// Whether nothing was cut.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One line, as `systemctl status` shows it.
impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            took,
            during_drain,
            quiet_closed,
            handed_over,
            cut,
            ..
        } = self;
        write!(
            f,
            "drained in {} ms: {} answered, ",
            took.as_millis(),
            count(*during_drain, "request"),
        )?;
        if *handed_over > 0 {
            write!(f, "{} handed over, ", count(*handed_over, "connection"))?;
        }
        write!(f, "{} closed, ", count(*quiet_closed, "quiet connection"),)?;
        match cut.is_nothing() {
            true => f.write_str("nothing cut"),
            false => write!(
                f,
                "CUT {}, {}, {}, {} held",
                count(cut.requests, "request"),
                count(cut.half_read, "half-sent request"),
                count(cut.upgraded, "upgraded connection"),
                cut.held
            ),
        }
    }
}

/// `1 request`, `2 requests`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Why a server could not run.
#[non_exhaustive]
pub enum ServeError {
    /// A listener could not be registered with the runtime.
    Listener(std::io::Error),
    /// A signal could not be listened for.
    Signal(std::io::Error),
    /// The thread that enforces time-outs could not be started.
    Thread(std::io::Error),
    /// An environment variable does not hold a duration such as `30s`.
    Knob {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(_) => f.write_str("failed to register a listener with the runtime"),
            Self::Signal(_) => f.write_str("failed to listen for signals"),
            Self::Thread(_) => f.write_str("failed to start a thread for time-outs"),
            Self::Knob { variable, value } => write!(
                f,
                "`{variable}` is `{value}`, expected a duration such as `30s` or `500ms`"
            ),
        }
    }
}

/// As [`Display`](fmt::Display), with the cause: it is what a user sees of an
/// error that `main` returns.
impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(self) {
            Some(source) => write!(f, "{self}: {source}"),
            None => write!(f, "{self}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listener(source) | Self::Signal(source) | Self::Thread(source) => Some(source),
            Self::Knob { .. } => None,
        }
    }
}
