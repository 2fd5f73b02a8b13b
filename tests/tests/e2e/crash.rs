//! A release that cannot start, and one without its socket.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;

use crate::units;

/// The control: with the defaults of systemd a crash loop closes the port.
pub(crate) fn default_settings_close_the_port(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::stock(machine)?;
    let load = units::load(machine, &["--rate=500", "--for=3s"])?;
    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    machine.systemctl(&["restart", "app.service"])?;
    let limit = Duration::from_secs(10);
    machine.wait_until(limit, "the socket unit is failed", |machine| {
        let state = machine.show("app.socket", "ActiveState");
        state.is_ok_and(|state| state == "failed")
    })?;
    let control = load.finish()?;
    println!("default units, crash loop: {}", control.total.outcomes);
    assert!(control.valid, "{control}");
    assert!(control.total.outcomes.refused > 0, "{control}");
    assert_eq!(
        machine.show("app.socket", "Result")?,
        "service-start-limit-hit"
    );
    Ok(())
}

/// With generated units the port outlives ten seconds of crash loop, and the
/// next good release answers everybody who queued.
pub(crate) fn a_crash_loop_never_closes_the_port(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, units::ZDT)?;
    let load = units::load(machine, &["--rate=200", "--timeout=60s"])?;
    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    let restarted = machine.systemctl(&["restart", "app.service"])?;
    assert!(!restarted.success(), "a broken release was taken for good");
    let looping = Instant::now();
    while looping.elapsed() < Duration::from_secs(10) {
        assert_eq!(machine.show("app.socket", "ActiveState")?, "active");
        // A client of its own: the port takes connections all the time.
        Client::tcp(machine, units::ADDRESS)?;
    }
    let starts = machine.show("app.service", "NRestarts")?;
    machine.write_file("/etc/app.env", "", 0o644)?;
    let limit = Duration::from_secs(10);
    machine.wait_until(limit, "the good release serves", |machine| {
        let state = machine.show("app.service", "ActiveState");
        state.is_ok_and(|state| state == "active")
    })?;
    let report = load.stop()?;
    println!(
        "generated units, 10 s of crash loop ({starts} starts): {}",
        report.total.outcomes
    );
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
}

/// Without its socket an app must not bind by itself: the port would close at
/// the next restart, and nobody would know.
pub(crate) fn an_app_without_its_socket_does_not_bind(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let service = "[Service]\nType=notify\nExecStart=/opt/zdt/bin/app\n";
    machine.install(&[("app.service", service)])?;
    assert!(!machine.systemctl(&["start", "app.service"])?.success());
    let journal = machine.journal("app.service")?;
    let said = journal
        .lines()
        .find_map(|line| line.split_once("app: "))
        .map(|(_, said)| said);
    assert_eq!(
        said,
        Some(
            "systemd started `app.service` without its socket, so `127.0.0.1:8080` is not bound \
             here (it would close at every restart); check `systemctl status app.socket`, then \
             `systemctl start app.socket` and `systemctl restart app.service`; set \
             `ZDT_ALLOW_BIND=1` in the unit to bind all the same"
        ),
        "{journal}"
    );
    let refused = Client::tcp(machine, units::ADDRESS).map(drop);
    let refused = refused.map_err(|error| error.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    Ok(())
}
