//! The command line. Doc comments are the help text.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Restarts that lose no connection: writes systemd units, restarts services, proves it.
#[derive(Debug, Parser)]
#[command(name = "zdt-units", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Generate(GenerateArgs),
    Restart(RestartArgs),
}

/// Where the services are described.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Write the systemd units of every service
///
/// Without `--out` they are printed, each under the path it belongs to.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Write the units into this directory, each file at once or not at all
    #[arg(long, value_name = "DIR", conflicts_with = "stdout")]
    pub out: Option<PathBuf>,

    /// Print the units, which is also the default
    #[arg(long)]
    pub stdout: bool,

    /// Write nothing; exit with 8 and the differences if the files in `--out` are not up to date
    #[arg(long, requires = "out")]
    pub check: bool,
}

/// Restart one service and prove that the new process serves
///
/// Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any
/// change, 7 look now.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// The service's name in `zdt.toml`
    pub service: String,

    #[command(flatten)]
    pub config: ConfigArgs,

    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
}
