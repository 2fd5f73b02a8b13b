//! Turns values into lines for people and programs.

pub(crate) mod diff;
pub(crate) mod explain;
pub mod html;
pub mod human;
pub mod json;
pub(crate) mod releases;
pub(crate) mod timeline;
