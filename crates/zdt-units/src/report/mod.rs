//! Turns values into lines for people and programs.

pub mod brief;
pub mod dashboard;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub mod history;
pub mod html;
pub mod human;
pub mod json;
pub mod metrics;
pub mod progress;
pub(crate) mod releases;
mod sentry;
pub mod status;
pub(crate) mod timeline;
