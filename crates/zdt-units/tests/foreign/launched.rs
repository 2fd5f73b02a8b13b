//! A program of others under `zdt-units run`, as its example has it, and what its clients meet while it is restarted.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use zdt_units::probe::{Live, Load, Pattern, Report, Stream, run_live};

use super::run::PROGRAM;

/// Longer than anything takes, even on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(60);
const RESTARTS: usize = 3;
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// A program, and where its example is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign {
    pub(super) example: &'static str,
    pub(super) service: &'static str,
    /// What the example has besides `zdt.toml`.
    pub(super) files: &'static [&'static str],
    /// Takes most of a second to be answered.
    pub(super) slow: &'static str,
    /// Where it binds by itself: what is replaced in its files, and by what.
    pub(super) bound: &'static [(&'static str, &'static str)],
}

/// How it gets its address, and how it is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The example as it is: two processes on one socket.
    Rolling,
    /// One process on the same socket.
    Queue,
    /// One process that binds by itself: nobody holds the socket.
    Bound,
}

const ROLLING: &str = "strategy = \"rolling\"\ninstances = 2\n";
const LISTEN: &str = "listen = \"127.0.0.1:8080\"";

impl Foreign {
    /// The text of a file of the example, for `way`, in another place and on another port.
    fn text(&self, file: &str, way: Way, place: &Path, port: u16) -> String {
        let mut text = fs::read_to_string(self.path(file)).unwrap();
        if way != Way::Rolling {
            text = text.replace(ROLLING, "").replace("{{instance}}", "1");
        }
        if way == Way::Bound {
            text = text.replace(LISTEN, "port = 8080");
            for (held, bound) in self.bound {
                text = text.replace(held, bound);
            }
        }
        let home = format!("/srv/{}", self.service);
        text.replace(&home, place.to_str().unwrap())
            .replace("8080", &port.to_string())
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new(EXAMPLES).join(self.example).join(file)
    }

    /// Restarts it three times under load.
    pub(super) async fn restart(&self, way: Way) -> Report {
        let launched = Launched::start(self, way).await;
        let load = Load {
            target: launched.address.into(),
            streams: streams(self.slow),
        };
        let live = Live::new();
        let restarts = async {
            for _ in 0..RESTARTS {
                soon("some answers", live.until_ok(live.ok() + ANSWERS)).await;
                launched.restart().await;
            }
            soon("some answers", live.until_ok(live.ok() + ANSWERS)).await;
        };
        let report = run_live(&load, &live, restarts).await;
        launched.stop().await;
        assert!(report.valid, "{report}");
        report
    }
}

/// Of all streams together within a second, and a little more.
const ANSWERS: u64 = 250;

fn streams(slow: &str) -> Vec<Stream> {
    let stream = |name: &str, rate, pattern| Stream {
        name: name.to_owned(),
        rate,
        pattern,
        ..Stream::default()
    };
    let kept = Pattern::KeepAlive { connections: 8 };
    vec![
        stream("new", 100.0, Pattern::New),
        Stream {
            think: Duration::from_millis(20),
            ..stream("silent", 50.0, Pattern::New)
        },
        // Each connection is used ten times a second, and twice.
        stream("kept", 80.0, kept),
        stream("idle", 16.0, kept),
        Stream {
            path: slow.to_owned(),
            ..stream("slow", 5.0, Pattern::New)
        },
    ]
}

async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let waited = timeout(LIMIT, wanted).await;
    waited.unwrap_or_else(|_| panic!("{what} did not happen within {LIMIT:?}"))
}

struct Launched {
    launcher: Child,
    address: SocketAddr,
    service: &'static str,
    /// Where the example is, and what the launcher keeps and says.
    place: TempDir,
}

impl Launched {
    async fn start(foreign: &Foreign, way: Way) -> Self {
        let place = tempfile::tempdir().unwrap();
        // nginx serves as another user than the one that starts it.
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        let port = free_port();
        for file in foreign.files.iter().copied().chain(["zdt.toml"]) {
            let to = place.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, foreign.text(file, way, place.path(), port)).unwrap();
        }
        prepare(place.path());
        let mut config = File::options()
            .append(true)
            .open(place.path().join("zdt.toml"))
            .unwrap();
        let state = place.path().display();
        writeln!(config, "[launcher]\nstate = \"{state}/state\"").unwrap();
        writeln!(config, "control = \"{state}/control.sock\"").unwrap();

        let said = File::create(place.path().join("said")).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .arg("run")
            .arg("--config")
            .arg(place.path().join("zdt.toml"));
        let launched = Self {
            launcher: command.stdin(Stdio::null()).stderr(said).spawn().unwrap(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            service: foreign.service,
            place,
        };
        launched
            .until("an answer", || answers(launched.address))
            .await;
        launched
    }

    async fn until(&self, what: &str, mut found: impl FnMut() -> bool) {
        let began = Instant::now();
        while !found() {
            assert!(began.elapsed() < LIMIT, "no {what}:\n{}", self.said());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// As a person does it, by the command.
    async fn restart(&self) {
        let mut command = tokio::process::Command::new(PROGRAM);
        command
            .args(["restart", self.service, "--config"])
            .arg(self.place.path().join("zdt.toml"))
            .kill_on_drop(true);
        let output = soon("a restart", command.output()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}\n{}", self.said());
    }

    fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("said")).unwrap()
    }

    async fn stop(mut self) {
        kill(
            Pid::from_raw(self.launcher.id().cast_signed()),
            Signal::SIGTERM,
        )
        .unwrap();
        let began = Instant::now();
        let status = loop {
            match self.launcher.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(began.elapsed() < LIMIT, "it goes on:\n{}", self.said()),
            }
            sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(status.code(), Some(0), "{}", self.said());
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Its processes end with it.
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }
}

/// What is not in the examples: an installed program, and a big file.
fn prepare(place: &Path) {
    if let Some(environment) = environment() {
        symlink(environment, place.join("venv")).unwrap();
    }
    fs::create_dir_all(place.join("html/downloads")).unwrap();
    fs::write(place.join("html/downloads/big"), vec![b'x'; 96 * 1024]).unwrap();
}

/// The environment of Python whose programs are on `PATH`.
fn environment() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut directories = std::env::split_paths(&path);
    let found = directories.find(|directory| directory.join("uvicorn").exists())?;
    Some(found.parent()?.to_owned())
}

fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}

fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(LIMIT))?;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.contains(" 200 OK"))
    };
    ask().is_ok_and(|well| well)
}
