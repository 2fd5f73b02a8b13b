//! A restart of zdt against the smallest program that systemd can activate, in the same units, in turn.

use std::time::Duration;

use zdt_e2e::machine::Machine;
use zdt_units::probe::Stream;

use crate::window::{Restart, Seen, observe};
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

/// The name, the server, the settings of its units.
pub(crate) const CASES: [(&str, &str, &str); 4] = [
    ("smallest program", "floor", "sandbox = \"none\""),
    ("zdt", "zdt", "sandbox = \"none\""),
    ("smallest program, in the sandbox", "floor", ""),
    ("zdt, in the sandbox", "zdt", ""),
];

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
            row.restarts.push(time.as_secs_f64() * 1000.0);
        }
        for (case, row) in rows.iter_mut().enumerate() {
            let restart = Restart {
                address: &address(case),
                script: &format!("systemctl restart {}.service", name(case)),
                stream: Stream {
                    rate: args.rate,
                    ..Stream::default()
                },
                window: Duration::ZERO,
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
    let (_, which, settings) = CASES[case];
    let name = name(case);
    let settings = format!("listen = \"{}\"\n{settings}", address(case));
    let units = units::generate(&name, &units::server(which)?, &settings)?;
    let wanted = [format!("{name}.socket"), format!("{name}.service")];
    units::start(machine, &units, &wanted)?;
    units::await_answer(machine, &address(case))
}

fn name(case: usize) -> String {
    format!("floor-{case}")
}

fn address(case: usize) -> String {
    format!("127.0.0.1:{}", 8200 + case)
}
