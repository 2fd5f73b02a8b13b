//! HAProxy's runtime API: one command a connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{CALL_LIMIT, not_up, troubled, until};
use crate::balancer::{Pool, Server, State, haproxy};
use crate::host::Failure;
use crate::model::{Control, Member};

/// More than thousands of servers have.
const LONGEST: u64 = 16 << 20;

pub(super) async fn look(control: &Control, backend: &str) -> Result<Pool, Failure> {
    let stat = ask(control, &format!("show stat {backend} 4 -1")).await?;
    if haproxy::is_unknown_backend(&stat) {
        let known = ask(control, "show backend").await?;
        let trouble = haproxy::unknown_backend(backend, &haproxy::backends(&known));
        return Err(troubled(&place(control), &trouble));
    }
    let states = ask(control, &format!("show servers state {backend}")).await?;
    let pool = haproxy::pool(backend, &stat, &states);
    pool.map_err(|trouble| troubled(&place(control), &trouble))
}

/// `drain`, `ready` or `maint`. HAProxy says nothing where it did it.
pub(super) async fn set(control: &Control, server: &Member, state: &str) -> Result<(), Failure> {
    let said = ask(control, &format!("set server {server} state {state}")).await?;
    match said.trim() {
        "" => Ok(()),
        said => Err(troubled(&place(control), &haproxy::refusal(said))),
    }
}

/// Nothing is in flight there, or so much after `limit`. Twice in a row: a request that is on its way to the server
/// is counted a moment later.
pub(super) async fn drained(
    control: &Control,
    server: &Member,
    limit: Duration,
) -> Result<Server, Failure> {
    let look = async || one(control, server).await;
    match until(limit, 2, look, |seen| seen.in_flight == Some(0)).await? {
        Ok(seen) | Err(seen) => Ok(seen),
    }
}

pub(super) async fn up(
    control: &Control,
    server: &Member,
    limit: Duration,
) -> Result<Server, Failure> {
    let look = async || one(control, server).await;
    match until(limit, 1, look, |seen| seen.state == State::Up).await? {
        Ok(seen) => Ok(seen),
        Err(seen) => Err(not_up(&seen, limit)),
    }
}

async fn one(control: &Control, server: &Member) -> Result<Server, Failure> {
    let pool = look(control, &server.backend).await?;
    let server = pool.server(&server.server).cloned();
    server.map_err(|trouble| troubled(&place(control), &trouble))
}

fn place(control: &Control) -> String {
    format!("HAProxy at `{control}`")
}

async fn ask(control: &Control, command: &str) -> Result<String, Failure> {
    let asked = async {
        match control {
            Control::Unix(path) => told(UnixStream::connect(path).await?, command).await,
            Control::Tcp(address) => told(TcpStream::connect(address).await?, command).await,
        }
    };
    let silent = || io::Error::new(io::ErrorKind::TimedOut, "no answer");
    let answer = timeout(CALL_LIMIT, asked)
        .await
        .unwrap_or_else(|_| Err(silent()));
    answer.map_err(|error| {
        let failure = Failure::new(format!("{} cannot be asked: {error}", place(control)));
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "run it as root, or as a user of its group",
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "is HAProxy running, with `stats socket … level admin` there?"
            }
            _ => "see whether `echo show info | socat stdio …` answers",
        };
        failure.hint(hint).without_effect()
    })
}

async fn told(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    command: &str,
) -> io::Result<String> {
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
