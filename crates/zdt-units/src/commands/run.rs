//! `zdt-units run`: services without systemd, in the foreground.

#![expect(
    clippy::disallowed_methods,
    reason = "a signal restarts services by the same command as a person does"
)]

mod flags;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::unistd::{Pid, setsid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failed, config_file, detach, operation, stopped, watch};
use crate::cli::{ResumeArgs, RunArgs};
use crate::config::{Colour, list, nearest};
use crate::exit_code;
use crate::host::launcher::place::{Place, Whose, known_as};
use crate::host::supervisor::reap::Claim;
use crate::host::supervisor::upgrade::{READY, State, heeded};
use crate::host::supervisor::{Boot, Happened, Manager, OWN_PROGRAM};
use crate::model::{Model, Name, UnitName};

pub(super) fn run(args: &RunArgs) -> Result<u8, Failed> {
    if args.detach {
        return detach::run(args);
    }
    if !args.watch.is_empty() {
        return watch::run(args);
    }
    if args.detached {
        // Who started this is no leader of a group, and so it is none either.
        let _ = setsid();
    }
    let boot = match args.program.is_empty() {
        true => from_file(args)?,
        false => from_flags(args)?,
    };
    // One thread: the process that it starts is told when this very thread ends.
    operation::runtime()?.block_on(async {
        let signals = Signals::new()?;
        let mut manager = Manager::open(boot).map_err(refused)?;
        for (unit, socket, address) in manager.addresses() {
            manager.say(&format!("{unit}: listening on {address} (`{socket}`)"));
        }
        manager.start();
        supervise(manager, signals).await
    })
}

/// Goes on where another program stopped, which this process was until now.
pub(super) fn resume(args: &ResumeArgs) -> Result<u8, Failed> {
    let state = State::read(&args.state).map_err(stopped)?;
    if args.check {
        super::print(READY)?;
        return Ok(exit_code::DONE);
    }
    operation::runtime()?.block_on(async {
        let signals = Signals::new()?;
        let manager = Manager::resume(state).map_err(stopped)?;
        let _ = std::fs::remove_file(&args.state);
        manager.say("zdt-units: this is another program now, and everything goes on");
        supervise(manager, signals).await
    })
}

/// Nothing was started.
fn refused(failure: crate::host::Failure) -> Failed {
    match stopped(failure) {
        Failed::Said { message, hint, .. } => Failed::Said {
            code: exit_code::REFUSED,
            message,
            hint,
        },
        other => other,
    }
}

fn from_file(args: &RunArgs) -> Result<Boot, Failed> {
    let read = config_file::read_whole(&args.config)?;
    let only = chosen(&read.model, &args.services)?;
    let config = known_as(&read.path).map_err(|error| {
        Failed::config(format!("failed to find `{}`: {error}", read.path.display()))
    })?;
    let mut place = Place::of(&config, &read.model.launcher, &Whose::here());
    if let Some(control) = &args.control {
        place.control = absolute(control)?;
    }
    Ok(Boot {
        place,
        config: Some(config),
        text: read.text,
        model: read.model,
        only,
        once: args.once,
    })
}

