//! `zdt-units sweep`, hidden: what a generated unit runs after each start.

use std::io::{self, Write};

use super::Failed;
use crate::cli::SweepArgs;
use crate::event;
use crate::exit_code;
use crate::host::handover;

pub(super) fn run(args: &SweepArgs) -> Result<u8, Failed> {
    let pid = args.pid;
    let closed = handover::close_untaken(pid).map_err(|error| {
        Failed::unexpected(format!("failed to look into process {pid}: {error}")).hint(
            "this takes root, or the process's own user; a unit gives it with `ExecStartPost=-+`",
        )
    })?;
    if closed > 0 {
        let _ = writeln!(io::stderr(), "{}", event::untaken(pid, closed));
    }
    Ok(exit_code::DONE)
}
