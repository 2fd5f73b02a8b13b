//! `zdt-units status` and `doctor`: what they say is what is there, by the word of `ss` and of systemd.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use serde_json::Value;
use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Output};

use crate::{Test, units};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("look::status_says_what_ss_says", status_says_what_ss_says),
    (
        "look::doctor_finds_what_is_wrong_with_the_usual_recipe",
        doctor_finds_what_is_wrong_with_the_usual_recipe,
    ),
    (
        "look::doctor_finds_nothing_in_what_install_writes",
        doctor_finds_nothing_in_what_install_writes,
    ),
    ("look::doctor_finds_each_trap", doctor_finds_each_trap),
];

const UNITS: &str = "/opt/zdt/bin/units";
const CONFIG: &str = "/etc/zdt/zdt.toml";

type Done = Result<(), Box<dyn Error>>;

const LOOKED_AT: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
health = { listen = "127.0.0.1:19081" }
handover = true

[service.broken]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8081"
environment = { CRASH = "1" }

[service.bus]
unit = "dbus.service"
health = { command = ["true"] }

[service.old]
unit = "old.service"
"#;

/// Connections and queues are those that `ss` counts, while it serves and while it starts; a service
/// that crashes and units of others have their state too.
fn status_says_what_ss_says(machine: &Machine) -> Done {
    machine.write_file(CONFIG, LOOKED_AT, 0o644)?;
    machine.install(&[(
        "old.service",
        "[Service]\nType=oneshot\nExecStart=/bin/false\n",
    )])?;
    let installed = run(machine, &["install"])?;
    // The one that crashes does not become ready.
    assert_eq!(installed.code, Some(7), "{}", installed.stderr);
    run(machine, &["install"])?;
    machine
        .systemctl(&["start", "app.socket", "app-health.socket", "app.service"])?
        .ok()?;
    machine
        .systemctl(&["start", "--no-block", "broken.socket", "broken.service"])?
        .ok()?;
    // It fails, and `oneshot` waits for that.
    machine.systemctl(&["start", "old.service"])?;

    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::tcp(machine, units::ADDRESS)?;
        assert_eq!(client.get("/")?.status, 200);
        clients.push(client);
    }
    let status = status(machine)?;
    let app = service(&status, "app");
    let (waiting, limit) = queue_by_ss(machine, 8080)?;
    println!(
        "serving: {app}; ss: {waiting} of {limit} wait, {} established",
        established_by_ss(machine)?
    );
    assert_eq!(app["state"], "serving");
    let socket = &app["sockets"][0];
    assert_eq!(socket["live"], established_by_ss(machine)?);
    assert_eq!(socket["live"], 5);
    assert_eq!(app["sockets"].as_array().map(Vec::len), Some(1), "{app}");
    assert_eq!(socket["waiting"], waiting);
    assert_eq!(socket["waiting_limit"], limit);
    assert_eq!(app["health"], "ok");
    assert_eq!(
        app["pid"].to_string(),
        machine.show("app.service", "MainPID")?
    );
    let broken = service(&status, "broken");
    assert!(
        ["crashing", "starting"]
            .iter()
            .any(|word| broken["state"] == *word),
        "{broken}"
    );
    assert_eq!(service(&status, "bus")["state"], "serving");
    assert_eq!(service(&status, "bus")["health"], "ok");
    assert_eq!(service(&status, "old")["state"], "failed");

    // Who started it: the records of restarts, or systemd.
    shell(
        machine,
        "mkdir -p /var/log/zdt; /opt/zdt/bin/units restart app --json >/var/log/zdt/events.jsonl",
    )?;
    let restarted = self::status(machine)?;
    let by = &service(&restarted, "app")["started_by"];
    println!("{by}");
    assert!(
        by.as_str()
            .is_some_and(|by| by.starts_with("zdt-units: restart of 20")),
        "{by}"
    );
    machine
        .systemctl(&["kill", "--signal=KILL", "app.service"])?
        .ok()?;
    machine.wait_until(
        Duration::from_secs(20),
        "systemd started another process",
        |machine| {
            let restarts = machine.show("app.service", "NRestarts");
            let state = machine.show("app.service", "SubState");
            restarts.is_ok_and(|restarts| restarts == "1")
                && state.is_ok_and(|state| state == "running")
        },
    )?;
    let crashed = self::status(machine)?;
    assert_eq!(
        service(&crashed, "app")["started_by"],
        "systemd, after it had ended by itself"
    );

    // Again and again, until Ctrl-C.
    let command = [UNITS, "status", "--watch=500ms", "--json"];
    let watched = [
        &["timeout", "--preserve-status", "--signal=INT", "3"],
        &command[..],
    ]
    .concat();
    let watched = machine.run(&watched)?.ok()?;
    let looks = watched.stdout.lines().map(serde_json::from_str::<Value>);
    let looks = looks.collect::<Result<Vec<_>, _>>()?;
    assert!(looks.len() >= 2, "{}", watched.stdout);

    // At the rate of now the queue holds what it has room for.
    let load = units::load(machine, &["--rate=200"])?;
    let busy = self::status(machine)?;
    load.stop()?;
    let rate = busy["new_connections"].as_f64().ok_or("no rate")?;
    let app = service(&busy, "app");
    let number = |key: &str| {
        app["sockets"][0][key]
            .as_f64()
            .ok_or(format!("no {key}: {app}"))
    };
    let room = number("waiting_limit")? + 1.0 - number("waiting")?;
    println!("under load: {rate}/s; {app}");
    assert!(rate > 0.0);
    // Both figures are rounded to a tenth.
    let held = number("holds_seconds")?;
    assert!(
        (held - room / rate).abs() <= 0.1 + room / rate / rate,
        "{held}"
    );

    // A start that does not end: the queue grows, and status does not touch it.
    drop(clients);
    machine.write_file("/etc/app.env", "WARMUP_MS=50000\n", 0o644)?;
    machine
        .systemctl(&["restart", "--no-block", "app.service"])?
        .ok()?;
    let limit = Duration::from_secs(20);
    machine.wait_until(limit, "the new process starts", |machine| {
        let sub = machine.show("app.service", "SubState");
        sub.is_ok_and(|sub| sub == "start")
    })?;
    let mut waiting = Vec::new();
    for _ in 0..7 {
        let mut client = Client::tcp(machine, units::ADDRESS)?;
        client.send("GET / HTTP/1.1\r\n")?;
        waiting.push(client);
    }
    machine.wait_until(limit, "seven wait", |machine| {
        queue_by_ss(machine, 8080).is_ok_and(|(waiting, _)| waiting == 7)
    })?;
    let starting = self::status(machine)?;
    let app = service(&starting, "app");
    println!("starting: {app}");
    assert_eq!(app["state"], "starting");
    assert_eq!(app["sockets"][0]["waiting"], 7);
    assert_eq!(app["sockets"][0]["live"], 0);

    let shown = run(machine, &["status", "app", "bus"])?.ok()?;
    println!("{}", shown.stdout);
    assert!(
        shown
            .stdout
            .starts_with("services of this machine: systemd "),
        "{}",
        shown.stdout
    );
    Ok(())
}

