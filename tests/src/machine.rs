//! A machine: systemd, really booted as PID 1 of private namespaces.
//!
//! It needs root and no container engine. The machine sees the files of its
//! root through an overlay, so nothing it writes reaches the host, and ends
//! with the value: [`Drop`] kills PID 1 and takes back what was made, and a
//! test process that dies without dropping anything has the same effect.
#![expect(
    clippy::disallowed_methods,
    reason = "starts processes, reads /proc, and waits"
)]

mod available;
mod error;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

pub use self::available::Reason;
pub use self::error::Error;

const KEEP: &str = include_str!("machine/keep.sh");
const BOOT: &str = include_str!("machine/boot.sh");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the machine shows what was given to [`Builder::program`] and
/// [`Builder::directory`].
pub const PROGRAMS: &str = "/opt/zdt/bin";

/// A booted systemd.
#[derive(Debug)]
pub struct Machine {
    name: String,
    pid: AtomicU32,
    boot_time: Duration,
    keeper: Mutex<Keeper>,
}

/// What a machine boots from.
#[derive(Debug)]
pub struct Builder {
    root: PathBuf,
    programs: Vec<PathBuf>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A process that is killed when the value goes away.
#[derive(Debug)]
pub struct Running(pub Child);

impl Machine {
    /// Whether this host can boot a machine, or what it lacks.
    pub fn available() -> Result<(), Reason> {
        Self::builder().available()
    }

    /// Boots a machine from the host's own root.
    pub fn boot() -> Result<Self, Error> {
        Self::builder().boot()
    }

    pub fn builder() -> Builder {
        Builder {
            root: PathBuf::from("/"),
            programs: Vec::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pid by which the host knows the machine's PID 1.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// From the first process to a finished boot.
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// Kills all processes at once, and boots again on the files that they wrote; those in `/run` and `/tmp` are gone.
    /// The kernel lives on, so what was written and not synced is there as well.
    pub fn cut_power(&self) -> Result<(), Error> {
        let keeper = self.keeper.lock();
        let pid = keeper.unwrap_or_else(|e| e.into_inner()).boot_again()?;
        self.pid.store(pid, Ordering::Relaxed);
        self.await_boot()
    }

    /// The path by which the host reaches `path` of the machine. Good for
    /// reading and for Unix sockets, as long as no link in it is absolute:
    /// such a link leads to the host's files.
    pub fn host_path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid()))
    }

    /// A command that runs inside the machine. Its environment is a plain
    /// one, not that of the test. Killing it kills only `nsenter`; what it
    /// started ends with the machine.
    pub fn command(&self, argv: &[&str]) -> Command {
        self.nsenter(&["--all"], argv)
    }

    /// A command of the host that shares only the machine's network: a
    /// client, outside the machine's cgroups and not among its processes.
    pub fn net_command(&self, argv: &[&str]) -> Command {
        self.nsenter(&["--net"], argv)
    }

