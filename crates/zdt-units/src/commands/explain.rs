//! `zdt-units explain`: what follows from `zdt.toml`, and why.

use super::named::refuse_unknown;
use super::{Failed, config_file, print};
use crate::cli::ExplainArgs;
use crate::exit_code;
use crate::render::render;
use crate::report::explain::explain;

pub(super) fn run(args: &ExplainArgs) -> Result<u8, Failed> {
    let read = config_file::read_for_systemd(&args.config)?;
    refuse_unknown(&read.model, &args.services)?;
    let rendered = render(&read.model, &read.source, args.target.target());
    let wanted =
        |name: &str| args.services.is_empty() || args.services.iter().any(|known| known == name);
    print(&explain(&read.model, &rendered, wanted))?;
    super::note(&rendered.notes);
    Ok(exit_code::DONE)
}
