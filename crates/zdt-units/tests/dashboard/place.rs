//! A launcher with services, a dashboard beside it, and those who ask it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_zdt-units");

/// Longer than anything takes, even on a machine that does much else.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Looks again and again, but not for ever.
pub(super) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "no {what} within {LIMIT:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Ended when it is dropped.
pub(super) struct Process(pub(super) Child);

impl Process {
    pub(super) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

pub(super) struct Place {
    pub(super) directory: TempDir,
    pub(super) launcher: Process,
    /// Not there where the launcher has it.
    pub(super) dashboard: Option<Process>,
    pub(super) dashboard_at: SocketAddr,
    pub(super) shop_at: SocketAddr,
}

impl Place {
    /// `shop` takes `warm_up` to start, or longer after [`Place::hold_starts`]; `more` is added to `zdt.toml`, where
    /// `DIRECTORY` is its own.
    pub(super) fn start(warm_up: Duration, more: &str) -> Self {
        let mut place = Self::launch(warm_up, more, address());
        let mut command = place.command(&["dashboard", "--listen"]);
        command
            .arg(place.dashboard_at.to_string())
            .stderr(Stdio::null());
        place.dashboard = Some(Process::start(&mut command));
        place.listens(place.dashboard_at);
        place
    }

    /// Without a dashboard, unless `more` has it at `dashboard_at`.
    pub(super) fn launch(warm_up: Duration, more: &str, dashboard_at: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [control, state] = ["control.sock", "state"].map(|name| directory.path().join(name));
        let shop_at = address();
        let seconds = warm_up.as_secs_f64();
        let text = format!(
            "[launcher]\ncontrol = {control:?}\nstate = {state:?}\n\n\
             [service.shop]\nexec = [\"/bin/sh\", \"-c\", \"sleep {seconds}; \
             while [ ! -e DIRECTORY/go ]; do sleep 0.02; done; exec {PROGRAM} demo-app\"]\n\
             listen = \"{shop_at}\"\nsandbox = \"none\"\nstart_timeout = \"10m\"\n\n{more}"
        );
        let own = directory.path().to_str().unwrap();
        let text = text.replace("DIRECTORY", own);
        fs::write(directory.path().join("zdt.toml"), text).unwrap();
        fs::write(directory.path().join("go"), "").unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .args(["run", "--config"])
            .arg(directory.path().join("zdt.toml"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("speech")).unwrap());
        let place = Self {
            launcher: Process::start(&mut command),
            dashboard: None,
            dashboard_at,
            shop_at,
            directory,
        };
        place.serves("shop");
        place
    }

    /// From now on a process of `shop` that starts is not ready until [`Place::let_start`].
    pub(super) fn hold_starts(&self) {
        fs::remove_file(self.directory.path().join("go")).unwrap();
    }

    pub(super) fn let_start(&self) {
        fs::write(self.directory.path().join("go"), "").unwrap();
    }

    pub(super) fn serves(&self, service: &str) {
        until(&format!("`{service}` that serves"), || {
            let status = self.said(&["status", service, "--json"]);
            status.contains("\"state\":\"serving\"").then_some(())
        });
    }

    fn listens(&self, at: SocketAddr) {
        until("dashboard", || TcpStream::connect(at).ok());
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let config = self.directory.path().join("zdt.toml");
        command
            .args(&arguments[..1])
            .arg("--config")
            .arg(config)
            .args(&arguments[1..]);
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// What a command says on standard output.
    pub(super) fn said(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command that goes on meanwhile.
    pub(super) fn begin(&self, arguments: &[&str]) -> Process {
        let mut command = self.command(arguments);
        Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    pub(super) fn restart(&self, service: &str) {
        let mut command = self.command(&["restart", service]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    pub(super) fn events(&self) -> PathBuf {
        self.directory.path().join("state/log/events.jsonl")
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.dashboard_at)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.dashboard_at
        ))
    }

    /// A request as it is written.
    pub(super) fn ask(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.dashboard_at).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Answer {
            status: head.split(' ').nth(1).unwrap_or("0").parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.dashboard.as_ref().unwrap().0.id()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.dashboard.take();
        // So that its services end too.
        self.launcher.signal(Signal::SIGTERM);
        let began = Instant::now();
        while self
            .launcher
            .0
            .try_wait()
            .is_ok_and(|ended| ended.is_none())
            && began.elapsed() < Duration::from_secs(20)
        {
            sleep(Duration::from_millis(20));
        }
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

/// Server-sent events, as they come.
pub(super) struct Stream(BufReader<TcpStream>);

impl Stream {
    pub(super) fn open(at: SocketAddr) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET /events HTTP/1.1\r\nHost: {at}\r\n\r\n")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Its next line; `None` at the end. Between chunks there are lines that say how long they are.
    pub(super) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    pub(super) fn status(&mut self) -> u16 {
        let line = self.line().unwrap_or_default();
        line.split(' ').nth(1).unwrap_or("0").parse().unwrap()
    }

    /// The data of the next event called `name`.
    pub(super) fn next(&mut self, name: &str) -> Option<String> {
        let wanted = format!("event: {name}");
        while self.line()? != wanted {}
        let mut data = String::new();
        while let Some(line) = self.line()?.strip_prefix("data:") {
            data.push_str(line);
        }
        Some(data)
    }
}

/// One that no client's own port can take, and no other test.
pub(super) fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, next, high, low.max(1)), 7077))
}

pub(super) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// How often each thread went to sleep by itself, which is how often it had been woken up.
pub(super) fn sleeps(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: std::io::Result<fs::DirEntry>| {
        let path = task.unwrap().path();
        let name = fs::read_to_string(path.join("comm")).unwrap();
        let status = fs::read_to_string(path.join("status")).unwrap();
        (
            name.trim().to_owned(),
            number(&status, "voluntary_ctxt_switches:"),
        )
    };
    tasks.map(of).collect()
}

pub(super) fn number(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}
