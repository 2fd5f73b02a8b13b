//! Restarts that no client notices.
//!
//! A service manager (systemd, or `zdt-units run`) holds the listening socket.
//! This crate takes it over, answers requests, and stops so that nothing is
//! lost: what was accepted is answered, and what was not accepted waits in the
//! kernel for the next process.
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let app = Router::new().route("/", get(|| async { "hello\n" }));
//!     let served = zdt::serve(zdt::listener_or("127.0.0.1:8080")?, app).await?;
//!     eprintln!("{served}");
//!     Ok(())
//! }
//! ```
//!
//! # What is where
//!
//! | to | use |
//! | --- | --- |
//! | take over sockets, by name or all of them | [`listener`], [`listener_or`], [`listeners`] |
//! | serve and drain | [`serve`], and [`Gate`] for those who keep `axum::serve` |
//! | say when the app is ready | [`Health`] |
//! | keep WebSockets and other descriptors open over a restart | [`handover`] |
//! | end WebSockets and event streams in time | [`Drain`], [`Watch`] |
//! | talk to the service manager | [`notify`] |
//!
//! # Environment
//!
//! | variable | meaning |
//! | --- | --- |
//! | `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES` | what was passed (`sd_listen_fds(3)`) |
//! | `ZDT_DRAIN_GRACE`, `ZDT_DRAIN_LIMIT`, `ZDT_DRAIN_LINGER` | durations such as `30s` or `500ms`; they replace what the program says |
//! | `ZDT_HANDOVER` | `1`: connections go to the next process through the manager's descriptor store; `0`: never. Else as `FDSTORE` says (systemd 254) |
//! | `ZDT_HANDOVER_DIR` | where processes that serve at the same time hand over to each other |
//! | `ZDT_RELOAD` | `1`: SIGHUP starts the program again, and the new process takes over |
//! | `ZDT_RELOAD_LIMIT` | how long that new process may take until it is ready; then this one goes on. Default `60s` |
//! | `ZDT_ALLOW_BIND` | `1`: bind even where systemd should have passed a socket |
//! | `ZDT_RELEASE`, `ZDT_GENERATION`, `INVOCATION_ID` | named in the [`Instance`] |
//! | `NOTIFY_SOCKET`, `WATCHDOG_USEC` | where the manager listens, and how often it wants to hear; see [`notify`] |
//!
//! None of them is changed or removed.
//!
//! # Features
//!
//! - `axum` (default): all of it.
//! - `serve`: without axum; any tower service.
//! - `tokio`: listeners as tokio types.
//! - none: listeners as types of the standard library, and [`notify`].
//!
//! Linux is the target. On other Unixes listeners are bound by address and
//! everything else works the same; that is for development.
#![warn(missing_docs)]

#[cfg(feature = "serve")]
mod drain;
#[cfg(feature = "serve")]
pub mod handover;
#[cfg(feature = "serve")]
mod health;
mod instance;
mod listen;
pub mod notify;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod signal;

#[cfg(feature = "serve")]
pub use self::drain::{Drain, Hold, Watch};
#[cfg(feature = "serve")]
pub use self::health::{Check, Health, State};
pub use self::instance::{Instance, instance};
#[cfg(feature = "tokio")]
pub use self::listen::{Incoming, Peer, Stream};
pub use self::listen::{
    ListenError, Listener, Listeners, Socket, listener, listener_or, listeners,
};
#[cfg(feature = "axum")]
pub use self::serve::{Announcing, AnnouncingLayer, Gate, GatedListener, GatedStream};
#[cfg(feature = "serve")]
pub use self::serve::{App, Cut, Serve, ServeError, Served, serve};

/// The programs in the documents compile.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/library.md")]
#[doc = include_str!("../../../docs/handover.md")]
#[doc = include_str!("../../../docs/ten-minutes.md")]
#[doc = include_str!("../../../docs/kubernetes.md")]
struct Documents;
