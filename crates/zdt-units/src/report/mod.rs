//! Turns values into lines for people and programs.

pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub mod html;
pub mod human;
pub mod json;
pub mod status;
pub(crate) mod timeline;
