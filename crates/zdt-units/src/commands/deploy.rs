//! `zdt-units deploy`: a new release, copied and then restarted with.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::carry_out::Call;
use super::named::find;
use super::operation::runtime;
use super::{Failed, scope};
use crate::cli::DeployArgs;
use crate::exit_code;
use crate::model::{ReleaseName, Service};
use crate::observe::Observed;
use crate::order::{Order, Part};
use crate::plan::Operation;
use crate::release::{Releases, default_name};

pub(super) fn run(args: &DeployArgs) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    let named = args.release.as_deref().map(ReleaseName::parse);
    let (service, (named, from)) = Failed::all(
        find(&read.model, &args.service),
        Failed::all(named.transpose().map_err(Failed::usage), source(&args.from)),
    )?;
    let operation = |seen: &Releases, now| {
        let release = named.clone().unwrap_or_else(|| default_name(now, seen));
        let from = from.clone();
        Ok(Operation::Deploy { release, from })
    };
    runtime()?.block_on(async {
        let call = Call::new(&read.model, &scope, &args.change)?;
        let done = change(&call, service, operation).await;
        call.finish().await;
        done
    })
}

fn source(from: &Path) -> Result<PathBuf, Failed> {
    let found = std::path::absolute(from).and_then(|path| path.metadata().map(|_| path));
    found.map_err(|error| {
        let what = format!("failed to find `{}`: {error}", from.display());
        Failed::said(exit_code::STOPPED, what)
            .hint("name a directory, an archive (`.tar`, `.tar.gz`) or one program")
    })
}

/// Puts another release of `service` into service; `operation` chooses it from those that are there.
pub(super) async fn change(
    call: &Call<'_>,
    service: &Service,
    operation: impl Fn(&Releases, SystemTime) -> Result<Operation, Failed>,
) -> Result<u8, Failed> {
    let mut host = call.scope.connect().await?;
    let part = Part::Own(service);
    let choose = |observed: &Observed| {
        let none = Releases::default();
        operation(observed.releases.as_ref().unwrap_or(&none), observed.at)
    };
    let order = Order::new(call.model, |name| *name == service.name);
    let chosen = choose(&call.observe(&mut host, part).await?)?;
    let guard = call.guard(&order, &chosen).await?;
    call.catch_up(&mut host).await?;
    // Those who were waited for may have brought another one.
    let observed = call.observe(&mut host, part).await?;
    let planned = call.plan(part, choose(&observed)?, &observed);
    call.carry_out(&order, vec![planned], guard).await
}
