//! The command line. Doc comments are the help text.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::model::Wanted;
use crate::render::{DEFAULT_SYSTEMD, Manager, OLDEST_SYSTEMD, Target};

use crate::verify::Kind;

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
    Status(StatusArgs),
    Doctor(DoctorArgs),
    Deploy(DeployArgs),
    Rollback(RollbackArgs),
    Releases(ReleasesArgs),
    Recover(RecoverArgs),
    Hold(HoldArgs),
    Events(EventsArgs),
    History(HistoryArgs),
    Probe(Box<ProbeArgs>),
    Run(RunArgs),
    Verify(Box<VerifyArgs>),
    Demo(DemoArgs),
    /// Print the JSON Schema of `zdt.toml`, for editors
    Schema,
    Completions(CompletionsArgs),
    Man(ManArgs),
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
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Read this file instead of `./zdt.toml` or `/etc/zdt/zdt.toml`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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

/// Write the systemd units of every service
///
/// Without `--out` they are printed, each under the path it belongs to.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub target: TargetArgs,

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

/// What to do while another operation is at work on a service.
#[derive(Debug, Args)]
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

    #[command(flatten)]
    pub wait: WaitArgs,

    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
}

/// Show how services are right now: state, release, connections, queue
///
/// Nothing is changed, and no service is started by looking at it.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these services
    pub services: Vec<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

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

    /// Read all of them, and compare the checksums
    #[arg(long)]
    pub verify: bool,

    /// Print one JSON object
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

fn some_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("nothing runs in no time".to_owned()),
        time => time.map_err(|error| error.to_string()),
    }
}

fn parse_wanted(text: &str) -> Result<Wanted, String> {
    Wanted::parse(text).map_err(|mistake| match mistake.hint {
        Some(hint) => format!("{}; {hint}", mistake.message),
        None => mistake.message,
    })
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

    /// Services of `systemd --user`
    #[arg(long)]
    pub user: bool,

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

    /// To be started by that process
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Send requests at a fixed rate and count every one that is lost.
///
/// Requests leave on schedule, whatever became of those before them; latency counts
/// from the moment a request was due; nothing is sent twice.
///
/// Exit code: 0 nothing was lost, 9 something was, 2 the command line is wrong,
/// 1 the measurement is not valid.
#[derive(Debug, Args)]
#[command(after_help = "\
Several streams at once:
  zdt-units probe :8080 --rate 1000 --stream name=quick --stream name=slow,path=/slow,rate=1")]
pub struct ProbeArgs {
    /// `127.0.0.1:8080`, `:8080`, `[::1]:8080`, `http://localhost:8080/path`,
    /// `unix:/run/app.sock` or `/run/app.sock`
    #[arg(default_value = ":8080")]
    pub target: String,

    /// Requests a second
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,

    /// How long requests are due [default: 10s, unless `--requests` or
    /// `--until-stdin-closes` says when to end]
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// End after so many requests (of each stream)
    #[arg(long, value_name = "N")]
    pub requests: Option<u64>,

    /// End when standard input is closed; SIGINT and SIGTERM end a run in any case,
    /// and the report is printed
    #[arg(long)]
    pub until_stdin_closes: bool,

    /// Keep N connections open and use them in turn (default: a new one for each request)
    #[arg(long, value_name = "N", conflicts_with = "http2")]
    pub keep_alive: Option<usize>,

    /// Speak HTTP/2 on N connections, without TLS and without upgrade
    #[arg(long, value_name = "N")]
    pub http2: Option<usize>,

    /// Open N connections before the first request is due, and hold them: none is opened
    /// again, and whatever ends one is a loss
    #[arg(long, value_name = "N", conflicts_with_all = ["keep_alive", "http2"])]
    pub hold: Option<usize>,

    /// On each held connection send a request so often, instead of a rate of all together
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "rate")]
    pub every: Option<Duration>,

    /// Do not send `Connection: close` on a new connection
    #[arg(long)]
    pub no_close_header: bool,

    /// Wait so long between connecting and sending
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub think: Duration,

    /// Wait so long in the middle of the request's head
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub head_pause: Duration,

    /// The path and query to ask for [default: the target's, or `/`]
    #[arg(long)]
    pub path: Option<String>,

    #[arg(long, default_value = "GET")]
    pub method: String,

    /// The `Host` to ask for [default: the target's]
    #[arg(long)]
    pub host: Option<String>,

    /// A header to send, repeatable
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,

    /// Send a body of N bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub body_bytes: u64,

    /// Send the body in N pieces
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub body_chunks: u32,

    /// Wait so long between the pieces
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub body_pause: Duration,

    /// How long an answer may take, from the moment its request leaves
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// The status that counts as ok
    #[arg(long, value_name = "STATUS", default_value_t = 200)]
    pub expect: u16,

    /// The length of body that counts as ok [default: any, if complete]
    #[arg(long, value_name = "N")]
    pub expect_length: Option<u64>,

    /// A stream of requests, as `key=value,...` with the names of the flags above (and
    /// `name`) as keys; repeatable. The flags are then the defaults of all streams
    #[arg(long, value_name = "SPEC")]
    pub stream: Vec<String>,

    /// How much time one entry of the report's timeline covers
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = humantime::parse_duration)]
    pub bucket: Duration,

    /// Most requests of one stream in flight; above, the measurement is not valid
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_in_flight: usize,

    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,

    /// Create this file after the first answer that is ok
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Allow a target that is not this machine
    #[arg(long)]
    pub any_host: bool,
}

