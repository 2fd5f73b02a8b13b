//! What the end-to-end tests stand on: a booted systemd, load, odd clients,
//! and the application that the test programs serve.

pub mod browser;
pub mod client;
pub mod fault;
pub mod idle;
pub mod load;
pub mod machine;
pub mod network;
pub mod router;
pub mod stamps;
pub mod startup;
