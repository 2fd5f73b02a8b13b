//! `zdt-units restart`: observe, plan, then print the plans or carry them out.

use std::collections::{BTreeMap, BTreeSet};

use super::carry_out::Call;
use super::named::names;
use super::operation::{runtime, stopped};
use super::{Failed, scope};
use crate::cli::RestartArgs;
use crate::event::EventKind;
use crate::host::Host;
use crate::model::{Name, Service};
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
