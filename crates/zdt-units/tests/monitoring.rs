//! `examples/monitoring`, with the programs that it is for: Prometheus and its promtool, node_exporter, the types of
//! Grafana, and logrotate.
//!
//! A test whose programs are missing is ignored and says so; with `ZDT_MONITORING=required` it fails instead. The types
//! of Grafana are put to `target/grafana` as `.ci/run` does it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "starts programs of others, and looks at files"
)]

#[expect(dead_code, reason = "one part of what others do with it is enough")]
#[path = "operate_launcher/bench.rs"]
mod bench;
#[path = "monitoring/dashboard.rs"]
mod dashboard;
#[path = "monitoring/rotation.rs"]
mod rotation;
#[path = "monitoring/scrape.rs"]
mod scrape;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What a program said, and whether it was content.
struct Said {
    well: bool,
    text: String,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, command, path, writer] = words.as_slice()
        && command == "write"
    {
        rotation::write(Path::new(path), writer);
        return ExitCode::SUCCESS;
    }
    type Test = (&'static str, &'static [&'static str], fn());
    let tests: [Test; 5] = [
        (
            "the_rules_are_accepted",
            &["promtool"],
            the_rules_are_accepted,
        ),
        (
            "each_alert_has_a_test_that_needs_it",
            &["promtool"],
            each_alert_has_a_test_that_needs_it,
        ),
        (
            "each_query_finds_what_a_deployment_wrote",
            &["prometheus", "prometheus-node-exporter"],
            scrape::each_query_finds_what_a_deployment_wrote,
        ),
        (
            "the_dashboard_is_what_grafana_takes",
            &["node", dashboard::TYPES],
            dashboard::the_dashboard_is_what_grafana_takes,
        ),
        (
            "logrotate_loses_no_event",
            &["logrotate"],
            rotation::logrotate_loses_no_event,
        ),
    ];
    let required = std::env::var("ZDT_MONITORING").is_ok_and(|wanted| wanted == "required");
    let arguments = Arguments::from_args();
    let listing = arguments.list;
    let trials = tests.map(|(name, needs, test)| {
        let missing = needs.iter().find(|needed| !is_there(needed));
        let runner = move || match missing {
            None => {
                test();
                Ok(Completion::Completed)
            }
            Some(missing) if required => Err(Failed::from(format!("needs {missing}"))),
            Some(missing) => Ok(Completion::ignored_with(format!("needs {missing}"))),
        };
        let ignored = missing.is_some() && listing && !required;
        Trial::ignorable_test(name, runner).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn is_there(program: &str) -> bool {
    if program.starts_with("target/") {
        return root().join(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|directory| directory.join(program).exists())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn example() -> PathBuf {
    root().join("examples/monitoring")
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Said {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        well: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

fn the_rules_are_accepted() {
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "zdt-alerts.yml"],
        &["test", "rules", "zdt-alerts-test.yml"],
    ] {
        let said = run(&example(), "promtool", arguments);
        assert!(said.well, "{arguments:?}: {}", said.text);
    }
}

/// An alert that never comes is found out by the tests of the rules.
fn each_alert_has_a_test_that_needs_it() {
    let directory = tempfile::tempdir().unwrap();
    let tests = example().join("zdt-alerts-test.yml");
    fs::copy(tests, directory.path().join("zdt-alerts-test.yml")).unwrap();
    let rules = fs::read_to_string(example().join("zdt-alerts.yml")).unwrap();
    let names: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() > 8, "{names:?}");
    for name in &names {
        let (before, alert) = rules.split_once(&format!("- alert: {name}\n")).unwrap();
        let (_, after) = alert.split_once("labels:").unwrap();
        let never = "        expr: vector(0) > 1\n        labels:";
        let changed = format!("{before}- alert: {name}\n{never}{after}");
        fs::write(directory.path().join("zdt-alerts.yml"), changed).unwrap();
        let said = run(
            directory.path(),
            "promtool",
            &["test", "rules", "zdt-alerts-test.yml"],
        );
        assert!(!said.well, "nobody misses `{name}`: {}", said.text);
        assert!(said.text.contains(name), "{}", said.text);
    }
    println!("{} alerts, each is missed by a test", names.len());
}
