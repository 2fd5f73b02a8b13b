//! Servers of others, unmodified: what each loses when `zdt-units verify` restarts it, and what its clients meet under
//! `zdt-units run`, with the files of its example.
//!
//! They need `gunicorn`, `uvicorn`, `node` and `nginx`. Where one is missing its test is ignored and says so;
//! with `ZDT_VERIFY_FOREIGN=required` it fails instead. `ZDT_FOREIGN_ROUNDS=5` measures five times.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these tests start programs and print what they measured"
)]

#[path = "foreign/launched.rs"]
mod launched;
#[path = "verify/run.rs"]
mod run;

use std::collections::BTreeSet;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};
use tokio::runtime::Runtime;
use zdt_units::probe::StreamReport;
use zdt_units::verify::result::Status;

use self::launched::{Foreign, Way};
use self::run::run;

/// A name, the program that it needs, and what to do.
const TESTS: [(&str, &str, fn()); 7] = [
    ("gunicorn_with_threads", "gunicorn", gunicorn_with_threads),
    (
        "gunicorn_with_one_worker",
        "gunicorn",
        gunicorn_with_one_worker,
    ),
    ("node", "node", node),
    ("gunicorn_is_launched", "gunicorn", gunicorn_is_launched),
    ("uvicorn_is_launched", "uvicorn", uvicorn_is_launched),
    ("node_is_launched", "node", node_is_launched),
    ("nginx_is_launched", "nginx", nginx_is_launched),
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
        .arg(match program {
            "nginx" => "-v",
            _ => "--version",
        })
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

/// It answers its kept connections once more before it closes them.
fn gunicorn_is_launched() {
    let gunicorn = Foreign {
        example: "gunicorn",
        service: "wsgi",
        files: &["app.py"],
        slow: "/slow",
        bound: &[(
            "\"app:app\"",
            "\"--bind\", \"127.0.0.1:{{port}}\", \"app:app\"",
        )],
    };
    check(&gunicorn, Kept::Told);
}

fn uvicorn_is_launched() {
    let uvicorn = Foreign {
        example: "uvicorn",
        service: "asgi",
        files: &["app.py"],
        slow: "/slow",
        bound: &[("\"--fd\", \"3\"", "\"--port\", \"{{port}}\"")],
    };
    check(&uvicorn, Kept::Closed);
}

/// The example lingers.
fn node_is_launched() {
    let node = Foreign {
        example: "node",
        service: "node",
        files: &["server.js"],
        slow: "/slow",
        bound: &[("{ fd: 3 }", "process.env.ZDT_PORT, \"127.0.0.1\"")],
    };
    check(&node, Kept::Told);
}

fn nginx_is_launched() {
    let nginx = Foreign {
        example: "nginx",
        service: "pages",
        files: &["nginx.conf", "html/index.html"],
        slow: "/downloads/big",
        bound: &[("environment = { NGINX = \"3;\" }\n", "")],
    };
    check(&nginx, Kept::Closed);
}

/// What a program does with kept connections when it is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Its last answer on each says that it is the last.
    Told,
    /// It closes those that rest, and what is on its way to it at that moment is lost.
    Closed,
}

/// With a held socket nobody is refused, and nothing is lost but what the program itself closes. Without one, clients
/// are refused.
fn check(foreign: &Foreign, kept: Kept) {
    let rounds = std::env::var("ZDT_FOREIGN_ROUNDS").ok();
    let rounds = rounds.map_or(1, |rounds| rounds.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    for way in [Way::Rolling, Way::Queue, Way::Bound] {
        for _ in 0..rounds {
            let report = runtime.block_on(foreign.restart(way));
            for stream in &report.streams {
                println!("{} {way:?} {}", foreign.example, summary(stream));
            }
            let all = &report.total.outcomes;
            let closed = match kept {
                Kept::Told => 0,
                Kept::Closed => all.reset_reused + all.eof_reused,
            };
            match way {
                Way::Rolling | Way::Queue => assert_eq!(report.lost(), closed, "{report}"),
                Way::Bound => assert!(all.refused > 0, "the port stayed open: {report}"),
            }
        }
    }
}

fn summary(stream: &StreamReport) -> String {
    let outcomes = &stream.outcomes;
    let losses = outcomes.losses();
    let losses = losses.iter().map(|(what, count)| format!("{count} {what}"));
    format!(
        "{}: {} sent, {} lost [{}], {} stale, {} reused, at most {} ms",
        stream.name,
        outcomes.scheduled,
        outcomes.lost(),
        losses.collect::<Vec<_>>().join(", "),
        outcomes.stale,
        stream.connections.reused,
        stream.latency.max_us / 1000,
    )
}
