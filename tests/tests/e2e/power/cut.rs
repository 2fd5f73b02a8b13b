//! `kill -9` of all processes of the machine, which boots again on its files.
//!
//! The kernel lives on, so what was written is there also if it was not synced. That nothing is lost of what was only
//! in the memory of the kernel, this cannot show.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::machine::Machine;

use super::moment::{At, Dice, Moment, kill, run_until, steps};
use super::world::{install, is_good, is_named, is_tidy, make, zdt};

/// In each step of a deployment and of a restart, and in some of the recoveries.
fn reboots(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "standby", true)?;
    let mut dice = Dice::new();
    let from = make(machine, "next")?;
    let deploy = ["deploy", "app", "--from", &from, "--release=next"];
    for step in 1..=steps(machine, &deploy)?.len() {
        let name = format!("r{step}-cut");
        let from = make(machine, &name)?;
        let command = ["deploy", "app", "--from", &from, "--release", &name];
        one(machine, &command, step, &mut dice)?;
    }
    for step in 1..=steps(machine, &["restart", "app"])?.len() {
        one(machine, &["restart", "app"], step, &mut dice)?;
    }
    zdt(machine, &deploy)?.ok()?;
    assert_eq!(is_good(machine)?, "next");
    is_tidy(machine)
}

fn one(
    machine: &Machine,
    command: &[&str],
    step: usize,
    dice: &mut Dice,
) -> Result<(), Box<dyn Error>> {
    let moment = dice.moment(At::Step(step), WITHIN);
    let Some(booted) = cut_at(machine, command, moment)? else {
        println!("{} ended before {moment}", command.join(" "));
        return Ok(());
    };
    let left = machine.host_path("/var/lib/zdt/app/running.json").exists();
    let mut again = None;
    if left {
        assert!(is_named(machine)?, "{moment}");
        let status = zdt(machine, &["status"])?.ok()?;
        let dry = zdt(machine, &["recover", "--dry-run"])?.ok()?;
        // Where only the record itself was still there, nothing is amiss.
        let done = dry.stderr.contains("it was done by then");
        assert_ne!(
            status.stdout.contains("broke off"),
            done,
            "{}",
            status.stdout
        );
        if step.is_multiple_of(3) {
            // Once more, in the middle of that.
            let moment = dice.moment(At::Step(1), WITHIN);
            again = cut_at(machine, &["recover"], moment)?;
        }
    }
    zdt(machine, &["recover"])?.ok()?;
    let release = is_good(machine)?;
    println!(
        "{}: power cut at {moment}, booted again in {booted:.1?}, {}{}: `{release}` serves",
        command[0],
        if left {
            "recovered"
        } else {
            "nothing was left"
        },
        if again.is_some() {
            ", and cut once more"
        } else {
            ""
        },
    );
    Ok(())
}

/// How long after the beginning of a step, at most.
const WITHIN: Duration = Duration::from_millis(60);

/// Returns how long it took to boot again; nothing where `zdt-units` was faster.
fn cut_at(
    machine: &Machine,
    command: &[&str],
    moment: Moment,
) -> Result<Option<Duration>, Box<dyn Error>> {
    machine.write_file("/run/lost", "", 0o644)?;
    let mut booted = None;
    run_until(machine, command, moment, |launcher| {
        // First of all: nobody sees others die when the power is cut.
        kill(launcher)?;
        let started = Instant::now();
        machine.cut_power()?;
        booted = Some(started.elapsed());
        assert!(!machine.host_path("/run/lost").exists());
        Ok(())
    })?;
    Ok(booted)
}

pub(super) const TESTS: &[(&str, crate::Test)] =
    &[("power::a_power_cut_leaves_nothing_half_done", reboots)];
