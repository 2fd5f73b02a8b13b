//! The machine itself.

use std::error::Error;

use zdt_e2e::machine::Machine;

pub(crate) fn machine_boots(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let version = machine.systemctl(&["--version"])?.ok()?;
    let first = version.stdout.lines().next().unwrap_or_default();
    println!("{first}, booted in {:?}", machine.boot_time());
    assert!(first.starts_with("systemd "), "{first}");

    let state = machine.systemctl(&["is-system-running"])?;
    assert_eq!(state.stdout, "running\n");

    let init = machine.run(&["cat", "/proc/1/comm"])?.ok()?;
    assert_eq!(init.stdout, "systemd\n");
    let hostname = machine.run(&["hostname"])?.ok()?;
    assert_eq!(hostname.stdout.trim_end(), machine.name());
    Ok(())
}