/// What everybody copies: a socket without limits taken off, and a service that does not know it.
fn doctor_finds_what_is_wrong_with_the_usual_recipe(machine: &Machine) -> Done {
    units::stock(machine)?;
    let found = doctor(machine, &["--unit", "app.service"])?;
    println!("the usual recipe: {found:?}");
    assert_eq!(found, set(&["D001", "D002", "D017", "D018", "D030"]));
    // Control: the first of them is true, systemd closes the port.
    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    machine
        .systemctl(&["kill", "--signal=KILL", "app.service"])?
        .ok()?;
    let limit = Duration::from_secs(20);
    machine.wait_until(limit, "the port is closed", |machine| {
        let _ = Client::tcp(machine, units::ADDRESS);
        machine
            .show("app.socket", "ActiveState")
            .is_ok_and(|state| state == "failed")
    })?;
    let found = doctor(machine, &["--unit", "app.socket"])?;
    println!("after a crash: {found:?}");
    assert!(
        found.is_superset(&set(&["D001", "D007", "D032"])),
        "{found:?}"
    );

    // And one that binds by itself.
    let alone = "[Service]\nType=notify\nExecStart=/opt/zdt/bin/stock\n";
    machine.install(&[("alone.service", alone)])?;
    let found = doctor(machine, &["--unit", "alone.service"])?;
    assert!(found.contains("D014"), "{found:?}");

    // A shell between systemd and the program.
    let wrapped = "[Service]\nType=notify\nExecStart=/bin/sh -c '/opt/zdt/bin/stock; true'\n";
    machine.install(&[("wrapped.service", wrapped)])?;
    let found = doctor(machine, &["--unit", "wrapped"])?;
    assert!(found.contains("D022"), "{found:?}");
    Ok(())
}

