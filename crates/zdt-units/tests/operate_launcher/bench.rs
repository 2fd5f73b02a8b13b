//! A launcher in a directory of its own, and commands that find it by its `zdt.toml`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::oneshot;
use zdt_units::probe::{Live, Load, Pattern, Report, Stream, run_live};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_zdt-units");

/// Longer than anything takes, even on a machine that does much else.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    directory: TempDir,
    launcher: Option<Spoken>,
    port: Option<String>,
}

/// What a command said, on both of its outputs, and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) said: String,
}

/// A program that goes on, and its lines.
pub(crate) struct Spoken {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            directory,
            launcher: None,
            port: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn socket(&self, service: &str) -> String {
        self.path(&format!("{service}.sock"))
    }

    /// For the service without a socket in the directory.
    pub(crate) fn free_port(&mut self) -> String {
        let address = format!("127.0.0.1:{}", free_port());
        self.port = Some(address.clone());
        address
    }

    fn address(&self, service: &str) -> String {
        let socket = self.socket(service);
        match (Path::new(&socket).exists(), &self.port) {
            (false, Some(port)) => port.clone(),
            _ => socket,
        }
    }

    /// The launcher's part of a `zdt.toml`.
    pub(crate) fn head(&self) -> String {
        format!("[launcher]\nstate = \"{}\"\n", self.path("state"))
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.path("zdt.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("NO_COLOR", "1")
            .env("XDG_RUNTIME_DIR", self.path("runtime"));
        command
    }

    /// Runs the launcher until all of its services are ready.
    pub(crate) fn start(&mut self, arguments: &[&str]) {
        self.launcher = Some(self.spawn(&[&["run"], arguments].concat()));
        self.launcher().until("listening on");
        // It runs already: this waits until the services are ready.
        self.done(&["run", "--detach"]);
    }

    pub(crate) fn launcher(&mut self) -> &mut Spoken {
        self.launcher.as_mut().unwrap()
    }

    pub(crate) fn launcher_ended(&mut self) -> Option<i32> {
        self.launcher.take().unwrap().ended()
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Spoken {
        Spoken::start(self.command(arguments))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let (mut reader, writer) = std::io::pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        // With the command go the ends of the pipe that it has.
        drop(command);
        let pid = i32::try_from(child.id()).unwrap();
        let (ended, end) = channel::<()>();
        let watch = thread::spawn(move || {
            if end.recv_timeout(LIMIT).is_err() {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        });
        let code = child.wait().unwrap().code();
        let _ = ended.send(());
        watch.join().unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        let code = code.unwrap_or_else(|| panic!("{arguments:?} took too long: {said}"));
        Ran { code, said }
    }

    /// What it said; it did what it was asked.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.said);
        ran.said
    }

    /// The processes that run in the units of a service.
    pub(crate) fn pids(&self, service: &str) -> Vec<u32> {
        let status = self.done(&["status", "--json"]);
        let status: serde_json::Value =
            serde_json::from_str(status.lines().next().unwrap()).unwrap();
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|found| found["name"] == service);
        let units = found.unwrap()["units"].as_array();
        let pids = units
            .into_iter()
            .flatten()
            .filter_map(|unit| unit["pid"].as_u64());
        pids.map(|pid| u32::try_from(pid).unwrap()).collect()
    }

    /// What clients of a service met while `work` was done.
    pub(crate) fn under_load(&self, service: &str, work: impl FnOnce()) -> Report {
        under_load(&self.address(service), streams(), work)
    }
}

/// What clients at `address` met while `work` was done.
pub(crate) fn under_load(address: &str, streams: Vec<Stream>, work: impl FnOnce()) -> Report {
    let load = Load {
        target: address.parse().unwrap(),
        streams,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let live = Live::new();
    let seen = live.clone();
    let clients = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run_live(&load, &live, async {
            let _ = stopped.await;
        }))
    });
    let some = |n: u64| until("some answers", || seen.ok() >= n);
    some(50);
    work();
    some(seen.ok() + 50);
    let _ = stop.send(());
    let report = clients.join().unwrap();
    assert!(report.valid, "{report}");
    report
}

fn streams() -> Vec<Stream> {
    let stream = |name: &str, think, pattern| Stream {
        name: name.to_owned(),
        rate: 100.0,
        think,
        pattern,
        ..Stream::default()
    };
    let think = Duration::from_millis(20);
    vec![
        stream("new", Duration::ZERO, Pattern::New),
        stream("hesitant", think, Pattern::New),
        stream(
            "kept",
            Duration::ZERO,
            Pattern::KeepAlive { connections: 8 },
        ),
    ]
}

/// A port that nobody has, in this process or in one beside it. It is none of those that the kernel gives to clients:
/// they could take it before a server does.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 220).unwrap() * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Looks again and again, but not for ever.
pub(crate) fn until(what: &str, mut found: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !found() {
        assert!(
            Instant::now() < end,
            "{what} did not happen within {LIMIT:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Nothing of a bench is left: what a launcher runs outlives it.
impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.command(&["shutdown"]).output();
        if let Some(launcher) = &mut self.launcher {
            launcher.signal(nix::sys::signal::Signal::SIGTERM);
            let end = Instant::now() + LIMIT;
            while Instant::now() < end && matches!(launcher.child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Spoken {
    fn start(mut command: Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        drop(command);
        let (line, lines) = channel();
        thread::spawn(move || {
            for text in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = line.send(text);
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Waits for a line that has `text` in it.
    pub(crate) fn until(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(LIMIT) else {
                panic!("no `{text}` in {:#?}", self.said);
            };
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, signal);
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn ended(mut self) -> Option<i32> {
        let mut code = None;
        until("the end of the launcher", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }
}

pub(crate) fn script(path: &str, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whether it runs; one that only waits to be reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// What a process was started with.
pub(crate) fn environment(pid: u32) -> Vec<(String, String)> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.map(own).collect()
}

/// The variables of the tables for processes in `docs/environment.md`.
pub(crate) fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/environment.md");
    let page = fs::read_to_string(path).unwrap();
    let tables = page.split("## Commands").next().unwrap();
    let rows = tables.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}
