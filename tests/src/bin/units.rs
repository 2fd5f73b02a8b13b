//! `zdt-units`, as a program that the tests can find.

use std::process::ExitCode;

fn main() -> ExitCode {
    zdt_units::main()
}
