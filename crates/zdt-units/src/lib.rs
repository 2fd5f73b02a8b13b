//! The launcher behind the `zdt-units` binary.
//!
//! Public so that tests, benchmarks and other programs can plan, run and
//! measure restarts. It carries no semver promise; the binary's exit codes,
//! events and `zdt.toml` do.
//!
//! # One service
//!
//! Look, decide, do: [`host`] looks and does, [`plan`](mod@plan) decides, and [`execute`](mod@execute)
//! is the loop between them. What happens is told as it happens, as [`event::Event`]s.
//!
//! ```no_run
//! use zdt_units::event::{Event, Outcome};
//! use zdt_units::execute::{Interrupts, Run, execute};
//! use zdt_units::host::{Host as _, systemd::Systemd};
//! use zdt_units::model::Service;
//! use zdt_units::observe::Watched;
//! use zdt_units::plan::{Request, plan};
//!
//! async fn restart(service: &Service) -> Result<Outcome, Box<dyn std::error::Error>> {
//!     let mut host = Systemd::connect().await?;
//!     let observed = host.observe(&Watched::of(service)).await?;
//!     let plan = plan(&Request::restart(service), &observed)?;
//!     println!("{plan}"); // as `--dry-run` prints it
//!     let (_, mut interrupts) = Interrupts::channel();
//!     let run = Run {
//!         plan: &plan,
//!         restart_id: "1b196190e5bf4444ad873b96e2f41462",
//!         systemctl: "systemctl",
//!         interrupts: &mut interrupts,
//!     };
//!     Ok(execute(run, &mut host, &mut |event: Event| println!("{event:?}")).await)
//! }
//! ```
//!
//! The locks, the circuit breaker, the record for [`recover`] and the sinks of events are what the
//! command adds. A program that wants them starts `zdt-units restart --json` and reads
//! [`event::Event`]s.
//!
//! # All services
//!
//! [`order::Order`] has them one after the other, each after those that it needs;
//! [`order::Schedule`] says which may go at the same time, and [`execute::roll_out`] begins them.
//!
//! ```
//! use zdt_units::event::Outcome;
//! use zdt_units::execute::{Interrupts, roll_out};
//! use zdt_units::model::Model;
//! use zdt_units::order::{Order, Part, Schedule};
//!
//! let text = r#"
//!     [service.shop]
//!     exec = ["/srv/shop/bin/shop"]
//!     listen = "0.0.0.0:80"
//!     after = ["db"]
//!
//!     [service.db]
//!     unit = "postgresql.service"
//! "#;
//! let model = Model::read("zdt.toml", text).expect("there are no mistakes");
//! let order = Order::new(&model, |_| true);
//! let names: Vec<&str> = order.parts.iter().map(|part| part.name().as_str()).collect();
//! assert_eq!(names, ["db", "shop"]);
//!
//! /// Four at a time, and none after a failure.
//! async fn all(order: &Order<'_>, restart: impl AsyncFn(Part<'_>) -> Outcome) {
//!     let (_, mut interrupts) = Interrupts::channel();
//!     let schedule = Schedule::new(&order.after, 4);
//!     let begin = async |place: usize| restart(order.parts[place]).await;
//!     let outcomes = roll_out(schedule, &mut interrupts, begin).await;
//!     for (part, outcome) in order.parts.iter().zip(outcomes) {
//!         match outcome {
//!             Some(outcome) => println!("{}: {outcome:?}", part.name()),
//!             None => println!("{} was not begun", part.name()),
//!         }
//!     }
//! }
//! ```
//!
//! # What else decides
//!
//! [`install`] what an installation changes and costs, [`release`] which releases are kept and which is
//! the way back, [`breaker`] whether the next operation may begin, [`recover`] what becomes of one that
//! broke off, [`doctor`] what will lose requests. None of them reads a file or a clock.
#![forbid(unsafe_code)]

pub mod balancer;
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
pub mod tool;
pub mod unit_file;
pub mod verify;

pub use commands::main;
