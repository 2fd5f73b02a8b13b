//! `zdt-units probe`: measures a running service and prints what was lost.
//!
//! Standard output carries the report and nothing else.
#![expect(
    clippy::disallowed_methods,
    reason = "`--ready-file` is written at the edge of the program"
)]

use std::fmt;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::net::UdpSocket;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::cli::ProbeArgs;
use crate::exit_code;
use crate::probe::{
    self, Address, AddressError, Live, Load, Pattern, Report, SpecError, Stream, StreamError,
    Target,
};

const DEFAULT_DURATION: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("stream `{name}` cannot be sent")]
    Stream { name: String, source: StreamError },
    #[error("`{0}` is not this machine; add `--any-host` if its owner agreed to be measured")]
    Stranger(Address),
    #[error("failed to {what}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
    #[error("interrupted twice, so there is no report")]
    Interrupted,
}

/// Runs the command; the exit code says whether requests or held connections were lost.
pub(super) fn run(args: &ProbeArgs) -> ExitCode {
    let code = match measure(args) {
        Ok(report) if !report.valid => exit_code::UNEXPECTED,
        Ok(report) if report.lost() + report.lost_connections() > 0 => exit_code::LOST,
        Ok(_) => exit_code::DONE,
        Err(error) => {
            say(format_args!("error: {}", Chain(&error)));
            match error {
                ProbeError::Io { .. } | ProbeError::Interrupted => exit_code::UNEXPECTED,
                _ => exit_code::USAGE,
            }
        }
    };
    ExitCode::from(code)
}

fn measure(args: &ProbeArgs) -> Result<Report, ProbeError> {
    let load = load(args)?;
    if !args.any_host && !is_this_machine(&load.target.address) {
        return Err(ProbeError::Stranger(load.target.address));
    }
    // A limit that cannot be raised shows as `client` faults, if it is ever reached.
    let _ = probe::raise_file_limit();

    let io = |what| move |source| ProbeError::Io { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io("start the runtime"))?;
    let report = runtime.block_on(watch(args, &load));
    // A read of standard input cannot be cancelled, and would be waited for.
    runtime.shutdown_background();
    let report = report?;

    let mut stdout = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut stdout, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(stdout))
    } else {
        writeln!(stdout, "{report}")
    }
    .map_err(io("write the report"))?;
    Ok(report)
}

/// Decides from the flags what is sent where.
fn load(args: &ProbeArgs) -> Result<Load, ProbeError> {
    let (target, path) = Target::parse_url(&args.target)?;
    let pattern = match (args.keep_alive, args.http2, args.hold) {
        (Some(connections), ..) => Pattern::KeepAlive { connections },
        (_, Some(connections), _) => Pattern::Http2 { connections },
        (.., Some(connections)) => Pattern::Hold { connections },
        (None, None, None) => Pattern::New,
    };
    let flags = Stream {
        name: "probe".to_owned(),
        pattern,
        rate: match args.every {
            Some(every) => probe::rate_of_held(pattern, every)?,
            None => args.rate,
        },
        requests: args.requests,
        think: args.think,
        head_pause: args.head_pause,
        method: args.method.clone(),
        path: args.path.clone().or(path).unwrap_or_else(|| "/".to_owned()),
        host: args.host.clone(),
        headers: args
            .header
            .iter()
            .map(|header| probe::parse_header(header))
            .collect::<Result<_, _>>()?,
        body_bytes: args.body_bytes,
        body_chunks: args.body_chunks,
        body_pause: args.body_pause,
        timeout: args.timeout,
        expect_status: args.expect,
        expect_length: args.expect_length,
        announce_close: !args.no_close_header,
        max_in_flight: args.max_in_flight,
        timeline_bucket: args.bucket,
    };
    let mut streams = args
        .stream
        .iter()
        .map(|spec| probe::parse_stream(spec, &flags))
        .collect::<Result<Vec<_>, _>>()?;
    if streams.is_empty() {
        streams.push(flags);
    }

    for stream in &mut streams {
        stream.check(&target).map_err(|source| ProbeError::Stream {
            name: stream.name.clone(),
            source,
        })?;
        let duration =
            args.duration
                .or((stream.requests.is_none() && !args.until_stdin_closes)
                    .then_some(DEFAULT_DURATION));
        if let Some(duration) = duration {
            // A number of requests, so that equal runs send equally many.
            let due = (stream.rate * duration.as_secs_f64()).ceil() as u64;
            stream.requests = Some(stream.requests.map_or(due, |requests| requests.min(due)));
        }
    }
    Ok(Load { target, streams })
}

/// Only an address of this machine can be bound.
fn is_this_machine(address: &Address) -> bool {
    match address {
        _ if address.is_loopback() => true,
        Address::Tcp(address) => UdpSocket::bind((address.ip(), 0)).is_ok(),
        Address::Unix(_) => true,
    }
}

/// Runs the load until it ends or is told to, and talks about it on standard error.
async fn watch(args: &ProbeArgs, load: &Load) -> Result<Report, ProbeError> {
    let io = |source| ProbeError::Io {
        what: "listen for signals",
        source,
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(io)?;
    let live = Live::new();
    let (stopped, mut stop_seen) = tokio::sync::oneshot::channel();
    let stop = async {
        tokio::select! {
            () = either(&mut interrupt, &mut terminate) => {}
            () = stdin_closed(), if args.until_stdin_closes => {}
        }
        let _ = stopped.send((interrupt, terminate));
    };
    let again = async {
        match (&mut stop_seen).await {
            Ok((mut interrupt, mut terminate)) => either(&mut interrupt, &mut terminate).await,
            Err(_) => pending().await,
        }
    };

    // In this order, so that even the shortest run is announced.
    tokio::select! {
        biased;
        failed = announce(args, load, &live) => failed,
        () = again => Err(ProbeError::Interrupted),
        () = show_progress(&live) => unreachable!("progress is shown to the end"),
        report = probe::run_live(load, &live, stop) => Ok(report),
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn stdin_closed() {
    let drain = || io::copy(&mut io::stdin().lock(), &mut io::sink());
    // An error ends the input as well as a close does.
    let _ = spawn_blocking(drain).await;
}

/// Tells once that the service answers, and that each held connection has a first
/// answer; returns only if that fails.
async fn announce(args: &ProbeArgs, load: &Load, live: &Live) -> Result<Report, ProbeError> {
    live.until_ok(1).await;
    let held = load.streams.iter().map(|stream| match stream.pattern {
        Pattern::Hold { connections } => connections as u64,
        _ => 0,
    });
    live.until_ended(held.sum()).await;
    let rate: f64 = load.streams.iter().map(|stream| stream.rate).sum();
    say(format_args!(
        "probing {} with {rate} requests a second",
        load.target.address
    ));
    if let Some(path) = &args.ready_file {
        std::fs::write(path, "").map_err(|source| ProbeError::Io {
            what: "create the ready file",
            source,
        })?;
    }
    pending().await
}

/// Shows live counts if a person is watching.
async fn show_progress(live: &Live) {
    if !io::stderr().is_terminal() {
        pending::<()>().await;
    }
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    let bar = ClearOnDrop(bar);
    loop {
        bar.0.set_message(format!(
            "{} ok, {} lost, {} in flight",
            live.ok(),
            live.lost(),
            live.in_flight()
        ));
        bar.0.tick();
        sleep(Duration::from_millis(200)).await;
    }
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Nobody is left to hear that standard error is closed.
fn say(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error and its causes, joined by colons.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
