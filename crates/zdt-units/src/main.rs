//! Everything is in the library; see `zdt_units::main`.

fn main() -> std::process::ExitCode {
    zdt_units::main()
}
