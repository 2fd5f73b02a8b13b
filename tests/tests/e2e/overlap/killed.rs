//! Something is killed half-way through a restart.

use zdt_e2e::startup::Gate;

use super::*;

/// The standby, while the process that it stands in for is replaced. What it
/// held is lost, as in any crash; nobody else is, and nobody is refused.
fn the_standby_is_killed_half_way(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, STANDBY)?;
    release(machine, GOOD)?;
    let before = pids(machine, &["app.service"])?;
    let load = load(machine, &["--timeout=60s"])?;
    let gate = half_way(machine)?;
    machine
        .systemctl(&["kill", "--signal=KILL", "app-standby.service"])?
        .ok()?;
    gate.open()?;
    await_state(machine, "launcher.service", "inactive")?;
    assert_eq!(state(machine, "app.service")?, "active");
    assert_ne!(pids(machine, &["app.service"])?, before);
    restart(machine)?.ok()?;
    assert_eq!(state(machine, "app-standby.service")?, "inactive");
    let report = load.stop()?;
    tell(
        "the standby was killed half-way, then another restart",
        &report,
    );
    assert!(report.valid, "{report}");
    assert_eq!(report.total.outcomes.refused, 0, "{report}");
    assert_eq!(report.total.outcomes.timeout, 0, "{report}");
    // At most one request on each connection that it held.
    let held = report.total.outcomes.reset
        + report.total.outcomes.reset_reused
        + report.total.outcomes.eof
        + report.total.outcomes.eof_reused;
    assert_eq!(report.lost(), held, "{report}");
    Ok(())
}

/// The launcher: what it had begun goes on in systemd, the standby serves
/// until the next restart finds it.
fn the_launcher_is_killed_half_way(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, STANDBY)?;
    release(machine, GOOD)?;
    let load = load(machine, &[])?;
    let gate = half_way(machine)?;
    kill(machine)?;
    gate.open()?;
    await_state(machine, "app.service", "active")?;
    let left_over = pids(machine, &["app-standby.service"])?;
    assert_ne!(left_over, ["0"]);
    let next = restart(machine)?.ok()?;
    assert!(next.stderr.contains("left behind"), "{}", next.stderr);
    assert_eq!(state(machine, "app-standby.service")?, "inactive");
    lossless(
        "standby: the launcher was killed half-way, then another restart",
        &load.stop()?,
    );
    Ok(())
}

/// The same with instances, and one of them more.
fn the_launcher_is_killed_between_instances(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, &format!("{ROLLING}\nrolling = {{ surge = 1 }}"))?;
    release(machine, GOOD)?;
    let before = pids(machine, &INSTANCES)?;
    let load = load(machine, &[])?;
    let gate = Gate::shut(machine, "app@2.service")?;
    launch(machine)?;
    await_state(machine, "app@2.service", "activating")?;
    kill(machine)?;
    gate.open()?;
    await_state(machine, "app@2.service", "active")?;
    assert_eq!(state(machine, "app@5.service")?, "active");
    let halfway = pids(machine, &INSTANCES)?;
    assert_ne!(halfway[..2], before[..2]);
    assert_eq!(halfway[2..], before[2..]);
    restart(machine)?.ok()?;
    assert_eq!(state(machine, "app@5.service")?, "inactive");
    let after = pids(machine, &INSTANCES)?;
    assert!(halfway.iter().all(|pid| !after.contains(pid)), "{after:?}");
    lossless(
        "rolling: the launcher was killed half-way, then another restart",
        &load.stop()?,
    );
    Ok(())
}

/// Ctrl-C while the standby starts: it is stopped, and that was all.
fn an_interrupt_takes_the_standby_back(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, STANDBY)?;
    let before = pids(machine, &["app.service"])?;
    let load = load(machine, &[])?;
    let gate = Gate::shut(machine, "app-standby.service")?;
    launch(machine)?;
    await_state(machine, "app-standby.service", "activating")?;
    machine
        .systemctl(&["kill", "--signal=INT", "launcher.service"])?
        .ok()?;
    await_state(machine, "launcher.service", "failed")?;
    assert_eq!(machine.show("launcher.service", "ExecMainStatus")?, "6");
    assert_eq!(state(machine, "app-standby.service")?, "inactive");
    assert_eq!(pids(machine, &["app.service"])?, before);
    gate.open()?;
    lossless("interrupted while the standby started", &load.stop()?);
    Ok(())
}

/// `zdt-units restart`, as a unit of its own so that it can be killed by name.
fn launch(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let run = [
        "systemd-run",
        "--unit=launcher",
        "--",
        UNITS,
        "restart",
        "app",
    ];
    machine.run(&run)?.ok()?;
    Ok(())
}

fn kill(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine
        .systemctl(&["kill", "--signal=KILL", "launcher.service"])?
        .ok()?;
    await_state(machine, "launcher.service", "failed")
}

/// A restart in which the standby serves, and the other process is being started until the gate is opened.
fn half_way(machine: &Machine) -> Result<Gate<'_>, Box<dyn Error>> {
    let gate = Gate::shut(machine, "app.service")?;
    launch(machine)?;
    await_state(machine, "app-standby.service", "active")?;
    await_state(machine, "app.service", "activating")?;
    Ok(gate)
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    (
        "overlap::an_interrupt_takes_the_standby_back",
        an_interrupt_takes_the_standby_back,
    ),
    (
        "overlap::the_standby_is_killed_half_way",
        the_standby_is_killed_half_way,
    ),
    (
        "overlap::the_launcher_is_killed_half_way",
        the_launcher_is_killed_half_way,
    ),
    (
        "overlap::the_launcher_is_killed_between_instances",
        the_launcher_is_killed_between_instances,
    ),
];
