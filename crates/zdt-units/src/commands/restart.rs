//! `zdt-units restart`: observe, plan, then print the plan or carry it out.

use std::time::Duration;

use super::guard::{Guard, Wait};
use super::operation::{code, interrupts, restart_id, runtime, stopped, write};
use super::scope::Scope;
use super::{Failed, config_file};
use crate::cli::RestartArgs;
use crate::config::{list, nearest};
use crate::event::{Event, EventKind};
use crate::execute::{Run, execute};
use crate::exit_code;
use crate::host::Host;
use crate::host::systemd::Systemd;
use crate::model::{Breaker, Model, Service};
use crate::observe::Watched;
use crate::plan::{Operation, Plan, Refused, Request, plan};

pub(super) fn run(args: &RestartArgs) -> Result<u8, Failed> {
    let read = config_file::read(&args.config)?;
    let service = find(&read.model, &args.service)?;
    let restart_id = restart_id()?;
    runtime()?.block_on(restart(args, service, &read.model.breaker, &restart_id))
}

async fn restart(
    args: &RestartArgs,
    service: &Service,
    breaker: &Breaker,
    restart_id: &str,
) -> Result<u8, Failed> {
    let name = service.name.as_str();
    let at_once = |kind| {
        let event = Event::new(restart_id, name, Duration::ZERO, kind);
        write(args.json, &event);
    };

    let scope = Scope::of(args.user)?;
    let mut host = scope.connect().await?;
    let guard = match args.dry_run {
        true => None,
        false => {
            let command = format!("restart {name}");
            let wait = Wait::from(&args.wait);
            let guard = Guard::take(&scope, &[&service.name], &command, restart_id, wait).await?;
            guard.admit(&service.name, &Operation::Restart, breaker, args.force)?;
            Some(guard)
        }
    };
    let plan = match prepare(&mut host, service).await? {
        Ok(plan) => plan,
        Err(refused) => {
            at_once(EventKind::refused(&refused));
            return Ok(exit_code::REFUSED);
        }
    };
    let Some(guard) = guard else {
        if args.json {
            at_once(EventKind::planned(&plan, true));
        } else {
            super::print(&plan.to_string())?;
        }
        return Ok(exit_code::DONE);
    };

    let mut under_way = guard.begin(&plan)?;
    let mut sink = |event: Event| {
        under_way.take(&event);
        write(args.json, &event);
    };
    let mut interrupts = interrupts()?;
    let run = Run {
        plan: &plan,
        restart_id,
        interrupts: &mut interrupts,
    };
    let outcome = execute(run, &mut host, &mut sink).await;
    guard.ended(&service.name, breaker, outcome);
    Ok(code(outcome))
}

/// What a restart would do now, or why it is refused.
pub(super) async fn prepare(
    host: &mut Systemd,
    service: &Service,
) -> Result<Result<Plan, Refused>, Failed> {
    let observed = host.observe(&Watched::of(service)).await.map_err(stopped)?;
    Ok(plan(&Request::restart(service), &observed))
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
