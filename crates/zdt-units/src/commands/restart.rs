//! `zdt-units restart`: observe, plan, then print the plan or carry it out.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read files and stamp events with the wall clock"
)]

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::scope::Scope;
use super::{Failed, config_file};
use crate::cli::RestartArgs;
use crate::config::{list, nearest};
use crate::event::{Event, EventKind, Outcome, VERSION};
use crate::execute::{Interrupts, Run, execute};
use crate::exit_code;
use crate::host::systemd::Systemd;
use crate::host::{Failure, Host};
use crate::model::{Model, Service};
use crate::observe::Watched;
use crate::plan::{Plan, Refused, Request, plan};
use crate::report::{human, json};

pub(super) fn run(args: &RestartArgs) -> Result<u8, Failed> {
    let read = config_file::read(&args.config)?;
    let service = find(&read.model, &args.service)?;
    let restart_id = restart_id()?;
    runtime()?.block_on(restart(args, service, &restart_id))
}

pub(super) fn runtime() -> Result<Runtime, Failed> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failed::unexpected(format!("failed to start the runtime: {source}")))
}

async fn restart(args: &RestartArgs, service: &Service, restart_id: &str) -> Result<u8, Failed> {
    let mut sink = |event: Event| write(args.json, &event);
    let at_once = |kind| {
        write(
            args.json,
            &Event {
                v: VERSION,
                restart_id: restart_id.to_owned(),
                elapsed: Duration::ZERO,
                kind,
            },
        );
    };

    let mut host = Scope::of(args.user)?.connect().await?;
    let plan = match prepare(&mut host, service).await? {
        Ok(plan) => plan,
        Err(refused) => {
            at_once(EventKind::refused(&refused));
            return Ok(exit_code::REFUSED);
        }
    };
    if args.dry_run {
        if args.json {
            at_once(EventKind::planned(&plan, true));
        } else {
            super::print(&plan.to_string())?;
        }
        return Ok(exit_code::DONE);
    }

    let mut interrupts = interrupts()?;
    let run = Run {
        plan: &plan,
        restart_id,
        interrupts: &mut interrupts,
    };
    Ok(code(execute(run, &mut host, &mut sink).await))
}

pub(super) fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Completed => exit_code::DONE,
        Outcome::Lossy => exit_code::LOST,
        Outcome::Stopped => exit_code::STOPPED,
        Outcome::RolledBack => exit_code::ROLLED_BACK,
        Outcome::LookNow => exit_code::LOOK_NOW,
    }
}

/// What a restart would do now, or why it is refused.
pub(super) async fn prepare(
    host: &mut Systemd,
    service: &Service,
) -> Result<Result<Plan, Refused>, Failed> {
    let observed = host.observe(&Watched::of(service)).await.map_err(stopped)?;
    Ok(plan(&Request { service }, &observed))
}

/// The report must not stop a restart that has begun, so a closed terminal is nothing here.
pub(super) fn write(as_json: bool, event: &Event) {
    if as_json {
        let line = json::line(event, SystemTime::now());
        let _ = io::stdout().write_all(line.as_bytes());
    } else {
        let _ = io::stderr().write_all(human::lines(event).as_bytes());
    }
}

pub(super) fn find<'m>(model: &'m Model, name: &str) -> Result<&'m Service, Failed> {
    model.service(name).ok_or_else(|| {
        let known: Vec<_> = model
            .services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        let failed = Failed::said(
            exit_code::USAGE,
            format!("there is no service `{name}` in `zdt.toml`"),
        );
        let foreign = model.foreign.iter().find(|unit| unit.name.as_str() == name);
        if let Some(foreign) = foreign {
            let unit = &foreign.unit;
            return Failed::said(
                exit_code::USAGE,
                format!("`{name}` is `{unit}`, whose sockets are not ours to keep open"),
            )
            .hint(format!("restart it with `systemctl restart {unit}`"));
        }
        match nearest(name, &known) {
            Some(meant) => failed.hint(format!("did you mean `{meant}`?")),
            None => failed.hint(format!("there is {}", list(&known))),
        }
    })
}

/// SIGINT and SIGTERM, each time; from here on neither ends this process by itself.
pub(super) fn interrupts() -> Result<Interrupts, Failed> {
    let failed =
        |source: io::Error| Failed::unexpected(format!("failed to listen for signals: {source}"));
    let (sender, interrupts) = Interrupts::channel();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = interrupt.recv() => {}
                Some(()) = terminate.recv() => {}
                else => return,
            }
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(interrupts)
}

pub(super) fn restart_id() -> Result<String, Failed> {
    let source = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(source)
        .map_err(|error| Failed::unexpected(format!("failed to read `{source}`: {error}")))?;
    Ok(uuid.chars().filter(char::is_ascii_hexdigit).collect())
}

pub(super) fn stopped(failure: Failure) -> Failed {
    let failed = Failed::said(exit_code::STOPPED, failure.reason);
    match failure.hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
