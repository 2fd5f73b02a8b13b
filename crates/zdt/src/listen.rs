//! Listeners: those that a service manager passed, by name, or one bound here.
//!
//! The process-wide inventory is made at the first question and never again:
//! each descriptor can be taken once. The environment is read, not changed; a
//! child process that sees the variables is kept away by `LISTEN_PID` and by
//! close-on-exec. Must not know of HTTP, drain, or notify.

mod adopt;
mod bind;
mod env;
mod error;
#[cfg(feature = "tokio")]
mod incoming;
mod socket;

use std::fmt;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use self::adopt::Inherited;
use self::env::Passed;
pub use self::error::ListenError;
#[cfg(feature = "serve")]
pub(crate) use self::incoming::AsyncSocket;
#[cfg(feature = "tokio")]
pub use self::incoming::{Incoming, Peer, Stream};
pub use self::socket::{Listener, Socket};

/// The inherited listener of this process.
///
/// When several were passed, it is the one named `http`; one named `health`
/// is never chosen. Sockets of the same name (`ListenStream=0.0.0.0:80` and
/// `ListenStream=[::]:80` in one socket unit) are one [`Listener`].
///
/// # Errors
///
/// See [`ListenError`]; each says what to do.
///
/// # Example
///
/// ```
/// match zdt::listener() {
///     Ok(listener) => println!("serving {listener}"),
///     Err(error) => println!("{error}"),
/// }
/// ```
pub fn listener() -> Result<Listener, ListenError> {
    listeners()?.take_main()
}

/// The inherited listener of this process, else one bound to `address`.
///
/// `address` is `127.0.0.1:8080`, `[::]:8080`, `localhost:8080`, or the path of
/// a Unix socket (anything with a `/`). This is for development and for hosts
/// without a socket unit: a port bound here closes when the process stops.
///
/// # Errors
///
/// - [`ListenError::SocketUnitBroken`] when systemd runs this process as a
///   service and passed no socket: binding then would hide that the socket
///   unit is broken. `ZDT_ALLOW_BIND=1` in the environment overrides it.
/// - [`ListenError::OtherProcess`] when the sockets are open here but were
///   meant for the shell in between.
/// - [`ListenError::Bind`] when the address cannot be bound.
///
/// # Example
///
/// ```
/// let listener = zdt::listener_or("127.0.0.1:0")?;
/// assert!(listener.to_string().starts_with("127.0.0.1:"));
/// # Ok::<(), zdt::ListenError>(())
/// ```
pub fn listener_or(address: impl AsRef<str>) -> Result<Listener, ListenError> {
    let address = address.as_ref();
    match listener() {
        Err(ListenError::NotPassed { unit: Some(unit) }) if !bind::allowed() => {
            Err(ListenError::SocketUnitBroken {
                unit,
                address: address.into(),
            })
        }
        Err(ListenError::NotPassed { .. }) => Listener::bind(address),
        Err(error @ ListenError::OtherProcess { .. }) => {
            // Left-over variables of a parent are harmless; sockets that came
            // along mean that this process was to have them.
            match inherited().1 {
                Some(fd) if adopt::listens(fd) => Err(error),
                _ => Listener::bind(address),
            }
        }
        other => other,
    }
}

/// Everything that was passed to this process, to be taken by name.
///
/// # Errors
///
/// [`ListenError::NotPassed`], [`ListenError::OtherProcess`], or
/// [`ListenError::Malformed`]. A single bad descriptor is reported when it is
/// asked for, so that the others can serve.
///
/// # Example
///
/// ```no_run
/// let listeners = zdt::listeners()?;
/// let http = listeners.take("http")?;
/// let admin = listeners.take_unix("admin")?;
/// assert!(listeners.unclaimed().is_empty());
/// # Ok::<(), zdt::ListenError>(())
/// ```
pub fn listeners() -> Result<Listeners, ListenError> {
    inherited().0
}

