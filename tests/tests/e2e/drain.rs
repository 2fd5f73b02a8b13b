//! What a stopping process does with clients that are not done.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::client::{Client, Message};
use zdt_e2e::machine::{Machine, Running};
use zdt_e2e::startup::Gate;

use crate::units;

const LIMIT: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
environment_files = ["-/etc/app.env"]
drain = { limit = "3s" }

# A silent client is to be accepted, which the kernel would put off.
[[service.app.socket]]
name = "http"
listen = "127.0.0.1:8080"
defer_accept = false
"#;

/// Clients that would stay for ever cannot hold a restart for longer than its
/// limit, and each that is cut is counted.
pub(crate) fn odd_clients_end_within_the_limit_and_are_counted(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, LIMIT)?;
    let client = || Client::tcp(machine, units::ADDRESS);

    let mut silent = client()?;
    let mut half = client()?;
    half.send("GET / HTTP/1.1\r\nHost: half\r\n")?;
    let mut stuck = client()?;
    stuck.subscribe("/sse?ms=50")?;
    stuck.event()?;
    let mut polite = client()?;
    polite.subscribe("/sse-until-drain")?;
    polite.event()?;
    let mut socket = client()?;
    socket.upgrade("/ws")?;
    socket.send_text("before")?;
    assert_eq!(socket.message()?, Message::Text("before".into()));
    let mut idle = client()?;
    assert_eq!(idle.get("/")?.status, 200);
    // Its body is larger than what the kernel buffers, and nobody reads it.
    let mut unread = client()?;
    unread.send_post_head("/ignore-body", 50_000_000)?;
    unread.send([0; 65_536])?;
    assert_eq!(unread.answer()?.text(), "ignored\n");

    machine.systemctl(&["restart", "app.service"])?.ok()?;

    // Those that were told went in peace; the answer was there for the other.
    let mut last = String::new();
    while let Some(event) = polite.event()? {
        last = event;
    }
    assert_eq!(last, "goodbye");
    assert!(silent.closes()?);
    assert!(idle.closes()?);
    let journal = machine.journal("app.service")?;
    let (_, report) = journal.split_once("app: drained in ").unwrap_or_default();
    let (took, report) = report.split_once(" ms: ").unwrap_or_default();
    println!("a drain with seven odd clients and a limit of 3 s: {took} ms");
    // From the signal to the cut; the start of the next process is not in it.
    assert!((3_000..4_000).contains(&took.parse::<u64>()?), "{took}");
    let (_, cut) = report.split_once("closed, ").unwrap_or_default();
    assert_eq!(
        cut.lines().next(),
        Some("CUT 1 request, 1 half-sent request, 1 upgraded connection, 0 held"),
        "{journal}"
    );
    // Cut means ended: none of them hangs.
    assert!(half.closes()?);
    assert!(socket.message().is_err());
    Ok(())
}

const HEALTH: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
health = { listen = "127.0.0.1:19081" }
"#;

/// From outside, over a restart: ready, then draining, then starting, then
/// ready again; alive all the time, and no probe is refused.
pub(crate) fn readiness_is_seen_from_outside(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, HEALTH)?;
    // The app waits for the body from the moment when it asks for it, and that holds the drain.
    let mut slow = Client::tcp(machine, units::ADDRESS)?;
    let expect = "host: app\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    slow.send(format!("POST /upload HTTP/1.1\r\n{expect}"))?;
    assert_eq!(slow.head()?.status, 100);
    let gate = Gate::shut(machine, "app.service")?;

    let mut seen = Vec::new();
    let mut look = || -> Result<usize, Box<dyn Error>> {
        let probe = |path| Client::tcp(machine, "127.0.0.1:19081")?.get(path);
        assert_eq!(probe("/livez")?.status, 200);
        let ready = probe("/readyz")?;
        let body: serde_json::Value = serde_json::from_slice(&ready.body)?;
        let state = body["state"].as_str().unwrap_or_default();
        let pid = body["instance"]["pid"].as_u64().unwrap_or_default();
        let now = format!("{state} {} pid {pid}", ready.status);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        Ok(seen.len())
    };
    let mut until = |states: usize| -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while look()? < states && Instant::now() < deadline {}
        Ok(())
    };
    until(1)?;
    let old = machine.show("app.service", "MainPID")?;
    machine
        .systemctl(&["restart", "--no-block", "app.service"])?
        .ok()?;
    until(2)?;
    slow.send("body")?;
    until(3)?;
    gate.open()?;
    until(4)?;
    let new = machine.show("app.service", "MainPID")?;
    println!("seen from outside: {}", seen.join(", "));
    assert_eq!(
        seen,
        [
            format!("ready 200 pid {old}"),
            format!("draining 503 pid {old}"),
            format!("starting 503 pid {new}"),
            format!("ready 200 pid {new}"),
        ]
    );
    assert_eq!(slow.answer()?.text(), "4\n");
    Ok(())
}

/// The kernel's queue is full of waiting clients when the new process comes
/// up, and it may open no more than 1,024 descriptors.
pub(crate) fn a_long_queue_is_answered_with_few_descriptors(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let few = format!("{}nofile = 1024\n", units::ZDT);
    units::zdt(machine, &few)?;
    let load = units::load(machine, &["--rate=1900", "--timeout=20s"])?;
    let gate = Gate::shut(machine, "app.service")?;
    let mut restart = machine.command(&["systemctl", "restart", "app.service"]);
    let mut restart = Running(restart.spawn()?);
    let mut waiting = 0;
    let limit = Duration::from_secs(30);
    machine.wait_until(limit, "the queue is long", |machine| {
        waiting = queued(machine).unwrap_or_default();
        waiting >= 2_048
    })?;
    gate.open()?;
    assert!(restart.0.wait()?.success());
    units::await_main(machine)?;
    let report = load.stop()?;
    println!(
        "more than {waiting} connections at once, 1,024 descriptors: {}",
        crate::restart::summary(&report)
    );
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
}

/// How many connections are in the kernel's queue, and no process has accepted them.
fn queued(machine: &Machine) -> Result<usize, Box<dyn Error>> {
    let listening = ["--no-header", "--listening", "--tcp", "--numeric"];
    let socket = [&["ss"], &listening[..], &["sport = :8080"]].concat();
    let line = machine.run_in_net(&socket)?.ok()?.stdout;
    let length = line.split_ascii_whitespace().nth(1);
    Ok(length.ok_or("nobody listens")?.parse()?)
}

/// A watchdog that is fed lets a healthy process live.
pub(crate) fn the_watchdog_is_fed(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let watched = format!("{}watchdog = \"1s\"\n", units::ZDT);
    units::zdt(machine, &watched)?;
    let pid = machine.show("app.service", "MainPID")?;
    let load = units::load(machine, &["--rate=50", "--for=4s"])?;
    assert_eq!(load.finish()?.lost(), 0);
    assert_eq!(machine.show("app.service", "MainPID")?, pid);
    // A process that hangs is the control: it is killed and replaced.
    let stop = ["kill", "--kill-whom=main", "--signal=STOP", "app.service"];
    machine.systemctl(&stop)?.ok()?;
    machine.wait_until(Duration::from_secs(10), "a new process", |machine| {
        let now = machine.show("app.service", "MainPID");
        now.is_ok_and(|now| now != pid && now != "0")
    })?;
    Ok(())
}
