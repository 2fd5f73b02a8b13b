//! What a stopping process does with clients that are not done.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::client::{Client, Message};
use zdt_e2e::machine::Machine;

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

    let started = Instant::now();
    machine.systemctl(&["restart", "app.service"])?.ok()?;
    let took = started.elapsed();
    println!("restart with seven odd clients and a limit of 3 s: {took:?}");
    // The limit, and the start of the next process.
    assert!(took < Duration::from_millis(4_000), "{took:?}");

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
    machine.write_file("/etc/app.env", "WARMUP_MS=300\n", 0o644)?;
    let mut slow = Client::tcp(machine, units::ADDRESS)?;
    slow.send_get("/slow?ms=500")?;

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
    look()?;
    let old = machine.show("app.service", "MainPID")?;
    machine
        .systemctl(&["restart", "--no-block", "app.service"])?
        .ok()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while look()? < 4 && Instant::now() < deadline {}
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
    assert_eq!(slow.answer()?.status, 200);
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
    machine.write_file("/etc/app.env", "WARMUP_MS=2000\n", 0o644)?;
    machine.systemctl(&["restart", "app.service"])?.ok()?;
    units::await_main(machine)?;
    let report = load.stop()?;
    let waited = report.total.in_flight_max;
    println!(
        "{waited} connections at once, 1,024 descriptors: {}",
        crate::restart::summary(&report)
    );
    assert!(report.valid, "{report}");
    assert!(waited >= 3_700, "{waited}");
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
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
