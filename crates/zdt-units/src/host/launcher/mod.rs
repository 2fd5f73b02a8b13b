//! The launcher as a service manager, seen from the commands.

pub mod connection;
