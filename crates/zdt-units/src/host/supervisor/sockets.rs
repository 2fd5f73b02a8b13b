//! Binds the sockets of a service and holds them while its processes come and go.
//! The options are those of the generated socket units.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, getsockname,
    listen, setsockopt, socket, sockopt,
};
use nix::unistd::{Group, User, chown};

use crate::model::{
    Address, Ipv6, Listen, Name, Service, Socket, Strategy, TcpAddress, UnitName, UserName,
};

/// As `DeferAcceptSec=` of the generated units.
const DEFER_ACCEPT_SECS: usize = 5;

/// `TCP_DEFER_ACCEPT` of `tcp(7)`: seconds until a silent connection is handed over.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct DeferAccept;

nix::setsockopt_impl!(
    DeferAccept,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    usize,
    sockopt::SetUsize
);

/// Listening sockets; each closes when the last one who holds it is gone.
#[derive(Clone, Debug, Default)]
pub struct Held(Vec<Arc<HeldSocket>>);

#[derive(Debug)]
pub(super) struct HeldSocket {
    pub(super) unit: UnitName,
    pub(super) name: Name,
    /// Where it was to listen.
    pub(super) address: Address,
    pub(super) fd: OwnedFd,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Tcp(SocketAddr),
    /// With the inode, so that only our own file is removed.
    Unix(PathBuf, u64),
}

/// Addresses that could not be listened on; each with what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub struct BindErrors(Vec<BindError>);

#[derive(Debug)]
struct BindError {
    address: String,
    what: &'static str,
    source: io::Error,
}

fn list(errors: &[BindError]) -> String {
    let lines: Vec<String> = errors.iter().map(BindError::to_string).collect();
    lines.join("\nerror: ")
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            what,
            source,
        } = self;
        write!(f, "failed to {what} `{address}`: {source}")?;
        let hint = match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => {
                "; stop the program that listens there (`ss -xtlnp` names it)"
            }
            Some(Errno::EADDRNOTAVAIL) => {
                "; this machine has no such address (`ip addr` lists them)"
            }
            Some(Errno::EACCES | Errno::EPERM) if !address.starts_with('/') => {
                "; ports below 1024 want root or `CAP_NET_BIND_SERVICE`"
            }
            Some(Errno::ENOENT) => "; create its directory first",
            _ => "",
        };
        f.write_str(hint)
    }
}

impl Held {
    /// Binds and listens on all of `sockets`, or on none.
    pub fn bind(sockets: &[Socket]) -> Result<Self, BindErrors> {
        Self::default().rebind(sockets)
    }

    /// Those that `sockets` has too, as they are, and the others of `sockets` bound; or nothing at all.
    pub(super) fn rebind(&self, sockets: &[Socket]) -> Result<Self, BindErrors> {
        let mut held = Vec::new();
        let mut errors = Vec::new();
        for socket in sockets {
            for address in socket.listen.addresses() {
                let is_same =
                    |held: &&Arc<HeldSocket>| held.unit == socket.unit && held.address == address;
                if let Some(there) = self.0.iter().find(is_same) {
                    held.push(Arc::clone(there));
                    continue;
                }
                match bind_one(&socket.listen, &address, backlog(socket.backlog)) {
                    Ok((fd, place)) => held.push(Arc::new(HeldSocket {
                        unit: socket.unit.clone(),
                        name: socket.name.clone(),
                        address,
                        fd,
                        place,
                    })),
                    Err((what, source)) => errors.push(BindError {
                        address: address.to_string(),
                        what,
                        source,
                    }),
                }
            }
        }
        match errors.is_empty() {
            true => Ok(Self(held)),
            false => Err(BindErrors(errors)),
        }
    }

    /// As [`rebind`](Self::rebind), for `service`. Where several processes accept from one socket, who loses the race
    /// for a connection must not hang until the next one: the units have `NonBlocking=yes` then.
    pub(super) fn rebind_for(&self, service: &Service) -> Result<Self, BindErrors> {
        let held = self.rebind(&service.sockets)?;
        if let Strategy::Standby | Strategy::Rolling { .. } = service.strategy {
            for socket in &held.0 {
                rustix::io::ioctl_fionbio(&socket.fd, true).map_err(|error| {
                    BindErrors(vec![BindError {
                        address: socket.address.to_string(),
                        what: "make non-blocking",
                        source: error.into(),
                    }])
                })?;
            }
        }
        Ok(held)
    }

    /// A listening socket that somebody else has bound.
    pub(super) fn adopt(
        &mut self,
        socket: &Socket,
        address: Address,
        fd: OwnedFd,
    ) -> io::Result<()> {
        let place = match &address {
            Address::Tcp(_) => tcp_place(&fd).map_err(|(_, error)| error)?,
            Address::Unix(path) => {
                let path = PathBuf::from(path.as_str());
                let inode = fs::symlink_metadata(&path)?.ino();
                Place::Unix(path, inode)
            }
        };
        self.0.push(Arc::new(HeldSocket {
            unit: socket.unit.clone(),
            name: socket.name.clone(),
            address,
            fd,
            place,
        }));
        Ok(())
    }

    /// Whether all sockets of this unit are open.
    pub(super) fn has(&self, unit: &UnitName) -> bool {
        self.0.iter().any(|held| held.unit == *unit)
    }

