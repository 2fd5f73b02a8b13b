//! `zdt-units install` and `uninstall`: what a change is said to cost is what
//! it costs.

mod others;

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::{Machine, Output};
use zdt_units::probe::Report;

pub(crate) use self::others::{
    a_failed_take_over_puts_the_old_service_back, a_service_that_binds_by_itself_is_taken_over,
    images_and_users_have_services_too, strangers_and_drift_are_told,
};
use crate::units;

const UNITS: &str = "/opt/zdt/bin/units";
const CONFIG: &str = "/etc/zdt/zdt.toml";
const DIRECTORY: &str = "/etc/systemd/system";

type Done = Result<(), Box<dyn Error>>;

const BASE: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
environment_files = ["-/etc/app.env"]

[[service.app.socket]]
name = "http"
listen = "127.0.0.1:8080"
"#;

fn socket(unit: &str, listen: &str) -> String {
    format!("\n[[service.app.socket]]\nname = \"http\"\nunit = \"{unit}\"\nlisten = \"{listen}\"\n")
}

/// The second run changes nothing: no file, no run, no `daemon-reload`.
pub(crate) fn install_twice_changes_nothing(machine: &Machine) -> Done {
    machine.write_file(CONFIG, BASE, 0o644)?;
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(8));
    run(machine, &["install"])?.ok()?;
    assert_eq!(Client::tcp(machine, units::ADDRESS)?.get("/")?.status, 200);
    for unit in ["app.socket", "app.service"] {
        assert_eq!(machine.show(unit, "UnitFileState")?, "enabled", "{unit}");
    }
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));

    let before = everything(machine)?;
    let again = run(machine, &["install", "--restart"])?.ok()?;
    assert_eq!(
        again.stderr,
        "nothing to do: all 2 units are installed as wanted\n"
    );
    assert_eq!(everything(machine)?, before);

    // Without a bus, over systemd's own socket.
    machine.systemctl(&["stop", "dbus.socket"])?.ok()?;
    machine.systemctl(&["stop", "dbus.service"])?.ok()?;
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));
    run(machine, &["uninstall", "app"])?.ok()?;
    assert_eq!(machine.show("app.service", "LoadState")?, "not-found");
    assert!(Client::tcp(machine, units::ADDRESS).is_err());
    assert_eq!(listing(machine)?, "");
    let twice = run(machine, &["uninstall", "app"])?.ok()?;
    assert_eq!(
        twice.stderr,
        "nothing to do: zdt-units has no units of `app` installed\n"
    );
    Ok(())
}

/// The units of each strategy are put in place, started, told apart from
/// before, and taken out again.
pub(crate) fn every_strategy_is_installed(machine: &Machine) -> Done {
    let health = "health = { listen = \"127.0.0.1:19081\", successes = 2, interval = \"20ms\" }\n";
    let with = |strategy: &str| {
        let keys = format!("[service.app]\n{health}{strategy}\n");
        BASE.replace("[service.app]\n", &keys)
    };
    let rolling = with("strategy = \"rolling\"\ninstances = 3");
    let installed: [(String, &[&str], &[&str]); 2] = [
        (
            with("strategy = \"standby\""),
            &["app.service"],
            &["app-standby.service"],
        ),
        (
            rolling,
            &[
                "app.target",
                "app@1.service",
                "app@2.service",
                "app@3.service",
            ],
            &[],
        ),
    ];
    for (config, running, waiting) in installed {
        machine.write_file(CONFIG, &config, 0o644)?;
        let said = run(machine, &["install"])?.ok()?;
        println!("{}", said.stderr);
        for unit in running {
            assert_eq!(machine.show(unit, "ActiveState")?, "active", "{unit}");
        }
        for unit in waiting {
            assert_eq!(machine.show(unit, "LoadState")?, "loaded", "{unit}");
            assert_eq!(machine.show(unit, "ActiveState")?, "inactive", "{unit}");
        }
        assert_eq!(Client::tcp(machine, units::ADDRESS)?.get("/")?.status, 200);
        let before = everything(machine)?;
        let again = run(machine, &["install", "--restart"])?.ok()?;
        assert!(
            again.stderr.starts_with("nothing to do"),
            "{}",
            again.stderr
        );
        assert_eq!(everything(machine)?, before);

        run(machine, &["uninstall", "app"])?.ok()?;
        for unit in running {
            assert_eq!(machine.show(unit, "ActiveState")?, "inactive", "{unit}");
        }
        assert!(Client::tcp(machine, units::ADDRESS).is_err());
        assert_eq!(listing(machine)?, "");
    }
    Ok(())
}