/// Run a service without systemd, and restart it without losing a connection
///
/// The sockets stay open until the end; new connections wait in the kernel while the
/// program restarts. SIGHUP restarts it, SIGTERM stops it; a crashed program is started again.
///
/// The program runs as the user who starts this, without the sandbox of the generated units.
///
/// Exit code: that of the program, 0 if SIGTERM ended it; 2 the command line is wrong,
/// 3 `zdt.toml` is, 4 nothing was started.
#[derive(Debug, Args)]
#[command(
    override_usage = "zdt-units run [--config FILE] [SERVICE]\n       \
        zdt-units run --listen [NAME=]ADDRESS... [--health ADDRESS] -- PROGRAM [ARGUMENT]...",
    after_help = "\
Without any file:
  zdt-units run --listen 127.0.0.1:8080 -- ./shop --site eu
  kill -HUP $(pgrep -f 'zdt-units run')"
)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Which service of `zdt.toml` [default: the only one]
    pub service: Option<String>,

    /// Listen here, without `zdt.toml`; the first socket is named `http`. Repeatable
    #[arg(long, value_name = "[NAME=]ADDRESS", conflicts_with_all = ["config", "service"], requires = "program")]
    pub listen: Vec<String>,

    /// Listen here for health checks, as the socket `health`
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    pub health: Option<String>,

    /// The program does not say `READY=1`: it counts as ready once it is started
    #[arg(long)]
    pub no_notify: bool,

    /// What to run, with `--listen`
    #[arg(last = true, value_name = "PROGRAM", requires = "listen")]
    pub program: Vec<OsString>,
}

/// Become the program of a service (started by `zdt-units run`)
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Go on only as a child of this process
    #[arg(long)]
    pub parent: Option<i32>,

    #[arg(long)]
    pub open_files: Option<u64>,

    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// Close the connections that a process was handed and did not take (run by generated units)
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The main process of the service
    pub pid: u32,
}

