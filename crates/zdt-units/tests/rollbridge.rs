//! `docs/rollbridge.md`: each of its rows names a test, and those that no other one shows are here, with a real launcher
//! and real processes.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these tests are about processes, and say what they saw"
)]

#[path = "rollbridge/launcher.rs"]
mod launcher;
#[path = "rollbridge/manager.rs"]
mod manager;
#[path = "rollbridge/page.rs"]
mod page;
#[path = "rollbridge/processes.rs"]
mod processes;
#[path = "rollbridge/releases.rs"]
mod releases;
