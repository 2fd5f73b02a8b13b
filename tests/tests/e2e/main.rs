//! zdt on a really booted systemd, under real load.
//!
//! `cargo test -p zdt-e2e`, as root. Where no machine can be booted the tests
//! are ignored and say why; with `ZDT_E2E=required` they fail instead.
//! `ZDT_E2E_ROOT=DIRECTORY` boots the systemd of another root, made with
//! `debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the edge: reads the environment, prints what it measured"
)]

/// In all modules below, in the place of the one of `std`: what a test prints is kept until it ends, as several run at
/// once.
macro_rules! println {
    ($($what:tt)*) => { crate::lanes::print(format_args!($($what)*)) };
}

mod lanes;
mod launched;

mod ansible;
mod bad;
mod boot;
mod chain;
mod companions;
mod crash;
mod dashboard;
mod drain;
mod events;
mod examples;
mod fleet;
mod gates;
mod guard;
mod handover;
mod health;
mod held;
mod hostile;
mod http2;
mod install;
mod look;
mod orchestrate;
mod overlap;
mod pages;
mod power;
mod programs;
mod releases;
mod restart;
mod stop;
mod strategies;
mod units;
mod verify;

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use zdt_e2e::machine::{self, Builder, Machine};

/// A test gets a fresh machine. It fails by an error or by a panic; either
/// way the machine's journal is printed.
pub(crate) type Test = fn(&Machine) -> Result<(), Box<dyn Error>>;

