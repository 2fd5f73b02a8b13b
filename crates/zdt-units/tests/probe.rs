//! `zdt-units probe` as a harness or a person meets it: arguments in; standard
//! output, standard error and exit code out.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests start the program that they are about, and their helpers are tests too"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::net::sockopt::set_tcp_cork;
use zdt_units::probe::Report;

/// Answers one request a connection: `/bad` with 500, `/never` not at all, others with 200.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut unanswered = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
            if head.starts_with("GET /never ") {
                unanswered.push(stream);
                continue;
            }
            let status = if head.starts_with("GET /bad ") {
                500
            } else {
                200
            };
            // The end of the connection leaves with the answer: whoever has read the one can see the other.
            set_tcp_cork(&stream, true).unwrap();
            let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}

fn probe(arguments: &str, target: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zdt-units"));
    command.arg("probe").arg(target);
    command.args(arguments.split_whitespace());
    command
}

fn run(arguments: &str, target: &str) -> Output {
    probe(arguments, target).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn report(output: &Output) -> Report {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn nothing_lost_is_exit_code_0() {
    let target = server().to_string();
    let output = run("--rate 500 --requests 50 --json", &target);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        text(&output.stderr),
        format!("probing {target} with 500 requests a second\n")
    );
    let report = report(&output);
    assert_eq!(report.v, 1);
    assert!(report.valid);
    assert_eq!(report.total.outcomes.ok, 50);
    assert_eq!(report.total.outcomes.scheduled, 50);
}

#[test]
fn a_held_connection_that_ends_is_exit_code_9_though_no_request_was_lost() {
    let target = server().to_string();
    // One request on each: a second one would be sent if it is due by the time that the first answer is read.
    let output = run("--hold 5 --every 100ms --requests 5", &target);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(
        text(&output.stderr),
        format!("probing {target} with 50 requests a second\n")
    );
    let said = text(&output.stdout);
    let counts = "0 of 5 connections are the ones that were opened; ended: 5 closed_idle\n";
    assert!(said.contains(counts), "{said}");
    assert!(said.ends_with("no request was lost, but 5 of 5 connections were\n"));
}

#[test]
fn a_time_is_a_number_of_requests() {
    let output = run("--rate 300 --for 100ms --json", &server().to_string());
    assert_eq!(report(&output).total.outcomes.scheduled, 30);
}

#[test]
fn something_lost_is_exit_code_9() {
    let target = server();
    let url = format!("http://{target}/bad");
    let output = run("--rate 500 --requests 20", &url);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    let stdout = text(&output.stdout);
    assert!(
        stdout.ends_with("lost 20: wrong status (500: 20)\n\n20 of 20 requests were lost\n"),
        "{stdout}"
    );
    let output = run("--rate 500 --requests 20 --expect 500", &url);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn several_streams_run_on_the_defaults_that_the_flags_give() {
    let target = server().to_string();
    let output = run(
        "--rate 400 --requests 20 --json --stream name=quick --stream name=bad,path=/bad,requests=5",
        &target,
    );
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let report = report(&output);
    let counts = |name: &str| {
        let outcomes = &report.stream(name).unwrap().outcomes;
        (outcomes.scheduled, outcomes.ok, outcomes.wrong_status)
    };
    assert_eq!(counts("quick"), (20, 20, 0));
    assert_eq!(counts("bad"), (5, 0, 5));
}

/// Starts a run without an end and waits for its first success.
fn start(arguments: &str) -> Child {
    let mut child = probe(arguments, &server().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("probing 127.0.0.1:"), "{line}");
    child
}

#[test]
fn a_run_ends_with_its_standard_input() {
    let mut child = start("--rate 200 --until-stdin-closes --json");
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let outcomes = report(&output).total.outcomes;
    assert!(outcomes.ok >= 1);
    assert_eq!(outcomes.ok, outcomes.scheduled);
}

#[test]
fn a_run_ends_with_a_report_on_sigterm_and_sigint() {
    use nix::sys::signal::{Signal, kill};
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let child = start("--rate 200 --for 1h --json");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(report(&output).total.outcomes.ok >= 1);
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    use nix::sys::signal::{Signal, kill};
    let mut child =
        start("--rate 200 --for 1h --timeout 1h --stream name=a --stream name=b,path=/never");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    // Signals of one kind merge while they are pending, so they are repeated until it ends.
    while child.try_wait().unwrap().is_none() {
        kill(pid, Signal::SIGTERM).unwrap();
        thread::yield_now();
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut stderr = String::new();
    child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
    assert!(
        stderr.ends_with("error: interrupted twice, so there is no report\n"),
        "{stderr}"
    );
}

#[test]
fn the_ready_file_appears_with_the_first_success() {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let bad = format!("--requests 3 --path /bad --ready-file {}", ready.display());
    run(&bad, &server().to_string());
    assert!(!ready.exists());
    let good = format!("--requests 3 --rate 20 --ready-file {}", ready.display());
    run(&good, &server().to_string());
    assert!(ready.exists());
}

#[test]
fn a_client_without_descriptors_measures_nothing_and_says_so() {
    let target = server().to_string();
    let output = Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 40; exec \"$0\" probe \"$1\" --path /never --rate 1000 --requests 100 --timeout 2s --json")
        .arg(env!("CARGO_BIN_EXE_zdt-units"))
        .arg(&target)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    let outcomes = &report.total.outcomes;
    assert!(!report.valid);
    assert!(outcomes.client >= 60, "{outcomes}");
    assert_eq!(outcomes.client + outcomes.timeout, 100);
    assert_eq!(
        report.warnings[0],
        format!(
            "{} of 100 requests ended in this client, which says nothing about the server",
            outcomes.client
        )
    );
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_says_what_to_write() {
    let check = |arguments: &str, target: &str, expected: &str| {
        let output = run(arguments, target);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(text(&output.stderr), format!("error: {expected}\n"));
        assert_eq!(text(&output.stdout), "");
    };
    check(
        "",
        "192.0.2.1:80",
        "`192.0.2.1:80` is not this machine; add `--any-host` if its owner agreed to be measured",
    );
    check(
        "",
        "example.org:80",
        "`example.org` is a name, and the probe looks no names up; write the literal address or `localhost`",
    );
    check(
        "--rate 0",
        ":1",
        "stream `probe` cannot be sent: a rate of `0` requests a second cannot be sent; write a number above 0",
    );
    check(
        "--stream name=slow,rate=fast",
        ":1",
        "`fast` is not a value of `rate`; write requests a second such as `100` or `0.5`",
    );
    check(
        "--stream name=slow,keep-alive=0",
        ":1",
        "stream `slow` cannot be sent: at least 1 connection is needed",
    );
    check(
        "--hold 0 --every 50ms",
        ":1",
        "stream `probe` cannot be sent: at least 1 connection is needed",
    );
    check(
        "--every 50ms",
        ":1",
        "`every` is for connections that are held; add `hold=1000`, or write `rate`",
    );
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    zdt_units::cli::Cli::command().debug_assert();
}
