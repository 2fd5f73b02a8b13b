//! `zdt-units restart`: observe, plan, then print the plans or carry them out.

use std::collections::{BTreeMap, BTreeSet};

use super::carry_out::Call;
use super::operation::{runtime, stopped};
use super::{Failed, scope};
use crate::cli::RestartArgs;
use crate::config::{list, nearest};
use crate::event::EventKind;
use crate::exit_code;
use crate::host::Host;
use crate::model::{Model, Name, Service};
use crate::observe::Watched;
use crate::order::Order;
use crate::plan::{Operation, Plan, Refused, Request, plan};

/// How many services are restarted at the same time, where nobody says.
pub(super) const PARALLEL: usize = 4;

pub(super) fn run(args: &RestartArgs) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    let names = names(&read.model, &args.services)?;
    runtime()?.block_on(async {
        let mut call = Call::new(&read.model, &scope, &args.change)?;
        call.parallel = args.parallel.map_or(PARALLEL, |number| {
            usize::try_from(number).unwrap_or(usize::MAX)
        });
        let done = restart(args, names, &call).await;
        call.finish().await;
        done
    })
}

async fn restart(args: &RestartArgs, names: BTreeSet<Name>, call: &Call<'_>) -> Result<u8, Failed> {
    let mut host = call.scope.connect().await?;
    let wanted = Order::new(call.model, |name| args.all || names.contains(name));
    let guard = call.guard(&wanted, &Operation::Restart).await?;
    call.catch_up(&mut host).await?;
    let mut seen = BTreeMap::new();
    for part in &wanted.parts {
        let mut observed = call.observe(&mut host, *part).await?;
        if !args.only_changed || !observed.is_unchanged() {
            seen.insert(part.name(), observed);
            continue;
        }
        call.tell(part.name().as_str(), EventKind::Unchanged);
        let companions = call.companions(*part).into_iter();
        for (service, observed) in companions.zip(std::mem::take(&mut observed.companions)) {
            match observed.is_unchanged() {
                true => call.tell(service.name.as_str(), EventKind::Unchanged),
                false => _ = seen.insert(&service.name, observed),
            }
        }
    }
    let order = Order::new(call.model, |name| seen.contains_key(name));
    let planned = order.parts.iter().map(|part| {
        let observed = &seen[part.name()];
        call.plan(*part, Operation::Restart, observed)
    });
    let planned = planned.collect();
    call.carry_out(&order, planned, guard).await
}

/// What a restart would do now, or why it is refused.
pub(super) async fn prepare(
    host: &mut impl Host,
    service: &Service,
) -> Result<Result<Plan, Refused>, Failed> {
    let observed = host.observe(&Watched::of(service)).await.map_err(stopped)?;
    Ok(plan(&Request::restart(service), &observed))
}

pub(super) fn names(model: &Model, wanted: &[String]) -> Result<BTreeSet<Name>, Failed> {
    refuse_unknown(model, wanted)?;
    let is_wanted = |name: &&Name| wanted.iter().any(|wanted| wanted == name.as_str());
    Ok(all(model).filter(is_wanted).cloned().collect())
}

fn all(model: &Model) -> impl Iterator<Item = &Name> {
    let own = model.services.iter().map(|service| &service.name);
    own.chain(model.foreign.iter().map(|unit| &unit.name))
}

/// All that are unknown are told at once.
pub(super) fn refuse_unknown(model: &Model, wanted: &[String]) -> Result<(), Failed> {
    let known: Vec<&str> = all(model).map(Name::as_str).collect();
    let wanted = wanted.iter().map(String::as_str);
    let unknown: Vec<&str> = wanted.filter(|name| !known.contains(name)).collect();
    match unknown.as_slice() {
        [] => Ok(()),
        [one] => Err(unknown_name(one, &known)),
        several => {
            let what = format!("there are no services {} in `zdt.toml`", list(several));
            Err(Failed::said(exit_code::USAGE, what).hint(format!("there is {}", list(&known))))
        }
    }
}

/// The service of that name, which is not a unit of others.
pub(super) fn find<'m>(model: &'m Model, name: &str) -> Result<&'m Service, Failed> {
    model.service(name).ok_or_else(|| {
        let own = model.services.iter();
        let known: Vec<_> = own.map(|service| service.name.as_str()).collect();
        let foreign = model.foreign.iter().find(|unit| unit.name.as_str() == name);
        match foreign {
            Some(foreign) => {
                let unit = &foreign.unit;
                let what = format!("`{name}` is `{unit}`, whose sockets are not ours to keep open");
                Failed::said(exit_code::USAGE, what)
                    .hint(format!("name a service of ours; there is {}", list(&known)))
            }
            None => unknown_name(name, &known),
        }
    })
}

pub(super) fn unknown_name(name: &str, known: &[&str]) -> Failed {
    let what = format!("there is no service `{name}` in `zdt.toml`");
    let failed = Failed::said(exit_code::USAGE, what);
    match nearest(name, known) {
        Some(meant) => failed.hint(format!("did you mean `{meant}`?")),
        None => failed.hint(format!("there is {}", list(known))),
    }
}
