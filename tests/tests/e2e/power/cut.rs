//! `kill -9` of all processes of the machine, which boots again on its files.
//!
//! The kernel lives on, so what was written is there also if it was not synced. That nothing is lost of what was only
//! in the memory of the kernel, this cannot show.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::machine::Machine;

use super::moment::{At, Dice, Moment, kill, run_until, steps};
use super::world::{install, is_good, is_named, is_tidy, make, zdt};

/// While a release is copied, data are changed, the link is switched, the standby starts, the process is replaced, and
/// it is watched; and while a recovery takes all of it back.
fn reboots(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "standby", true)?;
    let mut dice = Dice::new();
    let from = make(machine, "next")?;
    let deploy = ["deploy", "app", "--from", &from, "--release=next"];
    let steps = steps(machine, &deploy)?;
    let begins = [
        "copy ",
        "app-migrate.service",
        "point `/srv/app/current`",
        "start `app-standby.service`",
        "restart `app.service`",
        "stay up",
    ];
    for (number, begin) in begins.into_iter().enumerate() {
        let step = steps.iter().position(|step| step.contains(begin));
        let step = At::Step(1 + step.ok_or_else(|| format!("{begin}: {steps:?}"))?);
        let name = format!("r{number}-cut");
        let from = make(machine, &name)?;
        let command = ["deploy", "app", "--from", &from, "--release", &name];
        let moment = dice.moment(step, WITHIN);
        let cut = cut_at(machine, &command, moment)?;
        let Some(booted) = cut else {
            return Err(format!("the deployment ended before `{begin}`").into());
        };
        assert!(is_named(machine)?, "{begin}");
        let status = zdt(machine, &["status"])?.ok()?;
        assert!(status.stdout.contains("broke off"), "{}", status.stdout);
        // Once more, in the middle of that.
        let again = dice.moment(At::Step(1), WITHIN);
        let again = cut_at(machine, &["recover"], again)?;
        zdt(machine, &["recover"])?.ok()?;
        let release = is_good(machine)?;
        println!(
            "power cut at \"{begin}\", {moment}, booted again in {booted:.1?}, recovered{}: `{release}` serves",
            if again.is_some() {
                ", and cut once more"
            } else {
                ""
            },
        );
    }
    zdt(machine, &deploy)?.ok()?;
    assert_eq!(is_good(machine)?, "next");
    is_tidy(machine)
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
