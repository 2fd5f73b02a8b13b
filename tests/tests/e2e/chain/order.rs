//! Who is restarted when, and what a failure means for the others.

use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use zdt_e2e::machine::{Machine, Running};
use zdt_e2e::startup::Gate;

use super::{Told, UNITS, app, install, zdt};
use crate::Test;
use crate::guard::call::Call;

const LIMIT: Duration = Duration::from_secs(30);

pub(super) const TESTS: &[(&str, Test)] = &[
    (
        "chain::branches_restart_side_by_side_up_to_a_limit",
        branches_restart_side_by_side_up_to_a_limit,
    ),
    (
        "chain::a_failure_in_the_middle_begins_no_other",
        a_failure_in_the_middle_begins_no_other,
    ),
    (
        "chain::a_second_restart_is_refused_or_waits_for_all_of_the_first",
        a_second_restart_is_refused_or_waits_for_all_of_the_first,
    ),
];

/// Three that need nothing of each other, and one that needs them all.
fn branches_restart_side_by_side_up_to_a_limit(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let config = [
        app("last", 8080, "after = [\"one\", \"two\", \"three\"]"),
        app("one", 8081, ""),
        app("two", 8082, ""),
        app("three", 8083, ""),
    ];
    install(machine, &config.concat())?;
    for name in ["one", "two", "three"] {
        machine.write_file(&format!("/etc/{name}.env"), "WARMUP_MS=400\n", 0o644)?;
    }
    for (flags, wanted) in [(&["--parallel=1"][..], 1), (&["--parallel=2"], 2), (&[], 3)] {
        let restart = [&["restart", "--all", "--json"], flags].concat();
        let told = Told::read(&zdt(machine, &restart)?.ok()?)?;
        let course = told.course();
        println!("{flags:?}: {}", course.join(", "));
        assert_eq!(told.at_once(), wanted, "{course:?}");
        assert_eq!(course[6..], ["last begins", "last ends"], "{course:?}");
    }
    Ok(())
}

/// `middle` does not start any more. `behind` needs it and is not begun; `aside` needs nothing, runs
/// meanwhile, and comes to its end; `later` would have been next.
fn a_failure_in_the_middle_begins_no_other(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let config = [
        app("first", 8080, ""),
        app("middle", 8081, "after = [\"first\"]"),
        app("behind", 8082, "after = [\"middle\"]"),
        app("aside", 8083, "after = [\"first\"]"),
        app("later", 8084, "after = [\"aside\"]"),
    ];
    install(machine, &config.concat())?;
    machine.write_file("/etc/middle.env", "CRASH=1\n", 0o644)?;
    let pid = |name: &str| machine.show(&format!("{name}.service"), "MainPID");
    let before = [pid("first")?, pid("aside")?, pid("behind")?, pid("later")?];

    let gate = Gate::shut(machine, "aside.service")?;
    let mut failing = Call::start(machine, &["restart", "--all", "--json", "--parallel=2"])?;
    failing.until(|line| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        event["kind"] == "finished" && event["service"] == "middle"
    })?;
    gate.open()?;
    let failed = failing.end()?;
    assert_eq!(failed.code, Some(7), "{}", failed.stdout);
    let told = Told::read(&failed)?;
    println!("{}", told.course().join(", "));
    let ended = |name: &str| {
        let end = told.of_kind("finished").find(|end| end["service"] == name);
        end.map(|end| end["outcome"].clone())
    };
    assert_eq!(told.services("skipped"), ["behind", "later"]);
    assert_eq!(ended("first"), Some("completed".into()));
    assert_eq!(ended("middle"), Some("look_now".into()));
    assert_eq!(ended("aside"), Some("completed".into()));
    let after = [pid("first")?, pid("aside")?, pid("behind")?, pid("later")?];
    assert_ne!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    assert_eq!(before[2..], after[2..]);

    // People read the same.
    let failed = zdt(machine, &["restart", "middle", "behind", "--force"])?;
    assert_eq!(failed.code, Some(7), "{}", failed.stderr);
    let last = failed.stderr.lines().last().unwrap_or_default();
    assert_eq!(last, "`behind` was not begun, because another one failed");
    Ok(())
}

/// Somebody restarts all; meanwhile nobody else restarts one of them, whether its turn has come or not.
fn a_second_restart_is_refused_or_waits_for_all_of_the_first(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let config = [
        app("first", 8080, ""),
        app("last", 8081, "after = [\"first\"]"),
    ];
    install(machine, &config.concat())?;
    let pid = || machine.show("last.service", "MainPID");
    let before = pid()?;
    let gate = Gate::shut(machine, "first.service")?;
    let mut all = machine.command(&[UNITS, "restart", "--all"]);
    let all = all.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut all = Running(all);
    machine.wait_until(LIMIT, "the first one restarts", |machine| {
        let state = machine.show("first.service", "ActiveState");
        state.is_ok_and(|state| state == "activating")
    })?;

    let refused = zdt(machine, &["restart", "last"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    print!("{}", refused.stderr);
    assert_eq!(
        without_figures(&refused.stderr),
        "error: `zdt-units restart first last` (process N, of root, since N-N-NTN:N:NZ) is at work on `last`; \
         nothing was touched\n\nhint: wait for its end with `--wait`, or for so long with `--wait=Ns`\n"
    );
    let given_up = zdt(machine, &["restart", "last", "--wait=100ms"])?;
    assert_eq!(given_up.code, Some(4), "{}", given_up.stderr);
    assert_eq!(pid()?, before, "it was touched");

    let mut waits = Call::start(machine, &["restart", "last", "--wait"])?;
    waits.until(|line| line.starts_with("note: waiting for "))?;
    gate.open()?;
    let waited = waits.end()?.ok()?;
    let first = waited.stderr.lines().next().unwrap_or_default();
    assert_eq!(
        without_figures(first),
        "note: waiting for `zdt-units restart first last` (process N, of root, since N-N-NTN:N:NZ)"
    );
    assert!(all.0.wait()?.success());
    // Once by each of the two.
    let journal = machine.journal("last.service")?;
    assert_eq!(journal.matches("Started last.service").count(), 3);
    Ok(())
}

/// Each number as `N`.
fn without_figures(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char.is_ascii_digit() {
            true if out.ends_with('N') => {}
            true => out.push('N'),
            false => out.push(char),
        }
    }
    out
}
