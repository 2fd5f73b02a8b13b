//! A restart by `zdt-units run` against the barest loop that keeps a socket: SIGTERM, wait, start the next one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Restarts of each.
    #[arg(long, default_value_t = 40)]
    pub(crate) restarts: usize,
}

pub(crate) struct Measured {
    pub(crate) restarts: usize,
    pub(crate) rows: Vec<Row>,
}

/// Pairs, in milliseconds.
pub(crate) struct Row {
    /// How long the program takes to start.
    pub(crate) start_up: Duration,
    pub(crate) launcher: Vec<f64>,
    pub(crate) bare: Vec<f64>,
}

const START_UPS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(50)];

/// Longer than any restart takes.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn measure(args: &Args) -> Result<Measured> {
    let mut rows = Vec::new();
    for start_up in START_UPS {
        let launcher = Launcher::start(start_up)?;
        let mut bare = Bare::start(start_up)?;
        let mut row = Row {
            start_up,
            launcher: Vec::new(),
            bare: Vec::new(),
        };
        for _ in 0..args.restarts {
            row.launcher
                .push(gap(launcher.address, || launcher.restart())?);
            row.bare.push(gap(bare.address()?, || bare.restart())?);
        }
        rows.push(row);
    }
    Ok(Measured {
        restarts: args.restarts,
        rows,
    })
}

/// From the last answer of the old process to the first of the new one, for a client that asks without a pause.
fn gap(address: SocketAddr, restart: impl FnOnce() -> Result<()>) -> Result<f64> {
    let old = ask(address)?;
    let client = thread::spawn(move || -> Result<Duration> {
        let began = Instant::now();
        let mut last = began;
        while began.elapsed() < LIMIT {
            // The smallest program drops whom it was about to answer.
            match ask(address) {
                Ok(pid) if pid == old => last = Instant::now(),
                Ok(_) => return Ok(last.elapsed()),
                Err(_) => {}
            }
        }
        Err(format!("`{address}` was not restarted within {LIMIT:?}").into())
    });
    thread::sleep(Duration::from_millis(5));
    restart()?;
    let gap = client.join().map_err(|_| "the client panicked")??;
    Ok(gap.as_secs_f64() * 1000.0)
}

/// The process that answers.
fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    Ok(body.to_owned())
}

fn await_answer(address: SocketAddr) -> Result<()> {
    let began = Instant::now();
    while let Err(error) = ask(address) {
        if began.elapsed() > LIMIT {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// `zdt-units run`, which is this very program.
struct Launcher {
    address: SocketAddr,
    config: PathBuf,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Launcher {
    fn start(start_up: Duration) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("zdt.toml");
        let program = std::env::current_exe()?;
        // Not of the range that clients have their ports from.
        let address = SocketAddr::from(([127, 0, 0, 83], 8300));
        let start_up = humantime::format_duration(start_up).to_string();
        let control = directory.path().join("control.sock");
        let state = directory.path().join("state");
        fs::write(
            &config,
            format!(
                "[launcher]\ncontrol = {control:?}\nstate = {state:?}\n[service.floor]\n\
                 exec = [{program:?}, \"server\", \"floor\", \"--start-up\", {start_up:?}]\n\
                 listen = \"{address}\"\nsandbox = \"none\"\n"
            ),
        )?;
        let child = zdt_units(&["run"], &config)?.spawn()?;
        let launcher = Self {
            address,
            config,
            child,
            _directory: directory,
        };
        await_answer(address)?;
        Ok(launcher)
    }

    fn restart(&self) -> Result<()> {
        let status = zdt_units(&["restart", "floor"], &self.config)?.status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("`zdt-units restart` ended with {status}").into()),
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = terminate(&mut self.child);
    }
}

fn zdt_units(arguments: &[&str], config: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg0("zdt-units")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

/// A socket, and a process on it.
struct Bare {
    listener: TcpListener,
    start_up: Duration,
    child: Child,
}

impl Bare {
    fn start(start_up: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let child = spawn(&listener, start_up)?;
        let bare = Self {
            listener,
            start_up,
            child,
        };
        await_answer(bare.address()?)?;
        Ok(bare)
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    fn restart(&mut self) -> Result<()> {
        terminate(&mut self.child)?;
        self.child = spawn(&self.listener, self.start_up)?;
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = terminate(&mut self.child);
    }
}

fn spawn(listener: &TcpListener, start_up: Duration) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["server", "floor", "--start-up"])
        .arg(humantime::format_duration(start_up).to_string())
        .env("LISTEN_FDS", "1")
        .stdout(Stdio::null())
        .fd_mappings(vec![FdMapping {
            parent_fd: listener.try_clone()?.into(),
            child_fd: 3,
        }])?;
    Ok(command.spawn()?)
}

fn terminate(child: &mut Child) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
    child.wait()?;
    Ok(())
}
