//! `zdt-units verify`: restarts under the table of clients, and the verdict.
//!
//! Standard output carries the result; what goes on is told on standard error.

#![expect(
    clippy::disallowed_methods,
    reason = "whether colour is wanted is told by the environment"
)]

mod page;
mod program;
mod service;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use self::page::Page;
use super::{Failed, print};
use crate::cli::VerifyArgs;
use crate::config::Colour;
use crate::exit_code;
use crate::probe::{Load, Stream, Target, run as probe};
use crate::verify::result::{VerdictKind, Verified};
use crate::verify::{About, Kind, Options, Progress, check, shown};

pub(super) fn run(args: &VerifyArgs) -> Result<u8, Failed> {
    let options = options(args)?;
    let page = args.html.as_deref().map(Page::begin).transpose()?;
    // A limit that cannot be raised shows as faults of the client, if it is ever reached.
    let _ = crate::probe::raise_file_limit();
    // One thread: the process that it starts is told when this very thread ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::unexpected(format!("failed to start the runtime: {error}")))?;
    let verified = match &args.service {
        Some(name) => runtime.block_on(service::verify(args, name, &options))?,
        None => runtime.block_on(program::verify(args, &options))?,
    };
    match args.json {
        true => print(&json(&verified)?)?,
        false => print(&shown(&verified, colour()))?,
    }
    if let Some(page) = page {
        page.write(&verified)?;
    }
    Ok(match verified.verdict.kind {
        VerdictKind::Lossless => exit_code::DONE,
        VerdictKind::Lossy => exit_code::LOST,
        VerdictKind::Invalid => exit_code::UNEXPECTED,
        VerdictKind::Failed => exit_code::LOOK_NOW,
    })
}

fn options(args: &VerifyArgs) -> Result<Options, Failed> {
    let options = Options {
        path: args.path.clone(),
        slow: args.slow.clone(),
        post: args.post.clone(),
        websocket: args.websocket.clone(),
        only: args.only.clone(),
        rate: args.rate,
        idle: args.idle,
        timeout: args.timeout,
        restarts: args.restarts,
        pause: args.pause,
    };
    let mistakes = check(&options);
    match mistakes.is_empty() {
        true => Ok(options),
        false => Err(Failed::said(exit_code::USAGE, mistakes.join("\nerror: "))),
    }
}

/// Waits until a whole answer comes, whatever it says.
async fn answers(target: &Target, path: &str, limit: Duration) -> bool {
    let load = Load {
        target: target.clone(),
        streams: vec![Stream {
            path: path.to_owned(),
            requests: Some(1),
            timeout: limit,
            ..Stream::default()
        }],
    };
    let report = probe(&load, std::future::pending()).await;
    let outcomes = report.total.outcomes;
    outcomes.ok + outcomes.wrong_status == 1
}

fn about(subject: crate::verify::result::Subject, host: crate::verify::result::Host) -> About {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    About {
        subject,
        command: ["zdt-units".to_owned()]
            .into_iter()
            .chain(arguments)
            .collect(),
        host,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// A line for each thing that happens.
fn tell(options: &Options, progress: Progress<'_>) {
    match progress {
        Progress::Calibrating => say("each client alone, before any restart"),
        Progress::Loaded { clients, rate } => say(&format!(
            "{clients} of {} clients can be tried: {rate:.0} requests a second",
            Kind::ALL.len()
        )),
        Progress::Restarted { nth, restarted } => {
            let of = options.restarts;
            let took = (restarted.ended - restarted.began).as_secs_f64();
            match &restarted.failed {
                None => say(&format!("restart {nth} of {of} took {took:.2} s")),
                Some(why) => say(&format!("restart {nth} of {of} failed: {why}")),
            }
        }
    }
}

fn json(verified: &Verified) -> Result<String, Failed> {
    serde_json::to_string(verified)
        .map(|text| text + "\n")
        .map_err(|error| Failed::unexpected(format!("failed to write the result: {error}")))
}

fn colour() -> Colour {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match wanted && io::stdout().is_terminal() {
        true => Colour::Always,
        false => Colour::Never,
    }
}

/// Nobody is left to hear that standard error is closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "verify: {text}");
}
