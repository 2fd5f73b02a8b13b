//! Operations that are killed at each of their steps: the launcher alone, and the whole machine. What they leave is
//! named, and taken back or ended, by `zdt-units recover`.

mod cut;
mod killed;
mod moment;
mod world;

pub(crate) fn tests() -> impl Iterator<Item = &'static (&'static str, crate::Test)> {
    [killed::TESTS, cut::TESTS].into_iter().flatten()
}
