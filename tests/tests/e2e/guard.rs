//! One operation at a time, none that keeps failing, and none forgotten half-way.

pub(crate) mod call;
mod hold;
mod recover;

use std::error::Error;
use std::time::Duration;

use zdt_e2e::load::Load;
use zdt_e2e::machine::{Machine, Output};
use zdt_e2e::startup::Gate;
use zdt_units::probe::Report;

use self::call::Call;
use crate::units;

const UNITS: &str = "/opt/zdt/bin/units";
const LIMIT: Duration = Duration::from_secs(30);

const GOOD: &str = "";
const BROKEN: &str = "CRASH=1\n";

/// While one restart is at work another one is refused and told of it, or waits for its turn.
fn two_restarts_take_turns(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "", "")?;
    let load = load(machine)?;
    let before = pid(machine)?;
    let gate = Gate::shut(machine, "app.service")?;
    launch(machine, &["restart", "app"])?;
    await_state(machine, "app.service", "activating")?;
    let refused = zdt(machine, &["restart", "app"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("`zdt-units restart app` (process "),
        "{}",
        refused.stderr
    );
    let mut waits = Call::start(machine, &["restart", "app", "--wait=20s"])?;
    waits.until(|line| line.contains("waiting for "))?;
    gate.open()?;
    waits.end()?.ok()?;
    await_state(machine, "launcher.service", "inactive")?;
    assert_ne!(pid(machine)?, before);
    assert_eq!(restarts_of(machine)?, 2);

    // Nobody asks the dead to let go.
    let gate = Gate::shut(machine, "app.service")?;
    launch(machine, &["restart", "app"])?;
    await_state(machine, "app.service", "activating")?;
    kill(machine)?;
    let mut after = Call::start(machine, &["restart", "app"])?;
    after.until(|line| line.contains("died while it was at work on `app`"))?;
    gate.open()?;
    after.end()?.ok()?;
    lossless(
        "restarts in turn, and one after a killed one",
        &load.stop()?,
    );
    Ok(())
}

/// Two releases that do not start, and the third try is refused until the pause is over; then
/// one that does starts, and all is forgotten.
fn failing_restarts_open_the_circuit(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "[breaker]\nfailures = 2\npause = \"4s\"\n", "")?;
    release(machine, GOOD)?;
    let load = load(machine)?;
    release(machine, BROKEN)?;
    for _ in 0..2 {
        let failed = zdt(machine, &["restart", "app"])?;
        assert_eq!(failed.code, Some(7), "{}", failed.stderr);
    }
    let refused = zdt(machine, &["restart", "app"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("its last 2 operations failed, so `app` is left alone until "),
        "{}",
        refused.stderr
    );
    let forced = zdt(machine, &["restart", "app", "--force"])?;
    assert_eq!(forced.code, Some(7), "{}", forced.stderr);

    release(machine, GOOD)?;
    let mut last = None;
    machine.wait_until(LIMIT, "one more try is let through", |machine| {
        let tried = zdt(machine, &["restart", "app"]);
        last = tried.ok().filter(|tried| tried.code != Some(4));
        last.is_some()
    })?;
    let tried = last.ok_or("it was let through")?.ok()?;
    assert!(tried.stderr.contains("one more try"), "{}", tried.stderr);
    let kept = machine.host_path("/var/lib/zdt/app/breaker.json");
    assert!(!kept.exists());
    lossless("three broken releases and a good one", &load.stop()?);
    Ok(())
}

/// Installs and starts `app`.
fn install(machine: &Machine, tables: &str, keys: &str) -> Result<(), Box<dyn Error>> {
    let zdt_toml = format!(
        "{tables}\n\
         [service.app]\n\
         exec = [\"/opt/zdt/bin/app\"]\n\
         listen = \"{}\"\n\
         environment_files = [\"-/etc/app.env\"]\n\
         health = {{ listen = \"127.0.0.1:19081\", successes = 3, interval = \"20ms\" }}\n\
         {keys}\n",
        units::ADDRESS
    );
    machine.write_file("/etc/zdt/zdt.toml", zdt_toml, 0o644)?;
    zdt(machine, &["install"])?.ok()?;
    Ok(())
}

fn release(machine: &Machine, environment: &str) -> Result<(), Box<dyn Error>> {
    Ok(machine.write_file("/etc/app.env", environment, 0o644)?)
}

fn zdt(machine: &Machine, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    Ok(machine.run(&[&[UNITS], arguments].concat())?)
}

/// `zdt-units` as a unit of its own, so that it can be killed by name, and nothing else of it.
pub(crate) fn launch(machine: &Machine, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let run = [
        "systemd-run",
        "--unit=launcher",
        "--collect",
        "--property=KillMode=process",
        "--",
        UNITS,
    ];
    machine.run(&[&run, arguments].concat())?.ok()?;
    Ok(())
}

pub(crate) fn kill(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine
        .systemctl(&[
            "kill",
            "--kill-whom=main",
            "--signal=KILL",
            "launcher.service",
        ])?
        .ok()?;
    // A unit that was collected is inactive too.
    await_state(machine, "launcher.service", "inactive")
}

fn pid(machine: &Machine) -> Result<String, Box<dyn Error>> {
    Ok(machine.show("app.service", "MainPID")?)
}

/// How often the process said that it serves, beyond the first time.
fn restarts_of(machine: &Machine) -> Result<usize, Box<dyn Error>> {
    let journal = machine.journal("app.service")?;
    let starts = journal.matches("Started app.service").count();
    Ok(starts.saturating_sub(1))
}

fn await_state(machine: &Machine, unit: &str, wanted: &str) -> Result<(), Box<dyn Error>> {
    let what = format!("`{unit}` is {wanted}");
    let is = |machine: &Machine| {
        let state = machine.show(unit, "ActiveState");
        state.is_ok_and(|state| state == wanted)
    };
    Ok(machine.wait_until(LIMIT, &what, is)?)
}

fn load(machine: &Machine) -> Result<Load, Box<dyn Error>> {
    Ok(units::load(
        machine,
        &["--rate=200", "--think=10ms", "--timeout=60s"],
    )?)
}

fn longest(report: &Report) -> Duration {
    Duration::from_micros(report.total.latency.max_us)
}

fn lossless(what: &str, report: &Report) {
    println!("{what}: {}", crate::restart::summary(report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert!(report.total.outcomes.ok > 0, "{report}");
}

const TESTS: &[(&str, crate::Test)] = &[
    ("guard::two_restarts_take_turns", two_restarts_take_turns),
    (
        "guard::failing_restarts_open_the_circuit",
        failing_restarts_open_the_circuit,
    ),
];

pub(crate) fn tests() -> impl Iterator<Item = &'static (&'static str, crate::Test)> {
    [TESTS, recover::TESTS, hold::TESTS].into_iter().flatten()
}