const EVERY_STRATEGY: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
health = { listen = "127.0.0.1:19081" }
handover = true

[service.pair]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8081"
strategy = "standby"

[service.many]
exec = ["/opt/zdt/bin/app"]
listen = "/run/many.sock"
strategy = "rolling"
instances = 2

[service.again]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8083"
strategy = "reload"
"#;

/// Of every strategy, while they serve.
fn doctor_finds_nothing_in_what_install_writes(machine: &Machine) -> Done {
    machine.write_file(CONFIG, EVERY_STRATEGY, 0o644)?;
    run(machine, &["install"])?.ok()?;
    let said = run(machine, &["doctor", "--strict"])?;
    println!("{}", said.stdout);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(
        said.stdout.starts_with("nothing found in "),
        "{}",
        said.stdout
    );
    // Nothing was started by looking.
    assert_eq!(
        machine.show("pair-standby.service", "ActiveState")?,
        "inactive"
    );
    machine.systemctl(&["stop", "app.service"])?.ok()?;
    run(machine, &["doctor"])?.ok()?;
    run(machine, &["status"])?.ok()?;
    assert_eq!(machine.show("app.service", "ActiveState")?, "inactive");
    Ok(())
}

/// Each is set, found by its code alone, and taken back.
fn doctor_finds_each_trap(machine: &Machine) -> Done {
    machine.write_file(CONFIG, EVERY_STRATEGY, 0o644)?;
    run(machine, &["install"])?.ok()?;
    machine.install(&[("other.service", "[Service]\nExecStart=/bin/sleep 1000\n")])?;
    assert_eq!(doctor(machine, &[])?, BTreeSet::new());

    // Drop-ins.
    for (unit, lines, codes) in [
        (
            "app.service",
            "[Unit]\nStartLimitIntervalSec=10\n",
            &["D001"] as &[&str],
        ),
        ("app.service", "[Service]\nRestart=on-failure\n", &["D002"]),
        (
            "app.service",
            "[Unit]\nConditionPathExists=/nope\n",
            &["D003"],
        ),
        ("app.service", "[Unit]\nRequires=other.service\n", &["D004"]),
        ("app.socket", "[Unit]\nPartOf=other.service\n", &["D005"]),
        ("app.socket", "[Socket]\nFlushPending=yes\n", &["D009"]),
        ("app.service", "[Service]\nTimeoutStopSec=5\n", &["D020"]),
        ("app.service", "[Service]\nKillMode=process\n", &["D021"]),
        (
            "app.service",
            "[Service]\nTimeoutStartSec=infinity\n",
            &["D031"],
        ),
        (
            "app.service",
            "[Service]\nFileDescriptorStoreMax=0\n",
            &["D060"],
        ),
        ("app.service", "[Service]\nLimitNOFILE=1024\n", &["D063"]),
        ("many.socket", "[Socket]\nBacklog=64\n", &["D043"]),
    ] {
        let path = format!("/etc/systemd/system/{unit}.d/trap.conf");
        machine.write_file(&path, lines, 0o644)?;
        if unit == "many.socket" {
            // systemd has not been told yet.
            assert_eq!(doctor(machine, &[])?, set(&["D050"]), "{lines}");
        }
        machine.systemctl(&["daemon-reload"])?.ok()?;
        assert_eq!(doctor(machine, &[])?, set(codes), "{lines}");
        machine
            .run(&["rm", "-r", &format!("/etc/systemd/system/{unit}.d")])?
            .ok()?;
        machine.systemctl(&["daemon-reload"])?.ok()?;
    }
    assert_eq!(doctor(machine, &[])?, BTreeSet::new());

    // What is set and taken back by a command.
    let standby = "systemctl start pair-standby.service";
    let record = "mkdir -p /var/lib/zdt/app; echo '{\"operation\":\"restart\"}' >/var/lib/zdt/app/running.json";
    for (trap, codes, mended) in [
        (
            "echo 128 >/proc/sys/net/core/somaxconn",
            &["D040"] as &[&str],
            "echo 4096 >/proc/sys/net/core/somaxconn",
        ),
        (
            "echo 1 >/proc/sys/net/ipv4/tcp_abort_on_overflow",
            &["D042"],
            "echo 0 >/proc/sys/net/ipv4/tcp_abort_on_overflow",
        ),
        (standby, &["D061"], "systemctl stop pair-standby.service"),
        (
            "systemctl stop many@2.service",
            &["D062"],
            "systemctl start many@2.service",
        ),
        (record, &["D066"], "rm /var/lib/zdt/app/running.json"),
        (
            "sed -i s/RestartSec=500ms/RestartSec=700ms/ /etc/systemd/system/pair.service; systemctl daemon-reload",
            &["D051"],
            "sed -i s/RestartSec=700ms/RestartSec=500ms/ /etc/systemd/system/pair.service; systemctl daemon-reload",
        ),
    ] {
        shell(machine, trap)?;
        assert_eq!(doctor(machine, &[])?, set(codes), "{trap}");
        shell(machine, mended)?;
    }
    // The machine's own connections are counted where nobody says how many come.
    assert_eq!(doctor(machine, &["--rate=100000000"])?, set(&["D041"]));
    assert_eq!(doctor(machine, &[])?, BTreeSet::new());

    let strict = run(machine, &["doctor", "--strict", "--rate=100000000"])?;
    assert_eq!(strict.code, Some(8), "{}", strict.stdout);

    // Not by root: what cannot be seen is said.
    let blind = machine.run(&[
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        UNITS,
        "doctor",
        "--json",
    ])?;
    let found = codes(&blind.ok()?.stdout)?;
    assert_eq!(found, set(&["D080"]));
    Ok(())
}

