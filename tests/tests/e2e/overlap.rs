//! `zdt-units restart` by strategies with more than one process.

mod broken;
mod figures;
mod killed;
mod port;
mod reload;

use std::error::Error;
use std::time::Duration;

use zdt_e2e::load::Load;
use zdt_e2e::machine::{Machine, Output};
use zdt_units::probe::Report;

use crate::units;

const UNITS: &str = "/opt/zdt/bin/units";

const STANDBY: &str = "strategy = \"standby\"\nhandover = true";
const ROLLING: &str = "strategy = \"rolling\"\ninstances = 4\nhandover = true";

/// Installs and starts `app` with these keys; how its release is comes from `/etc/app.env`.
fn install(machine: &Machine, keys: &str) -> Result<(), Box<dyn Error>> {
    let zdt_toml = format!(
        "[service.app]\n\
         exec = [\"/opt/zdt/bin/app\"]\n\
         listen = \"{}\"\n\
         environment_files = [\"-/etc/app.env\"]\n\
         health = {{ listen = \"127.0.0.1:19081\", successes = 3, interval = \"20ms\" }}\n\
         {keys}\n",
        units::ADDRESS
    );
    machine.write_file("/etc/zdt/zdt.toml", zdt_toml, 0o644)?;
    machine.run(&[UNITS, "install"])?.ok()?;
    Ok(())
}

fn release(machine: &Machine, environment: &str) -> Result<(), Box<dyn Error>> {
    Ok(machine.write_file("/etc/app.env", environment, 0o644)?)
}

const GOOD: &str = "WARMUP_MS=800\n";
const BROKEN: &str = "CRASH=1\n";

fn restart(machine: &Machine) -> Result<Output, Box<dyn Error>> {
    Ok(machine.run(&[UNITS, "restart", "app"])?)
}

/// The main processes of these units; 0 where none runs.
fn pids(machine: &Machine, units: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    let pid = |unit: &&str| Ok(machine.show(unit, "MainPID")?);
    units.iter().map(pid).collect()
}

const INSTANCES: [&str; 4] = [
    "app@1.service",
    "app@2.service",
    "app@3.service",
    "app@4.service",
];

fn state(machine: &Machine, unit: &str) -> Result<String, Box<dyn Error>> {
    Ok(machine.show(unit, "ActiveState")?)
}

fn await_state(machine: &Machine, unit: &str, wanted: &str) -> Result<(), Box<dyn Error>> {
    let what = format!("`{unit}` is {wanted}");
    let is = |machine: &Machine| {
        let state = machine.show(unit, "ActiveState");
        state.is_ok_and(|state| state == wanted)
    };
    Ok(machine.wait_until(Duration::from_secs(30), &what, is)?)
}

/// New connections, and requests on kept ones, at a rate that leaves a debug build some air.
fn load(machine: &Machine, flags: &[&str]) -> Result<Load, Box<dyn Error>> {
    let both = [
        "--stream=name=new,rate=600",
        "--stream=name=kept,rate=400,keep-alive=32",
    ];
    Ok(units::load(machine, &[both.as_slice(), flags].concat())?)
}

/// The longest wait of anybody.
fn longest(report: &Report) -> Duration {
    Duration::from_micros(report.total.latency.max_us)
}

/// Prints what was measured.
fn tell(what: &str, report: &Report) {
    println!("{what}: {}", crate::restart::summary(report));
    if let Some(kept) = report.stream("kept") {
        println!(
            "  kept connections: {} opened, {} closed with notice, {} found closed",
            kept.connections.opened, kept.connections.announced_close, kept.outcomes.stale
        );
    }
}

fn lossless(what: &str, report: &Report) {
    tell(what, report);
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert!(report.total.outcomes.ok > 0, "{report}");
    // A connection goes to a process that serves; none is closed, with notice or without.
    if let Some(kept) = report.stream("kept") {
        let closed = kept.connections.announced_close + kept.outcomes.stale;
        assert_eq!(closed, 0, "{report}");
    }
}

pub(crate) fn tests() -> impl Iterator<Item = &'static (&'static str, crate::Test)> {
    [
        figures::TESTS,
        broken::TESTS,
        killed::TESTS,
        port::TESTS,
        reload::TESTS,
    ]
    .into_iter()
    .flatten()
}
