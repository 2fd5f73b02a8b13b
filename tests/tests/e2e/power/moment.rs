//! When something is killed.

use std::error::Error;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use zdt_e2e::machine::{Machine, Output};

use super::world::UNITS;

/// An event, and a time after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) event: At,
    pub(super) after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Before the first step.
    Planned,
    Step(usize),
    /// After the last one.
    Finished,
}

impl At {
    /// Each moment of a plan with so many steps.
    pub(super) fn all(steps: usize) -> impl Iterator<Item = Self> {
        let steps = (1..=steps).map(Self::Step);
        std::iter::once(Self::Planned)
            .chain(steps)
            .chain([Self::Finished])
    }

    fn is(self, event: &Value) -> bool {
        match self {
            Self::Planned => event["kind"] == "planned",
            Self::Step(step) => {
                event["kind"] == "step_started"
                    && event["phase"] == "forward"
                    && event["step"] == step
            }
            Self::Finished => event["kind"] == "finished",
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            At::Planned => f.write_str("planned")?,
            At::Step(step) => write!(f, "step {step}")?,
            At::Finished => f.write_str("finished")?,
        }
        write!(f, " + {} ms", self.after.as_millis())
    }
}

/// The steps that `zdt-units` would do.
pub(super) fn steps(machine: &Machine, arguments: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    let command = [&[UNITS], arguments, &["--dry-run", "--json"]].concat();
    let planned: Value = serde_json::from_str(&machine.run(&command)?.ok()?.stdout)?;
    Ok(serde_json::from_value(planned["steps"].clone())?)
}

/// What was reached of an operation.
#[derive(Debug)]
pub(super) enum Reached {
    /// The moment.
    Moment,
    /// The end before it.
    End(Output),
}

/// Runs `zdt-units` until `moment`, and does `strike` then, which gets the pid of it on the host.
pub(super) fn run_until(
    machine: &Machine,
    arguments: &[&str],
    moment: Moment,
    strike: impl FnOnce(Pid) -> Result<(), Box<dyn Error>>,
) -> Result<Reached, Box<dyn Error>> {
    let argv = [&[UNITS], arguments, &["--json"]].concat();
    let mut command = machine.command(&argv);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut nsenter = command.spawn()?;
    let stdout = nsenter.stdout.take().ok_or("stdout is piped")?;
    let mut said = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if moment.event.is(&serde_json::from_str(&line)?) {
            thread::sleep(moment.after);
            match inside(&nsenter)? {
                Some(launcher) => strike(launcher)?,
                None => break,
            }
            nsenter.wait()?;
            return Ok(Reached::Moment);
        }
        said.push_str(&line);
        said.push('\n');
    }
    let output = nsenter.wait_with_output()?;
    Ok(Reached::End(Output {
        command: argv.join(" "),
        code: output.status.code(),
        stdout: said,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }))
}

/// The same with `kill -9`.
pub(super) fn kill_at(
    machine: &Machine,
    arguments: &[&str],
    moment: Moment,
) -> Result<Reached, Box<dyn Error>> {
    run_until(machine, arguments, moment, kill)
}

pub(super) fn kill(launcher: Pid) -> Result<(), Box<dyn Error>> {
    match signal::kill(launcher, Signal::SIGKILL) {
        // It has ended by itself.
        Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What `nsenter` runs; nothing when it has ended.
fn inside(nsenter: &Child) -> Result<Option<Pid>, Box<dyn Error>> {
    let pid = nsenter.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let child = children.split_ascii_whitespace().next();
    Ok(child.map(str::parse).transpose()?.map(Pid::from_raw))
}

/// Moments as a seed has it, which is printed so that they can be had again.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        let seed = std::env::var("ZDT_E2E_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
        println!("ZDT_E2E_SEED={seed}");
        Self(seed)
    }

    /// splitmix64
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(super) fn moment(&mut self, event: At, at_most: Duration) -> Moment {
        let limit = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        let after = Duration::from_millis(self.below(limit));
        Moment { event, after }
    }
}