const TESTS: &[(&str, Test)] = &[
    ("machine_boots", boot::machine_boots),
    ("a_sandbox_holds", boot::a_sandbox_holds),
    ("machines_are_separate", boot::machines_are_separate),
    ("a_machine_leaves_nothing", boot::a_machine_leaves_nothing),
    ("programs_answer", programs::programs_answer),
    (
        "a_bare_http2_client_is_refused_nothing",
        http2::a_bare_http2_client_is_refused_nothing,
    ),
    ("h2load_loses_nothing", http2::h2load_loses_nothing),
    ("restarts_lose_nothing", restart::restarts_lose_nothing),
    (
        "axum_serve_behind_a_gate_loses_nothing",
        restart::axum_serve_behind_a_gate_loses_nothing,
    ),
    (
        "a_slow_request_delays_nobody_else",
        restart::a_slow_request_delays_nobody_else,
    ),
    (
        "every_kind_of_client_keeps_its_requests",
        restart::every_kind_of_client_keeps_its_requests,
    ),
    (
        "odd_clients_end_within_the_limit_and_are_counted",
        drain::odd_clients_end_within_the_limit_and_are_counted,
    ),
    (
        "readiness_is_seen_from_outside",
        drain::readiness_is_seen_from_outside,
    ),
    (
        "a_long_queue_is_answered_with_few_descriptors",
        drain::a_long_queue_is_answered_with_few_descriptors,
    ),
    ("the_watchdog_is_fed", drain::the_watchdog_is_fed),
    (
        "a_crash_loop_never_closes_the_port",
        crash::a_crash_loop_never_closes_the_port,
    ),
    (
        "an_app_without_its_socket_does_not_bind",
        crash::an_app_without_its_socket_does_not_bind,
    ),
    (
        "stop::a_foreign_program_is_stopped_in_order",
        stop::a_foreign_program_is_stopped_in_order,
    ),
    (
        "stop::a_process_that_ends_by_itself_gets_no_signal",
        stop::a_process_that_ends_by_itself_gets_no_signal,
    ),
    (
        "stop::a_process_that_is_gone_is_not_asked_to_stop",
        stop::a_process_that_is_gone_is_not_asked_to_stop,
    ),
    (
        "restarts_are_planned_proved_and_lossless",
        orchestrate::restarts_are_planned_proved_and_lossless,
    ),
    (
        "a_broken_release_is_reported_and_nobody_is_refused",
        orchestrate::a_broken_release_is_reported_and_nobody_is_refused,
    ),
    (
        "a_port_that_closed_behind_an_active_unit_is_noticed",
        orchestrate::a_port_that_closed_behind_an_active_unit_is_noticed,
    ),
    (
        "a_killed_process_is_told_by_the_exit_code",
        orchestrate::a_killed_process_is_told_by_the_exit_code,
    ),
    (
        "verify_tells_a_lossless_service_from_another",
        verify::verify_tells_a_lossless_service_from_another,
    ),
    (
        "verify_refuses_what_restart_refuses",
        verify::verify_refuses_what_restart_refuses,
    ),
    (
        "install_twice_changes_nothing",
        install::install_twice_changes_nothing,
    ),
    (
        "every_strategy_is_installed",
        install::every_strategy_is_installed,
    ),
    (
        "what_costs_nothing_is_told_so",
        install::what_costs_nothing_is_told_so,
    ),
    (
        "what_needs_a_restart_waits_for_it",
        install::what_needs_a_restart_waits_for_it,
    ),
    (
        "an_address_moves_without_a_gap",
        install::an_address_moves_without_a_gap,
    ),
    (
        "a_service_that_binds_by_itself_is_taken_over",
        install::a_service_that_binds_by_itself_is_taken_over,
    ),
    (
        "a_failed_take_over_puts_the_old_service_back",
        install::a_failed_take_over_puts_the_old_service_back,
    ),
    (
        "strangers_and_drift_are_told",
        install::strangers_and_drift_are_told,
    ),
    (
        "images_and_users_have_services_too",
        install::images_and_users_have_services_too,
    ),
    (
        "default_settings_close_the_port",
        crash::default_settings_close_the_port,
    ),
    ("the_shop_loses_nothing", examples::the_shop_loses_nothing),
    (
        "one_writer_at_a_time_and_no_entry_is_lost",
        examples::one_writer_at_a_time_and_no_entry_is_lost,
    ),
    (
        "nginx_before_a_unix_socket_loses_nothing",
        examples::nginx_before_a_unix_socket_loses_nothing,
    ),
    (
        "a_grpc_client_loses_no_call",
        examples::a_grpc_client_loses_no_call,
    ),
    (
        "a_browser_misses_no_event",
        examples::a_browser_misses_no_event,
    ),
    (
        "a_chat_stays_connected_and_misses_nothing",
        examples::a_chat_stays_connected_and_misses_nothing,
    ),
    ("two_ports_lose_nothing", examples::two_ports_lose_nothing),
    (
        "programs_of_others_refuse_nobody",
        examples::programs_of_others_refuse_nobody,
    ),
    (
        "a_site_restarts_and_the_others_do_not_notice",
        examples::a_site_restarts_and_the_others_do_not_notice,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(lanes::COUNT);

    let missing = builder().available().err();
    let required = std::env::var("ZDT_E2E").is_ok_and(|wanted| wanted == "required");
    // A runner that lists first, such as nextest, learns from the list what is
    // ignored. One that runs at once is told the reason by each test.
    let ignored = arguments.list && missing.is_some() && !required;
    let tests: Vec<_> = TESTS
        .iter()
        .chain(ansible::TESTS)
        .chain(chain::tests())
        .chain(companions::TESTS)
        .chain(dashboard::TESTS)
        .chain(events::TESTS)
        .chain(fleet::TESTS)
        .chain(gates::TESTS)
        .chain(look::TESTS)
        .chain(pages::TESTS)
        .chain(held::TESTS)
        .chain(launched::TESTS)
        .chain(releases::TESTS)
        .chain(strategies::TESTS)
        .chain(guard::tests())
        .chain(handover::TESTS)
        .chain(health::TESTS)
        .chain(hostile::tests())
        .chain(overlap::tests())
        .chain(bad::tests())
        .chain(power::tests())
        .copied()
        .collect();
    let trials = lanes::order(tests)
        .map(|(name, test)| {
            let missing = missing.clone();
            let runner = move || match missing {
                None => lanes::run(name, || run(test, required)),
                Some(reason) if required => Err(reason.into()),
                Some(reason) => Ok(Completion::ignored_with(reason)),
            };
            Trial::ignorable_test(name, runner).with_ignored_flag(ignored)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(test: Test, required: bool) -> Result<Completion, Failed> {
    let machine = builder().boot().map_err(|e| chain(&e))?;
    let failure = match catch_unwind(AssertUnwindSafe(|| test(&machine))) {
        Ok(Ok(())) => return Ok(Completion::Completed),
        Ok(Err(error)) => match error.downcast_ref() {
            Some(machine::Error::Unavailable(reason)) if !required => {
                return Ok(Completion::ignored_with(reason));
            }
            _ => chain(error.as_ref()),
        },
        Err(panic) => said(panic.as_ref()),
    };
    let journal = machine.journal_tail(60).unwrap_or_else(|e| chain(&e));
    Err(format!("{failure}\n\nend of the machine's journal:\n{journal}").into())
}

/// A machine of the wanted root, with the test programs in `/opt/zdt/bin`.
fn builder() -> Builder {
    let builder = match std::env::var_os("ZDT_E2E_ROOT") {
        Some(root) => Machine::builder().root(root),
        None => Machine::builder(),
    };
    builder
        .program(env!("CARGO_BIN_EXE_stock"))
        .program(env!("CARGO_BIN_EXE_app"))
        .program(env!("CARGO_BIN_EXE_chain"))
        .program(env!("CARGO_BIN_EXE_giver"))
        .program(env!("CARGO_BIN_EXE_perform"))
        .program(env!("CARGO_BIN_EXE_units"))
        .program(env!("CARGO_BIN_EXE_worker"))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the test panicked")
        .to_owned()
}
