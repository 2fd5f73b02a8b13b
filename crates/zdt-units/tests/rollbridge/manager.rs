//! What the launcher itself looks after: ports, memory, output, and what a killed one leaves.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::launcher::{Launcher, get, until};

/// No test, but two programs: one grows, the other binds the port that it is told, and says so.
#[test]
fn play() {
    let Ok(given) = std::env::var("GIVEN") else {
        return;
    };
    if let Some(directory) = given.strip_prefix("grow ") {
        return grow(Path::new(directory));
    }
    let port: u16 = std::env::var("ZDT_PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    println!("bound {port}, given {given}");
    for client in listener.incoming() {
        let _ = client.unwrap().write_all(b"hello\n");
    }
}

const SMALL: usize = 60 << 20;

/// Above the warning, and when it is told to, above the limit; never less than before.
fn grow(directory: &Path) {
    let small = vec![1_u8; SMALL];
    fs::write(directory.join("small"), "").unwrap();
    until("leave to grow", || directory.join("go").exists());
    let large = vec![1_u8; 100 << 20];
    thread::sleep(Duration::from_secs(1000));
    drop((small, large));
}

/// `@part` becomes that program.
fn with_program(text: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let words = format!(
        "[\"{}\", \"--exact\", \"manager::play\", \"--nocapture\"]",
        own.display()
    );
    text.replace("@part", &words)
}

/// The first of 51 that nobody has, in this process or in one beside it. They are none of those that the kernel gives to
/// clients: they could take one before a process does.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 100).unwrap() * 200;
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let blocks = (0..30).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % 3 * 60);
    let mut whole = blocks.filter(|from| (*from..=from + 50).all(is_free));
    whole.next().unwrap()
}

#[test]
fn a_fixed_port_is_told_to_its_process_and_to_others() {
    let port = free_ports();
    let text = r#"
[service.cache]
kind = "service"
exec = @part
port = PORT
ready = "started"
health = { tcp = "127.0.0.1:{{port}}" }
environment = { GIVEN = "{{port}}" }

[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "echo asks {{port.cache}}; exec sleep 1000"]
after = ["cache"]
"#;
    let launcher = Launcher::start(&with_program(text).replace("PORT", &port.to_string()));
    launcher.until_said(&format!("bound {port}, given {port}"));
    launcher.until_said(&format!("job | asks {port}"));
    launcher.done(&["restart", "cache"]);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    // Nobody holds it while no process runs.
    launcher.done(&["unit", "stop", "cache.service"]);
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn each_process_of_a_range_has_a_port_of_its_own() {
    let from = free_ports();
    let text = r#"
[service.api]
exec = @part
port = { from = FROM, to = TO }
strategy = "rolling"
instances = 3
ready = "started"
health = { tcp = "127.0.0.1:{{port}}" }
environment = { GIVEN = "{{port}}" }
"#;
    let text = with_program(text)
        .replace("FROM", &from.to_string())
        .replace("TO", &(from + 50).to_string());
    // The first one is taken by somebody else.
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, from));
    let launcher = Launcher::start(&text);
    launcher.until_serving("api");
    let ports = |launcher: &Launcher| -> Vec<u64> {
        let service = launcher.service("api");
        let units = service["units"].as_array().unwrap().iter();
        units.filter_map(|unit| unit["port"].as_u64()).collect()
    };
    let mut first = ports(&launcher);
    for port in &first {
        launcher.until_said(&format!("bound {port}, given {port}"));
    }
    first.dedup();
    assert_eq!(first.len(), 3, "{first:?}");
    assert!(!first.contains(&from.into()), "{first:?}");
    launcher.done(&["restart", "api"]);
    println!("{first:?}, then {:?}", ports(&launcher));
    assert_eq!(ports(&launcher).len(), 3);
}

