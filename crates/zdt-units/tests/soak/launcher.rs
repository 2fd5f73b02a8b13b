//! A launcher with services, and commands to it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::Command;
use zdt_units::host::supervisor::protocol::{About, Answer, Question, UnitReport};

use super::proc::{self, Cost};
use super::{LIMIT, PROGRAM, soon, until};

/// `zdt-units run` with a `zdt.toml` of its own.
pub(super) struct Launcher {
    pub(super) directory: TempDir,
    pub(super) services: Vec<Service>,
    child: Option<Child>,
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) address: SocketAddr,
}

impl Launcher {
    /// Of services with these keys besides the program and the address.
    pub(super) fn prepare(services: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [control, state] = ["control.sock", "state"].map(|name| directory.path().join(name));
        let mut text = format!("[launcher]\ncontrol = {control:?}\nstate = {state:?}\n");
        let of = |(name, keys): &(&str, &str)| {
            // Cgroups of all launchers are beside each other.
            let name = format!("{name}-{}", std::process::id());
            let address = address();
            text += &format!(
                "[service.{name}]\nexec = [{PROGRAM:?}, \"demo-app\"]\nlisten = \"{address}\"\n\
                 sandbox = \"none\"\n\
                 restart = {{ pause = \"250ms\", factor = 1 }}\n{keys}\n"
            );
            Service { name, address }
        };
        let services = services.iter().map(of).collect();
        fs::write(directory.path().join("zdt.toml"), text).unwrap();
        Self {
            directory,
            services,
            child: None,
        }
    }

    pub(super) async fn start(services: &[(&str, &str)]) -> Self {
        let mut launcher = Self::prepare(services);
        launcher.run(Path::new(PROGRAM)).await;
        launcher
    }

    /// Starts it, and waits until everything serves.
    pub(super) async fn run(&mut self, program: &Path) {
        let path = self.speech();
        let speech = File::options().append(true).create(true).open(path);
        let child = std::process::Command::new(program)
            .args(["run", "--config"])
            .arg(self.config())
            .env("ZDT_SOAK_IN", self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(speech.unwrap())
            .spawn();
        self.child = Some(child.unwrap());
        self.settled().await;
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.path().join("zdt.toml")
    }

    pub(super) fn control(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn speech(&self) -> PathBuf {
        self.directory.path().join("speech")
    }

    /// What it and its processes said.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.speech()).unwrap()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::of(self.pid(), &format!("-{}", std::process::id()))
    }

    pub(super) fn rss_anon(&self) -> u64 {
        proc::status(self.pid(), "RssAnon")
    }

    /// A command to it, such as `restart`.
    pub(super) async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--config").arg(self.config());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        let output = command.kill_on_drop(true).output();
        soon(&format!("the end of {arguments:?}"), output)
            .await
            .unwrap()
    }

    /// A command that has to do what it is for.
    pub(super) async fn done(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        let said = both(&output);
        assert!(
            output.status.success(),
            "{arguments:?}: {said}\n{}",
            self.tail()
        );
        said
    }

    /// Everything that it answers to `question`; nothing where nobody listens.
    pub(super) fn ask(&self, question: &Question) -> Option<Vec<Answer>> {
        let mut stream = UnixStream::connect(self.control()).ok()?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let question = serde_json::to_string(question).unwrap() + "\n";
        stream.write_all(question.as_bytes()).ok()?;
        let mut answers = Vec::new();
        for line in BufReader::new(stream).lines() {
            answers.push(serde_json::from_str(&line.ok()?).unwrap());
        }
        Some(answers)
    }

    pub(super) fn about(&self) -> Option<About> {
        self.ask(&Question::Hello)?
            .into_iter()
            .find_map(|answer| match answer {
                Answer::Launcher(about) => Some(about),
                _ => None,
            })
    }

    /// Units that have a process.
    pub(super) fn running(&self) -> Vec<UnitReport> {
        let units = Vec::new();
        let question = Question::Units {
            units,
            whole: false,
        };
        let answers = self.ask(&question).unwrap_or_default();
        let report = |answer| match answer {
            Answer::Unit(report) if report.state.instance.is_some() => Some(*report),
            _ => None,
        };
        answers.into_iter().filter_map(report).collect()
    }

    /// The main processes, by their units.
    pub(super) fn pids(&self) -> Vec<(String, u32)> {
        let of = |report: UnitReport| {
            let instance = report.state.instance.unwrap();
            (report.state.unit.to_string(), instance.pid)
        };
        self.running().into_iter().map(of).collect()
    }

    /// Waits until each service has at least one process, and all that run are ready.
    pub(super) async fn settled(&self) {
        until("services that serve", || {
            let running = self.running();
            let is_up = |service: &Service| {
                let own = |report: &&UnitReport| report.service.as_str() == service.name;
                running.iter().any(|report| own(&report))
            };
            let is_ready = |report: &UnitReport| report.state.sub == "running";
            self.services.iter().all(is_up) && running.iter().all(is_ready)
        })
        .await;
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Waits for the end, and gives the exit code.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        until("the end of the launcher", || {
            child.try_wait().unwrap().is_some()
        })
        .await;
        child.wait().unwrap().code()
    }

    /// Shuts it down as people do.
    pub(super) async fn shut_down(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.ended().await, Some(0), "{}", self.tail());
    }

    /// The last of what it said.
    pub(super) fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Processes may outlive a launcher that is killed.
        proc::kill_those_with(self.directory.path());
    }
}

pub(super) fn both(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}{}{}",
        text(&output.stdout),
        text(&output.stderr),
        output.status
    )
}

/// One that no client's own port can take, and no other test.
fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, next, high, low.max(1)), 8080))
}
