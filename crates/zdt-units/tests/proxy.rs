//! Files for proxies: what is written, what the real programs say to it, and what their clients meet while the servers
//! behind them are restarted.
//!
//! `BLESS=1 cargo test -p zdt-units --test proxy` writes what is expected.
//!
//! They need `haproxy`, `nginx`, `caddy`, `traefik`, and the newer nginx of `.ci/run`. Where one is missing its tests
//! are ignored and say so; with `ZDT_PROXY=required` they fail instead. `ZDT_PROXY_ROUNDS=5` restarts five times as
//! often, and `ZDT_PROXY_RATE=1000` sends 1,000 requests a second in the place of 200.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these tests start programs and print what they measured"
)]

#[path = "operate_launcher/bench.rs"]
#[expect(dead_code, reason = "shared with the tests of commands")]
mod bench;
#[path = "proxy/peers.rs"]
mod peers;
#[path = "proxy/restarts.rs"]
mod restarts;
#[path = "proxy/running.rs"]
mod running;
#[path = "proxy/written.rs"]
mod written;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use self::running::Proxy;

/// What to do with each proxy.
type Test = fn(Proxy);

const TESTS: [(&str, Test); 7] = [
    ("accepts_every_case", written::accepts_every_case),
    ("one_server_restarts", restarts::one_server_restarts),
    (
        "one_server_that_hands_over_restarts",
        restarts::one_server_that_hands_over_restarts,
    ),
    ("two_servers_restart", restarts::two_servers_restart),
    ("the_usual_file_loses", restarts::the_usual_file_loses),
    (
        "what_was_sent_is_not_sent_again",
        peers::what_was_sent_is_not_sent_again,
    ),
    ("passes_on_what_it_should", peers::passes_on_what_it_should),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of the time they wait: for restarts, and for a proxy to notice. More at a time would keep two cores from
    // sending in time. All of their clients are in this process.
    arguments.test_threads.get_or_insert(3);
    zdt_units::probe::raise_file_limit().unwrap();
    let required = std::env::var("ZDT_PROXY").is_ok_and(|wanted| wanted == "required");
    let mut trials = vec![
        plain(
            "every_case_is_written_as_expected",
            written::every_case_is_written_as_expected,
        ),
        plain(
            "what_cannot_be_written_is_told",
            written::what_cannot_be_written_is_told,
        ),
    ];
    for proxy in Proxy::ALL {
        let missing = !proxy.is_there();
        for (name, test) in TESTS {
            let runner = move || match missing {
                false => {
                    test(proxy);
                    Ok(Completion::Completed)
                }
                true if required => Err(Failed::from(format!("needs {}", proxy.program()))),
                true => Ok(Completion::ignored_with(format!(
                    "needs {}",
                    proxy.program()
                ))),
            };
            trials.push(
                Trial::ignorable_test(format!("{}_{name}", proxy.program()), runner)
                    .with_ignored_flag(missing && arguments.list && !required),
            );
        }
    }
    let missing = !Path::new(running::NEWER_NGINX).exists();
    trials.push(Trial::ignorable_test(
        "newer_nginx_keeps_connections",
        move || match missing {
            false => {
                written::a_newer_nginx_keeps_connections();
                Ok(Completion::Completed)
            }
            true if required => Err(Failed::from("needs the nginx of `.ci/run`")),
            true => Ok(Completion::ignored_with("needs the nginx of `.ci/run`")),
        },
    ));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn plain(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
