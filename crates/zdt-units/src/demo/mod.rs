//! What `zdt-units demo` shows: restarts of a small app under load.

mod app;

pub(crate) use app::{stock, zdt};