/// What costs nothing costs nothing: the same process, the same socket, and no
/// request lost. A changed backlog is set on the open socket.
pub(crate) fn what_costs_nothing_is_told_so(machine: &Machine) -> Done {
    machine.write_file(CONFIG, BASE, 0o644)?;
    run(machine, &["install"])?.ok()?;
    let pid = machine.show("app.service", "MainPID")?;
    let before = listening(machine, units::ADDRESS)?;
    assert_eq!(before.backlog, "4096");
    silent_client(machine, "syn-recv")?;
    let load = units::load(machine, &["--rate=500"])?;

    let slower = BASE.replace(
        "environment_files",
        "start_timeout = \"90s\"\nenvironment_files",
    );
    let told = change(machine, &slower, &["install"])?;
    assert_eq!(
        told,
        "update `app.service`\n    TimeoutStartSec=60s becomes 90s: costs nothing\n"
    );
    let loaded = machine.show("app.service", "TimeoutStartUSec")?;
    assert_eq!(loaded, "1min 30s");

    let shorter = format!("{slower}backlog = 1000\ndefer_accept = false\n");
    let told = change(machine, &shorter, &["install"])?;
    assert_eq!(
        told,
        "update `app.socket`\n    Backlog=4096 becomes 1000: costs nothing, it is set on the open socket\n    \
         DeferAcceptSec=5 goes: costs nothing, it is set on the open socket\n"
    );
    let after = listening(machine, units::ADDRESS)?;
    println!("changed while it listens: {before:?} -> {after:?}");
    assert_eq!(after.backlog, "1000");
    assert_eq!(after.inode, before.inode);
    assert_eq!(machine.show("app.service", "MainPID")?, pid);
    lossless("changes that cost nothing", load)?;
    silent_client(machine, "established")?;
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));

    // The control: how else a backlog gets to count. Each time the port is closed for some milliseconds.
    let load = units::load(machine, &["--rate=500"])?;
    for _ in 0..4 {
        machine.systemctl(&["restart", "app.socket"])?.ok()?;
        units::await_main(machine)?;
    }
    let report = load.stop()?;
    println!(
        "four times by `systemctl restart app.socket`: {}",
        report.total.outcomes
    );
    assert!(report.lost() > 0, "{report}");
    Ok(())
}

/// What counts for a new process counts at its next restart, and is not
/// forgotten until then. A new socket is opened by a restart too.
pub(crate) fn what_needs_a_restart_waits_for_it(machine: &Machine) -> Done {
    machine.write_file(CONFIG, BASE, 0o644)?;
    run(machine, &["install"])?.ok()?;
    let pid = machine.show("app.service", "MainPID")?;
    let load = units::load(machine, &["--rate=500"])?;

    let config = format!("{BASE}{}", socket("app-second", "127.0.0.1:8081"));
    let config = format!("{config}\n[service.app.environment]\nCOLOUR = \"blue\"\n");
    let told = change(machine, &config, &["install"])?;
    assert_eq!(
        told,
        "create `app-second.socket`: counts from the next restart of `app.service`\n\
         update `app.service`\n    \
         Requires=app.socket becomes app.socket app-second.socket: costs nothing\n    \
         After=app.socket becomes app.socket app-second.socket: costs nothing\n    \
         Sockets=app.socket app-second.socket is new: counts from the next restart of `app.service`\n    \
         Environment=COLOUR=blue is new: counts from the next restart of `app.service`\n    \
         Also=app.socket becomes app.socket app-second.socket: costs nothing\n"
    );
    assert_eq!(machine.show("app.service", "MainPID")?, pid);
    assert!(Client::tcp(machine, "127.0.0.1:8081").is_err());
    // Nothing is left to be written, and the restart is still due.
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(8));
    let due = run(machine, &["install"])?.ok()?;
    assert!(
        due.stderr.contains("`zdt-units restart app`"),
        "{}",
        due.stderr
    );

    run(machine, &["install", "--restart"])?.ok()?;
    let new = machine.show("app.service", "MainPID")?;
    assert_ne!(new, pid);
    let environment = machine
        .run(&["cat", &format!("/proc/{new}/environ")])?
        .ok()?;
    assert!(environment.stdout.contains("COLOUR=blue"));
    let answer = Client::tcp(machine, "127.0.0.1:8081")?.get("/")?;
    assert_eq!(answer.text(), format!("pid {new}\n"));
    lossless("a socket and a variable more, with one restart", load)?;
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));
    assert_eq!(run(machine, &["install", "--restart"])?.code, Some(0));
    assert_eq!(machine.show("app.service", "MainPID")?, new);
    Ok(())
}

