//! `app`, which starts its successor on SIGHUP and hands its listeners over:
//! what `strategy = "reload"` expects of a program.

use std::error::Error;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use zdt::{Drain, Health, Listener};
use zdt_e2e::router::router;
use zdt_e2e::startup::start_up;

/// A successor does not start while this file is there. The environment would
/// not do: it is that of the first process.
const BROKEN: &str = "/etc/app.broken";

/// A listener under its name.
type Named = (String, OwnedFd);

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the journal is where it reports")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reloader: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    if Path::new(BROKEN).exists() {
        return Err("this release is broken".into());
    }
    let mut hangups = signal(SignalKind::hangup())?;
    let passed = zdt::listeners()?;
    let mut listeners = Vec::new();
    let mut app: Option<Listener> = None;
    let mut health = Health::new();
    for name in passed.names() {
        for fd in passed.take_fds(&name) {
            listeners.push((name.clone(), fd.try_clone()?));
            let listener = Listener::from(std::net::TcpListener::from(fd));
            match name.as_str() {
                "health" => health = health.listen(listener),
                _ => app = Some(listener),
            }
        }
    }
    start_up().await.map_err(|_| "told to crash")?;
    health.ready();
    // Whoever started this one waits for a line; systemd's journal gets it otherwise.
    writeln!(io::stdout(), "ready")?;

    let drain = Drain::new();
    let listener = app.ok_or("no listener")?;
    let serving = zdt::serve(listener, router()).health(health).drain(&drain);
    let reloading = async {
        while hangups.recv().await.is_some() {
            zdt::notify::reloading()?;
            match successor(&listeners).await? {
                Some(pid) => {
                    zdt::notify::main_pid_ready(pid)?;
                    break;
                }
                None => zdt::notify::ready()?,
            }
        }
        drain.start();
        std::future::pending::<io::Result<()>>().await
    };
    tokio::select! {
        served = serving => served.map(drop)?,
        failed = reloading => failed?,
    }
    Ok(())
}

/// The next process, once it serves; `None` if it ended before.
#[expect(clippy::disallowed_methods, reason = "starts a process")]
async fn successor(listeners: &[Named]) -> io::Result<Option<u32>> {
    let names: Vec<&str> = listeners.iter().map(|(name, _)| name.as_str()).collect();
    let mut mappings = Vec::new();
    for ((_, fd), child_fd) in listeners.iter().zip(3..) {
        mappings.push(FdMapping {
            parent_fd: fd.as_fd().try_clone_to_owned()?,
            child_fd,
        });
    }
    // By its path, where another release may be by now.
    let program = std::env::args_os().next().unwrap_or_default();
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$0\""])
        .arg(program)
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env_remove("LISTEN_PIDFDID")
        .stdout(Stdio::piped())
        .fd_mappings(mappings)
        .map_err(io::Error::other)?;
    let mut child = Command::from(command).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).await?;
    }
    match line.is_empty() {
        true => child.wait().await.map(|_| None),
        false => Ok(child.id()),
    }
}
