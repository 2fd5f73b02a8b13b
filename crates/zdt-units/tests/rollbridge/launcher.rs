//! A real launcher of a `zdt.toml`, and commands for it. Every wait ends.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_zdt-units");

/// Longer than anything takes, even on a machine that does much else.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Looks again and again, but not for ever.
pub(crate) fn until(what: &str, mut found: impl FnMut() -> bool) {
    let began = Instant::now();
    while !found() {
        assert!(
            began.elapsed() < LIMIT,
            "{what} did not happen within {LIMIT:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) struct Launcher {
    pub(crate) directory: TempDir,
    child: Option<Child>,
}

/// What a command said and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

pub(crate) struct Spawned(Child);

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Launcher {
    /// With `text`, in which `@/` is a directory of its own and `@zdt` this program; without a process yet.
    pub(crate) fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let launcher = Self {
            directory,
            child: None,
        };
        launcher.write(text);
        launcher
    }

    pub(crate) fn start(text: &str) -> Self {
        let mut launcher = Self::new(text);
        launcher.run();
        launcher
    }

    pub(crate) fn write(&self, text: &str) {
        let at = self.path("").display().to_string();
        let mut text = text.replace("@zdt", PROGRAM).replace("@/", &at);
        if !text.contains("[launcher]") {
            text.push_str("\n[launcher]\n");
        }
        let own = format!(
            "[launcher]\ncontrol = \"{at}control.sock\"\nstate = \"{at}state\"\n",
            at = self.path("").display()
        );
        fs::write(self.path("zdt.toml"), text.replace("[launcher]\n", &own)).unwrap();
    }

    /// `zdt-units run`, until commands find it.
    pub(crate) fn run(&mut self) {
        let open = |name| {
            let mut options = fs::OpenOptions::new();
            options
                .create(true)
                .append(true)
                .open(self.path(name))
                .unwrap()
        };
        let mut command = self.command(&["run"]);
        command.stdout(open("printed")).stderr(open("said"));
        let child = command.spawn().unwrap();
        self.child = Some(child);
        until("its control socket", || {
            assert!(self.is_alive(), "it ended: {}", self.said());
            UnixStream::connect(self.path("control.sock")).is_ok()
        });
        // It answers once all sockets are open.
        self.done(&["status"]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What `run` said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    pub(crate) fn until_said(&self, text: &str) {
        let began = Instant::now();
        while !self.said().contains(text) {
            let said = self.said();
            assert!(began.elapsed() < LIMIT, "no `{text}` in {said}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        let child = self.child.as_mut().unwrap();
        child.try_wait().unwrap().is_none()
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let mut code = None;
        until("the end of the launcher", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            code = ended.map(|status| status.code());
            ended.is_some()
        });
        self.child = None;
        code.flatten()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("XDG_RUNTIME_DIR", self.directory.path())
            .env("NO_COLOR", "1")
            .env("COLUMNS", "120")
            .env_remove("ZDT_CONTROL")
            .stdin(Stdio::null());
        command
    }

    /// One command to its end.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Ran {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut err = child.stderr.take().unwrap();
        let read_err = thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let read_out = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > LIMIT {
                child.kill().unwrap();
                panic!("{arguments:?} did not end within {LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(5));
        };
        let mut said = read_out.join().unwrap();
        said.push_str(&read_err.join().unwrap());
        Ran {
            code: status.code(),
            said,
        }
    }

    /// One that goes on until it is dropped; what it says is in `@/TO`.
    pub(crate) fn spawn(&self, arguments: &[&str], to: &str) -> Spawned {
        let said = fs::File::create(self.path(to)).unwrap();
        let mut command = self.command(arguments);
        command.stdout(said.try_clone().unwrap()).stderr(said);
        Spawned(command.spawn().unwrap())
    }

    /// One that has to do what it is asked to.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let ran = self.ask(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.said);
        ran.said
    }

    pub(crate) fn status(&self) -> Value {
        let said = self.done(&["status", "--json"]);
        serde_json::from_str(said.lines().next().unwrap()).unwrap()
    }

    /// What `status --json` says of one service.
    pub(crate) fn service(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|service| service["name"] == name);
        found
            .unwrap_or_else(|| panic!("no `{name}` in {status}"))
            .clone()
    }

    /// The processes of a service, by unit.
    pub(crate) fn pids(&self, name: &str) -> Vec<u64> {
        let service = self.service(name);
        let units = service["units"].as_array().unwrap().iter();
        units.filter_map(|unit| unit["pid"].as_u64()).collect()
    }

    pub(crate) fn until_serving(&self, name: &str) {
        until("a service that serves", || {
            self.service(name)["state"] == "serving"
        });
    }

    /// A program of its own, in the place of `@/NAME`.
    pub(crate) fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!("#!/bin/sh\n{}\n", text.replace("@zdt", PROGRAM));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        for _ in 0..500 {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The body of the answer, on a connection of its own.
pub(crate) fn get(socket: &Path, path: &str) -> String {
    let mut client = UnixStream::connect(socket).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    body.unwrap_or_else(|| panic!("no answer: {answer:?}"))
        .to_owned()
}
