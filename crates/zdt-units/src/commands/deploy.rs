//! `zdt-units deploy`: a new release, copied and then restarted with.

use std::time::SystemTime;

use super::carry_out::Call;
use super::operation::{restart_id, runtime};
use super::restart::find;
use super::scope::Scope;
use super::{Failed, config_file};
use crate::cli::DeployArgs;
use crate::exit_code;
use crate::model::{Model, Name, ReleaseName};
use crate::order::Order;
use crate::plan::Operation;
use crate::release::{Releases, default_name};

pub(super) fn run(args: &DeployArgs) -> Result<u8, Failed> {
    let read = config_file::read(&args.config)?;
    let service = find(&read.model, &args.service)?;
    let named = args.release.as_deref().map(ReleaseName::parse);
    let named = named.transpose().map_err(Failed::usage)?;
    let from = std::path::absolute(&args.from).map_err(|error| {
        let from = args.from.display();
        Failed::said(
            exit_code::STOPPED,
            format!("failed to find `{from}`: {error}"),
        )
    })?;
    let scope = Scope::of(args.user)?;
    let call = Call {
        scope: &scope,
        restart_id: restart_id()?,
        args: &args.change,
        parallel: 1,
    };
    let operation = |seen: &Releases, now| {
        let release = named.unwrap_or_else(|| default_name(now, seen));
        Ok(Operation::Deploy { release, from })
    };
    runtime()?.block_on(change(&call, &read.model, &service.name, operation))
}

/// Puts another release of `service` into service; `operation` chooses it from those that are there.
pub(super) async fn change(
    call: &Call<'_>,
    model: &Model,
    service: &Name,
    operation: impl FnOnce(&Releases, SystemTime) -> Result<Operation, Failed>,
) -> Result<u8, Failed> {
    let mut host = call.scope.connect().await?;
    let order = Order::new(model, |name| name == service);
    let mut planned = Vec::new();
    if let Some(part) = order.parts.first() {
        let observed = call.observe(&mut host, *part).await?;
        let none = Releases::default();
        let operation = operation(observed.releases.as_ref().unwrap_or(&none), observed.at)?;
        planned.push(call.plan(*part, operation, &observed));
    }
    call.carry_out(&order, planned).await
}
