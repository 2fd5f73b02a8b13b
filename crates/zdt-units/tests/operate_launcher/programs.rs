//! A balancer that programs talk to: `balancer = { drain = [...], restore = [...] }`.

use std::fs;

use crate::bench::{Bench, PROGRAM, is_alive, script, until};

/// A service whose start, drain and restore each write a line to `log`. What `drain` and `restore` do besides is in the
/// files `out` and `in`.
fn site(timeout: &str) -> Bench {
    let mut host = Bench::new();
    let (log, app, lb) = (host.path("log"), host.path("app"), host.path("lb"));
    script(
        &app,
        &format!("echo started >> {log}; exec {PROGRAM} demo-app"),
    );
    let said = "$1 $2 $ZDT_SERVICE $ZDT_BACKEND $ZDT_SERVER";
    script(
        &lb,
        &format!("echo \"{said}\" >> {log}; . {}/$1", host.path("")),
    );
    host.write(&format!(
        "{}[service.shop]\nlisten = \"{}\"\nexec = [\"{app}\"]\nbalancer = {{ drain = [\"{lb}\", \"out\", \"a b\"], \
         restore = [\"{lb}\", \"in\", \"c\"], server = \"pool/web1\", timeout = \"{timeout}\" }}\n",
        host.head(),
        host.socket("shop"),
    ));
    for name in ["out", "in"] {
        fs::write(host.path(name), "").unwrap();
    }
    host.start(&[]);
    fs::write(host.path("log"), "").unwrap();
    host
}

/// The log, which is empty then.
fn logged(host: &Bench) -> Vec<String> {
    let text = fs::read_to_string(host.path("log")).unwrap();
    fs::write(host.path("log"), "").unwrap();
    text.lines().map(str::to_owned).collect()
}

const OUT: &str = "out a b shop pool web1";
const IN: &str = "in c shop pool web1";

#[test]
fn they_are_run_around_a_restart() {
    let host = site("30s");
    let pids = host.pids("shop");
    let report = host.under_load("shop", || {
        host.done(&["restart", "shop"]);
    });
    assert_eq!(report.lost(), 0, "{report}");
    assert_ne!(host.pids("shop"), pids);
    assert_eq!(logged(&host), [OUT, "started", IN]);
    host.done(&["restart", "shop", "--keep-in-rotation"]);
    assert_eq!(logged(&host), ["started"]);
    host.done(&["stop", "shop"]);
    host.done(&["start", "shop"]);
    assert_eq!(logged(&host), [OUT, "started", IN]);
}

#[test]
fn one_that_fails_ends_a_restart_before_it_and_is_loud_after_it() {
    let host = site("30s");
    let pids = host.pids("shop");
    fs::write(host.path("out"), "echo no route to the pool; exit 3").unwrap();
    let ran = host.run(&["restart", "shop"]);
    // Nobody knows how far it came.
    assert_eq!(ran.code, 6, "{}", ran.said);
    assert!(ran.said.contains("no route to the pool"), "{}", ran.said);
    assert_eq!(host.pids("shop"), pids);
    assert_eq!(logged(&host), [OUT, IN]);

    fs::write(host.path("in"), "exit 1").unwrap();
    let ran = host.run(&["restart", "shop"]);
    assert_eq!(ran.code, 7, "{}", ran.said);
    assert_eq!(host.pids("shop"), pids);
    assert_eq!(logged(&host), [OUT, IN]);

    fs::write(host.path("out"), "").unwrap();
    fs::write(host.path("in"), "echo no such server; exit 1").unwrap();
    let ran = host.run(&["restart", "shop"]);
    assert_eq!(ran.code, 7, "{}", ran.said);
    for told in ["no such server", "zdt-units balancer restore shop"] {
        assert!(ran.said.contains(told), "{told}: {}", ran.said);
    }
    assert_ne!(host.pids("shop"), pids);
    assert_eq!(logged(&host), [OUT, "started", IN]);
    fs::write(host.path("in"), "").unwrap();
    host.done(&["balancer", "restore", "shop"]);
    assert_eq!(logged(&host), [IN]);
}

#[test]
fn one_that_hangs_is_killed_with_what_it_started() {
    let host = site("1s");
    let pids = host.pids("shop");
    let child = host.path("child");
    let hangs = format!("sleep 600 & echo $! > {child}; wait");
    fs::write(host.path("out"), hangs).unwrap();
    let ran = host.run(&["restart", "shop"]);
    assert_eq!(ran.code, 6, "{}", ran.said);
    assert!(ran.said.contains("it took longer than 1s"), "{}", ran.said);
    assert_eq!(host.pids("shop"), pids);
    let child = fs::read_to_string(child).unwrap().trim().parse().unwrap();
    until("the end of what it started", || !is_alive(child));
    assert_eq!(logged(&host), [OUT, IN]);
}
