//! `zdt-units dashboard`: a page that shows how services are, and follows it.
//!
//! Whoever watches is served by one reader ([`reader`]), which looks while somebody does and rests
//! while nobody does. What is shown is decided in `report::dashboard`.

mod follow;
mod reader;
mod routes;
mod stream;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use zdt::{Drain, Health, Listener, Socket};

use self::reader::Reader;
use self::routes::{Names, router};
use super::{Failed, note, scope};
use crate::cli::DashboardArgs;
use crate::exit_code;

/// A page is read at once, and a stream ends by itself.
const LIMIT: Duration = Duration::from_secs(5);

/// Browsers keep connections open that they do not use.
const IDLE: Duration = Duration::from_secs(30);

/// So long what was sent may stay unread before the kernel gives the client up.
const UNREAD: Duration = Duration::from_secs(10);

const DESCRIPTORS: u64 = 4096;

pub(super) fn run(args: &DashboardArgs) -> Result<u8, Failed> {
    // What is wrong with `zdt.toml` or with how the manager is reached is said now.
    let reached = scope::reach(&args.config, args.user, &args.control)?;
    let listener = listener(args)?;
    many_descriptors();
    let drain = Drain::new();
    let watched = Reader::start(args.clone(), reached)?;
    let health = health()?;
    health.ready();
    let names = Names::new(&args.host);
    let app = router(watched, drain.watch(), names).merge(health.router());
    note(&[format!("the dashboard is at {}", place(&listener))]);
    let served = runtime()?.block_on(async {
        zdt::serve(listener, app)
            .drain(&drain)
            .health(health)
            .limit(LIMIT)
            .idle_timeout(IDLE)
            .header_read_timeout(Duration::from_secs(10))
            .await
    });
    match served {
        Ok(_) => Ok(exit_code::DONE),
        Err(error) => Err(Failed::unexpected(error.to_string())),
    }
}

/// Each who watches has one, and those who say nothing have one for a while.
fn many_descriptors() {
    // With fewer it serves fewer.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS), hard);
    }
}

/// One thread: what takes time is done by the reader, on another.
fn runtime() -> Result<Runtime, Failed> {
    super::operation::runtime()
}

fn place(listener: &Listener) -> String {
    let each = listener.sockets().iter().map(|socket| match socket {
        Socket::Tcp(_) => format!("`http://{socket}/`"),
        _ => format!("`{socket}`"),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// On a socket of its own, where one of that name is passed.
fn health() -> Result<Health, Failed> {
    let own = |passed: &zdt::Listeners| passed.names().iter().any(|name| name == "health");
    match zdt::listeners().ok().filter(own) {
        None => Ok(Health::new()),
        Some(passed) => match passed.take("health") {
            Ok(listener) => Ok(Health::new().listen(listener)),
            Err(error) => Err(Failed::said(exit_code::STOPPED, error.to_string())),
        },
    }
}

/// The socket that was passed, or one of its own; where others reach it only if they are meant to.
fn listener(args: &DashboardArgs) -> Result<Listener, Failed> {
    // Nothing is bound, not even for a moment, where nobody may listen.
    if let Ok(address) = args.listen.parse::<SocketAddr>() {
        refuse_remote(args, address)?;
    }
    let listener = zdt::listener_or(&args.listen)
        .map_err(|error| Failed::said(exit_code::STOPPED, error.to_string()))?;
    for socket in listener.sockets() {
        let Socket::Tcp(tcp) = socket else { continue };
        let address = tcp.local_addr();
        refuse_remote(args, address.map_err(|error| unknown(&error))?)?;
        // Connections have it from the socket that they came to.
        let unread = u32::try_from(UNREAD.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(tcp, unread)
            .map_err(|error| unknown(&error.into()))?;
    }
    Ok(listener)
}

fn unknown(error: &std::io::Error) -> Failed {
    Failed::unexpected(format!("failed to set up the socket: {error}"))
}

fn refuse_remote(args: &DashboardArgs, address: SocketAddr) -> Result<(), Failed> {
    let is_local = match address.ip() {
        IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
        ip => ip.is_loopback(),
    };
    if is_local || args.allow_remote {
        return Ok(());
    }
    let what =
        format!("other machines reach `{address}`, and the dashboard asks nobody for a password");
    Err(Failed::said(exit_code::REFUSED, what).hint(
        "listen on `127.0.0.1:7077` behind a reverse proxy that asks for one, with `--host NAME` for the name that it \
         passes on; or say `--allow-remote`",
    ))
}
