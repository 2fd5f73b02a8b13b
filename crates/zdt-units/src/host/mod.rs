//! What has effects: the two ways to run services.

pub mod supervisor;
