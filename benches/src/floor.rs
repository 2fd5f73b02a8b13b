//! A restart of zdt against the smallest program that systemd can activate, in the same units, in turn; and what the
//! look for connections that were left behind costs, which the units of hand-over have after each start.

use std::time::Duration;

use zdt_e2e::machine::Machine;
use zdt_units::probe::Stream;

use crate::window::{Restart, Seen, milliseconds, observe};
use crate::{Result, units};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Restarts of each.
    #[arg(long, default_value_t = 20)]
    pub(crate) restarts: u32,
    /// Requests a second while the gap is measured.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) rate: f64,
}

pub(crate) struct Measured {
    pub(crate) restarts: u32,
    pub(crate) rate: f64,
    /// In the order of [`CASES`].
    pub(crate) rows: Vec<Row>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Without clients, from the first `SIGTERM` to `READY=1` of the next process, in milliseconds.
    pub(crate) restarts: Vec<f64>,
    /// In restarts of their own, under load.
    pub(crate) seen: Seen,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    which: &'static str,
    settings: &'static str,
    sweep: Sweep,
}

/// `zdt-units sweep` after each start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sweep {
    /// The units have none.
    None,
    TakenOut,
    Runs,
}

/// In pairs.
pub(crate) const CASES: [Case; 6] = [
    case("smallest program", "floor", "sandbox = \"none\""),
    case("zdt", "zdt", "sandbox = \"none\""),
    case("smallest program, in the sandbox", "floor", ""),
    case("zdt, in the sandbox", "zdt", ""),
    Case {
        sweep: Sweep::TakenOut,
        ..case(
            "zdt, hand-over, without the sweep",
            "zdt",
            "handover = true",
        )
    },
    Case {
        sweep: Sweep::Runs,
        ..case("zdt, hand-over, as generated", "zdt", "handover = true")
    },
];

const fn case(name: &'static str, which: &'static str, settings: &'static str) -> Case {
    Case {
        name,
        which,
        settings,
        sweep: Sweep::None,
    }
}

pub(crate) fn measure(args: &Args) -> Result<Measured> {
    let machine = units::boot()?;
    for case in 0..CASES.len() {
        start(&machine, case)?;
    }
    let mut rows = vec![Row::default(); CASES.len()];
    for round in 1..=args.restarts {
        eprintln!("restart {round} of {}", args.restarts);
        for (case, row) in rows.iter_mut().enumerate() {
            let unit = format!("{}.service", name(case));
            machine.systemctl(&["restart", &unit])?.ok()?;
            let time = units::restart_time(&machine, &unit)?;
            row.restarts.push(milliseconds(time));
        }
        for (case, row) in rows.iter_mut().enumerate() {
            let restart = Restart {
                address: &address(case),
                script: &format!("systemctl restart {}.service", name(case)),
                streams: vec![Stream {
                    rate: args.rate,
                    ..Stream::default()
                }],
                window: Duration::ZERO,
                until_next: false,
            };
            row.seen.add(&observe(&machine, &restart)?);
        }
    }
    Ok(Measured {
        restarts: args.restarts,
        rate: args.rate,
        rows,
    })
}

fn start(machine: &Machine, case: usize) -> Result<()> {
    let Case {
        which,
        settings,
        sweep,
        ..
    } = CASES[case];
    let name = name(case);
    let settings = format!("listen = \"{}\"\n{settings}", address(case));
    let zdt_toml = units::zdt_toml(&name, &units::server(which)?, &settings);
    let mut units = units::generate(&zdt_toml)?;
    if sweep == Sweep::TakenOut {
        without_sweep(&mut units)?;
    }
    let wanted = [format!("{name}.socket"), format!("{name}.service")];
    units::start(machine, &units, &wanted)?;
    if sweep == Sweep::Runs {
        swept(machine, &wanted[1])?;
    }
    units::await_answer(machine, &address(case))
}

/// A sweep that is not there is no failure to systemd, and would cost nothing here.
fn swept(machine: &Machine, unit: &str) -> Result<()> {
    let said = machine.show(unit, "ExecStartPost")?;
    match said.contains("code=exited ; status=0") {
        true => Ok(()),
        false => Err(format!("`zdt-units sweep` did not run: {said}").into()),
    }
}

fn without_sweep(units: &mut [(String, String)]) -> Result<()> {
    let is_sweep =
        |line: &str| line.starts_with("ExecStartPost=") && line.contains("zdt-units sweep");
    let mut removed = 0;
    for (_, text) in units {
        removed += text.lines().filter(|line| is_sweep(line)).count();
        let kept = text.split_inclusive('\n').filter(|line| !is_sweep(line));
        *text = kept.collect();
    }
    match removed {
        1 => Ok(()),
        n => Err(format!("the units have {n} sweeps after a start, not one").into()),
    }
}

fn name(case: usize) -> String {
    format!("floor-{case}")
}

fn address(case: usize) -> String {
    format!("127.0.0.1:{}", 8200 + case)
}