/// Prove that restarts lose nothing: of a service, or of any program in any language
///
/// Restarts it for real under a table of clients that meet a restart in different ways,
/// and says which of them lost what, why that usually happens, and what to do.
///
/// A service of `zdt.toml` is restarted as by `zdt-units restart`. A program is started
/// here with a socket (LISTEN_FDS), without root, systemd or configuration.
///
/// What a client is answered before the first restart counts as ok afterwards, whatever
/// it is; a protocol that the program does not speak is told, and proves nothing.
///
/// Exit code: 0 nothing was lost, 9 something was, 2 the command line is wrong, 3 `zdt.toml`
/// is, 1 the measurement is not valid, 4 refused and nothing touched, 5 stopped before any
/// change, 7 a restart failed.
#[derive(Debug, Args)]
#[command(
    override_usage = "zdt-units verify [OPTIONS] SERVICE\n       \
        zdt-units verify [OPTIONS] [--listen ADDRESS] -- PROGRAM [ARGUMENT]...",
    after_help = "\
The clients:
  new         a new connection for each request
  silent      connects, waits, then sends
  keep-alive  kept connections, used again and again
  idle        kept connections that rest between requests (`--idle`)
  slow        in flight over the restart: a slow path (`--slow`), or an upload in pieces
  post        a POST with a body (`--post`)
  half-sent   half of the request head, the rest later
  http2       requests on kept HTTP/2 connections, without TLS
  websocket   open WebSockets (`--websocket`)

In the CI of any project:
  zdt-units verify --no-notify --slow /report -- node server.js"
)]
pub struct VerifyArgs {
    /// The service's name in `zdt.toml`
    #[arg(required_unless_present = "program")]
    pub service: Option<String>,

    #[command(flatten)]
    pub config: ConfigArgs,

    /// How often to restart it
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub restarts: u32,

    /// Requests a second of the client `new`; the other rates follow from it
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,

    /// From the end of one restart to the next
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub pause: Duration,

    /// The path that most clients ask for
    #[arg(long, default_value = "/")]
    pub path: String,

    /// A path that takes a while to answer [default: a slow upload to `--post`]
    #[arg(long, value_name = "PATH")]
    pub slow: Option<String>,

    /// A path that reads the body of a POST [default: `--path`]
    #[arg(long, value_name = "PATH")]
    pub post: Option<String>,

    /// A path that speaks WebSocket
    #[arg(long, value_name = "PATH")]
    pub websocket: Option<String>,

    /// Only these clients
    #[arg(long, value_name = "CLIENT,...", value_delimiter = ',')]
    pub only: Vec<Kind>,

    /// How long the connections of the client `idle` rest between requests
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = humantime::parse_duration)]
    pub idle: Duration,

    /// How long an answer may take, beyond what the client itself takes
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// Listen here for the program; the first address is measured [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "[NAME=]ADDRESS", conflicts_with_all = ["config", "service"], requires = "program")]
    pub listen: Vec<String>,

    /// The program does not say `READY=1`: it counts as ready once it answers
    #[arg(long, conflicts_with = "service")]
    pub no_notify: bool,

    /// From SIGTERM to SIGKILL [default: 41s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "service")]
    pub stop_timeout: Option<Duration>,

    /// Print everything measured as one JSON object on standard output
    #[arg(long)]
    pub json: bool,

    /// Also write a page with plots, to show or to keep; it needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// What to start and restart
    #[arg(last = true, value_name = "PROGRAM", conflicts_with_all = ["service", "config"])]
    pub program: Vec<OsString>,
}

/// Watch restarts lose nothing: a small app under load, beside the usual recipe
///
/// Needs no root, no systemd and no configuration, listens on a free port of
/// 127.0.0.1, and takes about 25 seconds.
///
/// Exit code: 0 zdt lost nothing, 9 it lost something, 1 the measurement is not valid.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Two restarts instead of five, in about 10 seconds
    #[arg(long)]
    pub quick: bool,

    /// Print everything measured as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// Serve on the sockets that were passed: `/` at once, `/slow?ms=` later
#[derive(Debug, Args)]
pub struct DemoAppArgs {
    /// With `axum::serve` and its graceful shutdown instead of `zdt::serve`
    #[arg(long)]
    pub stock: bool,
}
