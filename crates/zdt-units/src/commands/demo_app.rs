//! `zdt-units demo-app`, hidden: the program that the demo restarts.

use super::Failed;
use crate::cli::DemoAppArgs;
use crate::demo;
use crate::exit_code;

pub(super) fn run(args: &DemoAppArgs) -> Result<u8, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::unexpected(format!("failed to start the runtime: {error}")))?;
    let served = runtime.block_on(async {
        match args.stock {
            true => demo::stock().await,
            false => demo::zdt().await,
        }
    });
    served
        .map(|()| exit_code::DONE)
        .map_err(|error| Failed::unexpected(error.to_string()))
}
