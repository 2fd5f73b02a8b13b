//! `kill -9` of the launcher, while the machine lives on.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::load::Load;
use zdt_e2e::machine::Machine;

use super::moment::{At, Dice, Moment, Reached, kill_at, steps};
use super::world::{install, is_good, is_named, is_tidy, make, zdt};
use crate::units;

/// How long after the beginning of a step, at most: about as long as the longest one.
const WITHIN: Duration = Duration::from_millis(150);

fn queue(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "queue", false)?;
    at_every_step(machine, Within::AtOnce)
}

fn standby(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "standby", true)?;
    at_every_step(machine, Within::Step)
}

/// When a step is killed.
#[derive(Clone, Copy, Debug)]
enum Within {
    AtOnce,
    /// At any time of it.
    Step,
}

/// Each step of a deployment, and of a restart.
fn at_every_step(machine: &Machine, within: Within) -> Result<(), Box<dyn Error>> {
    let mut dice = Dice::new();
    let load = load(machine)?;
    let mut tally = Tally::default();
    let started = Instant::now();
    let from = make(machine, "next")?;
    let deploy = steps(machine, &deploy(&from, "next"))?;
    for (number, event) in At::all(deploy.len()).enumerate() {
        let name = format!("r{number}-killed");
        let from = make(machine, &name)?;
        let command = self::deploy(&from, &name);
        let moment = within.moment(event, &mut dice);
        one(machine, &command, moment, &mut dice, &mut tally)?;
        // What broke off is in the way of nothing any more.
        if number % 6 == 5 {
            let next = format!("r{number}");
            let from = make(machine, &next)?;
            zdt(machine, &self::deploy(&from, &next))?.ok()?;
            assert_eq!(is_good(machine)?, next);
            is_tidy(machine)?;
        }
    }
    let restart = steps(machine, &["restart", "app"])?;
    for event in At::all(restart.len()) {
        let moment = within.moment(event, &mut dice);
        one(machine, &["restart", "app"], moment, &mut dice, &mut tally)?;
    }
    println!(
        "{} steps of a deployment, {} of a restart, killed {within:?}: {tally:?}, in {:.1?}",
        deploy.len(),
        restart.len(),
        started.elapsed()
    );
    let report = load.stop()?;
    println!("meanwhile: {}", crate::restart::summary(&report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert!(tally.killed > deploy.len() / 2, "{tally:?}");
    Ok(())
}

fn deploy<'a>(from: &'a str, name: &'a str) -> [&'a str; 6] {
    ["deploy", "app", "--from", from, "--release", name]
}

impl Within {
    fn moment(self, event: At, dice: &mut Dice) -> Moment {
        match self {
            Self::AtOnce => Moment {
                event,
                after: Duration::ZERO,
            },
            Self::Step => dice.moment(event, WITHIN),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    killed: usize,
    /// The operation was faster.
    ended: usize,
    recovered: usize,
    recoveries_killed: usize,
    new_release: usize,
}

/// One operation that is killed, and what becomes of it.
fn one(
    machine: &Machine,
    command: &[&str],
    moment: Moment,
    dice: &mut Dice,
    tally: &mut Tally,
) -> Result<(), Box<dyn Error>> {
    let what = format!("{} killed at {moment}", command.join(" "));
    match kill_at(machine, command, moment)? {
        Reached::Moment => tally.killed += 1,
        Reached::End(output) => {
            output.ok()?;
            tally.ended += 1;
        }
    }
    let mut how = "nothing was left";
    let release = (|| {
        if is_named(machine)? {
            how = "recovered";
            tally.recovered += 1;
            // One in three is killed as well.
            let event = At::Step(1 + usize::try_from(dice.below(4))?);
            let moment = dice.moment(event, WITHIN);
            if dice.below(3) == 0
                && let Reached::Moment = kill_at(machine, &["recover", "app"], moment)?
            {
                how = "recovered, and that was killed too";
                tally.recoveries_killed += 1;
            }
        }
        zdt(machine, &["recover", "app"])?.ok()?;
        is_good(machine)
    })();
    let release: String = release.map_err(|e: Box<dyn Error>| format!("{what}, {how}: {e}"))?;
    tally.new_release += usize::from(command.contains(&release.as_str()));
    println!("{what}, {how}: {release} serves");
    Ok(())
}

fn load(machine: &Machine) -> Result<Load, Box<dyn Error>> {
    let both = [
        "--stream=name=new,rate=100",
        "--stream=name=kept,rate=60,keep-alive=8",
        "--timeout=60s",
    ];
    Ok(units::load(machine, &both)?)
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    ("power::killed_at_any_step_with_queue", queue),
    ("power::killed_at_any_step_with_standby", standby),
];
