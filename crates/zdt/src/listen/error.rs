//! Why there is no listener, and what to do about it.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

/// Why a listener could not be had.
///
/// The three ways in which inheriting fails are kept apart, because each has
/// another cause: [`NotPassed`](Self::NotPassed),
/// [`OtherProcess`](Self::OtherProcess), and
/// [`NotAListener`](Self::NotAListener).
#[derive(Clone)]
#[non_exhaustive]
pub enum ListenError {
    /// The process was started without any descriptor.
    NotPassed {
        /// The systemd unit that runs this process, when there is one.
        unit: Option<String>,
    },
    /// `LISTEN_PID` names another process, usually a shell that was started
    /// in between and forks instead of `exec`ing.
    OtherProcess {
        /// The process that the descriptors were meant for.
        listen_pid: u32,
        /// This process.
        pid: u32,
        /// What descriptor the first promised number is in this process.
        found: String,
    },
    /// A promised descriptor cannot accept connections.
    NotAListener {
        /// Its number.
        fd: RawFd,
        /// Its name (`FileDescriptorName=`), when it has one.
        name: Option<String>,
        /// What it is instead, in words.
        found: String,
    },
    /// There is no listener of that name, or it was taken before.
    NoSuchName {
        /// The name that was asked for.
        name: String,
        /// The names that are left.
        left: Vec<String>,
    },
    /// Several listeners with different names were passed and none is called
    /// `http`, so that [`listener`](crate::listener) cannot choose.
    Ambiguous {
        /// Their names.
        names: Vec<String>,
    },
    /// A listener of another kind was asked for.
    WrongKind {
        /// Its name.
        name: String,
        /// What was asked for.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// An environment variable of the service manager cannot be understood.
    Malformed {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// systemd runs this process as a service but passed no socket, so the
    /// port would be bound by the process itself and close at its next stop.
    SocketUnitBroken {
        /// The service unit.
        unit: String,
        /// The address that was to be bound instead.
        address: String,
    },
    /// The address could not be bound.
    Bind {
        /// The address.
        address: String,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPassed { unit: None } => f.write_str(
                "no listening socket was passed to this process (`LISTEN_FDS` is not set); \
                 start it from a socket unit or with `zdt-units run`, or use `listener_or`",
            ),
            Self::NotPassed { unit: Some(unit) } => {
                let socket = socket_of(unit);
                write!(
                    f,
                    "systemd started `{unit}` without a socket; check `systemctl status {socket}`, \
                     then `systemctl start {socket}` and `systemctl restart {unit}`"
                )
            }
            Self::OtherProcess {
                listen_pid,
                pid,
                found,
            } => write!(
                f,
                "the listening sockets were passed to process {listen_pid}, but this is process \
                 {pid} (here the first descriptor is {found}); if a shell or wrapper starts the \
                 program, let it `exec` the program",
            ),
            Self::NotAListener { fd, name, found } => {
                write!(f, "inherited descriptor {fd} ")?;
                if let Some(name) = name {
                    write!(f, "(`{name}`) ")?;
                }
                write!(
                    f,
                    "is {found}; a socket unit for this program needs `ListenStream=` and `Accept=no`"
                )
            }
            Self::NoSuchName { name, left } => {
                write!(
                    f,
                    "no listener named `{name}` was passed, or it was taken before; "
                )?;
                match left.is_empty() {
                    true => f.write_str("none is left")?,
                    false => write!(f, "left: {}", ticked(left))?,
                }
                write!(
                    f,
                    "; the socket unit sets it with `FileDescriptorName={name}`"
                )
            }
            Self::Ambiguous { names } => write!(
                f,
                "several listeners were passed ({}) and none is called `http`; take each by name \
                 with `listeners()`",
                ticked(names)
            ),
            Self::WrongKind {
                name,
                wanted,
                found,
            } => write!(f, "listener `{name}` is {found}, not {wanted}"),
            Self::Malformed {
                variable,
                value,
                expected,
            } => write!(f, "`{variable}` is `{value}`, expected {expected}"),
            Self::SocketUnitBroken { unit, address } => {
                let socket = socket_of(unit);
                write!(
                    f,
                    "systemd started `{unit}` without its socket, so `{address}` is not bound here \
                     (it would close at every restart); check `systemctl status {socket}`, then \
                     `systemctl start {socket}` and `systemctl restart {unit}`; set \
                     `ZDT_ALLOW_BIND=1` in the unit to bind all the same"
                )
            }
            Self::Bind { address, .. } => write!(f, "failed to listen on `{address}`"),
        }
    }
}

/// As [`Display`](fmt::Display), with the cause: it is what a user sees of an
/// error that `main` returns.
impl fmt::Debug for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { source, .. } => write!(f, "{self}: {source}"),
            _ => write!(f, "{self}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl From<ListenError> for io::Error {
    fn from(error: ListenError) -> Self {
        let kind = match &error {
            ListenError::Bind { source, .. } => source.kind(),
            ListenError::NotPassed { .. } | ListenError::NoSuchName { .. } => {
                io::ErrorKind::NotFound
            }
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// The socket unit that belongs to a service by systemd's default: the same
/// name, and for an instance the name before the `@`.
fn socket_of(unit: &str) -> String {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    format!("{}.socket", name.split('@').next().unwrap_or(name))
}

fn ticked(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
