//! A release that does not start: the old one goes on serving.

use super::*;

/// What is wrong with the program beside it, and in which unit.
const FAULT: &str = "/opt/zdt/bin/fault";

/// It dies in the standby, and the process that serves never knew.
fn a_broken_release_dies_in_the_standby(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, STANDBY)?;
    let before = pids(machine, &["app.service"])?;
    let load = load(machine, &[])?;
    release(machine, BROKEN)?;
    let broken = restart(machine)?;
    println!("{}", broken.stderr);
    assert_eq!(broken.code, Some(6), "{}", broken.stderr);
    assert_eq!(pids(machine, &["app.service"])?, before);
    assert_eq!(state(machine, "app-standby.service")?, "inactive");
    assert_eq!(state(machine, "app.socket")?, "active");
    release(machine, GOOD)?;
    restart(machine)?.ok()?;
    assert_ne!(pids(machine, &["app.service"])?, before);
    lossless(
        "a broken release in the standby, then a good one",
        &load.stop()?,
    );
    Ok(())
}

/// The standby was good and the process itself is not: the standby goes on
/// serving, a person is called, and the next restart leaves it alone until the
/// process serves.
fn a_standby_goes_on_serving(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, STANDBY)?;
    release(machine, GOOD)?;
    let load = load(machine, &["--timeout=60s"])?;
    machine.write_file(FAULT, "exit app.service\n", 0o644)?;
    let broken = restart(machine)?;
    let said = &broken.stderr;
    println!("{said}");
    assert_eq!(broken.code, Some(7), "{said}");
    assert!(said.contains("`app-standby.service` serves"), "{said}");
    assert_eq!(state(machine, "app-standby.service")?, "active");
    // Still broken, and still served.
    assert_eq!(restart(machine)?.code, Some(7));
    let standby = pids(machine, &["app-standby.service"])?;
    machine.run(&["rm", FAULT])?.ok()?;
    let mended = restart(machine)?.ok()?;
    assert!(mended.stderr.contains("left alone"), "{}", mended.stderr);
    assert_ne!(standby, ["0"]);
    assert_eq!(state(machine, "app-standby.service")?, "inactive");
    let report = load.stop()?;
    lossless("a standby that stood in for a broken process", &report);
    assert!(longest(&report) < Duration::from_millis(800), "{report}");
    Ok(())
}

/// The canary is stopped, three of four go on, and the next restart begins with it.
fn a_broken_canary_is_stopped(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(
        machine,
        &format!("{ROLLING}\nbake = \"1s\"\nrolling = {{ canary = true }}"),
    )?;
    let before = pids(machine, &INSTANCES)?;
    let load = load(machine, &[])?;
    for _ in 0..2 {
        release(machine, BROKEN)?;
        let broken = restart(machine)?;
        assert_eq!(broken.code, Some(6), "{}", broken.stderr);
        assert!(broken.stderr.contains("3 of 4 serve"), "{}", broken.stderr);
        assert_eq!(state(machine, "app@1.service")?, "inactive");
        assert_eq!(pids(machine, &INSTANCES)?[1..], before[1..]);
    }
    release(machine, GOOD)?;
    restart(machine)?.ok()?;
    let after = pids(machine, &INSTANCES)?;
    assert!(before.iter().all(|pid| !after.contains(pid)), "{after:?}");
    lossless("a broken canary, twice, then a good release", &load.stop()?);
    Ok(())
}

/// A canary that dies while it is watched.
fn a_canary_that_does_not_stay_up_is_stopped(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(
        machine,
        &format!("{ROLLING}\nbake = \"20s\"\nrolling = {{ canary = true }}"),
    )?;
    let before = pids(machine, &INSTANCES)?;
    let load = load(machine, &[])?;
    let script = format!("{UNITS} restart app 2>/run/said");
    let mut launcher = machine.command(&["sh", "-c", &script]).spawn()?;
    let said = |machine: &Machine| machine.run(&["cat", "/run/said"]);
    machine.wait_until(
        Duration::from_secs(30),
        "the canary is watched",
        |machine| said(machine).is_ok_and(|said| said.stdout.contains("stay up for 20s")),
    )?;
    machine
        .systemctl(&["kill", "--signal=TERM", "app@1.service"])?
        .ok()?;
    let code = launcher.wait()?.code();
    let said = said(machine)?.stdout;
    println!("{said}");
    assert_eq!(code, Some(6), "{said}");
    assert!(
        said.contains("did not stay up") || said.contains("has no main process"),
        "{said}"
    );
    assert_eq!(pids(machine, &INSTANCES)?[1..], before[1..]);
    lossless("a canary that ended while it was watched", &load.stop()?);
    Ok(())
}

/// It dies in the instance that was to be one more: none of the four is touched.
fn a_broken_surge_touches_nobody(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, &format!("{ROLLING}\nrolling = {{ surge = 1 }}"))?;
    let before = pids(machine, &INSTANCES)?;
    let load = load(machine, &[])?;
    release(machine, BROKEN)?;
    let broken = restart(machine)?;
    assert_eq!(broken.code, Some(6), "{}", broken.stderr);
    assert_eq!(pids(machine, &INSTANCES)?, before);
    assert_eq!(state(machine, "app@5.service")?, "inactive");
    lossless("a broken surge", &load.stop()?);
    Ok(())
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    (
        "overlap::a_broken_release_dies_in_the_standby",
        a_broken_release_dies_in_the_standby,
    ),
    (
        "overlap::a_standby_goes_on_serving",
        a_standby_goes_on_serving,
    ),
    (
        "overlap::a_broken_canary_is_stopped",
        a_broken_canary_is_stopped,
    ),
    (
        "overlap::a_canary_that_does_not_stay_up_is_stopped",
        a_canary_that_does_not_stay_up_is_stopped,
    ),
    (
        "overlap::a_broken_surge_touches_nobody",
        a_broken_surge_touches_nobody,
    ),
];
