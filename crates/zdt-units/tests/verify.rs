//! `zdt-units verify` against programs that are known to lose requests: it must find each
//! loss, and name the clients that saw it and no others.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these tests start programs and print what they measured"
)]

#[path = "verify/run.rs"]
mod run;
#[path = "verify/server.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zdt_units::verify::result::{Status, VerdictKind};

use self::run::{PROGRAM, Run, run};
use self::server::Flaw;

/// Verifies the test server with a flaw.
fn verify(flaw: Option<Flaw>, flags: &[&str]) -> Run {
    let own = std::env::current_exe().unwrap();
    let play = [
        own.to_str().unwrap(),
        "--exact",
        "server::play",
        "--nocapture",
    ];
    let flags = [&["--slow=/slow", "--websocket=/ws"], flags].concat();
    run(&flags, &play, |command| {
        command.env(server::VARIABLE, format!("{flaw:?}"));
    })
}

const ALL: [&str; 9] = [
    "new",
    "silent",
    "keep-alive",
    "idle",
    "slow",
    "post",
    "half-sent",
    "http2",
    "websocket",
];

#[test]
fn a_program_without_a_flaw_passes() {
    let run = verify(None, &[]);
    run.check("no flaw", &[], &[]);
    assert_eq!(run.named(Status::Passed).len(), ALL.len());
    let checks = run.verified().checks.iter();
    let failed = checks.filter(|check| check.passed != Some(true));
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<&_>::new());
}

#[test]
fn zdt_serve_passes() {
    let program = [PROGRAM, "demo-app"];
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("report.html");
    let html = format!("--html={}", page.display());
    let run = run(&["--slow=/slow?ms=800", &html], &program, |_| {});
    run.check("zdt::serve", &[], &[]);
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page, zdt_units::report::html::page(run.verified()));
    assert!(page.contains("No request was lost in 2\u{a0}restarts."));
    let again = &run.verified().command;
    assert_eq!(
        (again[0].as_str(), &again[again.len() - 2..]),
        ("zdt-units", &program.map(str::to_owned)[..])
    );
    assert_eq!(run.named(Status::Passed).len(), ALL.len() - 1);
    assert_eq!(run.named(Status::NotTried).len(), 1);
}

#[test]
fn the_usual_recipe_closes_what_it_has_not_read() {
    let program = [PROGRAM, "demo-app", "--stock"];
    let run = run(&["--slow=/slow?ms=800"], &program, |_| {});
    // What is accepted, and not read yet at the signal, is lost on a busy machine as well.
    let lost = ["silent", "keep-alive", "idle"];
    let maybe = ["new", "slow", "post", "half-sent", "http2"];
    run.check("axum::serve", &lost, &maybe);
    let advice = &run.client("silent").losses[0].advice;
    assert!(advice.contains("had sent nothing yet"), "{advice}");
}

#[test]
fn a_program_that_exits_at_once_is_found_by_every_client() {
    verify(Some(Flaw::ExitsAtOnce), &[]).check("exits at once", &ALL, &[]);
}

#[test]
fn closed_idle_connections_are_found() {
    let run = verify(Some(Flaw::ClosesIdle), &[]);
    run.check("closes idle connections", &["keep-alive", "idle"], &[]);
}

#[test]
fn dropped_halves_of_requests_are_found() {
    let run = verify(Some(Flaw::DropsHalfSent), &[]);
    run.check("drops half-sent heads", &["half-sent"], &[]);
}

#[test]
fn a_cut_slow_request_is_found() {
    let run = verify(Some(Flaw::CutsSlow), &[]);
    run.check("cuts slow requests", &["slow"], &[]);
}

#[test]
fn a_websocket_without_a_goodbye_is_found() {
    let run = verify(Some(Flaw::MuteWebSocket), &[]);
    run.check("no close frame", &["websocket"], &[]);
}

#[test]
fn an_http2_connection_without_goaway_is_found() {
    let run = verify(Some(Flaw::NoGoAway), &[]);
    run.check("no GOAWAY", &["http2"], &[]);
}

#[test]
fn a_closed_listener_is_found() {
    let run = verify(Some(Flaw::ShutsListener), &[]);
    let lost = ["new", "silent", "slow", "post", "half-sent"];
    let maybe = ["keep-alive", "idle", "http2", "websocket"];
    run.check("shuts the listener", &lost, &maybe);
    let classes = run
        .client("new")
        .losses
        .iter()
        .map(|loss| loss.class.as_str());
    assert!(classes.collect::<Vec<_>>().contains(&"refused"));
}

