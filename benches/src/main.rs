//! Benchmarks that pair two things in one run and give the ratio.
//!
//! `cargo run --release -p zdt-bench -- all` runs every one of them.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark starts processes, reads clocks and files, and prints"
)]

mod all;
mod floor;
mod growth;
mod launcher;
mod next;
mod page;
mod plan;
mod process;
mod restart;
mod server;
mod start;
mod statistics;
mod throughput;
mod units;
mod window;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What a restart costs the clients of zdt and of others.
    Restart(restart::Args),
    /// A restart of zdt against the smallest program that systemd can activate.
    Floor(floor::Args),
    /// What many idle connections, and many listeners, cost at a restart.
    Growth(growth::Args),
    /// A restart by `zdt-units run` against a loop that only starts the next process on the same socket.
    Launcher(launcher::Args),
    /// From the start of a process to its first answer, against plain listeners.
    Start(start::Args),
    /// Requests per second and CPU time of `zdt::serve`, against `axum::serve` and behind nginx.
    Throughput(throughput::Args),
    /// What a file of many services costs to read, to generate from and to plan, a service.
    Plan(plan::Args),
    /// All of them, as one page.
    All(all::Args),
    /// One of the servers, started by a benchmark.
    #[command(hide = true)]
    Server(server::Args),
}

fn main() -> ExitCode {
    if units::is_called_as_launcher() {
        return zdt_units::main();
    }
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", reason(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let section = match command {
        Command::Restart(args) => page::restart(&restart::measure(&args)?),
        Command::Floor(args) => page::floor(&floor::measure(&args)?),
        Command::Growth(args) => page::growth(&growth::measure(&args)?),
        Command::Launcher(args) => page::launcher(&launcher::measure(&args)?),
        Command::Start(args) => page::start(&start::measure(&args)?),
        Command::Throughput(args) => page::throughput(&throughput::measure(&args)?),
        Command::Plan(args) => page::plan(&plan::measure(&args)?),
        Command::All(args) => return all::run(&args),
        Command::Server(args) => return server::run(&args),
    };
    println!("{section}");
    Ok(())
}

/// An error and what led to it, in a line.
pub(crate) fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace('\n', " ")
}
