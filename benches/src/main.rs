//! Benchmarks that pair two things in one run and give the ratio.
//!
//! Run with `cargo run --release -p zdt-bench -- throughput`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark starts processes, reads clocks, and prints"
)]

mod throughput;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Requests per second of `zdt::serve` against `axum::serve`.
    Throughput(throughput::Args),
    /// One of the two servers, started by the benchmark.
    #[command(hide = true)]
    Server { which: throughput::Server },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cli::parse().command {
        Command::Throughput(args) => throughput::run(&args).await,
        Command::Server { which } => throughput::serve(which).await,
    }
}