#[test]
fn one_that_has_to_be_killed_is_told() {
    let flags = ["--stop-timeout=400ms", "--only=new,slow"];
    let run = verify(Some(Flaw::Deaf), &flags);
    run.check("ignores SIGTERM", &["new", "slow"], &[]);
    assert!(run.verified().restarts.iter().all(|restart| restart.killed));
    let exit = run
        .verified()
        .checks
        .iter()
        .find(|check| check.name == "exit");
    assert_eq!(exit.unwrap().passed, Some(false));
}

#[test]
fn one_that_serves_another_port_is_refused() {
    let run = verify(Some(Flaw::BindsByItself), &["--timeout=1s"]);
    assert_eq!(run.code, 4, "{}", run.told);
    assert!(
        run.told.contains("nothing answers on `127.0.0.1:"),
        "{}",
        run.told
    );
    assert!(run.told.contains("`LISTEN_FDS`"), "{}", run.told);
}

#[test]
fn one_that_never_says_that_it_is_ready_needs_a_flag() {
    let run = verify(Some(Flaw::NeverReady), &[]);
    assert_eq!(run.code, 4, "{}", run.told);
    assert!(run.told.contains("add `--no-notify`"), "{}", run.told);
    let run = verify(Some(Flaw::NeverReady), &["--no-notify"]);
    run.check("without READY=1", &[], &[]);
}

#[test]
fn a_load_that_the_program_does_not_bear_proves_nothing() {
    let run = verify(Some(Flaw::OneAtATime), &["--only=new,slow"]);
    assert_eq!(run.code, 1, "{}", run.told);
    let verified = run.verified();
    assert_eq!(verified.verdict.kind, VerdictKind::Invalid);
    assert_eq!(verified.restarts, []);
    assert!(
        verified.verdict.says.contains("--rate"),
        "{}",
        verified.verdict.says
    );
}

#[test]
fn a_run_in_which_nothing_can_be_tried_is_not_valid() {
    let program = [PROGRAM, "demo-app"];
    let run = run(&["--only=websocket", "--websocket=/"], &program, |_| {});
    assert_eq!(run.code, 1, "{}", run.told);
    assert_eq!(run.client("websocket").status, Status::NotSpoken);
    assert_eq!(run.verified().restarts, []);
}

#[test]
fn a_unix_socket_is_measured_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let listen = format!("--listen={}", socket.display());
    let run = run(
        &[&listen, "--only=new,silent,idle,http2"],
        &[PROGRAM, "demo-app"],
        |_| {},
    );
    run.check("a Unix socket", &[], &[]);
    assert_eq!(run.named(Status::Passed).len(), 4);
    assert!(!socket.exists());
}

#[test]
fn a_restart_that_fails_is_the_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("mkdir once || exit 3; exec {PROGRAM} demo-app");
    let run = run(&["--only=new"], &["sh", "-c", &script], |command| {
        command.current_dir(directory.path());
    });
    assert_eq!(run.code, 7, "{}", run.told);
    let verdict = &run.verified().verdict;
    assert_eq!(verdict.kind, VerdictKind::Failed);
    assert!(verdict.says.contains("failed with 3"), "{}", verdict.says);
    assert_eq!(run.verified().restarts.len(), 1);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("echo $$ > pid; exec {PROGRAM} demo-app");
    let mut verify = std::process::Command::new(PROGRAM)
        .args(["verify", "--", "sh", "-c", &script])
        .current_dir(directory.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(verify.stderr.take().unwrap()).lines();
    let loaded = |line: &Result<String, _>| line.as_ref().unwrap().contains("can be tried");
    assert!(lines.any(|line| loaded(&line)));
    let pid = Pid::from_raw(verify.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(lines.any(|line| line.unwrap() == "error: interrupted"));
    assert_eq!(verify.wait().unwrap().code(), Some(1));
    let program = fs::read_to_string(directory.path().join("pid")).unwrap();
    let program = Pid::from_raw(program.trim().parse().unwrap());
    assert!(kill(program, None).is_err(), "{program} lives on");
}

#[test]
fn a_program_that_does_not_start_is_refused() {
    let run = run(&[], &["/bin/false"], |_| {});
    assert_eq!(run.code, 4, "{}", run.told);
    assert!(
        run.told.contains("it failed with 1 before it was ready"),
        "{}",
        run.told
    );
}
