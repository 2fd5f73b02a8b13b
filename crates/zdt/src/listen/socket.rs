//! What listens: one socket, or several that are served together.

use std::fmt;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

#[cfg(feature = "tokio")]
use super::Incoming;
use super::{ListenError, bind};

/// One listening socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// TCP, IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix stream socket.
    Unix(UnixListener),
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(tcp) => tcp.as_raw_fd(),
            Self::Unix(unix) => unix.as_raw_fd(),
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => match tcp.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("?"),
            },
            Self::Unix(unix) => match unix.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => write!(f, "{}", path.display()),
                    None => f.write_str("(unnamed Unix socket)"),
                },
                Err(_) => f.write_str("?"),
            },
        }
    }
}

/// One or more listening sockets that are served together.
#[derive(Debug)]
pub struct Listener {
    pub(super) name: Option<String>,
    pub(super) sockets: Vec<Socket>,
}

impl Listener {
    /// Binds `address`, as [`listener_or`](crate::listener_or) does where nothing is inherited.
    ///
    /// TCP sockets get `SO_REUSEADDR`, `TCP_NODELAY`, and the largest backlog
    /// the system allows. The file of a Unix socket that no process listens on
    /// any more is replaced.
    ///
    /// # Errors
    ///
    /// [`ListenError::Bind`].
    ///
    /// # Example
    ///
    /// ```
    /// let listener = zdt::Listener::bind("127.0.0.1:0")?;
    /// assert_eq!(listener.sockets().len(), 1);
    /// # Ok::<(), zdt::ListenError>(())
    /// ```
    pub fn bind(address: impl AsRef<str>) -> Result<Self, ListenError> {
        let address = address.as_ref();
        let socket = bind::bind(address).map_err(|source| ListenError::Bind {
            address: address.into(),
            source: Arc::new(source),
        })?;
        Ok(Self {
            name: None,
            sockets: vec![socket],
        })
    }

    /// The name given by the socket unit (`FileDescriptorName=`).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The sockets it is made of.
    #[must_use]
    pub fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    /// The sockets, for programs that accept by themselves.
    #[must_use]
    pub fn into_sockets(self) -> Vec<Socket> {
        self.sockets
    }

    /// Serves `other` together with this one, by the same app.
    #[must_use]
    pub fn and(mut self, other: impl Into<Listener>) -> Self {
        self.sockets.extend(other.into().sockets);
        self
    }

    /// The listener as a source of connections for tokio.
    ///
    /// # Errors
    ///
    /// When a socket cannot be made non-blocking or registered.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    #[cfg(feature = "tokio")]
    pub fn into_incoming(self) -> std::io::Result<Incoming> {
        Incoming::new(self.sockets)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, socket) in self.sockets.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{socket}")?;
        }
        Ok(())
    }
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self {
            name: None,
            sockets: vec![Socket::Tcp(tcp)],
        }
    }
}

impl From<UnixListener> for Listener {
    fn from(unix: UnixListener) -> Self {
        Self {
            name: None,
            sockets: vec![Socket::Unix(unix)],
        }
    }
}
