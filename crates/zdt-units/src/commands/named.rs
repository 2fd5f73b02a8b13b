//! Services by the names that are given on a command line.

use std::collections::BTreeSet;

use super::Failed;
use crate::config::{list, nearest};
use crate::exit_code;
use crate::model::{Model, Name, Service};

/// All that are `wanted`, each once.
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
