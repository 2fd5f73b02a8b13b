//! `zdt-units restart`: observe, plan, then print the plan or carry it out.

use std::time::Duration;

use super::operation::{Told, code, interrupts, restart_id, runtime, stopped};
use super::scope::Scope;
use super::{Failed, config_file};
use crate::cli::RestartArgs;
use crate::config::{list, nearest};
use crate::event::{Event, EventKind};
use crate::execute::{Run, execute};
use crate::exit_code;
use crate::host::Host;
use crate::host::systemd::Systemd;
use crate::model::{Model, Service};
use crate::observe::Watched;
use crate::plan::{Plan, Refused, Request, plan};

pub(super) fn run(args: &RestartArgs) -> Result<u8, Failed> {
    let read = config_file::read(&args.config)?;
    let service = find(&read.model, &args.service)?;
    let restart_id = restart_id()?;
    let scope = Scope::of(args.user)?;
    runtime()?.block_on(async {
        let mut told = match args.dry_run {
            true => Told::here(args.json),
            false => Told::open(args.json, &read.model.events, &scope),
        };
        let done = restart(args, &scope, service, &restart_id, &mut told).await;
        told.finish().await;
        done
    })
}

async fn restart(
    args: &RestartArgs,
    scope: &Scope,
    service: &Service,
    restart_id: &str,
    told: &mut Told,
) -> Result<u8, Failed> {
    let at_once = |kind| Event::new(restart_id, service.name.as_str(), Duration::ZERO, kind);

    let mut host = scope.connect().await?;
    let plan = match prepare(&mut host, service).await? {
        Ok(plan) => plan,
        Err(refused) => {
            told.tell(at_once(EventKind::refused(&refused)));
            return Ok(exit_code::REFUSED);
        }
    };
    if args.dry_run {
        if args.json {
            told.tell(at_once(EventKind::planned(&plan, true)));
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
    let mut sink = |event| told.tell(event);
    Ok(code(execute(run, &mut host, &mut sink).await))
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