fn shell(machine: &Machine, script: &str) -> Done {
    machine.run(&["sh", "-c", script])?.ok()?;
    Ok(())
}

/// The codes without `ZDT-`.
fn doctor(machine: &Machine, flags: &[&str]) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut command = vec!["doctor", "--json"];
    if !flags.iter().any(|flag| flag.starts_with("--rate")) {
        command.push("--rate=1");
    }
    command.extend(flags);
    codes(&run(machine, &command)?.ok()?.stdout)
}

fn codes(json: &str) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let examined: Value = serde_json::from_str(json)?;
    let findings = examined["findings"].as_array().ok_or("no findings")?;
    let code = |finding: &Value| {
        finding["code"]
            .as_str()
            .unwrap_or_default()
            .replace("ZDT-", "")
    };
    Ok(findings.iter().map(code).collect())
}

fn set(codes: &[&str]) -> BTreeSet<String> {
    codes.iter().map(|&code| code.to_owned()).collect()
}

fn status(machine: &Machine) -> Result<Value, Box<dyn Error>> {
    let said = run(machine, &["status", "--json"])?.ok()?;
    Ok(serde_json::from_str(&said.stdout)?)
}

fn service(status: &Value, name: &str) -> Value {
    let services = status["services"].as_array().into_iter().flatten();
    let mut named = services.filter(|service| service["name"] == name);
    named.next().cloned().unwrap_or_default()
}

/// How many wait, and how many may.
fn queue_by_ss(machine: &Machine, port: u16) -> Result<(u32, u32), Box<dyn Error>> {
    let filter = format!("sport = :{port}");
    let said = machine.run(&["ss", "-ltnH", &filter])?.ok()?;
    let mut words = said.stdout.split_ascii_whitespace().skip(1);
    let mut number = || words.next().unwrap_or_default().parse();
    Ok((number()?, number()?))
}

fn established_by_ss(machine: &Machine) -> Result<usize, Box<dyn Error>> {
    let said = machine
        .run(&["ss", "-tnH", "state", "established", "sport = :8080"])?
        .ok()?;
    Ok(said.stdout.lines().count())
}

fn run(machine: &Machine, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    let command = [&[UNITS], arguments].concat();
    Ok(machine.run(&command)?)
}
