//! `strategy = "reload"`: SIGHUP, and the process starts its successor by itself.

use super::*;

const RELOAD: &str = "strategy = \"reload\"\nhandover = true\nstart_timeout = \"5s\"";

/// What units are written for: `ExecReload=`, and `Type=notify-reload` where the machine knows it.
fn targets(machine: &Machine) -> Result<Vec<&'static str>, Box<dyn Error>> {
    let version = machine.systemctl(&["--version"])?.ok()?.stdout;
    let release = version.split_ascii_whitespace().nth(1).unwrap_or_default();
    let knows = release.parse::<u32>()? >= 253;
    Ok([Some("252"), knows.then_some("253")]
        .into_iter()
        .flatten()
        .collect())
}

fn install(machine: &Machine, target: &str) -> Result<(), Box<dyn Error>> {
    super::install(machine, RELOAD)?;
    let install = [UNITS, "install", "--restart", "--target-systemd", target];
    machine.run(&install)?.ok()?;
    println!("{}", machine.show("app.service", "Type")?);
    Ok(())
}

/// Connections that are open all the time, each with a request each 100 ms.
fn hold(machine: &Machine) -> Result<Load, Box<dyn Error>> {
    let flags = [units::ADDRESS, "--hold=200", "--every=100ms"];
    Ok(Load::start(machine, env!("CARGO_BIN_EXE_units"), &flags)?)
}

fn all_kept(what: &str, report: &Report) {
    let held = report.total.held.clone().unwrap_or_default();
    println!("{what}: {held}; {}", report.total.outcomes);
    assert!(report.valid, "{report}");
    assert_eq!(report.lost() + report.lost_connections(), 0, "{report}");
    assert_eq!(held.connections, 200);
}

fn run(machine: &Machine) -> Result<[String; 2], Box<dyn Error>> {
    let of = |property| machine.show("app.service", property);
    Ok([of("MainPID")?, of("InvocationID")?])
}

/// Another process of the same run, and nobody waits for its start. What a
/// reload would not apply takes a restart, and is told.
fn a_reload_is_proved_or_is_a_restart(machine: &Machine) -> Result<(), Box<dyn Error>> {
    for target in targets(machine)? {
        reload(machine, target)?;
    }
    Ok(())
}

fn reload(machine: &Machine, target: &str) -> Result<(), Box<dyn Error>> {
    release(machine, GOOD)?;
    install(machine, target)?;
    restart(machine)?.ok()?;
    let load = load(machine, &[])?;
    let held = hold(machine)?;
    let mut before = run(machine)?;
    for _ in 0..3 {
        restart(machine)?.ok()?;
        let [pid, invocation] = run(machine)?;
        assert_ne!(pid, before[0]);
        assert_eq!(invocation, before[1]);
        before = [pid, invocation];
    }
    let report = load.stop()?;
    lossless("3 reloads", &report);
    let report_of_held = held.stop()?;
    all_kept("3 reloads", &report_of_held);
    assert!(
        longest(&report_of_held) < Duration::from_millis(800),
        "{report_of_held}"
    );
    assert!(longest(&report) < Duration::from_millis(800), "{report}");

    let load = super::load(machine, &[])?;
    let drop_in = "/etc/systemd/system/app.service.d/nice.conf";
    for change in ["/etc/app.env", drop_in] {
        match change == drop_in {
            true => machine.write_file(drop_in, "[Service]\nNice=1\n", 0o644)?,
            false => release(machine, "WARMUP_MS=300\n")?,
        }
        machine.systemctl(&["daemon-reload"])?.ok()?;
        let restarted = restart(machine)?.ok()?;
        let mut notes = restarted.stderr.lines();
        let said = notes.find(|line| line.contains("a reload would not apply it"));
        println!("{said:?}");
        let said = said.ok_or(restarted.stderr.as_str())?;
        assert!(said.contains(change), "{said}");
        let [pid, invocation] = run(machine)?;
        assert_ne!([&pid, &invocation], [&before[0], &before[1]]);
        assert_ne!(invocation, before[1]);
        before = [pid, invocation];
        // Then it is applied, and a reload is enough again.
        restart(machine)?.ok()?;
        assert_eq!(run(machine)?[1], before[1]);
    }
    lossless(
        "2 restarts that a reload would not have done, and 2 reloads",
        &load.stop()?,
    );
    Ok(())
}

/// The successor does not start: the process goes on serving.
fn a_broken_successor_changes_nothing(machine: &Machine) -> Result<(), Box<dyn Error>> {
    for target in targets(machine)? {
        broken(machine, target)?;
    }
    Ok(())
}

fn broken(machine: &Machine, target: &str) -> Result<(), Box<dyn Error>> {
    install(machine, target)?;
    let before = run(machine)?;
    let load = load(machine, &[])?;
    let held = hold(machine)?;
    machine.write_file("/etc/app.broken", "", 0o644)?;
    let broken = restart(machine)?;
    println!("{}", broken.stderr);
    assert_eq!(broken.code, Some(6), "{}", broken.stderr);
    assert_eq!(run(machine)?, before);
    machine.run(&["rm", "/etc/app.broken"])?.ok()?;
    restart(machine)?.ok()?;
    assert_ne!(run(machine)?[0], before[0]);
    lossless("a broken reload, then a good one", &load.stop()?);
    all_kept("a broken reload, then a good one", &held.stop()?);
    Ok(())
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    (
        "overlap::a_reload_is_proved_or_is_a_restart",
        a_reload_is_proved_or_is_a_restart,
    ),
    (
        "overlap::a_broken_successor_changes_nothing",
        a_broken_successor_changes_nothing,
    ),
];
