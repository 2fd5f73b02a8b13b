//! `zdt-units run`: a service without systemd, in the foreground.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use nix::unistd::{Uid, User as Account, setsid};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failed, config_file, detach, listen, watch};
use crate::cli::RunArgs;
use crate::exit_code;
use crate::host::supervisor::{Events, Held, Launch, Readiness, Supervisor};
use crate::model::{Model, Name, Service, Socket, Strategy, User};

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
    let (mut launch, sockets) = match args.listen.is_empty() {
        true => from_file(args)?,
        false => from_flags(args)?,
    };
    if args.no_notify {
        launch.readiness = Readiness::Started;
    }
    let name = launch.service.clone();
    let held = Held::bind(&sockets)
        .map_err(|errors| Failed::said(exit_code::REFUSED, errors.to_string()))?;
    for (socket, address) in held.addresses() {
        say(&name, format_args!("listening on {address} (`{socket}`)"));
    }

    // One thread: the process that it starts is told when this very thread ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::unexpected(format!("failed to start the runtime: {error}")))?;
    runtime
        .block_on(supervise(launch, held))
        .map_err(|error| Failed::unexpected(format!("failed to supervise `{name}`: {error}")))
}

fn from_file(args: &RunArgs) -> Result<(Launch, Vec<Socket>), Failed> {
    let model = config_file::read(&args.config)?.model;
    let service = chosen(&model, args.service.as_deref())?;
    let name = &service.name;
    if !service.credentials.is_empty() {
        return Err(Failed::said(
            exit_code::REFUSED,
            format!("service `{name}` has credentials, and only systemd hands those out"),
        )
        .hint("for a trial take them out of a copy of `zdt.toml`, and set CREDENTIALS_DIRECTORY yourself"));
    }
    if let Strategy::Rolling { instances, .. } = service.strategy {
        say(
            name,
            format_args!("runs one process, not {instances} instances"),
        );
    }
    let own = Uid::effective();
    match &service.user {
        User::Named(user) if !is_account(own, user.as_str()) && own.is_root() => {
            return Err(Failed::said(
                exit_code::REFUSED,
                format!("service `{name}` is to run as `{user}`, and this is root"),
            )
            .hint(format!(
                "`run` does not change the user: start it by `setpriv --reuid {user} --regid {user} --init-groups`"
            )));
        }
        User::Named(user) if !is_account(own, user.as_str()) => {
            let text = format_args!("runs as the user who started this, not as `{user}`");
            say(name, text);
        }
        _ => {}
    }
    Ok((Launch::of(service), service.sockets.clone()))
}

fn is_account(uid: Uid, name: &str) -> bool {
    matches!(Account::from_uid(uid), Ok(Some(account)) if account.name == name)
}

fn chosen<'a>(model: &'a Model, name: Option<&str>) -> Result<&'a Service, Failed> {
    let known = || {
        let names = model
            .services
            .iter()
            .map(|service| format!("`{}`", service.name));
        names.collect::<Vec<_>>().join(", ")
    };
    match (name, model.services.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Failed::said(
            exit_code::USAGE,
            "there are several services, and `run` runs one",
        )
        .hint(format!("name one of {}", known()))),
        (Some(name), _) => model.service(name).ok_or_else(|| {
            Failed::said(exit_code::USAGE, format!("there is no service `{name}`"))
                .hint(format!("the file has {}", known()))
        }),
    }
}

fn from_flags(args: &RunArgs) -> Result<(Launch, Vec<Socket>), Failed> {
    let sockets = listen::sockets(&args.listen, args.health.as_deref())
        .map_err(|mistakes| Failed::said(exit_code::USAGE, mistakes.join("\nerror: ")))?;
    Ok((launch(&args.program), sockets))
}

/// The words of a command that has at least one.
pub(super) fn launch(command: &[OsString]) -> Launch {
    let (program, arguments) = command.split_first().expect("there is a program");
    let stem = Path::new(program).file_stem().unwrap_or_default();
    let name = Name::parse(&stem.to_string_lossy())
        .or_else(|_| Name::parse("app"))
        .expect("`app` is a name");
    let mut launch = Launch::new(name, program);
    launch.arguments = arguments.to_vec();
    launch
}

async fn supervise(launch: Launch, held: Held) -> io::Result<u8> {
    let mut signals = Signals::new()?;
    let name = launch.service.clone();
    let (supervisor, mut events) = Supervisor::start(launch, held)?;
    let talk = talk(&name, &mut events);
    let obey = async {
        let mut interrupts = 0;
        loop {
            match signals.next().await {
                Asked::Restart => supervisor.begin_restart(),
                Asked::Stop => supervisor.begin_stop(),
                Asked::Interrupt if interrupts == 0 => {
                    interrupts += 1;
                    supervisor.begin_stop();
                }
                Asked::Interrupt => supervisor.kill(),
            }
        }
    };
    tokio::select! {
        () = talk => Ok(supervisor.ended().await),
        () = obey => unreachable!("signals come for ever"),
    }
}

async fn talk(name: &Name, events: &mut Events) {
    while let Some(event) = events.next().await {
        say(name, format_args!("{event}"));
    }
}

enum Asked {
    Restart,
    Stop,
    Interrupt,
}

struct Signals {
    hangup: Signal,
    user: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Restart,
            _ = self.user.recv() => Asked::Restart,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}

/// Nobody is left to hear that standard error is closed.
fn say(name: &Name, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{name}: {text}");
}