    /// One socket named `http`, on a free port of 127.0.0.1. It hands connections over at
    /// once, so that no client is spared what a program does to silent ones.
    pub fn on_free_port() -> Result<Self, BindErrors> {
        let any_free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::bind(&[Socket {
            unit: UnitName::parse("run-http.socket").expect("`run-http.socket` is a unit"),
            name: Name::parse("http").expect("`http` is a name"),
            listen: Listen::Tcp {
                addresses: vec![TcpAddress::One(any_free)],
                ipv6: None,
                defer_accept: false,
            },
            backlog: 4096,
        }])
    }

    /// The name and the address of each, with the port that it really has.
    pub fn addresses(&self) -> impl Iterator<Item = (&Name, String)> {
        self.0.iter().map(|socket| {
            let address = match &socket.place {
                Place::Tcp(address) => address.to_string(),
                Place::Unix(path, _) => path.display().to_string(),
            };
            (&socket.name, address)
        })
    }

    /// The first TCP address.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.0.iter().find_map(|socket| match socket.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(..) => None,
        })
    }

    pub(super) fn sockets(&self) -> &[Arc<HeldSocket>] {
        &self.0
    }
}

impl Drop for HeldSocket {
    fn drop(&mut self) {
        if let Place::Unix(path, inode) = &self.place
            && fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == *inode)
        {
            let _ = fs::remove_file(path);
        }
    }
}

type Step<T> = Result<T, (&'static str, io::Error)>;

fn bind_one(wanted: &Listen, address: &Address, backlog: Backlog) -> Step<(OwnedFd, Place)> {
    match (wanted, address) {
        (
            Listen::Tcp {
                ipv6, defer_accept, ..
            },
            Address::Tcp(address),
        ) => {
            let fd = tcp(*address, *ipv6)?;
            if *defer_accept {
                setsockopt(&fd, DeferAccept, &DEFER_ACCEPT_SECS)
                    .map_err(at("defer accepting on"))?;
            }
            listen(&fd, backlog).map_err(at("listen on"))?;
            let place = tcp_place(&fd)?;
            Ok((fd, place))
        }
        (
            Listen::Unix {
                mode, user, group, ..
            },
            Address::Unix(path),
        ) => {
            let file = Path::new(path.as_str());
            let fd = unix(file)?;
            // Nobody can connect before `listen`, so the mode is never too wide.
            own(file, *mode, user.as_ref(), group.as_ref())?;
            listen(&fd, backlog).map_err(at("listen on"))?;
            let meta = fs::symlink_metadata(file).map_err(|error| ("look at", error))?;
            Ok((fd, Place::Unix(file.to_owned(), meta.ino())))
        }
        _ => unreachable!("an address is of the kind of its socket"),
    }
}

/// The kernel cuts it to `net.core.somaxconn`.
fn backlog(wanted: u32) -> Backlog {
    i32::try_from(wanted)
        .ok()
        .and_then(|wanted| Backlog::new(wanted).ok())
        .unwrap_or(Backlog::MAXALLOWABLE)
}

fn at<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> (&'static str, io::Error) {
    move |error| (what, error.into())
}

fn tcp(address: TcpAddress, ipv6: Option<Ipv6>) -> Step<OwnedFd> {
    let what = at("bind");
    let to = address.bind();
    let family = match to.is_ipv4() {
        true => AddressFamily::Inet,
        false => AddressFamily::Inet6,
    };
    let fd = stream_socket(family).map_err(&what)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(&what)?;
    // Connections inherit it from the listener.
    setsockopt(&fd, sockopt::TcpNoDelay, &true).map_err(&what)?;
    if address.is_ipv6_wildcard() {
        let only = ipv6 == Some(Ipv6::Only);
        setsockopt(&fd, sockopt::Ipv6V6Only, &only).map_err(&what)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(to)).map_err(&what)?;
    Ok(fd)
}

fn tcp_place(fd: &OwnedFd) -> Step<Place> {
    let bound: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(at("look at"))?;
    let v4 = bound
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()));
    let v6 = || {
        bound
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    };
    v4.or_else(v6)
        .map(Place::Tcp)
        .ok_or_else(|| ("look at", io::Error::other("it is not a TCP address")))
}

fn unix(path: &Path) -> Step<OwnedFd> {
    let what = at("bind");
    let fd = stream_socket(AddressFamily::Unix).map_err(&what)?;
    let address = UnixAddr::new(path).map_err(&what)?;
    match bind(fd.as_raw_fd(), &address) {
        Err(Errno::EADDRINUSE) if is_left_behind(path) => {
            fs::remove_file(path).map_err(at("replace"))?;
            bind(fd.as_raw_fd(), &address).map_err(&what)?;
        }
        other => other.map_err(&what)?,
    }
    Ok(fd)
}

/// Blocking, as systemd passes them by default: a program sets what it wants.
fn stream_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
}

/// Whether the file is a socket that no process listens on.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn own(path: &Path, mode: u32, user: Option<&UserName>, group: Option<&UserName>) -> Step<()> {
    if user.is_some() || group.is_some() {
        let what = at("change the owner of");
        let uid = match user {
            Some(name) => Some(
                User::from_name(name.as_str())
                    .map_err(&what)?
                    .ok_or_else(|| missing("user", name))?
                    .uid,
            ),
            None => None,
        };
        let gid = match group {
            Some(name) => Some(
                Group::from_name(name.as_str())
                    .map_err(&what)?
                    .ok_or_else(|| missing("group", name))?
                    .gid,
            ),
            None => None,
        };
        chown(path, uid, gid).map_err(&what)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at("change the mode of"))
}

fn missing(kind: &str, name: &UserName) -> (&'static str, io::Error) {
    let error = io::Error::other(format!("there is no {kind} `{name}`"));
    ("change the owner of", error)
}
