//! What `zdt-units demo` does: restarts a small app under load, once as zdt
//! serves it and once by the usual recipe, and shows what clients met.
//!
//! `app` is the program, `schedule` what happens when, `measure` does it, `text`
//! shows it.

mod app;
mod measure;
mod schedule;
mod text;

use serde::Serialize;

pub(crate) use self::app::{stock, zdt};
pub(crate) use self::measure::{DemoError, Measured, Program, Progress, measure};
pub(crate) use self::schedule::Schedule;
pub(crate) use self::text::{introduction, results};

/// Both programs under the same load.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    /// The version of this shape.
    v: u32,
    zdt: Measured,
    stock: Measured,
    /// How many threads of the machine the load and the app shared.
    cpus: usize,
}

impl Compared {
    pub(crate) fn new(zdt: Measured, stock: Measured, cpus: usize) -> Self {
        Self {
            v: 1,
            zdt,
            stock,
            cpus,
        }
    }

    /// Requests that zdt lost.
    pub(crate) fn lost(&self) -> u64 {
        self.zdt.report.lost()
    }

    /// Whether the client itself was well on both runs.
    pub(crate) fn is_valid(&self) -> bool {
        self.zdt.report.valid && self.stock.report.valid
    }
}
