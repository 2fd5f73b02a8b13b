//! Commands that write units, and say what is in them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ConfigArgs, TargetArgs};
use crate::render::Proxies;

/// Write the systemd units of every service, or the file for a proxy in front of them
///
/// Without `--out` they are printed, each under the path it belongs to.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// With `--proxy`: only these services [default: those with the key `proxy`, or the only one]
    #[arg(value_name = "SERVICE", requires = "proxy")]
    pub services: Vec<String>,

    /// What this proxy has to know of the services, in the place of their units
    #[arg(long, value_enum, value_name = "PROXY", conflicts_with_all = ["target_systemd", "user"])]
    pub proxy: Option<ProxyName>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub target: TargetArgs,

    /// Write them into this directory, each file at once or not at all
    #[arg(long, value_name = "DIR", conflicts_with = "stdout")]
    pub out: Option<PathBuf>,

    /// Print them, which is also the default
    #[arg(long)]
    pub stdout: bool,

    /// Write nothing; exit with 8 and the differences if the files in `--out` are not up to date
    #[arg(long, requires = "out")]
    pub check: bool,
}

/// The proxies that `generate` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProxyName {
    Haproxy,
    Nginx,
    Caddy,
    Traefik,
}

impl From<ProxyName> for Proxies {
    fn from(name: ProxyName) -> Self {
        match name {
            ProxyName::Haproxy => Self::Haproxy,
            ProxyName::Nginx => Self::Nginx,
            ProxyName::Caddy => Self::Caddy,
            ProxyName::Traefik => Self::Traefik,
        }
    }
}

/// Install the units of every service, enable and start them
///
/// What is installed already is compared directive by directive, and each change is told with
/// its cost before anything is touched. No open socket is closed unless `--allow-gap` is given.
///
/// Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any change, 6 a take-over
/// failed and the old service runs again, 7 look now, 8 `--check` found differences.
#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub target: TargetArgs,

    /// Install into this directory tree, of an image that does not run, and start nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["user", "restart", "allow_gap"])]
    pub root: Option<PathBuf>,

    /// Print what would be done and what it costs, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do nothing; exit with 8 if anything would be done or is not as the file says
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,

    /// Restart the services whose process has not seen all of it
    #[arg(long)]
    pub restart: bool,

    /// Close open sockets where a change cannot be had otherwise
    #[arg(long)]
    pub allow_gap: bool,

    /// Replace units that others wrote: of the same names, or this one
    #[arg(long, value_name = "UNIT", num_args = 0..=1)]
    pub take_over: Option<Option<String>>,

    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
}

/// Stop services, remove their units, and put back what they replaced
///
/// Only files that zdt-units wrote are removed. No `zdt.toml` is needed.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Names of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,

    /// From `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// From this directory tree, of an image that does not run
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    pub root: Option<PathBuf>,

    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
}

/// Show everything that follows from `zdt.toml`, and why
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Only these services
    pub services: Vec<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub target: TargetArgs,
}