    /// Starts a client in the machine's network, its stdin, stdout and stderr
    /// piped.
    pub fn spawn_in_net(&self, argv: &[&str]) -> Result<Running, Error> {
        let mut command = self.net_command(argv);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| Error::start(&command, e))?;
        Ok(Running(child))
    }

    /// Runs a command of the host in the machine's network, to its end.
    pub fn run_in_net(&self, argv: &[&str]) -> Result<Output, Error> {
        finish(&mut self.net_command(argv))
    }

    /// Runs a command inside the machine, to its end.
    pub fn run(&self, argv: &[&str]) -> Result<Output, Error> {
        finish(&mut self.command(argv))
    }

    pub fn systemctl(&self, args: &[&str]) -> Result<Output, Error> {
        self.run(&[&["systemctl"], args].concat())
    }

    /// [`Error::Unavailable`] unless the machine has the program.
    pub fn needs(&self, name: &'static str, package: &'static str) -> Result<(), Error> {
        match self.run(&["which", name])?.success() {
            true => Ok(()),
            false => Err(Error::Unavailable(Reason::Program { name, package })),
        }
    }

    /// One property of a unit, as `systemctl show` prints it.
    pub fn show(&self, unit: &str, property: &str) -> Result<String, Error> {
        let output = self
            .systemctl(&["show", "--value", "--property", property, "--", unit])?
            .ok()?;
        Ok(output.stdout.trim_end().to_owned())
    }

    /// What a unit and systemd said about it until now.
    pub fn journal(&self, unit: &str) -> Result<String, Error> {
        self.sync_journal()?;
        let output = self
            .run(&["journalctl", "--output=short-monotonic", "--unit", unit])?
            .ok()?;
        Ok(output.stdout)
    }

    /// Waits until all that was said stands in the journal.
    pub fn sync_journal(&self) -> Result<(), Error> {
        self.run(&["journalctl", "--sync"])?.ok().map(drop)
    }

    /// The last lines of the whole journal.
    pub fn journal_tail(&self, lines: u32) -> Result<String, Error> {
        let lines = format!("--lines={lines}");
        let output = self
            .run(&["journalctl", "--output=short-monotonic", &lines])?
            .ok()?;
        Ok(output.stdout)
    }

    /// Writes a file of the machine and makes its directories. The mode is
    /// octal.
    pub fn write_file(&self, path: &str, text: impl AsRef<[u8]>, mode: u32) -> Result<(), Error> {
        // By a process inside, so that links in the path are the machine's.
        let script = r#"mkdir -p -- "${1%/*}" && cat >"$1" && chmod "$2" "$1""#;
        let mode = format!("{mode:o}");
        let mut command = self.command(&["sh", "-c", script, "write", path, &mode]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Error::start(&command, e))?;
        // A writer that fails early says why; the broken pipe would hide it.
        let written = child.stdin.take().map(|mut to| to.write_all(text.as_ref()));
        let output = child
            .wait_with_output()
            .map_err(|e| Error::start(&command, e))?;
        Output::new(&command, &output).ok()?;
        written
            .unwrap_or(Ok(()))
            .map_err(|e| Error::start(&command, e))
    }

    /// Writes units, each a name and its text, and loads them.
    pub fn install(&self, units: &[(&str, &str)]) -> Result<(), Error> {
        for (name, text) in units {
            self.write_file(&format!("/etc/systemd/system/{name}"), text, 0o644)?;
        }
        self.systemctl(&["daemon-reload"])?.ok()?;
        Ok(())
    }

    /// Runs `work` on a thread that is in the machine's network: what it
    /// connects or binds is there, and stays there when it is returned.
    pub fn in_net<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let path = PathBuf::from(format!("/proc/{}/ns/net", self.pid()));
        let namespace = File::open(&path).map_err(|source| Error::Enter {
            path: path.clone(),
            source,
        })?;
        let enter = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(enter).join() {
            Ok(done) => done.map_err(|source| Error::Enter { path, source }),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Asks `condition` until it holds, at most for `limit`. The only place
    /// where a test sleeps.
    pub fn wait_until(
        &self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        wait_until(limit, what, || condition(self))
    }

    fn nsenter(&self, namespaces: &[&str], argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--target")
            .arg(self.pid().to_string())
            .args(namespaces)
            .arg("--")
            .args(argv)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("SYSTEMD_PAGER", "")
            .stdin(Stdio::null());
        command
    }

    fn await_boot(&self) -> Result<(), Error> {
        let mut state = String::new();
        let up = self.wait_until(Duration::from_secs(60), "the boot is finished", |machine| {
            let asked = machine.systemctl(&["is-system-running"]);
            state = asked.map(|output| output.stdout).unwrap_or_default();
            matches!(state.trim_end(), "running" | "degraded")
        });
        up.map_err(|_| Error::Boot {
            said: format!("system state `{}`", state.trim_end()),
        })
    }
}

impl Builder {
    /// Boots from a directory, for example one made by `debootstrap`, instead
    /// of the host's root. It is only read.
    pub fn root(mut self, path: impl Into<PathBuf>) -> Self {
        self.root = path.into();
        self
    }

