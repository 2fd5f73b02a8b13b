//! What a restart costs the clients: each server restarted under the strict probe, one after the other, so that what
//! else happens on the machine hits all of them.

mod own;
mod proxies;
mod servers;

use std::time::Duration;

use zdt_e2e::machine::Machine;
use zdt_units::probe::{Pattern, Stream};

use self::servers::Server;
use crate::window::{Restart, Seen, Window, observe};
use crate::{Result, reason, units};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Restarts of each server under each load.
    #[arg(long, default_value_t = 5)]
    pub(crate) restarts: u32,
    /// Requests a second.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) rate: f64,
    /// How long each program takes to start.
    #[arg(long, default_value = "200ms", value_parser = humantime::parse_duration)]
    pub(crate) start_up: Duration,
    /// From the beginning of a restart to the end of what is counted, or longer if the restart takes longer.
    #[arg(long, default_value = "2500ms", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,
    /// Only servers whose name contains this.
    #[arg(long)]
    pub(crate) only: Option<String>,
}

pub(crate) struct Measured {
    pub(crate) args: Args,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) how: &'static str,
    /// What each of [`LOADS`] met, or why nothing was measured.
    pub(crate) seen: std::result::Result<Vec<Seen>, String>,
}

/// The clients, each kind in runs of its own.
pub(crate) const LOADS: [&str; 3] = [
    "new connections",
    "new connections, 20 ms away",
    "kept connections",
];

/// The row in which nothing is restarted.
pub(crate) const CONTROL: &str = "control";

pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("zdt")
}

pub(crate) fn is_of_others(name: &str) -> bool {
    !is_ours(name) && name != CONTROL
}

pub(crate) fn measure(args: &Args) -> Result<Measured> {
    let machine = units::boot()?;
    let mut servers = servers::all(args.start_up)?;
    if let Some(only) = &args.only {
        servers.retain(|server| server.name.contains(only.as_str()));
    }
    let mut rows = Vec::new();
    for server in &servers {
        eprintln!("start {}", server.name);
        let seen = match server.start(&machine) {
            Ok(()) => Ok(vec![Seen::default(); LOADS.len()]),
            Err(error) => Err(reason(error.as_ref())),
        };
        rows.push(Row {
            name: server.name,
            how: server.how,
            seen,
        });
    }
    for round in 1..=args.restarts {
        for (load, name) in LOADS.iter().enumerate() {
            eprintln!("restart {round} of {}, {name}", args.restarts);
            for (server, row) in servers.iter().zip(&mut rows) {
                let Ok(seen) = &mut row.seen else { continue };
                match visit(&machine, server, load, args) {
                    Ok(window) => seen[load].add(&window),
                    Err(error) => row.seen = Err(reason(error.as_ref())),
                }
            }
        }
    }
    let args = args.clone();
    Ok(Measured { args, rows })
}

/// One restart under one load.
fn visit(machine: &Machine, server: &Server, load: usize, args: &Args) -> Result<Window> {
    let before = units::pids(machine, &server.address)?;
    let restart = Restart {
        address: &server.address,
        script: &server.script,
        streams: streams(load, args.rate),
        window: args.window,
        until_next: false,
    };
    let window = observe(machine, &restart)?;
    // One that binds by itself may not be there yet; what that cost is counted.
    units::await_answer(machine, &server.address)?;
    let after = units::pids(machine, &server.address)?;
    if server.replaces && before.iter().any(|pid| after.contains(pid)) {
        return Err("a process of before the restart still answers after it".into());
    }
    Ok(window)
}

/// Kept connections, in a pool that makes new ones, and as many that have to last.
pub(crate) const KEPT: usize = 32;

fn streams(load: usize, rate: f64) -> Vec<Stream> {
    let stream = |pattern, rate| Stream {
        pattern,
        rate,
        ..Stream::default()
    };
    match load {
        0 => vec![stream(Pattern::New, rate)],
        1 => vec![Stream {
            think: Duration::from_millis(20),
            ..stream(Pattern::New, rate)
        }],
        _ => vec![
            stream(Pattern::KeepAlive { connections: KEPT }, rate / 2.0),
            stream(Pattern::Hold { connections: KEPT }, rate / 2.0),
        ],
    }
}
