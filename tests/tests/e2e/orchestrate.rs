//! `zdt-units restart` on a real systemd.

use std::error::Error;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Output};

use crate::units;

const CONFIG: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
health = { listen = "127.0.0.1:19081", successes = 3, interval = "20ms" }
"#;

const UNITS: &str = "/opt/zdt/bin/units";

/// Over the system bus and over systemd's own socket: each restart is proved
/// by the new process, and loses nothing.
pub(crate) fn restarts_are_planned_proved_and_lossless(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    install(machine)?;
    machine.write_file("/etc/app.env", "WARMUP_MS=100\n", 0o644)?;

    let before = machine.show("app.service", "MainPID")?;
    let dry = restart(machine, &["--dry-run"])?.ok()?;
    assert_eq!(
        dry.stdout,
        "\
restart `app` (strategy `queue`)
1. see that `app.service` is well before anything is touched: `http://127.0.0.1:19081/readyz` answers 200 from the process of `app.service` (limit 30s)
2. keep `/etc/systemd/system/app.service`, which works, in `/var/lib/zdt/app/units` (limit 60s)
3. restart `app.service` and wait until it is ready (limit 111s)
4. confirm that `app.service` runs a new process and that `app.socket` and `app-health.socket` stayed open (limit 10s)
5. wait until `http://127.0.0.1:19081/readyz` answers 200 from the process of `app.service` 3 times in a row (limit 30s)
on failure of 1 to 2: it ends there, nothing was touched
on another failure: there is nothing to roll back to; the sockets stay open and connections wait
"
    );
    assert_eq!(machine.show("app.service", "MainPID")?, before);

    let mut pids = vec![before];
    let load = units::load(machine, &["--rate=500", "--think=10ms"])?;
    for round in 0..10 {
        if round == 5 {
            // Nothing is left but systemd's private socket.
            machine.systemctl(&["stop", "dbus.socket"])?.ok()?;
            machine.systemctl(&["stop", "dbus.service"])?.ok()?;
        }
        restart(machine, &[])?.ok()?;
        pids.push(machine.show("app.service", "MainPID")?);
    }
    let report = load.stop()?;
    println!(
        "zdt-units restart, 10 times: {}",
        crate::restart::summary(&report)
    );
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 11);
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
}

/// A release that cannot start: the exit code says to look, the port is open,
/// and whoever came is served after the mending.
pub(crate) fn a_broken_release_is_reported_and_nobody_is_refused(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    install(machine)?;
    let load = units::load(machine, &["--rate=200", "--timeout=60s"])?;
    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    let broken = restart(machine, &[])?;
    assert_eq!(broken.code, Some(7), "{}", broken.stderr);
    machine.write_file("/etc/app.env", "", 0o644)?;
    restart(machine, &[])?.ok()?;
    let report = load.stop()?;
    println!("a broken release and a good one: {}", report.total.outcomes);
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");

    // A closed port is refused before anything is touched.
    machine.systemctl(&["stop", "app.socket"])?.ok()?;
    let refused = restart(machine, &[])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    Ok(())
}

/// A changed address and a `daemon-reload` close the port of a socket unit that
/// goes on counting as active. Nothing is touched then.
pub(crate) fn a_port_that_closed_behind_an_active_unit_is_noticed(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    install(machine)?;
    let moved = CONFIG.replace("127.0.0.1:8080", "127.0.0.1:8081");
    machine.write_file("/etc/zdt/zdt.toml", &moved, 0o644)?;
    for (name, text) in units::generate(&moved)? {
        machine.install(&[(&name, &text)])?;
    }
    assert_eq!(machine.show("app.socket", "ActiveState")?, "active");
    let before = machine.show("app.service", "MainPID")?;
    let refused = restart(machine, &[])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(
        refused.stderr.contains(
            "`app.socket` is active, but connections to `http://127.0.0.1:8081` are refused"
        ),
        "{}",
        refused.stderr
    );
    assert_eq!(machine.show("app.service", "MainPID")?, before);
    // What the message says mends it.
    machine.systemctl(&["restart", "app.socket"])?.ok()?;
    restart(machine, &[])?.ok()?;
    Ok(())
}

/// A stop timeout below the drain has the old process killed with a request in
/// it. The new one serves, and the exit code says that something was lost.
pub(crate) fn a_killed_process_is_told_by_the_exit_code(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    install(machine)?;
    let directory = "/etc/systemd/system/app.service.d";
    machine.run(&["mkdir", "-p", directory])?.ok()?;
    let impatient = "[Service]\nTimeoutStopSec=500ms\n";
    machine.write_file(&format!("{directory}/impatient.conf"), impatient, 0o644)?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    let mut client = Client::tcp(machine, units::ADDRESS)?;
    client.send_get("/slow?ms=6000")?;
    let killed = restart(machine, &[])?;
    assert_eq!(killed.code, Some(9), "{}", killed.stderr);
    assert!(client.answer().is_err());
    assert_eq!(restart(machine, &[])?.code, Some(0));
    Ok(())
}

fn install(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.run(&["mkdir", "-p", "/etc/zdt"])?.ok()?;
    machine.write_file("/etc/zdt/zdt.toml", CONFIG, 0o644)?;
    units::zdt(machine, CONFIG)
}

fn restart(machine: &Machine, flags: &[&str]) -> Result<Output, Box<dyn Error>> {
    let command = [&[UNITS, "restart", "app"], flags].concat();
    Ok(machine.run(&command)?)
}
