//! `zdt-units stop` and `start`: services that are to be down, and up again.

use super::carry_out::Call;
use super::named::{find, names};
use super::operation::runtime;
use super::restart::PARALLEL;
use super::{Failed, scope};
use crate::cli::{ChangeArgs, StopArgs};
use crate::order::Order;
use crate::plan::Operation;

pub(super) fn stop(args: &StopArgs) -> Result<u8, Failed> {
    run(args, &Operation::Stop)
}

pub(super) fn start(args: &StopArgs) -> Result<u8, Failed> {
    run(args, &Operation::Start)
}

fn run(args: &StopArgs, operation: &Operation) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    let names = names(&read.model, &args.services)?;
    // Units of others are not ours to stop.
    let own = args
        .services
        .iter()
        .map(|name| find(&read.model, name).map(|_| ()));
    own.collect::<Result<(), Failed>>()?;
    let change = ChangeArgs::of_stop(args);
    runtime()?.block_on(async {
        let mut call = Call::new(&read.model, &scope, &change)?;
        call.parallel = PARALLEL;
        let is_own = |name: &str| read.model.service(name).is_some();
        let order = Order::new(&read.model, |name| {
            names.contains(name) || (args.all && is_own(name.as_str()))
        });
        let order = match operation {
            Operation::Stop => order.reversed(),
            _ => order,
        };
        let done = all(&call, &order, operation).await;
        call.finish().await;
        done
    })
}

async fn all(call: &Call<'_>, order: &Order<'_>, operation: &Operation) -> Result<u8, Failed> {
    let mut host = call.scope.connect().await?;
    let guard = call.guard(order, operation).await?;
    call.catch_up(&mut host).await?;
    let mut planned = Vec::new();
    for part in &order.parts {
        let observed = call.observe(&mut host, *part).await?;
        planned.push(call.plan(*part, operation.clone(), &observed));
    }
    call.carry_out(order, planned, guard).await
}
