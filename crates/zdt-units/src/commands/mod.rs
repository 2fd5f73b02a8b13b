//! The subcommands: each reads its input, calls what decides and does, and reports.

pub mod probe;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Probe(args) => probe::run(&args),
    }
}
