//! `zdt-units run` as a program: arguments, signals, exit codes, and what it says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{LIMIT, PROGRAM, is_alive};

/// `zdt-units run`, and the lines that it says.
struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
    /// Where a supervisor that is killed leaves its files.
    _directory: TempDir,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(PROGRAM)
            .arg("run")
            .args(arguments)
            .env("XDG_RUNTIME_DIR", directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (line, lines) = mpsc::channel();
        thread::spawn(move || pass_on(stderr, &line));
        Self {
            child,
            lines,
            said: Vec::new(),
            _directory: directory,
        }
    }

    /// Waits for a line that has `text` in it.
    fn until(&mut self, text: &str) -> String {
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

    /// The number in the next line that has `text` in it.
    fn process(&mut self, text: &str) -> u32 {
        let line = self.until(text);
        let number = line.split(' ').find_map(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("no number in `{line}`"))
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Waits for the end and returns the exit code.
    fn end(&mut self) -> Option<i32> {
        // Its output ends when it does.
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.said.push(line);
        }
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pass_on(stderr: ChildStderr, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let _ = lines.send(line);
    }
}

fn answer(path: &Path) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
        .write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn write(directory: &Path, text: &str) -> PathBuf {
    let file = directory.join("zdt.toml");
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn signals_restart_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let listen = socket.to_str().unwrap();
    let mut program = Program::start(&["--listen", listen, "--", PROGRAM, "demo-app"]);
    let first = program.process("is ready");
    assert_eq!(answer(&socket), "hello\n");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    for signal in [Signal::SIGHUP, Signal::SIGUSR2] {
        program.send(signal);
        program.until("restarted in");
        assert_eq!(answer(&socket), "hello\n");
    }
    assert!(!is_alive(first));

    program.send(Signal::SIGTERM);
    assert_eq!(program.end(), Some(0));
    assert!(!socket.exists());
    let started = |line: &&String| line.contains("started process");
    assert_eq!(
        program.said.iter().filter(started).count(),
        3,
        "{:#?}",
        program.said
    );
}

#[test]
fn the_services_of_zdt_toml_are_run_or_those_that_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let service = |name: &str| {
        let socket = path(name).display().to_string();
        format!("[service.{name}]\nexec = [\"{PROGRAM}\", \"demo-app\"]\nlisten = \"{socket}\"\n")
    };
    let head = format!("[launcher]\nstate = \"{}\"\n", path("state").display());
    let text = head + &service("shop") + &service("blog");
    let file = write(directory.path(), &text);
    let file = file.to_str().unwrap();
    let mut program = Program::start(&["--config", file, "shop"]);
    program.until("shop: process");
    assert_eq!(answer(&path("shop")), "hello\n");
    assert!(!path("blog").exists());
    program.send(Signal::SIGINT);
    assert_eq!(program.end(), Some(0));

    let mut program = Program::start(&["--config", file]);
    program.until("is ready");
    program.until("is ready");
    for name in ["shop", "blog"] {
        assert_eq!(answer(&path(name)), "hello\n");
    }
    program.send(Signal::SIGTERM);
    assert_eq!(program.end(), Some(0));

    assert_eq!(
        output(&["--config", file, "shpo"]),
        "2: error: there is no service `shpo`\n\nhint: did you mean `shop`?\n"
    );
}

#[test]
fn a_second_interrupt_ends_everything_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let ready = directory.path().join("ready");
    let script = format!(
        "trap '' TERM; : > {}; while :; do sleep 1; done",
        ready.display()
    );
    let listen = socket.to_str().unwrap();
    let arguments = ["--listen", listen, "--no-notify", "--", "sh", "-c", &script];
    let mut program = Program::start(&arguments);
    let pid = program.process("is ready");
    let began = std::time::Instant::now();
    while !ready.exists() {
        assert!(began.elapsed() < LIMIT, "the script did not start");
        thread::sleep(std::time::Duration::from_millis(5));
    }
    program.send(Signal::SIGINT);
    program.until("stopping");
    program.send(Signal::SIGINT);
    assert_eq!(program.end(), Some(128 + 9));
    assert!(!is_alive(pid));
}

#[test]
fn a_supervisor_that_is_killed_takes_the_process_along() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let listen = socket.to_str().unwrap();
    let mut program = Program::start(&["--listen", listen, "--", PROGRAM, "demo-app"]);
    let pid = program.process("is ready");
    program.send(Signal::SIGKILL);
    assert_eq!(program.end(), None);
    let began = std::time::Instant::now();
    while is_alive(pid) {
        assert!(began.elapsed() < LIMIT, "process {pid} goes on");
        thread::sleep(std::time::Duration::from_millis(5));
    }
    // The file that was left behind is no obstacle.
    let mut next = Program::start(&["--listen", listen, "--", PROGRAM, "demo-app"]);
    next.until("is ready");
    assert_eq!(answer(&socket), "hello\n");
    next.send(Signal::SIGTERM);
    assert_eq!(next.end(), Some(0));
}

fn output(arguments: &[&str]) -> String {
    let run = Command::new(PROGRAM).arg("run").args(arguments).output();
    let Output { status, stderr, .. } = run.unwrap();
    let code = status.code().unwrap();
    format!("{code}: {}", String::from_utf8(stderr).unwrap())
}

#[test]
fn wrong_arguments_say_what_to_write() {
    assert_eq!(
        output(&["--listen", "80", "--listen", "x=y", "--", "true"]),
        "2: error: --listen 80: `80` does not say on which addresses; write `:80` for all of them, or `127.0.0.1:80`\n\
         error: --listen x=y: `y` is not an address; write `0.0.0.0:80`, `[::]:80`, `:80` for both, or a path like `/run/shop.sock`\n"
    );
    assert_eq!(
        output(&["--listen", "/nowhere/x.sock", "--", "true"]),
        "4: error: failed to bind `/nowhere/x.sock`: No such file or directory (os error 2); create its directory first\n"
    );
}
