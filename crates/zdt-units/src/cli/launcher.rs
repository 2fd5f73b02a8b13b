//! Commands for a launcher (`zdt-units run`) and its units.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::change::unit_name;
use super::{ConfigArgs, ControlArgs};
use crate::model::UnitName;

/// Show what services printed
///
/// A launcher has the last lines of each process. Where systemd runs the services, this is `journalctl`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Services, or single units such as `shop@2.service` [default: all]
    #[arg(value_name = "SERVICE|UNIT")]
    pub of: Vec<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// Go on and show what comes
    #[arg(short, long)]
    pub follow: bool,

    /// Begin with the last N lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub lines: usize,
}

/// End a launcher: its services drain, then it exits and the ports close
///
/// Exit status: 0 everything ended, 4 there is no launcher, 7 look now.
#[derive(Debug, Args)]
pub struct ShutdownArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,
}

/// Let a launcher become another program, with all its sockets and processes
///
/// No process is restarted and no connection is closed.
///
/// Exit status: 0 it is the new one now, 4 refused and nothing touched, 7 look now.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// What it becomes [default: what its own file is now]
    pub program: Option<PathBuf>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,
}

/// Start or stop single units of a launcher, without a plan and without proof
///
/// For repairs by hand, as `systemctl` is where systemd runs the services; `zdt-units restart` is for everything else.
///
/// `daemon-reload` names no unit: processes that are started from then on are as `zdt.toml` says.
#[derive(Debug, Args)]
pub struct UnitArgs {
    pub verb: Verb,

    /// Such as `shop.service`, `shop@2.service` or `shop-http.socket`
    #[arg(value_name = "UNIT", value_parser = unit_name)]
    pub units: Vec<UnitName>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,
}

/// What is done to units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    Start,
    /// It drains; its sockets stay open
    Stop,
    Restart,
    Reload,
    /// Whether it runs: the exit status is 0 if it does, and 3 if not
    IsActive,
    /// Nothing that runs is touched
    DaemonReload,
}
