//! `zdt-units uninstall`: stop, remove, put back.

use super::install::Said;
use super::operation::Told;
use super::scope::Scope;
use super::{Failed, operation};
use crate::cli::UninstallArgs;
use crate::event::EventKind;
use crate::exit_code;
use crate::host::image::Image;
use crate::host::look::{Wish, look};
use crate::install;
use crate::model::{Events, Name, UnitName};

pub(super) fn run(args: &UninstallArgs) -> Result<u8, Failed> {
    let names = args.services.iter().map(|name| service(name));
    let names: Vec<Name> = names.collect::<Result<_, _>>()?;
    let scope = match &args.root {
        Some(root) => Scope::Image(root.clone()),
        None => Scope::of(args.user)?,
    };
    if !args.dry_run {
        scope.may_write("uninstall")?;
    }
    let _lock = (!args.dry_run).then(|| scope.lock()).transpose()?;
    operation::runtime()?.block_on(async {
        let told = match args.dry_run {
            true => Told::here(args.json),
            // Without a `zdt.toml` they go where they go by default.
            false => Told::open(args.json, &Events::default(), &scope),
        };
        let said = Said::new(told)?;
        let done = uninstall(args, &scope, &names, &said).await;
        said.finish().await;
        done
    })
}

/// `shop` or `shop.service`.
fn service(text: &str) -> Result<Name, Failed> {
    let name = text.strip_suffix(".service").unwrap_or(text);
    Name::parse(name).map_err(Failed::usage)
}

async fn uninstall(
    args: &UninstallArgs,
    scope: &Scope,
    names: &[Name],
    said: &Said,
) -> Result<u8, Failed> {
    let mut systemd = match scope {
        Scope::Image(_) => None,
        Scope::System | Scope::User { .. } | Scope::Launcher(_) => {
            Some(scope.connect_systemd().await?)
        }
    };
    let units: Vec<UnitName> = names.iter().map(UnitName::service).collect();
    let place = scope.place();
    let wish = Wish {
        place: &place,
        others: scope.others(),
        units: &units,
    };
    let seen = look(wish, None, systemd.as_ref()).await;
    let plan = install::uninstall(names, &seen.map_err(operation::stopped)?);
    if plan.steps.is_empty() {
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        let names = crate::config::list(&names);
        said.talk(&format!(
            "nothing to do: zdt-units has no units of {names} installed\n"
        ));
        return Ok(exit_code::DONE);
    }
    if args.dry_run && args.json {
        said.tell(EventKind::uninstall_planned(&plan, true));
        return Ok(exit_code::DONE);
    }
    if args.dry_run {
        super::print(&plan.to_string())?;
        return Ok(exit_code::DONE);
    }
    said.tell(EventKind::uninstall_planned(&plan, false));
    said.talk(&format!("{}\n", plan.changes()));
    let mut interrupts = operation::interrupts()?;
    let outcome = match &mut systemd {
        Some(systemd) => {
            said.steps(&plan.steps, &[], &plan.gaps, systemd, &mut interrupts)
                .await
        }
        None => {
            said.steps(&plan.steps, &[], &[], &mut Image, &mut interrupts)
                .await
        }
    };
    Ok(operation::code(outcome))
}
