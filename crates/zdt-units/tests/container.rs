//! `zdt-units run` as a container has it: process 1, not root, a read-only root file system, a tmpfs on `/run` and `/tmp`.
//!
//! Where unprivileged namespaces are not allowed it is not run, and says so; with `ZDT_E2E=required` it fails instead.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "starts processes in namespaces"
)]

#[path = "operate_launcher/bench.rs"]
#[expect(dead_code, reason = "a container needs only a port of it")]
mod bench;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::bench::free_port;

const PROGRAM: &str = env!("CARGO_BIN_EXE_zdt-units");
const LIMIT: Duration = Duration::from_secs(60);

/// As `docs/containers.md` has it. A worker leaves processes behind, which process 1 has to collect.
const SERVICES: &str = r#"
[service.web]
exec = ["@zdt", "demo-app"]
listen = "127.0.0.1:PORT"

[service.worker]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "for n in 1 2 3 4 5 6 7 8; do (true &); done; echo uid $(id -u); exec sleep 1000"]

[launcher]
control = "/run/zdt.sock"
state = "/tmp/zdt"
"#;

/// Makes the mounts as root of a namespace, and becomes the launcher as somebody who is not.
const INSIDE: &str = r#"
set -e
mount -t proc proc /proc
mount -o remount,bind,ro /
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /run
cd "$1"
exec unshare --user --map-user=1000 --map-group=1000 -- env -u XDG_RUNTIME_DIR -u XDG_STATE_HOME "$2" run
"#;

struct Container {
    outside: Child,
    /// Process 1, as it is called out here.
    first: u32,
    directory: TempDir,
    address: SocketAddr,
}

fn namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--mount", "--fork"]);
    command
}

fn are_allowed() -> bool {
    let tried = namespaces().arg("true").stderr(Stdio::null()).status();
    let allowed = tried.is_ok_and(|status| status.success());
    assert!(
        allowed || std::env::var_os("ZDT_E2E").is_none_or(|wanted| wanted != "required"),
        "`unshare --user` is not allowed here"
    );
    allowed
}

fn until(what: &str, mut found: impl FnMut() -> bool) {
    let began = Instant::now();
    while !found() {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process has accepted the connection of `client`: what is queued belongs to nobody.
fn is_accepted(client: &TcpStream) -> bool {
    let hex = |address: SocketAddr| {
        let SocketAddr::V4(address) = address else {
            panic!("{address} is not IPv4");
        };
        let host = u32::from_ne_bytes(address.ip().octets());
        format!("{host:08X}:{:04X}", address.port())
    };
    let server = hex(client.peer_addr().unwrap());
    let client = hex(client.local_addr().unwrap());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&server.as_str())
            && words.get(2) == Some(&client.as_str())
            && words.get(9).is_some_and(|inode| *inode != "0")
    })
}

impl Container {
    fn start() -> Self {
        // Not below `/tmp`, which is another one inside.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let text = SERVICES
            .replace("@zdt", PROGRAM)
            .replace("PORT", &address.port().to_string());
        fs::write(directory.path().join("zdt.toml"), text).unwrap();
        let said = fs::File::create(directory.path().join("said")).unwrap();
        let outside = namespaces()
            .args(["--kill-child", "sh", "-c", INSIDE, "sh"])
            .arg(directory.path())
            .arg(PROGRAM)
            .stdin(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut container = Self {
            outside,
            first: 0,
            directory,
            address,
        };
        until("both services", || {
            container.said().contains("web: process")
                && container.said().contains("worker | uid 1000")
        });
        container.first = container.children(container.outside.id())[0];
        container
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn children(&self, pid: u32) -> Vec<u32> {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        list.split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.first.to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// As `podman exec` does.
    fn exec(&self, command: &[&str]) -> Output {
        Command::new("timeout")
            .arg(LIMIT.as_secs().to_string())
            .arg("nsenter")
            .arg(format!("--target={}", self.first))
            .args([
                "--user",
                "--pid",
                "--mount",
                "--setuid=1000",
                "--setgid=1000",
            ])
            .arg(format!("--wd={}", self.directory.path().display()))
            .args(command)
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("XDG_STATE_HOME")
            .output()
            .unwrap()
    }

    fn done(&self, command: &[&str]) -> String {
        let output = self.exec(command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}{error}");
        said
    }

    fn get(&self) -> String {
        body(&mut ask(self.address, "/"))
    }
}

fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    client
}

fn body(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

impl Drop for Container {
    fn drop(&mut self) {
        // `--kill-child`: everything inside ends with it.
        let _ = self.outside.kill();
        let _ = self.outside.wait();
    }
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn process_one_without_root_on_a_read_only_root_restarts_without_a_loss() {
    if !are_allowed() {
        println!("not run: `unshare --user` is not allowed here");
        return;
    }
    let mut container = Container::start();
    assert_eq!(container.get(), "hello\n");
    for path in ["/x", "/etc/x"] {
        let written = container.exec(&["touch", path]);
        let why = String::from_utf8_lossy(&written.stderr).into_owned();
        assert!(why.contains("Read-only file system"), "{path}: {why}");
    }
    assert_eq!(container.done(&["id", "-u"]).trim(), "1000");
    assert!(
        container
            .done(&[PROGRAM, "status"])
            .contains("process 1 at")
    );
    // The health check of the image.
    let healthy = [PROGRAM, "unit", "is-active", "web.service"];
    assert_eq!(container.done(&healthy), "active\n");

    let load = Command::new(PROGRAM)
        .args([
            "probe",
            &container.address.to_string(),
            "--rate=300",
            "--json",
        ])
        .arg("--until-stdin-closes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..5 {
        container.done(&[PROGRAM, "restart", "--all"]);
    }
    let report = load.wait_with_output().unwrap();
    let status = report.status;
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let seen = &report["total"]["outcomes"];
    println!("5 restarts: {seen}");
    assert_eq!(status.code(), Some(0), "{seen}");
    assert_eq!(seen["ok"], seen["scheduled"], "{seen}");
    assert!(seen["ok"].as_u64().unwrap() > 0, "{seen}");

    container.signal("HUP");
    until("a restart by SIGHUP", || {
        container.said().matches("web: started process").count() == 7
    });
    until("its end for both", || {
        container.said().matches("  done\n").count() == 2
    });

    // What the worker left behind was collected.
    until("no zombie", || {
        let children = container.children(container.first);
        !children.into_iter().any(is_zombie)
    });

    // As `podman stop` does: what is in flight is answered.
    let mut client = ask(container.address, "/slow?ms=500");
    until("a process that has the request", || is_accepted(&client));
    let slow = thread::spawn(move || body(&mut client));
    container.signal("TERM");
    let mut ended = None;
    until("its end", || {
        ended = container.outside.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0), "{}", container.said());
    assert_eq!(slow.join().unwrap(), "hello at last\n");
}
