//! What every generated unit must pass, on each systemd that is supported: `ZDT_E2E_ROOT` says which one boots, and
//! `tests/roots.sh` makes the others.

mod load;
mod port;
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
    (
        "gates::port_survives_six_quick_restarts",
        port::six_quick_restarts,
    ),
    (
        "gates::port_survives_a_failing_dependency",
        port::a_failing_dependency,
    ),
    (
        "gates::port_survives_a_missing_program",
        port::a_missing_program,
    ),
    (
        "gates::port_survives_an_unknown_user",
        port::an_unknown_user,
    ),
    (
        "gates::port_survives_a_start_that_hangs",
        port::a_start_that_hangs,
    ),
    (
        "gates::port_survives_stopping_the_service",
        port::stopping_the_service,
    ),
    (
        "gates::port_survives_killing_the_process",
        port::killing_the_process,
    ),
    ("gates::port_survives_the_watchdog", port::the_watchdog),
    (
        "gates::port_survives_the_manager_reloads_during_a_restart",
        port::the_manager_reloads_during_a_restart,
    ),
    (
        "gates::a_masked_service_is_refused",
        port::a_masked_service_is_refused,
    ),
];
