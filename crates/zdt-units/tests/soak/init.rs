//! The launcher as PID 1 of a namespace, as in a container.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use zdt_units::host::diag;
use zdt_units::sockets::Local;

use super::launcher::Launcher;
use super::{LIMIT, PROGRAM, alone, proc, until};

/// Of a namespace with its own `/proc`, and with an own `/run` that nobody else may write to.
const INIT: &str = "mount -t tmpfs -o mode=0755 none /run && exec \"$@\"";

/// `zdt-units run` with these arguments, as PID 1.
struct Init {
    unshare: Child,
}

impl Init {
    /// Nothing without root, which it takes.
    fn start(arguments: &[&str]) -> Option<Self> {
        if !geteuid().is_root() {
            assert_ne!(
                std::env::var("ZDT_E2E").as_deref(),
                Ok("required"),
                "needs root"
            );
            println!("ignored (needs root)");
            return None;
        }
        let unshare = Command::new("unshare")
            .args(["--pid", "--mount", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", INIT, "sh", PROGRAM, "run"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Some(Self {
            unshare: unshare.unwrap(),
        })
    }

    /// By its number out here.
    async fn pid(&self) -> u32 {
        let unshare = self.unshare.id();
        let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let find = || {
            let pid = proc::children(unshare).first().copied()?;
            (name(&pid).trim() == "zdt-units").then_some(pid)
        };
        until("a launcher that is PID 1", || find().is_some()).await;
        find().unwrap()
    }

    async fn ended(&mut self) -> Option<i32> {
        until("the end of PID 1", || {
            self.unshare.try_wait().unwrap().is_some()
        })
        .await;
        self.unshare.wait().unwrap().code()
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn serves(address: SocketAddr) -> bool {
    get(address, "/").is_ok_and(|answer| answer.ends_with("hello\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launcher_that_is_pid_1_collects_restarts_and_drains() {
    let _alone = alone().await;
    // Only for its `zdt.toml`: a hundred processes that lose their parents, and then the app.
    let prepared = Launcher::prepare(&[("shop", "handover = true")]);
    let address = prepared.services[0].address;
    let script = format!("for i in $(seq 100); do (sleep 1000 &); done; exec {PROGRAM} demo-app");
    let text = fs::read_to_string(prepared.config()).unwrap();
    let text = text.replace(
        &format!("[{PROGRAM:?}, \"demo-app\"]"),
        &format!("[\"/bin/sh\", \"-c\", {script:?}]"),
    );
    fs::write(prepared.config(), text).unwrap();
    let config = prepared.config();
    let Some(mut init) = Init::start(&["--config", config.to_str().unwrap()]) else {
        return;
    };
    let pid = init.pid().await;
    until("an answer", || serves(address)).await;
    let app = app_of(&prepared).await;
    end_those_without_parents(pid, app).await;

    // A process that is killed is started again.
    send(app, Signal::SIGKILL);
    until("another process", || {
        serves(address) && !proc::is_alive(app)
    })
    .await;
    let second = app_of(&prepared).await;
    end_those_without_parents(pid, second).await;

    send(pid, Signal::SIGHUP);
    until("a restart", || serves(address) && !proc::is_alive(second)).await;
    end_those_without_parents(pid, app_of(&prepared).await).await;

    // What is in flight is answered, and then it ends.
    let slow = thread::spawn(move || get(address, "/slow?ms=1500"));
    until("a connection that is accepted", || {
        let accepted = diag::sockets().connections;
        accepted.contains(&Local::tcp(address))
    })
    .await;
    send(pid, Signal::SIGTERM);
    assert_eq!(init.ended().await, Some(0));
    let answer = slow.join().unwrap().unwrap();
    assert!(answer.ends_with("hello at last\n"), "{answer}");
}

/// All of them are left to PID 1, which collects them when they end.
async fn end_those_without_parents(pid: u32, app: u32) {
    until("a hundred that lost their parents", || {
        proc::children(pid).len() == 101
    })
    .await;
    for child in proc::children(pid) {
        if child != app {
            send(child, Signal::SIGKILL);
        }
    }
    until("their end", || proc::children(pid) == [app]).await;
}

/// The process of the only service, by its number out here.
async fn app_of(launcher: &Launcher) -> u32 {
    let mark = launcher.services[0].name.clone();
    let find = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let wanted = format!("ZDT_SERVICE={mark}");
        pids.find(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let environment = read("environ");
            let is_told = environment
                .split(|byte| *byte == 0)
                .any(|word| word == wanted.as_bytes());
            is_told && read("cmdline").ends_with(b"\0demo-app\0") && proc::is_alive(*pid)
        })
    };
    until("the app", || find().is_some()).await;
    find().unwrap()
}

#[tokio::test]
async fn the_exit_code_of_pid_1_is_that_of_its_program() {
    let _alone = alone().await;
    let programs = [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -KILL $$", 128 + 9),
        ("kill -SEGV $$", 128 + 11),
    ];
    for (script, code) in programs {
        let listen = format!("{}", Launcher::prepare(&[("once", "")]).services[0].address);
        let arguments = [
            "--once",
            "--no-notify",
            "--listen",
            &listen,
            "--",
            "/bin/sh",
            "-c",
            script,
        ];
        let Some(mut init) = Init::start(&arguments) else {
            return;
        };
        assert_eq!(init.ended().await, Some(code), "{script}");
    }
}
