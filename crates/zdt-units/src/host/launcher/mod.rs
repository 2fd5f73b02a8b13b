//! A launcher over its control socket, as a host like systemd.

pub mod connection;
pub mod place;
