//! What every generated unit must pass, on each systemd that is supported: `ZDT_E2E_ROOT` says which one boots, and
//! `tests/roots.sh` makes the others.

mod load;
mod round_trip;

use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "gates::generated_units_load_without_a_word",
        load::generated_units_load_without_a_word,
    ),
    (
        "gates::generated_units_are_not_exposed",
        load::generated_units_are_not_exposed,
    ),
    (
        "gates::what_the_model_accepts_arrives_exactly",
        round_trip::what_the_model_accepts_arrives_exactly,
    ),
];
