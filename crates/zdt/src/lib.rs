//! Restarts that no client notices.
#![warn(missing_docs)]

#[cfg(feature = "serve")]
mod drain;
#[cfg(feature = "serve")]
mod health;
mod instance;
mod listen;
pub mod notify;
#[cfg(feature = "serve")]
mod serve;

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
pub use self::serve::{Announcing, AnnouncingLayer, Gate, GatedListener};
#[cfg(feature = "serve")]
pub use self::serve::{Cut, Serve, ServeError, Served, serve};