#[test]
fn a_process_that_grows_is_warned_of_once_and_restarted_at_its_limit() {
    let own = std::env::current_exe().unwrap();
    let text = format!(
        r#"
[service.job]
kind = "worker"
ready = "started"
environment = {{ GIVEN = "grow @/" }}
exec = ["/bin/sh", "-c", "test -e @/grown && exec sleep 1000; : > @/grown; trap 'echo drained; exit 0' TERM; {} --exact manager::play & wait"]
memory = {{ limit = "120MiB", warn = "40MiB", every = "100ms" }}
"#,
        own.display()
    );
    let launcher = Launcher::start(&text);
    let unit = |launcher: &Launcher| launcher.service("job")["units"][0].clone();
    until("what its child takes", || launcher.path("small").exists());
    launcher.until_said("and 120 MiB is the limit");
    until("a look at all that it takes", || {
        unit(&launcher)["memory"]["bytes"].as_u64() > Some(SMALL as u64)
    });
    let before = unit(&launcher);
    println!("{before}");
    let children = before["children"].as_array().unwrap();
    // The shell and the one that it started.
    assert_eq!(children.len(), 2, "{before}");
    assert_eq!(children[0]["pid"], before["pid"]);
    thread::sleep(Duration::from_millis(500));
    fs::write(launcher.path("go"), "").unwrap();
    // It is counted when it begins.
    until("another process", || {
        let now = unit(&launcher);
        now["state"] == "active" && now["pid"] != before["pid"]
    });
    launcher.until_said("job | drained");
    let after = unit(&launcher);
    println!("{after}\n{}", launcher.said());
    assert_eq!(after["memory"]["restarts"], 1, "{after}");
    assert!(!after["memory"]["last_restart"].is_null(), "{after}");
    assert_eq!(
        launcher.said().matches("and 120 MiB is the limit").count(),
        1
    );
}

#[test]
fn output_goes_where_the_file_says() {
    let job = r#"
[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "echo one; echo two; exec sleep 1000"]

[launcher]
"#;
    let launcher = Launcher::start(&format!("{job}output = \"json\"\n"));
    until("two lines", || {
        launcher.read("printed").matches('\n').count() == 2
    });
    let printed = launcher.read("printed");
    let lines = printed.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        ["unit", "stream", "text"].map(|key| line[key].as_str().unwrap().to_owned())
    });
    let wanted = ["one", "two"].map(|text| ["job.service", "stdout", text].map(str::to_owned));
    assert_eq!(lines.collect::<Vec<_>>(), wanted);

    let launcher = Launcher::start(&format!("{job}output = {{ files = \"@/logs\" }}\n"));
    until("its file", || launcher.read("logs/job.log") == "one\ntwo\n");
    assert_eq!(launcher.read("printed"), "");
}

#[test]
fn an_unknown_template_starts_nothing() {
    let launcher = Launcher::new(
        r#"
[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", ": > @/started; exec sleep 1000"]

[service.later]
kind = "worker"
ready = "started"
exec = ["/bin/echo", "{{service.nme}}"]
"#,
    );
    let ran = launcher.ask(&["run"]);
    assert_eq!(ran.code, Some(3), "{}", ran.said);
    assert!(ran.said.contains("{{service.nme}}"), "{}", ran.said);
    let made = ["started", "state/launcher.json"].map(|name| launcher.path(name).exists());
    assert_eq!(made, [false, false], "{}", ran.said);
}

const TWO: &str = r#"
[service.web]
exec = ["@zdt", "demo-app"]
listen = "@/web.sock"

[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sleep", "1000"]
"#;

#[test]
fn a_launcher_that_was_killed_is_followed_by_one_that_takes_over() {
    let mut launcher = Launcher::start(TWO);
    launcher.until_serving("web");
    let before = [launcher.pids("web"), launcher.pids("job")];
    launcher.send(Signal::SIGKILL);
    launcher.end();
    assert!(launcher.path("state/launcher.json").exists());
    // They serve without one.
    assert_eq!(get(&launcher.path("web.sock"), "/"), "hello\n");
    launcher.run();
    launcher.until_serving("web");
    assert_eq!([launcher.pids("web"), launcher.pids("job")], before);
    assert_eq!(get(&launcher.path("web.sock"), "/"), "hello\n");
    launcher.done(&["restart", "web"]);
    assert_ne!(launcher.pids("web"), before[0]);
}

#[test]
fn what_is_not_taken_up_is_told_and_stopped_when_asked() {
    let mut launcher = Launcher::start(TWO);
    launcher.until_serving("web");
    let orphan = launcher.pids("job")[0];
    launcher.send(Signal::SIGKILL);
    launcher.end();
    // The next one has no such service.
    launcher.write(TWO.split("[service.job]").next().unwrap());
    launcher.run();
    launcher.until_serving("web");
    let told = launcher.done(&["recover", "--dry-run"]);
    let named = format!("process {orphan} of `job.service` has no launcher");
    assert!(told.contains(&named), "{told}");
    assert!(told.contains("--stop-orphans"), "{told}");
    launcher.done(&["recover", "--stop-orphans"]);
    let orphan = Pid::from_raw(i32::try_from(orphan).unwrap());
    until("its end", || kill(orphan, None).is_err());
    let told = launcher.done(&["recover", "--dry-run"]);
    assert!(!told.contains("has no launcher"), "{told}");
}
