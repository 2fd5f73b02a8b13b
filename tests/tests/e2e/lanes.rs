//! Which tests run side by side, how long each takes, and what it prints.
//!
//! Most tests wait: for a start, a drain, a timer. These share the host, [`COUNT`] at a time, which a lossless restart
//! must stand as well. Those whose figure needs the whole host have it to themselves, after the others.

use std::cell::RefCell;
use std::fmt::{Arguments, Write as _};
use std::fs::File;
use std::io;
use std::time::Instant;

use libtest_mimic::Failed;

use crate::Test;

/// How many tests run at a time, unless `--test-threads` says otherwise.
pub(crate) const COUNT: usize = 2;

/// How the names of tests begin that have the host to themselves, and why.
const ALONE: &[&str] = &[
    // Four machines, and a thousand requests a second through a balancer.
    "fleet::",
    // The highest rate that the host serves, and how much longer a restart takes with 15,000 connections.
    "held::",
    // How long others wait, as a ratio of two maxima.
    "a_slow_request_delays_nobody_else",
    // How long anybody waits, at a thousand requests a second and beside a run without any restart.
    "overlap::",
];

fn is_alone(name: &str) -> bool {
    ALONE.iter().any(|beginning| name.starts_with(beginning))
}

/// Those that share first, then those that do not.
///
/// # Panics
///
/// If nothing begins as [`ALONE`] says: it has another name by now.
pub(crate) fn order(mut tests: Vec<(&str, Test)>) -> impl Iterator<Item = (&str, Test)> {
    for beginning in ALONE {
        let named = tests.iter().any(|(name, _)| name.starts_with(beginning));
        assert!(named, "no test begins with {beginning}");
    }
    tests.sort_by_key(|(name, _)| is_alone(name));
    tests.into_iter()
}

thread_local! {
    static PRINTED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Prints at the end of this thread's test, or at once on a thread that a test started.
pub(crate) fn print(what: Arguments<'_>) {
    PRINTED.with_borrow_mut(|printed| match printed {
        Some(printed) => _ = writeln!(printed, "{what}"),
        None => std::println!("{what}"),
    });
}

/// Runs a test in its lane, and prints how long it took and what it had to say.
pub(crate) fn run<T>(name: &str, test: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    let _lane = enter(name)?;
    let started = Instant::now();
    PRINTED.set(Some(String::new()));
    let result = test();
    let took = started.elapsed().as_secs_f64();
    let printed = PRINTED.take().unwrap_or_default();
    let failed = match &result {
        Err(failed) => failed.message().unwrap_or_default(),
        Ok(_) => "",
    };
    std::println!("{name}: {took:.1} s\n{printed}{failed}");
    result
}

/// A lock on a file, since nextest starts a process for each test.
fn enter(name: &str) -> io::Result<File> {
    let lock = File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/e2e.lock"))?;
    match is_alone(name) {
        true => lock.lock()?,
        false => lock.lock_shared()?,
    }
    Ok(lock)
}