/// Copies of the listening sockets that were passed, with their names, for a
/// process that is to take the place of this one. Those that were closed here
/// are left out.
#[cfg(feature = "serve")]
pub(crate) fn copies() -> std::io::Result<Vec<(String, OwnedFd)>> {
    let Ok(listeners) = inherited().0 else {
        return Ok(Vec::new());
    };
    let mut copies = Vec::new();
    for (fd, name) in &*listeners.passed {
        if adopt::listens(*fd) {
            copies.push((name.clone(), adopt::copy(*fd)?));
        }
    }
    Ok(copies)
}

/// What this process inherited, and the first number it was promised.
fn inherited() -> (Result<Listeners, ListenError>, Option<RawFd>) {
    type Answer = (Result<Listeners, ListenError>, Option<RawFd>);
    static INHERITED: OnceLock<Answer> = OnceLock::new();
    INHERITED.get_or_init(read_environment).clone()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is how descriptors are announced"
)]
fn read_environment() -> (Result<Listeners, ListenError>, Option<RawFd>) {
    let pid = std::process::id();
    match env::passed(|name| std::env::var(name).ok(), pid) {
        Ok(Passed::Nothing) => {
            let unit = bind::systemd_unit();
            (Err(ListenError::NotPassed { unit }), None)
        }
        Ok(Passed::ToOther {
            listen_pid,
            promised,
        }) => {
            let first = promised.first().map(|promised| promised.fd);
            let found = first.map_or_else(String::new, |fd| adopt::look(fd).to_string());
            let error = ListenError::OtherProcess {
                listen_pid,
                pid,
                found,
            };
            (Err(error), first)
        }
        Ok(Passed::ToUs(promised)) => {
            let first = promised.first().map(|promised| promised.fd);
            let entries: Vec<_> = promised.into_iter().map(Entry::adopt).collect();
            let listeners = entries.iter().filter(|entry| entry.is_listener());
            let passed = listeners.map(|entry| (entry.fd, entry.name())).collect();
            let listeners = Listeners {
                left: Arc::new(Mutex::new(entries)),
                passed,
            };
            (Ok(listeners), first)
        }
        Err(error) => (Err(error), None),
    }
}

/// The descriptors that were passed to this process and not taken yet.
///
/// A handle: clones and later calls of [`listeners`] see the same inventory.
#[derive(Clone)]
pub struct Listeners {
    left: Arc<Mutex<Vec<Entry>>>,
    /// The numbers and names of all that listen, whoever has them now.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "for a successor"))]
    passed: Arc<[(RawFd, String)]>,
}

struct Entry {
    fd: RawFd,
    name: Option<String>,
    what: Option<Inherited>,
}

impl Entry {
    fn adopt(promised: env::Promised) -> Self {
        Self {
            what: adopt::adopt(promised.fd),
            fd: promised.fd,
            name: promised.name,
        }
    }

    /// An entry without a name is called by its number, such as `fd3`.
    fn name(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("fd{}", self.fd))
    }

    fn is_listener(&self) -> bool {
        matches!(self.what, Some(Inherited::Listener(_)))
    }

    fn found(&self) -> String {
        match &self.what {
            None => "not open".into(),
            Some(Inherited::Other(_, kind)) => kind.to_string(),
            Some(Inherited::Listener(socket)) => socket.to_string(),
        }
    }
}

impl Listeners {
    /// The names of the listeners that are left, each once, in the order of
    /// their descriptors. One without a name is called by its number, `fd3`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.entries().iter().filter(|entry| entry.is_listener()) {
            let name = entry.name();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Takes the listener called `name`: all stream sockets of that name.
    ///
    /// # Errors
    ///
    /// [`ListenError::NoSuchName`] or [`ListenError::NotAListener`].
    pub fn take(&self, name: &str) -> Result<Listener, ListenError> {
        let mut entries = self.entries();
        let mut wrong = entries
            .iter()
            .filter(|entry| entry.name() == name && !entry.is_listener());
        if let Some(entry) = wrong.next() {
            return Err(ListenError::NotAListener {
                fd: entry.fd,
                name: entry.name.clone(),
                found: entry.found(),
            });
        }
        let mut sockets = Vec::new();
        entries.retain_mut(|entry| {
            if entry.name() != name {
                return true;
            }
            if let Some(Inherited::Listener(socket)) = entry.what.take() {
                sockets.push(socket);
            }
            false
        });
        drop(entries);
        if sockets.is_empty() {
            return Err(ListenError::NoSuchName {
                name: name.into(),
                left: self.names(),
            });
        }
        Ok(Listener {
            name: Some(name.into()),
            sockets,
        })
    }

