//! `zdt-units verify` on servers of others, unmodified: what each loses at a restart.
//!
//! They need `gunicorn` and `node`. Where one is missing its test is ignored and says so;
//! with `ZDT_VERIFY_FOREIGN=required` it fails instead.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these tests start programs and print what they measured"
)]

#[path = "verify/run.rs"]
mod run;

use std::collections::BTreeSet;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};
use zdt_units::verify::result::Status;

use self::run::run;

/// A name, the program that it needs, and what to do.
const TESTS: [(&str, &str, fn()); 3] = [
    ("gunicorn_with_threads", "gunicorn", gunicorn_with_threads),
    (
        "gunicorn_with_one_worker",
        "gunicorn",
        gunicorn_with_one_worker,
    ),
    ("node", "node", node),
];

const APP: &str = concat!("--chdir=", env!("CARGO_MANIFEST_DIR"), "/tests/verify");
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify/server.js");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var("ZDT_VERIFY_FOREIGN").is_ok_and(|wanted| wanted == "required");
    let trials = TESTS.map(|(name, program, test)| {
        let missing = !is_there(program);
        let reason = format!("needs {program}");
        let runner = move || match missing {
            false => {
                test();
                Ok(Completion::Completed)
            }
            true if required => Err(reason.into()),
            true => Ok(Completion::ignored_with(reason)),
        };
        Trial::ignorable_test(name, runner)
            .with_ignored_flag(missing && arguments.list && !required)
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// It says `READY=1`, and loses nothing.
fn gunicorn_with_threads() {
    let program = [
        "gunicorn",
        APP,
        "--worker-class=gthread",
        "--threads=20",
        "app:app",
    ];
    let run = run(&["--slow=/slow", "--rate=50"], &program, |_| {});
    run.check("gunicorn, 20 threads", &[], &[]);
    assert_eq!(run.named(Status::NotSpoken), BTreeSet::from(["http2"]));
}

/// One connection at a time: the table as it is would be too much for it.
fn gunicorn_with_one_worker() {
    let program = ["gunicorn", APP, "app:app"];
    let run = run(&["--only=new,post,idle", "--rate=50"], &program, |_| {});
    run.check("gunicorn, 1 worker", &[], &[]);
    assert_eq!(run.named(Status::NotSpoken), BTreeSet::from(["idle"]));
}

/// `server.close()` closes idle connections without notice, and then waits as long as the
/// others are used.
fn node() {
    let flags = ["--slow=/slow", "--no-notify", "--stop-timeout=2s"];
    let run = run(&flags, &["node", SERVER], |_| {});
    run.check("node", &["idle"], &["keep-alive"]);
    assert_eq!(run.client("idle").losses[0].class, "stale");
    assert_eq!(run.named(Status::NotSpoken), BTreeSet::from(["http2"]));
}
