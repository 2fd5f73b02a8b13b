//! `zdt-units shutdown`, `upgrade` and `unit`: what only a launcher is asked.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use super::operation::{Teller, runtime, stopped};
use super::scope::{self, Scope};
use super::{Failed, look_now, print, said};
use crate::cli::{ConfigArgs, ControlArgs, ShutdownArgs, UnitArgs, UpgradeArgs, Verb};
use crate::event::{Event, EventKind};
use crate::exit_code;
use crate::host::launcher::Launcher;
use crate::host::supervisor::protocol::Question;
use crate::host::{Effect, Failure};
use crate::model::UnitName;
use crate::observe::Active;

/// Between two looks whether it is still there.
const SOON: Duration = Duration::from_millis(20);

/// As `systemctl is-active` has it.
const NOT_ACTIVE: u8 = 3;

pub(super) fn shutdown(args: &ShutdownArgs) -> Result<u8, Failed> {
    let control = control(
        &args.config,
        &args.control,
        "`systemctl stop` ends services of systemd",
    )?;
    runtime()?.block_on(async {
        let launcher = Launcher::connect(&control).await.map_err(stopped)?;
        let asked = ask(&launcher, &Question::Shutdown).await;
        if asked.is_ok() {
            ended(&launcher).await;
        }
        done(asked)
    })
}

/// Waits for the end of the launcher, which has a limit for each of its services.
async fn ended(launcher: &Launcher) {
    let pid = launcher.about().pid;
    while let Ok(Some(there)) = Launcher::find(launcher.control()).await
        && there.about().pid == pid
    {
        sleep(SOON).await;
    }
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Result<u8, Failed> {
    let control = control(
        &args.config,
        &args.control,
        "systemd has no part of this program in it",
    )?;
    let program = args.program.as_ref().map(std::path::absolute).transpose();
    let program =
        program.map_err(|error| Failed::unexpected(format!("failed to find it: {error}")))?;
    runtime()?.block_on(async {
        let launcher = Launcher::connect(&control).await.map_err(stopped)?;
        let before = launcher.about().clone();
        // A program that becomes another one does not answer any more: this connection ends.
        let asked = ask(&launcher, &Question::Upgrade { program }).await;
        if let Err(failure) = &asked
            && failure.effect == Effect::None
        {
            return done(asked);
        }
        let launcher = Launcher::connect(&control).await.map_err(look_now)?;
        let now = launcher.about();
        if now.upgrades == before.upgrades && now.pid == before.pid {
            asked.map_err(look_now)?;
            return Err(look_now(Failure::new("the launcher is still what it was")));
        }
        print(&format!(
            "the launcher (process {}) is zdt-units {} now\n",
            now.pid, now.version
        ))?;
        Ok(exit_code::DONE)
    })
}

pub(super) fn unit(args: &UnitArgs) -> Result<u8, Failed> {
    let hint = format!(
        "`systemctl {}` is the same for units of systemd",
        clap::ValueEnum::to_possible_value(&args.verb)
            .map(|verb| verb.get_name().to_owned())
            .unwrap_or_default()
    );
    let names_none = args.verb == Verb::DaemonReload;
    if args.units.is_empty() != names_none {
        return Err(Failed::said(
            exit_code::USAGE,
            match names_none {
                true => "`daemon-reload` is of all units, and names none",
                false => "no unit is named",
            },
        ));
    }
    let control = control(&args.config, &args.control, &hint)?;
    runtime()?.block_on(async {
        let mut launcher = Launcher::connect(&control).await.map_err(stopped)?;
        match args.verb {
            Verb::IsActive => return is_active(&launcher, &args.units).await,
            Verb::DaemonReload => return done(launcher.catch_up(&[], &mut teller()).await),
            Verb::Start | Verb::Stop | Verb::Restart | Verb::Reload => {}
        }
        let (sockets, units): (Vec<UnitName>, Vec<UnitName>) = args
            .units
            .iter()
            .cloned()
            .partition(|unit| unit.as_str().ends_with(".socket"));
        let mut questions = of_sockets(&launcher, args.verb, &sockets).await?;
        questions.extend(of_services(args.verb, units));
        for question in questions {
            let asked = ask(&launcher, &question).await;
            if asked.is_err() {
                return done(asked);
            }
        }
        Ok(exit_code::DONE)
    })
}

fn of_services(verb: Verb, units: Vec<UnitName>) -> Vec<Question> {
    let each = |question: fn(UnitName) -> Question| units.iter().cloned().map(question).collect();
    match verb {
        _ if units.is_empty() => Vec::new(),
        Verb::Start => each(|unit| Question::Start { unit }),
        Verb::Reload => each(|unit| Question::Reload { unit }),
        Verb::Stop => vec![Question::Stop { units, held: false }],
        Verb::Restart => vec![Question::Restart { units }],
        Verb::IsActive | Verb::DaemonReload => Vec::new(),
    }
}

/// Sockets are opened and closed by service.
async fn of_sockets(
    launcher: &Launcher,
    verb: Verb,
    sockets: &[UnitName],
) -> Result<Vec<Question>, Failed> {
    if sockets.is_empty() {
        return Ok(Vec::new());
    }
    let reports = launcher.units(sockets).await.map_err(stopped)?;
    let mut services: Vec<_> = reports.into_iter().map(|report| report.service).collect();
    services.dedup();
    let open = |service| Question::OpenSockets { service };
    let close = |service| Question::CloseSockets { service };
    let questions = services.into_iter().flat_map(|service| match verb {
        Verb::Start => vec![open(service)],
        Verb::Stop => vec![close(service)],
        Verb::Restart => vec![close(service.clone()), open(service)],
        Verb::Reload | Verb::IsActive | Verb::DaemonReload => Vec::new(),
    });
    Ok(questions.collect())
}

async fn is_active(launcher: &Launcher, units: &[UnitName]) -> Result<u8, Failed> {
    let reports = launcher.units(units).await.map_err(stopped)?;
    let mut all = reports.len() == units.len();
    for report in reports {
        let state = report.state;
        all &= matches!(state.active, Active::Active | Active::Reloading);
        print(&format!("{}\n", state.active))?;
    }
    Ok(if all { exit_code::DONE } else { NOT_ACTIVE })
}

async fn ask(launcher: &Launcher, question: &Question) -> Result<(), Failure> {
    launcher.follow(question, &mut teller()).await
}

/// Tells people what happens meanwhile.
fn teller() -> impl FnMut(EventKind) {
    let mut teller = Teller::new(false);
    let began = tokio::time::Instant::now();
    let mut records = crate::event::Records::default();
    move |kind| {
        let event = Event::new("", "", began.elapsed(), kind);
        teller.tell(&records.take(event, std::time::SystemTime::UNIX_EPOCH));
    }
}

fn done(asked: Result<(), Failure>) -> Result<u8, Failed> {
    match asked {
        Ok(()) => Ok(exit_code::DONE),
        Err(failure) if failure.effect == Effect::None => Err(said(exit_code::REFUSED, failure)),
        Err(failure) => Err(look_now(failure)),
    }
}

/// Where the launcher is asked; `otherwise` is what to do where there is none.
fn control(config: &ConfigArgs, control: &ControlArgs, otherwise: &str) -> Result<PathBuf, Failed> {
    match scope::reach(config, false, control)?.1 {
        Scope::Launcher(reached) => Ok(reached.control),
        Scope::System | Scope::User { .. } | Scope::Image(_) => Err(Failed::said(
            exit_code::REFUSED,
            "no launcher runs the services of this `zdt.toml`",
        )
        .hint(format!("`zdt-units run` starts one; {otherwise}"))),
    }
}
