//! `run --detach` and `run --watch`, for real.

use std::fs;

use nix::sys::signal::Signal;

use super::bench::{self, Bench, PROGRAM};

#[test]
fn a_launcher_in_the_background_is_started_once() {
    let bench = Bench::new();
    let socket = bench.socket("shop");
    let text =
        format!("[service.shop]\nexec = [\"{PROGRAM}\", \"demo-app\"]\nlisten = \"{socket}\"\n");
    bench.write(&(bench.head() + &text));
    let first = bench.done(&["run", "--detach"]);
    assert!(first.contains("the launcher runs (process "), "{first}");
    assert!(first.ends_with("all services are ready\n"), "{first}");
    let pids = bench.pids("shop");
    let second = bench.done(&["run", "--detach"]);
    assert!(second.contains("the launcher runs already"), "{second}");
    assert_eq!(bench.pids("shop"), pids);
    bench.done(&["shutdown"]);
    assert!(!bench::is_alive(pids[0]));
    let speech = fs::read_to_string(bench.path("state/launcher.log")).unwrap();
    assert!(speech.contains("shop: stopped with 0"), "{speech}");
}

#[test]
fn a_change_that_does_not_build_leaves_the_old_process_serving() {
    let mut bench = Bench::new();
    let socket = bench.socket("shop");
    let text = format!(
        "[service.shop]\nexec = [\"{PROGRAM}\", \"demo-app\"]\nlisten = \"{socket}\"\nstrategy = \"standby\"\n"
    );
    bench.write(&(bench.head() + &text));
    let source = bench.path("src");
    fs::create_dir(&source).unwrap();
    fs::write(format!("{source}/main"), "exit 0").unwrap();
    bench.start(&[
        "--watch",
        &source,
        "--build",
        &format!("echo built; sh {source}/main"),
    ]);
    let first = bench.pids("shop");
    let report = bench.under_load("shop", || ());
    assert_eq!(report.lost(), 0, "{report}");

    let file = format!("{source}/main");
    fs::write(&file, "echo broken; exit 1").unwrap();
    bench.launcher().until("broken");
    assert_eq!(bench.pids("shop"), first);
    let report = bench.under_load("shop", || ());
    assert_eq!(report.lost(), 0, "{report}");
    let said = bench.launcher().until("fail");
    println!("{said}");
    assert_eq!(bench.pids("shop"), first);

    fs::write(&file, "exit 0").unwrap();
    bench::until("another process", || {
        let now = bench.pids("shop");
        now.len() == 1 && now != first
    });
    bench.launcher().signal(Signal::SIGTERM);
    assert_eq!(bench.launcher_ended(), Some(0));
}
