//! The command line. Doc comments are the help text.

mod balancer;
mod change;
mod launcher;
mod load;
mod look;
mod units;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use balancer::{BalancerArgs, BalancerVerb};
pub use change::{
    ChangeArgs, DeployArgs, HeldArgs, HoldArgs, RecoverArgs, ReleasesArgs, RestartArgs,
    RollbackArgs, StopArgs, SweepArgs, WaitArgs,
};
pub use launcher::{LogsArgs, ShutdownArgs, UnitArgs, UpgradeArgs, Verb};
pub use load::{DemoAppArgs, DemoArgs, ExecArgs, ProbeArgs, ResumeArgs, RunArgs, VerifyArgs};
pub use look::{DashboardArgs, DoctorArgs, EventsArgs, HistoryArgs, Since, StatusArgs};
pub use units::{ExplainArgs, GenerateArgs, InstallArgs, UninstallArgs};

use crate::render::{DEFAULT_SYSTEMD, Manager, OLDEST_SYSTEMD, Target};

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
    Install(InstallArgs),
    Uninstall(UninstallArgs),
    Explain(ExplainArgs),
    Restart(RestartArgs),
    /// Drain services, end them, and close their sockets
    ///
    /// Each is stopped before those that it needs (`after` in `zdt.toml`), and together with what
    /// runs with its releases. What waits in a socket when it closes is reset. `start`, a boot, or
    /// `systemctl start` of the sockets brings them back; to keep clients waiting instead, see
    /// `zdt-units hold`.
    ///
    /// Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any change, 7 look now,
    /// 9 done but a process was killed with requests in it.
    Stop(StopArgs),
    /// Open the sockets of services, start what does not run, and prove that it serves
    ///
    /// Each is started after those that it needs (`after` in `zdt.toml`).
    ///
    /// Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any change, 7 look now.
    Start(StopArgs),
    Status(StatusArgs),
    Doctor(DoctorArgs),
    Deploy(DeployArgs),
    Rollback(RollbackArgs),
    Releases(ReleasesArgs),
    Recover(RecoverArgs),
    Balancer(BalancerArgs),
    Hold(HoldArgs),
    Events(EventsArgs),
    History(HistoryArgs),
    Dashboard(DashboardArgs),
    Probe(Box<ProbeArgs>),
    Logs(LogsArgs),
    Run(RunArgs),
    Shutdown(ShutdownArgs),
    Upgrade(UpgradeArgs),
    Unit(UnitArgs),
    Verify(Box<VerifyArgs>),
    Demo(DemoArgs),
    /// Print the JSON Schema of `zdt.toml`, for editors
    Schema,
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(hide = true)]
    Resume(ResumeArgs),
    #[command(hide = true)]
    Exec(ExecArgs),
    #[command(hide = true)]
    Held(HeldArgs),
    #[command(hide = true)]
    Sweep(SweepArgs),
    #[command(hide = true)]
    DemoApp(DemoAppArgs),
}

/// Where the services are described.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which launcher is asked.
#[derive(Clone, Debug, Args)]
pub struct ControlArgs {
    /// Ask the launcher that listens here [env: ZDT_CONTROL] [default: that of `zdt.toml`, if it runs, or systemd]
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
}

/// What the units are written for.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The oldest systemd that is to read the units; what it does not know is left out
    #[arg(
        long,
        value_name = "RELEASE",
        default_value_t = DEFAULT_SYSTEMD,
        value_parser = clap::value_parser!(u32).range(i64::from(OLDEST_SYSTEMD)..)
    )]
    pub target_systemd: u32,

    /// Units for `systemd --user`: no user of its own, and less of a sandbox
    #[arg(long)]
    pub user: bool,
}

impl TargetArgs {
    pub fn target(&self) -> Target {
        Target {
            systemd: self.target_systemd,
            manager: match self.user {
                true => Manager::User,
                false => Manager::System,
            },
        }
    }
}

/// Print what a shell needs to complete commands and flags
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    pub shell: Shell,
}

/// Print the manual page, or write one for each command
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write `zdt-units.1` and a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
