//! Commands that only look.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::{ConfigArgs, ControlArgs, TargetArgs};
use crate::model::Wanted;

/// Show how services are right now: state, release, connections, queue
///
/// Nothing is changed, and no service is started by looking at it.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these services
    pub services: Vec<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// Look again so often, until Ctrl-C
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = humantime::parse_duration
    )]
    pub watch: Option<Duration>,

    /// Print one JSON object, with `--watch` one a line
    #[arg(long)]
    pub json: bool,

    /// Print it for the textfile collector of node_exporter
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    pub metrics: bool,
}

/// Find what will lose requests: limits, queues, timeouts, drop-ins, disks
///
/// Examines what systemd has loaded, the processes and the kernel, and changes nothing. Each
/// finding has a code, a reason and a remedy.
///
/// Exit status: 0 it could look, whatever it found; with `--strict` 8 if it found a danger or a
/// warning.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Only these services
    pub services: Vec<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    #[command(flatten)]
    pub target: TargetArgs,

    /// Examine this service or socket unit, whoever wrote it; needs no `zdt.toml`
    #[arg(long, value_name = "UNIT", conflicts_with = "services")]
    pub unit: Vec<String>,

    /// New connections a second at the worst time [default: those of the machine, over 1 s]
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,

    /// Exit with 8 if there is a danger or a warning
    #[arg(long)]
    pub strict: bool,

    /// Print findings as JSON, in one object
    #[arg(long)]
    pub json: bool,
}

/// Show what operations did, and follow what they do
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only this service
    pub service: Option<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Of services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// Go on and show what comes
    #[arg(short, long)]
    pub follow: bool,

    /// Only what is not older: `1h`, `2026-11-21` or `2026-11-21T20:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    pub since: Option<Since>,

    /// Only events of this kind, or `started`, `finished`, `failed`; repeatable
    #[arg(long, value_name = "KIND", value_parser = parse_wanted)]
    pub kind: Vec<Wanted>,

    /// The lines as they were written, one JSON object each
    #[arg(long)]
    pub json: bool,
}

/// Show how often services were restarted, how long it took, and how it ended
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only this service
    pub service: Option<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Of services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// Of each service only the last N
    #[arg(long, value_name = "N", default_value = "100")]
    pub last: NonZeroUsize,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Serve a page that follows services, a running restart step by step, and the last ones
///
/// It only reads. `/status.json` is what `zdt-units status --json` prints, `/events` the changes as
/// server-sent events, `/livez` and `/readyz` are for probes. A socket that is passed (systemd,
/// `zdt-units run`) is taken instead of `--listen`.
///
/// Who reaches the address sees everything: there is no password. Others than this machine get in
/// through a reverse proxy that asks for one, or with `--allow-remote`.
#[derive(Clone, Debug, Args)]
pub struct DashboardArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Services of `systemd --user`
    #[arg(long)]
    pub user: bool,

    /// Where to listen, if no socket is passed: an address with a port, or a path
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7077")]
    pub listen: String,

    /// Answer to this name in `Host` too, as a reverse proxy passes it on; repeatable
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,

    /// Listen also where other machines reach it, with no password
    #[arg(long)]
    pub allow_remote: bool,
}

/// A moment, by itself or before now.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    Ago(Duration),
    At(SystemTime),
}

impl Since {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        let midnight = format!("{text}T00:00:00Z");
        humantime::parse_rfc3339_weak(text)
            .or_else(|_| humantime::parse_rfc3339_weak(&midnight))
            .map(Self::At)
            .map_err(|_| "write `1h`, `2026-11-21` or `2026-11-21T20:00:00Z` (UTC)".to_owned())
    }

    pub fn before(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::At(moment) => moment,
        }
    }
}

fn parse_wanted(text: &str) -> Result<Wanted, String> {
    Wanted::parse(text).map_err(|mistake| match mistake.hint {
        Some(hint) => format!("{}; {hint}", mistake.message),
        None => mistake.message,
    })
}
