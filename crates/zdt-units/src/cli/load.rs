//! Commands that run programs, or send them requests.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, ControlArgs};
use crate::verify::Kind;

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

/// Run services without systemd, and restart them without losing a connection
///
/// The sockets stay open until the end; new connections wait in the kernel while a
/// program restarts. `zdt-units restart`, `deploy`, `status` and the others find it by the
/// path of `zdt.toml`; SIGHUP restarts all, SIGTERM stops all; a crashed program is started again.
///
/// The programs run without the sandbox of the generated units. It may be process 1 of a container.
///
/// Exit code: 0; of a single program its own, and 0 if SIGTERM ended it; 2 the command line is
/// wrong, 3 `zdt.toml` is, 4 nothing was started.
#[derive(Debug, Args)]
#[command(
    override_usage = "zdt-units run [--config FILE] [SERVICE]...\n       \
        zdt-units run [--listen [NAME=]ADDRESS]... [--instances N] [--health ADDRESS] -- PROGRAM [ARGUMENT]...",
    after_help = "\
Without any file:
  zdt-units run --listen 127.0.0.1:8080 -- ./shop --site eu
  kill -HUP $(pgrep -f 'zdt-units run')"
)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Only these services of `zdt.toml`
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,

    /// Listen here, without `zdt.toml`; the first socket is named `http`. Repeatable
    #[arg(long, value_name = "[NAME=]ADDRESS", conflicts_with_all = ["config", "services"], requires = "program")]
    pub listen: Vec<String>,

    /// Run N equal processes on the same sockets
    #[arg(long, value_name = "N", default_value_t = 1, requires = "program", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub instances: u32,

    /// Listen here for health checks, as the socket `health`
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    pub health: Option<String>,

    /// The program does not say `READY=1`: it counts as ready once it is started
    #[arg(long, requires = "program")]
    pub no_notify: bool,

    /// End when the program ends, with its exit code, instead of starting it again
    #[arg(long)]
    pub once: bool,

    /// Take commands on this socket [default: a path that follows from that of `zdt.toml`]
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// Start it in the background, unless it runs already, and wait until its services are ready
    #[arg(long, conflicts_with_all = ["program", "watch"])]
    pub detach: bool,

    /// Leave the terminal (started by `--detach`)
    #[arg(long, hide = true)]
    pub detached: bool,

    /// Restart the services when something below this path changes. Repeatable
    #[arg(long, value_name = "PATH", conflicts_with = "program")]
    pub watch: Vec<PathBuf>,

    /// Run this in a shell before the first start and before each restart; where it fails, the old processes go on
    #[arg(long, value_name = "COMMAND", requires = "watch")]
    pub build: Option<OsString>,

    /// What to run, without any file
    #[arg(last = true, value_name = "PROGRAM", conflicts_with_all = ["config", "services"])]
    pub program: Vec<OsString>,
}

/// Go on as the launcher that this process was until now (started by `zdt-units upgrade`)
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Only say whether that is possible
    #[arg(long)]
    pub check: bool,

    /// What the launcher has written down
    pub state: PathBuf,
}

/// Become the program of a service (started by `zdt-units run`)
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Go on only as a child of this process
    #[arg(long)]
    pub parent: Option<i32>,

    /// Go on when that process ends
    #[arg(long)]
    pub outlives: bool,

    #[arg(long)]
    pub open_files: Option<u64>,

    /// Enter this cgroup
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,

    /// Become this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
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

    #[command(flatten)]
    pub control: ControlArgs,

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
