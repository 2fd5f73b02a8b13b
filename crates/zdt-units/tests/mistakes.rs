//! What is said about a `zdt.toml` that is wrong: `tests/mistakes/NAME.toml` gives `NAME.txt`.
//!
//! `BLESS=1 cargo test -p zdt-units --test mistakes` writes what is expected.

#![expect(clippy::disallowed_methods, reason = "reads the cases")]

use std::fs;
use std::path::Path;

use zdt_units::config::{Colour, Mistakes};
use zdt_units::model::Model;

fn check(name: &str) {
    told(name, Model::read);
}

fn told(name: &str, read: fn(&str, &str) -> Result<Model, Mistakes>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let text = fs::read_to_string(directory.join(format!("{name}.toml"))).expect("a case");
    let mistakes = read("zdt.toml", &text).expect_err("a case with mistakes");
    let said = mistakes.render(Colour::Never);
    let expected = directory.join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, &said).expect("a directory to write to");
    }
    let expected = fs::read_to_string(expected).unwrap_or_default();
    assert!(said == expected, "{name}.txt is not what is said:\n{said}");
}

#[test]
fn keys_that_are_unknown_missing_or_of_the_wrong_kind() {
    check("keys");
}

#[test]
fn values_that_do_not_parse() {
    check("values");
}

#[test]
fn values_that_are_wrong_together() {
    check("together");
}

#[test]
fn templates_releases_and_units_of_others() {
    check("more");
}

#[test]
fn health_that_cannot_be_asked_and_tasks_that_cannot_be_run() {
    check("health");
}

#[test]
fn instances_that_cannot_be_replaced_so() {
    check("rolling");
}

#[test]
fn processes_that_cannot_be_kept_running_so() {
    check("process");
}

#[test]
fn balancers_that_cannot_be_told() {
    check("balancer");
}

#[test]
fn what_only_the_launcher_can_do() {
    told("launcher", Model::for_systemd);
}

#[test]
fn kinds_and_companions_that_cannot_be() {
    check("companions");
}

#[test]
fn events_that_go_nowhere() {
    check("events");
}

#[test]
fn proxies_that_nobody_could_ask_or_be_asked_by() {
    check("proxy");
}

#[test]
fn text_that_is_no_toml() {
    check("syntax");
    check("twice");
}

#[test]
fn a_file_without_a_service() {
    check("empty");
}
