//! `zdt-units hold`: runs a command while a service is down and its connections wait.

mod command;
mod down;

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use self::command::Ended;
use self::down::Down;
use super::guard::{Guard, Wait};
use super::named::find;
use super::operation::{interrupts, restart_id, runtime, stopped};
use super::restart::prepare;
use super::{Failed, scope};
use crate::cli::HoldArgs;
use crate::event::{Event, EventKind, Outcome};
use crate::execute::{Interrupts, carry_out};
use crate::exit_code;
use crate::host::any::AnyHost;
use crate::host::systemd::Hold;
use crate::host::{Failure, Host};
use crate::model::{Breaker, Service, UnitName, span};
use crate::observe::{UnitState, Watched};
use crate::plan::{self, Operation};
use crate::report::human;

/// What the ends of the hold take, beside the drain and the command.
const SLACK: Duration = Duration::from_secs(30);

pub(super) fn run(args: &HoldArgs) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    let service = find(&read.model, &args.service)?;
    command::look_for(args)?;
    let restart_id = restart_id()?;
    runtime()?.block_on(async {
        let mut host = scope.connect().await?;
        let (name, wait) = (&service.name, Wait::from(&args.wait));
        let command = format!("hold {name}");
        let guard = Guard::take(&scope, &[name], &command, &restart_id, wait).await?;
        // What is done here does not depend on whether releases are any good.
        guard.admit(name, &Operation::Restart, &Breaker::default(), true)?;

        let said = Said {
            restart_id: &restart_id,
            service,
            since: Instant::now(),
        };
        if let Err(refused) = prepare(&mut host, service).await? {
            said.tell(EventKind::refused(&refused, scope.tool()));
            return Ok(exit_code::REFUSED);
        }
        refuse_others(&mut host, service).await?;
        let mut interrupts = interrupts()?;
        hold(args, &said, &mut host, &mut interrupts).await
    })
}

/// Somebody else on the same sockets would serve meanwhile.
async fn refuse_others(host: &mut AnyHost, service: &Service) -> Result<(), Failed> {
    let observed = host.observe(&Watched::of(service)).await.map_err(stopped)?;
    let wanted = service.instances();
    let other = |state: &&UnitState| !wanted.contains(&state.unit) && !state.is_stopped();
    match observed.beside.iter().find(other) {
        None => Ok(()),
        Some(other) => Err(Failed::said(
            exit_code::REFUSED,
            format!(
                "`{}` runs too, and would go on; nothing was touched",
                other.unit
            ),
        )
        .hint(format!(
            "stop it with `{} stop {}`",
            host.tool().command(),
            other.unit
        ))),
    }
}

async fn hold(
    args: &HoldArgs,
    said: &Said<'_>,
    host: &mut AnyHost,
    interrupts: &mut Interrupts,
) -> Result<u8, Failed> {
    let service = said.service;
    let units = service.instances();
    let program = std::env::current_exe()
        .map_err(|error| Failed::unexpected(format!("failed to find this program: {error}")))?;
    let drain = service.stop_timeout() + SLACK;
    let hold = Hold {
        unit: UnitName::parse(&format!("zdt-hold-{}.service", service.name))
            .expect("a name with a prefix names a unit"),
        held: units.clone(),
        pid: std::process::id(),
        limit: drain + args.max + SLACK,
    };
    let down = Down::begin(host, &hold, &program).await?;

    let mut tell = |kind| said.tell(kind);
    let taken = tokio::select! {
        taken = timeout(drain, down.take(host, &units, &mut tell)) => taken
            .unwrap_or_else(|_| Err(Failure::new(format!("it took longer than {}", span(drain))))),
        () = interrupts.next() => Err(Failure::new("interrupted")),
    };
    let ended = match taken {
        Ok(()) => {
            let began = Instant::now();
            let ended = command::run(args, &program, service, interrupts).await;
            let took = Duration::from_millis(
                u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            );
            said.note(format!("`{}` {ended} after {}", args.program(), span(took)));
            ended
        }
        Err(failure) => {
            said.note(format!("`{}` was not run: {failure}", args.program()));
            Ended::NotRun
        }
    };
    if let Err(failure) = down.end(host, &hold).await {
        // It ends by itself with this process.
        said.note(failure.to_string());
    }
    let steps = plan::start(service);
    let outcome = carry_out(&steps, &[], host, interrupts, &mut tell).await;
    tell(EventKind::Finished { outcome });
    match outcome {
        Outcome::Completed | Outcome::Lossy => Ok(ended.code()),
        Outcome::Stopped | Outcome::RolledBack | Outcome::LookNow => Ok(exit_code::LOOK_NOW),
    }
}

/// What people are told.
struct Said<'a> {
    restart_id: &'a str,
    service: &'a Service,
    since: Instant,
}

impl Said<'_> {
    fn note(&self, text: String) {
        self.tell(EventKind::Note { text });
    }

    fn tell(&self, kind: EventKind) {
        let name = self.service.name.as_str();
        let event = Event::new(self.restart_id, name, self.since.elapsed(), kind);
        // Plain also on a terminal, which the command has. A closed one is no reason to stop.
        let _ = io::stderr().write_all(human::lines(&event).as_bytes());
    }
}