fn from_flags(args: &RunArgs) -> Result<Boot, Failed> {
    let text = flags::text(args)?;
    let model = Model::read("the flags, as zdt.toml", &text).map_err(|mistakes| {
        let text = mistakes.render(Colour::Never);
        Failed::said(exit_code::USAGE, format!("the flags do not do:\n{text}"))
    })?;
    let mut place = Place::of_process(std::process::id(), &Whose::here());
    if let Some(control) = &args.control {
        place.control = absolute(control)?;
    }
    Ok(Boot {
        place,
        config: None,
        text,
        model,
        only: Vec::new(),
        once: args.once,
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    std::path::absolute(path)
        .map_err(|error| Failed::unexpected(format!("failed to find this directory: {error}")))
}

fn chosen(model: &Model, wanted: &[String]) -> Result<Vec<Name>, Failed> {
    let known: Vec<&str> = model
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let mut chosen = Vec::new();
    for name in wanted {
        match model.service(name) {
            Some(service) => chosen.push(service.name.clone()),
            None => {
                let failed =
                    Failed::said(exit_code::USAGE, format!("there is no service `{name}`"));
                return Err(match nearest(name, &known) {
                    Some(meant) => failed.hint(format!("did you mean `{meant}`?")),
                    None => failed.hint(format!("the file has {}", list(&known))),
                });
            }
        }
    }
    Ok(chosen)
}

async fn supervise(mut manager: Manager, mut signals: Signals) -> Result<u8, Failed> {
    // They waited while nobody would have heard them.
    let _ = heeded().thread_unblock();
    let mut restarts = Restarts::default();
    let mut interrupted = false;
    loop {
        tokio::select! {
            happened = manager.next() => match happened {
                Happened::Unit(unit, event) => manager.say(&format!("{}: {event}", short(&unit))),
                Happened::Said(text) => manager.say(&format!("zdt-units: {text}")),
                Happened::Restart(service, why) => {
                    manager.say(&why);
                    restarts.ask(Wanted::Service(service), &manager);
                }
                Happened::Upgrade(upgrade) => {
                    let why = manager.upgrade(upgrade).await;
                    manager.say(&why);
                }
                Happened::Ended(code) => {
                    manager.close().await;
                    return Ok(code);
                }
            },
            asked = signals.next() => match asked {
                Asked::Restart => restarts.ask(Wanted::All, &manager),
                Asked::Stop => manager.shut_down(),
                Asked::Interrupt if !interrupted => {
                    interrupted = true;
                    manager.shut_down();
                }
                Asked::Interrupt | Asked::Quit => manager.kill(),
            },
            () = restarts.ended() => restarts.next(&manager),
        }
    }
}

/// Restarts that a signal or a limit asks for: by the command, which has the locks, the plans and the records.
#[derive(Debug, Default)]
struct Restarts {
    running: Option<(Child, Option<Claim>)>,
    /// These follow it, one after the other.
    wanted: BTreeSet<Wanted>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    All,
    Service(Name),
}

impl Restarts {
    fn ask(&mut self, wanted: Wanted, manager: &Manager) {
        self.wanted.insert(wanted);
        if self.running.is_none() {
            self.next(manager);
        }
    }

    /// Waits for the end of the one that runs. Cancel-safe.
    async fn ended(&mut self) {
        match &mut self.running {
            Some((child, _)) => drop(child.wait().await),
            None => std::future::pending().await,
        }
    }

    fn next(&mut self, manager: &Manager) {
        self.running = None;
        let Some(wanted) = self.wanted.pop_first() else {
            return;
        };
        let mut command = Command::new(OWN_PROGRAM);
        command.arg("restart");
        match &wanted {
            Wanted::All => command.arg("--all"),
            Wanted::Service(service) => command.arg(service.as_str()),
        };
        // Somebody may be at work on it, by hand.
        command
            .arg("--wait")
            .arg("--control")
            .arg(manager.control());
        if let Some(config) = manager.config() {
            command.arg("--config").arg(config);
        }
        match command.stdin(Stdio::null()).spawn() {
            Ok(child) => {
                let id = child.id().and_then(|id| i32::try_from(id).ok());
                let claim = id.map(|id| Claim::new(Pid::from_raw(id)));
                self.running = Some((child, claim));
            }
            Err(error) => manager.say(&format!("zdt-units: failed to begin a restart: {error}")),
        }
    }
}

enum Asked {
    Restart,
    Stop,
    Interrupt,
    Quit,
}

struct Signals {
    hangup: Signal,
    user: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failed> {
        let listen = |kind| {
            signal(kind).map_err(|error: io::Error| {
                Failed::unexpected(format!("failed to listen for signals: {error}"))
            })
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            user: listen(SignalKind::user_defined2())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            // Shells let what they run in the background ignore these two, and so would all that it starts: a program
            // whose `stop.signal` it is would never stop. What is caught here is not ignored there.
            quit: listen(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Restart,
            _ = self.user.recv() => Asked::Restart,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.quit.recv() => Asked::Quit,
        }
    }
}

/// `shop` for `shop.service`.
fn short(unit: &UnitName) -> &str {
    unit.as_str().trim_end_matches(".service")
}
