//! `zdt-units rollback`: a release that was there before, restarted with.

use super::carry_out::Call;
use super::deploy::change;
use super::named::find;
use super::operation::runtime;
use super::releases::none_kept;
use super::{Failed, scope};
use crate::cli::RollbackArgs;
use crate::exit_code;
use crate::model::{Name, ReleaseName};
use crate::plan::Operation;
use crate::release::Releases;

pub(super) fn run(args: &RollbackArgs) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    let named = args.release.as_deref().map(ReleaseName::parse);
    let (service, named) = Failed::all(
        find(&read.model, &args.service),
        named.transpose().map_err(Failed::usage),
    )?;
    let operation = |seen: &Releases, _| match named.as_ref().or(seen.previous()) {
        Some(release) => Ok(Operation::RollBack {
            release: release.clone(),
        }),
        None if service.release.is_none() => Err(match &service.companion {
            Some(companion) => of_another(&service.name, &companion.of),
            None => none_kept(&service.name),
        }),
        None => {
            let name = &service.name;
            let what = format!("`{name}` has no release that it could be rolled back to");
            Err(Failed::said(exit_code::REFUSED, what).hint(format!(
                "`zdt-units releases {name}` lists those that are there; name one that is to serve"
            )))
        }
    };
    runtime()?.block_on(async {
        let call = Call::new(&read.model, &scope, &args.change)?;
        let done = change(&call, service, operation).await;
        call.finish().await;
        done
    })
}

fn of_another(name: &Name, of: &Name) -> Failed {
    let what = format!("`{name}` runs with the releases of `{of}`");
    Failed::said(exit_code::REFUSED, what)
        .hint(format!("`zdt-units rollback {of}` takes both back"))
}
