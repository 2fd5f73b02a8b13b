//! Commands that change what serves.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, ControlArgs};
use crate::model::UnitName;

/// What to do while another operation is at work on a service.
#[derive(Clone, Copy, Debug, Args)]
pub struct WaitArgs {
    /// Wait until others are done with the service, at most for so long, instead of refusing
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = humantime::parse_duration)]
    pub wait: Option<Option<Duration>>,
}

/// Restart services, in order, and prove that the new processes serve
///
/// Each comes after those that it needs (`after` in `zdt.toml`), and those that need nothing of
/// each other are restarted at the same time. After a failure no other one is begun.
///
/// Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any
/// change, 6 taken back and the old process serves, 7 look now, 9 done but an old
/// process was killed with requests in it. Of several services the worst counts.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Names of services in `zdt.toml`
    #[arg(value_name = "SERVICE", required_unless_present = "all")]
    pub services: Vec<String>,

    /// All services of `zdt.toml`, and units of others in it
    #[arg(long, conflicts_with = "services")]
    pub all: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// Only those whose program, unit files or environment files have changed since they were started
    #[arg(long)]
    pub only_changed: bool,

    /// At most so many at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub parallel: Option<u32>,

    #[command(flatten)]
    pub change: ChangeArgs,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Names of services in `zdt.toml`
    #[arg(value_name = "SERVICE", required_unless_present = "all")]
    pub services: Vec<String>,

    /// All services of `zdt.toml`, but not the units of others in it
    #[arg(long, conflicts_with = "services")]
    pub all: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    /// Services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Leave it in rotation: its balancer is neither asked nor told
    #[arg(long)]
    pub keep_in_rotation: bool,

    /// Take it out of rotation although it is the last server that is up there
    #[arg(long, conflicts_with = "keep_in_rotation")]
    pub last: bool,

    #[command(flatten)]
    pub wait: WaitArgs,

    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
}

impl ChangeArgs {
    /// What is left of them where nothing is replaced.
    pub(crate) fn of_stop(args: &StopArgs) -> Self {
        Self {
            dry_run: args.dry_run,
            force: false,
            skip_migrations: false,
            canary: false,
            keep_in_rotation: args.keep_in_rotation,
            last: args.last,
            wait: args.wait,
            json: args.json,
        }
    }
}

/// What every change of a running service takes.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Go on where it would be refused: unhealthy before, failed too often, or over a migration
    #[arg(long)]
    pub force: bool,

    /// Run no migration, and take none back
    #[arg(long)]
    pub skip_migrations: bool,

    /// Replace one process first, and watch it for the time of `bake` before the others
    #[arg(long)]
    pub canary: bool,

    /// Leave it in rotation: its balancer is neither asked nor told
    #[arg(long)]
    pub keep_in_rotation: bool,

    /// Take it out of rotation although it is the last server that is up there
    #[arg(long, conflicts_with = "keep_in_rotation")]
    pub last: bool,

    #[command(flatten)]
    pub wait: WaitArgs,

    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
}

/// Copy a new release, and restart the service with it
///
/// The copy is complete and on disk before anything is touched. A release that does not prove
/// itself is taken back: `current` leads to the one before, and that serves again.
///
/// Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any change, 6 the release
/// was taken back, 7 look now, 9 done but the old process was killed with requests in it.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The service's name in `zdt.toml`
    pub service: String,

    /// A directory, a `.tar` or `.tar.gz`, or one program, which becomes `bin/NAME`
    #[arg(long, value_name = "PATH")]
    pub from: PathBuf,

    /// What to call it [default: the time, as in `2026-01-19T12.00.00`]
    #[arg(long, value_name = "NAME")]
    pub release: Option<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// A service of `systemd --user`
    #[arg(long)]
    pub user: bool,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Restart the service with a release that served before
///
/// Exit status: 0 done, 4 refused and nothing touched, 5 stopped before any change, 6 what served
/// serves again, 7 look now, 9 done but the old process was killed with requests in it.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The service's name in `zdt.toml`
    pub service: String,

    /// Which release, as `zdt-units releases` lists them [default: the one before]
    pub release: Option<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// A service of `systemd --user`
    #[arg(long)]
    pub user: bool,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// List the releases of a service: which serves, and which is the way back
///
/// Exit status: 0 done, 5 they could not be read, 8 `--verify` found one that was changed.
#[derive(Debug, Args)]
pub struct ReleasesArgs {
    /// The service's name in `zdt.toml`
    pub service: String,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Read all of them, and compare the checksums
    #[arg(long)]
    pub verify: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Take back what broke off, or end it: after a power cut, or a killed `zdt-units`
///
/// Where nothing broke off, says what is not as it should be, and does nothing.
///
/// Exit status: 0 done, or nothing to do; 4 refused and nothing touched, 5 stopped before any
/// change, 7 look now.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// Also end processes of a launcher that was killed, which the one that runs now did not take up
    #[arg(long)]
    pub stop_orphans: bool,

    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
}

/// Run a command while a service is down and its connections wait
///
/// The service is drained and stopped; its sockets stay open. However the command ends, and if
/// this program is killed too, the service is started again.
///
/// Exit status: that of the command, as a shell has it, when the service is back; 4 refused and
/// nothing touched, 5 stopped before any change, 6 the command was not run and the service is
/// back, 7 the service did not come back.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The service's name in `zdt.toml`
    pub service: String,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// A service of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// How long the command may take: then it is terminated, and killed 5 s later
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub max: Duration,

    #[command(flatten)]
    pub wait: WaitArgs,

    /// What to run, with `ZDT_SERVICE` in its environment
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl HoldArgs {
    pub(crate) fn program(&self) -> String {
        let program = self.command.first();
        program.map_or_else(String::new, |program| {
            program.to_string_lossy().into_owned()
        })
    }
}

/// Wait until a process has ended, or become a command that ends with it
#[derive(Debug, Args)]
pub struct HeldArgs {
    pub pid: i32,

    /// Then start these units
    #[arg(long, value_name = "UNIT", requires = "control", value_parser = unit_name)]
    pub start: Vec<UnitName>,

    /// Of the launcher that listens here
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,

    /// To be started by that process
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Close the connections that a process was handed and did not take (run by generated units)
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The main process of the service
    pub pid: u32,
}

pub(super) fn unit_name(text: &str) -> Result<UnitName, String> {
    UnitName::parse(text).map_err(|mistake| mistake.message)
}

fn some_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("nothing runs in no time".to_owned()),
        time => time.map_err(|error| error.to_string()),
    }
}