/// A changed address is refused, and the way that the refusal tells loses
/// nothing. With `--allow-gap` the gap is measured, and no shorter than a
/// client finds it.
pub(crate) fn an_address_moves_without_a_gap(machine: &Machine) -> Done {
    machine.write_file(CONFIG, BASE, 0o644)?;
    run(machine, &["install"])?.ok()?;
    let load = units::load(machine, &["--rate=500"])?;
    let before = everything(machine)?;

    let moved = BASE.replace(":8080", ":8081");
    machine.write_file(CONFIG, &moved, 0o644)?;
    let refused = run(machine, &["install"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    let way = "    [[service.app.socket]]\n    name = \"http\"\n    unit = \"app-http-2\"\n    \
               listen = \"127.0.0.1:8081\"\n";
    assert!(refused.stderr.contains(way), "{}", refused.stderr);
    assert_eq!(everything(machine)?, before);

    // As it says.
    let both = format!("{BASE}{}", socket("app-http-2", "127.0.0.1:8081"));
    machine.write_file(CONFIG, &both, 0o644)?;
    run(machine, &["install", "--restart"])?.ok()?;
    assert_eq!(
        Client::tcp(machine, "127.0.0.1:8081")?.get("/")?.status,
        200
    );
    lossless("the old address while the new one is added", load)?;

    let load = load_at(machine, "127.0.0.1:8081")?;
    let only = format!(
        "{}{}",
        BASE.split("\n[[").next().unwrap_or_default(),
        socket("app-http-2", "127.0.0.1:8081")
    );
    machine.write_file(CONFIG, &only, 0o644)?;
    let refused = run(machine, &["install"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert_eq!(Client::tcp(machine, units::ADDRESS)?.get("/")?.status, 200);
    run(machine, &["install", "--allow-gap", "--restart"])?.ok()?;
    assert!(Client::tcp(machine, units::ADDRESS).is_err());
    lossless("the new address while the old one is removed", load)?;

    let load = load_at(machine, "127.0.0.1:8081")?;
    let wider = only.replace(
        "\"127.0.0.1:8081\"",
        "[\"127.0.0.1:8081\", \"127.0.0.1:8083\"]",
    );
    machine.write_file(CONFIG, &wider, 0o644)?;
    assert_eq!(run(machine, &["install"])?.code, Some(4));
    // Between closing and opening, for longer than a client can miss.
    let slow = format!("{DIRECTORY}/app-http-2.socket.d/slow.conf");
    machine.write_file(&slow, "[Socket]\nExecStopPost=/bin/sleep 0.3\n", 0o644)?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    let forced = run(machine, &["install", "--allow-gap", "--json"])?.ok()?;
    let report = load.stop()?;
    covers(
        "one socket reopened with `--allow-gap`",
        &forced.stdout,
        &report,
    )?;
    assert_eq!(
        Client::tcp(machine, "127.0.0.1:8083")?.get("/")?.status,
        200
    );

    // An edit by hand closes the port, and putting it right does not open it.
    for (from, to) in [("8081", "8089"), ("8089", "8081")] {
        let file = format!("{DIRECTORY}/app-http-2.socket");
        let edit = format!("s/:{from}/:{to}/");
        machine.run(&["sed", "-i", &edit, &file])?.ok()?;
        machine.systemctl(&["daemon-reload"])?.ok()?;
    }
    machine.systemctl(&["stop", "app.service"])?.ok()?;
    let closed = run(machine, &["install", "--check"])?;
    assert_eq!(closed.code, Some(8), "{}", closed.stdout);
    assert!(closed.stdout.contains("are refused"), "{}", closed.stdout);
    run(machine, &["install", "--allow-gap"])?.ok()?;
    assert_eq!(
        Client::tcp(machine, "127.0.0.1:8081")?.get("/")?.status,
        200
    );
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));
    Ok(())
}

/// A listening socket, as the kernel has it.
#[derive(Debug)]
struct Listening {
    backlog: String,
    inode: String,
}

fn listening(machine: &Machine, address: &str) -> Result<Listening, Box<dyn Error>> {
    let table = machine.run(&["ss", "--no-header", "-ltne"])?.ok()?.stdout;
    let fields = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let line = table.lines().map(fields).find(|line| line[3] == address);
    let line = line.ok_or_else(|| format!("nobody listens on {address}:\n{table}"))?;
    let inode = line.iter().find_map(|field| field.strip_prefix("ino:"));
    Ok(Listening {
        backlog: line[2].clone(),
        inode: inode.unwrap_or_default().to_owned(),
    })
}

/// Where a connection is of which no byte has come: with `DeferAcceptSec=` the
/// kernel keeps it half open, without it the app has it.
fn silent_client(machine: &Machine, state: &str) -> Done {
    let _silent = Client::tcp(machine, units::ADDRESS)?;
    let seen = |machine: &Machine| {
        let port = ["sport", "=", ":8080"];
        let table = machine.run(&[&["ss", "-Htn", "state", state], &port[..]].concat());
        table.is_ok_and(|table| !table.stdout.is_empty())
    };
    machine.wait_until(Duration::from_secs(2), state, seen)?;
    Ok(())
}

/// Installs `config` and returns what was told of units that change.
fn change(machine: &Machine, config: &str, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    machine.write_file(CONFIG, config, 0o644)?;
    let dry = run(machine, &[arguments, &["--dry-run"]].concat())?
        .ok()?
        .stdout;
    run(machine, arguments)?.ok()?;
    let lines = dry.lines().take_while(|line| !line.is_empty());
    let told = lines.filter(|line| !line.starts_with("unchanged"));
    Ok(told.map(|line| format!("{line}\n")).collect())
}

fn load_at(machine: &Machine, address: &str) -> Result<Load, Box<dyn Error>> {
    let flags = [address, "--rate=500"];
    Ok(Load::start(machine, env!("CARGO_BIN_EXE_units"), &flags)?)
}

fn lossless(what: &str, load: Load) -> Done {
    let report = load.stop()?;
    println!("{what}: {}", crate::restart::summary(&report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
}

/// The gap that was told is not shorter than what a client saw of it.
fn covers(what: &str, events: &str, report: &Report) -> Done {
    let event = events
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|event| event["kind"] == "gap")
        .ok_or_else(|| format!("no gap was told:\n{events}"))?;
    let time = |key: &str| event[key].as_f64().ok_or(format!("no {key}: {event}"));
    let told = time("until_ms")? - time("from_ms")?;
    let total = &report.total;
    println!(
        "{what}: told {told:.1} ms ({} of {} connections refused); the probe: {}, at most {} ms late",
        event["refused"],
        event["connections"],
        total.outcomes,
        total.lag_max_us / 1000
    );
    let refused = total.outcomes.refused;
    assert!(refused > 0, "{report}");
    // Requests leave at a fixed rate; those that are late may leave together.
    let lag = f64::from(u32::try_from(total.lag_max_us)?) / 1000.0;
    let seen = f64::from(u32::try_from(refused)? - 1) * 1000.0 / total.rate;
    assert!(
        seen <= told + lag,
        "seen {seen} ms, told {told} ms, lag {lag} ms"
    );
    Ok(())
}

/// Files with their times and contents, runs, and how often systemd read its units.
fn everything(machine: &Machine) -> Result<String, Box<dyn Error>> {
    let script = "cd /etc/systemd/system; stat -c '%n %i %Y' app.* *.wants/app.*; cat app.*; \
                  systemctl show -P InvocationID -P MainPID app.service app.socket; \
                  journalctl -b _PID=1 | grep -c 'Reloading'";
    Ok(machine.run(&["sh", "-c", script])?.ok()?.stdout)
}

fn listing(machine: &Machine) -> Result<String, Box<dyn Error>> {
    let script = "cd /etc/systemd/system; find . -name '*app*' -o -name '*zdt*' | sort";
    Ok(machine.run(&["sh", "-c", script])?.ok()?.stdout)
}

fn run(machine: &Machine, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    let command = [&[UNITS], arguments].concat();
    Ok(machine.run(&command)?)
}
