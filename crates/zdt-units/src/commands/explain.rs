//! `zdt-units explain`: what follows from `zdt.toml`, and why.

use super::{Failed, config_file, print};
use crate::cli::ExplainArgs;
use crate::config::{list, nearest};
use crate::exit_code;
use crate::model::Model;
use crate::render::render;
use crate::report::explain::explain;

pub(super) fn run(args: &ExplainArgs) -> Result<u8, Failed> {
    let read = config_file::read(&args.config)?;
    refuse_unknown(&read.model, &args.services)?;
    let rendered = render(&read.model, &read.source, args.target.target());
    let wanted =
        |name: &str| args.services.is_empty() || args.services.iter().any(|known| known == name);
    print(&explain(&read.model, &rendered, wanted))?;
    super::note(&rendered.notes);
    Ok(exit_code::DONE)
}

pub(super) fn refuse_unknown(model: &Model, wanted: &[String]) -> Result<(), Failed> {
    let services = model.services.iter().map(|service| &service.name);
    let foreign = model.foreign.iter().map(|foreign| &foreign.name);
    let known: Vec<&str> = services.chain(foreign).map(|name| name.as_str()).collect();
    let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let failed = Failed::said(
        exit_code::USAGE,
        format!("there is no service `{unknown}` in `zdt.toml`"),
    );
    Err(match nearest(unknown, &known) {
        Some(meant) => failed.hint(format!("did you mean `{meant}`?")),
        None => failed.hint(format!("there is {}", list(&known))),
    })
}
