//! Every benchmark, as one page.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use clap::Parser;

use crate::page::{self, Page};
use crate::statistics::least;
use crate::{Result, floor, growth, launcher, plan, reason, restart, start, throughput};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A short form that shows that everything runs; its figures say little.
    #[arg(long)]
    quick: bool,
    /// Restarts of each server under each load, in place of what `restart` does by itself.
    #[arg(long)]
    restarts: Option<u32>,
    /// Writes the page to this file instead of the standard output.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// The arguments that a benchmark has without any flag.
#[derive(Parser)]
struct Defaults<T: clap::Args> {
    #[command(flatten)]
    args: T,
}

fn defaults<T: clap::Args>() -> T {
    Defaults::parse_from(["zdt-bench"]).args
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut restart: restart::Args = defaults();
    let mut floor: floor::Args = defaults();
    let mut growth: growth::Args = defaults();
    let mut launcher: launcher::Args = defaults();
    let mut start: start::Args = defaults();
    let mut throughput: throughput::Args = defaults();
    let mut plan: plan::Args = defaults();
    if args.quick {
        restart.restarts = 1;
        restart.rate = 400.0;
        restart.start_up = Duration::from_millis(50);
        restart.window = Duration::from_millis(200);
        floor.restarts = 1;
        growth.restarts = 1;
        growth.connections = vec![0, 1000];
        growth.listeners = vec![1, 10];
        launcher.restarts = 5;
        start.starts = 5;
        throughput.rounds = 3;
        throughput.seconds = 0.3;
        plan.rounds = 3;
    }
    if let Some(restarts) = args.restarts {
        restart.restarts = restarts;
    }
    let page = Page {
        command: command(args),
        conditions: conditions(),
        throughput: told("throughput", throughput::measure(&throughput)),
        plan: told("plan", plan::measure(&plan)),
        start: told("start", start::measure(&start)),
        launcher: told("launcher", launcher::measure(&launcher)),
        floor: told("floor", floor::measure(&floor)),
        growth: told("growth", growth::measure(&growth)),
        restart: told("restart", restart::measure(&restart)),
    };
    let text = page::page(&page);
    match &args.write {
        Some(path) => fs::write(path, text)?,
        None => println!("{text}"),
    }
    match page.missing() {
        missing if missing.is_empty() => Ok(()),
        missing => Err(missing.join("; ").into()),
    }
}

fn told<T>(what: &str, measured: Result<T>) -> page::Measured<T> {
    eprintln!("{what}: done");
    measured.map_err(|error| reason(error.as_ref()))
}

impl Page {
    /// What must be measured on every machine that can boot a systemd, and was not; and connections that hand-over has
    /// to keep and did not. Servers of others may be missing.
    fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = [
            self.restart.as_ref().err(),
            self.floor.as_ref().err(),
            self.growth.as_ref().err(),
            self.launcher.as_ref().err(),
            self.start.as_ref().err(),
            self.throughput.as_ref().err(),
            self.plan.as_ref().err(),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
        let rows = self.restart.iter().flat_map(|measured| &measured.rows);
        for row in rows.filter(|row| !restart::is_of_others(row.name)) {
            if let Err(reason) = &row.seen {
                missing.push(format!("{} was not measured: {reason}", row.name));
            }
        }
        let rows = self.growth.iter().flat_map(|measured| &measured.rows);
        for row in rows.filter(|row| row.hands_over()) {
            let survived = least(&row.survived) as usize;
            if survived < row.connections {
                missing.push(format!(
                    "only {survived} of {} connections survived with hand-over",
                    row.connections
                ));
            }
        }
        missing
    }
}

fn command(args: &Args) -> String {
    let quick = if args.quick { " --quick" } else { "" };
    let restarts = match args.restarts {
        Some(restarts) => format!(" --restarts {restarts}"),
        None => String::new(),
    };
    let write = match &args.write {
        Some(path) => format!(" --write {}", path.display()),
        None => String::new(),
    };
    format!("cargo run --release -p zdt-bench -- all{quick}{restarts}{write}")
}

fn conditions() -> String {
    let processors = thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let systemd = Command::new("systemctl").arg("--version").output();
    let systemd = systemd.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let systemd = systemd.unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let build = if cfg!(debug_assertions) {
        "a debug build"
    } else {
        "a release build"
    };
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    format!(
        "On {} by {build}: {processors} processors that clients and servers share, load average {} before, loopback, \
         Linux {}, {}. The servers of \"Restart\", \"The floor\" and \"Growth\" run under a systemd booted for this.",
        &now[..10],
        load.split(' ').next().unwrap_or_default(),
        kernel.trim(),
        systemd.lines().next().unwrap_or("no systemd"),
    )
}