    /// Shows a program of the host in the machine, in [`PROGRAMS`], under its
    /// own name.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.programs.push(path.into());
        self
    }

    /// Whether this host can boot it, or what is lacking.
    pub fn available(&self) -> Result<(), Reason> {
        available::check(&self.root)
    }

    /// Shows a directory of the host in the machine, in [`PROGRAMS`], under its
    /// own name. Nobody in the machine can write to it.
    pub fn directory(self, path: impl Into<PathBuf>) -> Self {
        self.program(path)
    }

    pub fn boot(self) -> Result<Machine, Error> {
        self.available().map_err(Error::Unavailable)?;

        static COUNT: AtomicU32 = AtomicU32::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zdt-e2e-{}-{count}", std::process::id());

        let started = Instant::now();
        let (keeper, pid) = Keeper::start(&name, &self)?;
        let mut machine = Machine {
            name,
            pid: AtomicU32::new(pid),
            boot_time: Duration::ZERO,
            keeper: Mutex::new(keeper),
        };
        machine.await_boot()?;
        machine.boot_time = started.elapsed();
        Ok(machine)
    }
}

impl Output {
    fn new(command: &Command, output: &std::process::Output) -> Self {
        Self {
            command: error::line(command),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Makes a failure an error.
    pub fn ok(self) -> Result<Self, Error> {
        if self.success() {
            Ok(self)
        } else {
            Err(Error::Failed(Box::new(self)))
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process outside the machine that takes it away when its stdin ends.
#[derive(Debug)]
struct Keeper {
    process: Child,
    hold: Option<ChildStdin>,
    boots: Option<BufReader<ChildStdout>>,
}

impl Keeper {
    /// Starts the machine; returns the pid of its PID 1.
    fn start(name: &str, builder: &Builder) -> Result<(Self, u32), Error> {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--"])
            .args(["sh", "-c", KEEP, "keep"])
            .args(&builder.programs)
            .env_clear()
            .env("PATH", PATH)
            .env("NAME", name)
            .env("ROOT", &builder.root)
            .env("BOOT", BOOT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the test; what the machine made is still to be
            // taken back.
            .process_group(0);
        let mut process = command.spawn().map_err(|e| Error::start(&command, e))?;
        let mut keeper = Self {
            hold: process.stdin.take(),
            boots: process.stdout.take().map(BufReader::new),
            process,
        };
        let pid = keeper.next_boot()?;
        Ok((keeper, pid))
    }

    /// Returns the pid of the new PID 1.
    fn boot_again(&mut self) -> Result<u32, Error> {
        let asked = self.hold.as_mut().map(|hold| hold.write_all(b"\n"));
        if !matches!(asked, Some(Ok(()))) || !self.line()?.trim_end().is_empty() {
            return Err(self.boot_failed());
        }
        self.next_boot()
    }

    fn next_boot(&mut self) -> Result<u32, Error> {
        match self.line()?.trim_end().parse() {
            Ok(pid) => Ok(pid),
            Err(_) => Err(self.boot_failed()),
        }
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        if let Some(boots) = &mut self.boots {
            boots.read_line(&mut line).map_err(|e| Error::Boot {
                said: e.to_string(),
            })?;
        }
        Ok(line)
    }

    fn boot_failed(&mut self) -> Error {
        self.release();
        let mut said = String::new();
        if let Some(mut stderr) = self.process.stderr.take()
            && let Err(error) = stderr.read_to_string(&mut said)
        {
            said = error.to_string();
        }
        Error::Boot { said }
    }

    fn release(&mut self) {
        self.hold = None;
        let limit = Duration::from_secs(20);
        let gone = wait_until(limit, "the machine is gone", || {
            !matches!(self.process.try_wait(), Ok(None))
        });
        if gone.is_err() {
            // A machine that cannot be killed is the host's trouble; the test
            // must not hang on it.
            let _ = self.process.kill();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.release();
    }
}

/// Asks `condition` until it holds, at most for `limit`.
pub fn wait_until(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<(), Error> {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return Err(Error::TimedOut {
                what: what.to_owned(),
                limit,
            });
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn finish(command: &mut Command) -> Result<Output, Error> {
    let output = command.output().map_err(|e| Error::start(command, e))?;
    Ok(Output::new(command, &output))
}
