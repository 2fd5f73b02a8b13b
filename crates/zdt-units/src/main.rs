//! The `zdt-units` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    zdt_units::main()
}
