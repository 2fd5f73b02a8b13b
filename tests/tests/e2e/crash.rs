//! A release that cannot start.

use std::error::Error;
use std::time::Duration;

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
