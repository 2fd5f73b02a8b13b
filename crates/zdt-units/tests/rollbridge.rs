//! `docs/rollbridge.md`: each of its rows names a test, and those that no other one shows are here, with a real launcher
//! and real processes.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests are about processes"
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
