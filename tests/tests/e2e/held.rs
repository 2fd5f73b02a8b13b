//! Connections that outlive a restart: the same socket, answered by the next process.

mod bad_ways;
mod idle;
mod overlap;
mod restarts;
mod run;

use std::error::Error;

use zdt_e2e::load::Load;
use zdt_e2e::machine::{Machine, Output};
use zdt_units::probe::{Held, Report};

use crate::units;

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    (
        "held::connections_outlive_twenty_restarts",
        restarts::connections_outlive_twenty_restarts,
    ),
    (
        "held::each_listener_keeps_its_connections",
        restarts::each_listener_keeps_its_connections,
    ),
    (
        "held::a_half_said_word_is_not_lost",
        restarts::a_half_said_word_is_not_lost,
    ),
    (
        "held::idle_connections_cost_next_to_nothing",
        idle::idle_connections_cost_next_to_nothing,
    ),
    (
        "held::a_crash_before_the_takeover_loses_nobody",
        bad_ways::a_crash_before_the_takeover_loses_nobody,
    ),
    (
        "held::a_crash_loses_what_the_process_held",
        bad_ways::a_crash_loses_what_the_process_held,
    ),
    (
        "held::without_a_store_the_close_is_announced",
        bad_ways::without_a_store_the_close_is_announced,
    ),
    (
        "held::few_descriptors_are_enough",
        bad_ways::few_descriptors_are_enough,
    ),
    (
        "held::a_listener_that_is_gone_closes_its_connections",
        bad_ways::a_listener_that_is_gone_closes_its_connections,
    ),
    (
        "held::a_stop_closes_and_a_rollback_hangs_nobody",
        bad_ways::a_stop_closes_and_a_rollback_hangs_nobody,
    ),
    (
        "held::a_standby_takes_connections_meanwhile",
        overlap::a_standby_takes_connections_meanwhile,
    ),
    (
        "held::instances_take_connections_from_each_other",
        overlap::instances_take_connections_from_each_other,
    ),
    (
        "held::a_killed_sibling_takes_only_its_own",
        overlap::a_killed_sibling_takes_only_its_own,
    ),
    (
        "held::connections_outlive_restarts_without_systemd",
        run::connections_outlive_restarts_without_systemd,
    ),
];

/// The smallest service that hands over.
const APP: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
nofile = 20000
handover = true
"#;

/// Units of the smallest service that hands over, with more lines about it.
fn app(machine: &Machine, more: &str) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, &format!("{APP}{more}"))
}

/// Settings of the next process.
fn setting(machine: &Machine, lines: &str) -> Result<(), Box<dyn Error>> {
    Ok(machine.write_file("/etc/app.env", lines, 0o644)?)
}

/// Connections on `address` that are held, each with a request so `often`.
fn hold(
    machine: &Machine,
    address: &str,
    count: usize,
    often: &str,
) -> Result<Load, Box<dyn Error>> {
    let (hold, every) = (format!("--hold={count}"), format!("--every={often}"));
    let flags = [address, hold.as_str(), every.as_str()];
    Ok(Load::start(machine, env!("CARGO_BIN_EXE_units"), &flags)?)
}

fn held(report: &Report) -> Held {
    report.total.held.clone().unwrap_or_default()
}

/// Says what was measured, and that every connection is the one that was opened.
fn all_kept(what: &str, report: &Report) {
    println!("{what}: {}", summary(report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert_eq!(report.lost_connections(), 0, "{report}");
    let held = held(report);
    assert!(held.connections > 0, "{report}");
    // Each was opened once.
    assert_eq!(
        report.total.connections.opened, held.connections,
        "{report}"
    );
}

fn summary(report: &Report) -> String {
    let ms = |micros: u64| micros as f64 / 1e3;
    let latency = report.total.latency;
    format!(
        "{}; {}; wait p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        held(report),
        report.total.outcomes,
        ms(latency.p50_us),
        ms(latency.p99_us),
        ms(latency.max_us)
    )
}

/// The last line that the library left in the journal about its drain.
fn last_drain(machine: &Machine, unit: &str) -> Result<String, Box<dyn Error>> {
    let journal = machine.journal(unit)?;
    let line = journal.lines().rfind(|line| line.contains("drained in"));
    let line = line.and_then(|line| line.split_once("drained in"));
    Ok(line.map_or_else(String::new, |(_, said)| format!("drained in{said}")))
}

fn systemctl(machine: &Machine, args: &[&str]) -> Result<Output, Box<dyn Error>> {
    Ok(machine.systemctl(args)?.ok()?)
}
