//! The dashboard beside a real launcher: watched in a real browser, by many, and by those who mean no good.
//!
//! Some need Chromium. Where that is missing they are ignored and say so; with
//! `ZDT_BROWSER=required` they fail instead.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these tests start programs, and print what they measured"
)]

#[path = "dashboard/browser.rs"]
mod browser;
#[path = "dashboard/hostile.rs"]
mod hostile;
#[path = "dashboard/looks.rs"]
mod looks;
#[path = "dashboard/many.rs"]
mod many;
#[path = "dashboard/place.rs"]
mod place;
#[path = "dashboard/watched.rs"]
mod watched;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use libtest_mimic::{Arguments, Completion, Trial};

const WITHOUT_BROWSER: [(&str, fn()); 7] = [
    ("others_are_refused", hostile::others_are_refused),
    ("it_is_for_this_machine", hostile::it_is_for_this_machine),
    (
        "a_thousand_clients_leave_nothing_behind",
        hostile::a_thousand_clients_leave_nothing_behind,
    ),
    (
        "who_reads_nothing_is_given_up",
        hostile::who_reads_nothing_is_given_up,
    ),
    (
        "two_hundred_who_watch_do_not_slow_a_restart_down",
        many::two_hundred_who_watch_do_not_slow_a_restart_down,
    ),
    (
        "nobody_watches_and_nothing_is_done",
        many::nobody_watches_and_nothing_is_done,
    ),
    (
        "its_own_restart_is_lossless",
        many::its_own_restart_is_lossless,
    ),
];

/// A name, and what to do with the browser.
type Test = (&'static str, fn(&str));

const WITH_BROWSER: [Test; 5] = [
    (
        "a_restart_is_watched_live",
        watched::a_restart_is_watched_live,
    ),
    (
        "without_script_the_tables_are_there",
        watched::without_script_the_tables_are_there,
    ),
    ("markup_is_text", watched::markup_is_text),
    (
        "it_is_heard_and_reached_by_keyboard",
        looks::it_is_heard_and_reached_by_keyboard,
    ),
    ("it_fits_and_can_be_read", looks::it_fits_and_can_be_read),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var("ZDT_BROWSER").is_ok_and(|wanted| wanted == "required");
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let browser = names.into_iter().find(|name| is_there(name));
    let mut trials: Vec<Trial> = WITHOUT_BROWSER
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                let _alone = alone();
                test();
                Ok(())
            })
        })
        .collect();
    trials.extend(WITH_BROWSER.map(|(name, test)| {
        let runner = move || match browser {
            Some(browser) => {
                let _alone = alone();
                test(browser);
                Ok(Completion::Completed)
            }
            None if required => Err("needs chromium".into()),
            None => Ok(Completion::ignored_with("needs chromium")),
        };
        let ignored = browser.is_none() && arguments.list && !required;
        Trial::ignorable_test(name, runner).with_ignored_flag(ignored)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// They measure, so they take turns; one that failed is no reason for the next to.
fn alone() -> impl Drop {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
