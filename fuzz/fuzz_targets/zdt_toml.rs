//! Any text as a `zdt.toml`.
#![no_main]

#[path = "../../crates/zdt-units/tests/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &str| checks::text(text));