    /// Takes the one TCP listener called `name`.
    ///
    /// # Errors
    ///
    /// Those of [`take`](Self::take), and [`ListenError::WrongKind`], which
    /// leaves it to be taken otherwise.
    pub fn take_tcp(&self, name: &str) -> Result<TcpListener, ListenError> {
        self.take_only(name, "one TCP socket", |socket| match socket {
            Socket::Tcp(tcp) => Ok(tcp),
            other => Err(other),
        })
    }

    /// Takes the one Unix stream listener called `name`.
    ///
    /// # Errors
    ///
    /// Those of [`take`](Self::take), and [`ListenError::WrongKind`], which
    /// leaves it to be taken otherwise.
    pub fn take_unix(&self, name: &str) -> Result<UnixListener, ListenError> {
        self.take_only(name, "one Unix stream socket", |socket| match socket {
            Socket::Unix(unix) => Ok(unix),
            other => Err(other),
        })
    }

    fn take_only<T>(
        &self,
        name: &str,
        wanted: &'static str,
        pick: impl Fn(Socket) -> Result<T, Socket>,
    ) -> Result<T, ListenError> {
        let listener = self.take(name)?;
        let found = listener.to_string();
        let left = match <[Socket; 1]>::try_from(listener.sockets) {
            Ok([socket]) => match pick(socket) {
                Ok(picked) => return Ok(picked),
                Err(socket) => vec![socket],
            },
            Err(several) => several,
        };
        self.entries().extend(left.into_iter().map(|socket| Entry {
            fd: socket.as_raw_fd(),
            name: Some(name.to_owned()),
            what: Some(Inherited::Listener(socket)),
        }));
        Err(ListenError::WrongKind {
            name: name.into(),
            wanted,
            found,
        })
    }

    /// Whether anything that was not taken yet is called `name`.
    #[cfg(feature = "serve")]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries().iter().any(|entry| entry.name() == name)
    }

    /// Takes everything called `name` as it is: datagram and raw sockets,
    /// FIFOs, files of `OpenFile=`, stored descriptors.
    ///
    /// Empty when there is nothing of that name.
    #[must_use]
    pub fn take_fds(&self, name: &str) -> Vec<OwnedFd> {
        let mut fds = Vec::new();
        self.entries().retain_mut(|entry| {
            if entry.name() != name {
                return true;
            }
            match entry.what.take() {
                Some(Inherited::Listener(Socket::Tcp(tcp))) => fds.push(tcp.into()),
                Some(Inherited::Listener(Socket::Unix(unix))) => fds.push(unix.into()),
                Some(Inherited::Other(fd, _)) => fds.push(fd),
                None => {}
            }
            false
        });
        fds
    }

    /// Listeners that nobody took yet, in words.
    ///
    /// Connections to them are accepted by the kernel and never answered, so a
    /// program that has taken all it knows reports what is left.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<String> {
        self.entries()
            .iter()
            .filter(|entry| entry.is_listener())
            .map(|entry| format!("`{}` ({})", entry.name(), entry.found()))
            .collect()
    }

    fn take_main(&self) -> Result<Listener, ListenError> {
        let mut names = self.names();
        names.retain(|name| name != "health");
        match names.as_slice() {
            [only] => self.take(only),
            [] => Err(self.no_listener()),
            several if several.iter().any(|name| name == "http") => self.take("http"),
            _ => Err(ListenError::Ambiguous { names }),
        }
    }

    fn no_listener(&self) -> ListenError {
        let entries = self.entries();
        match entries.iter().find(|entry| !entry.is_listener()) {
            Some(entry) => ListenError::NotAListener {
                fd: entry.fd,
                name: entry.name.clone(),
                found: entry.found(),
            },
            None => ListenError::NoSuchName {
                name: "http".into(),
                left: Vec::new(),
            },
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listeners").field(&self.names()).finish()
    }
}
