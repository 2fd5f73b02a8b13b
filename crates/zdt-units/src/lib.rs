//! The launcher behind the `zdt-units` binary.
//!
//! Public so that tests, benchmarks and other programs can plan, run and
//! measure restarts. It carries no semver promise; the binary's exit codes,
//! events and `zdt.toml` do.
#![forbid(unsafe_code)]

pub mod breaker;
pub mod cli;
mod commands;
pub mod config;
mod demo;
pub mod doctor;
pub mod event;
pub mod execute;
pub mod exit_code;
pub mod host;
pub mod install;
pub mod model;
pub mod observe;
pub mod order;
pub mod plan;
pub mod probe;
pub mod recover;
pub mod release;
pub mod render;
pub mod report;
pub mod sockets;
mod stamp;
pub mod status;
pub mod unit_file;
pub mod verify;

pub use commands::main;
