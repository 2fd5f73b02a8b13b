//! `examples/kubernetes`: its numbers are those of its `zdt.toml`, and its form is that of Kubernetes.
//!
//! The form needs the program kubernetes-validate in `target/kubernetes`, as `.ci/run` puts it there. Without it that
//! test is ignored and says so; with `ZDT_KUBERNETES=required` it fails instead.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "reads examples, and starts a program of others"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use zdt_units::model::{Model, Service};

const VALIDATE: &str = "target/kubernetes/bin/kubernetes-validate";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var("ZDT_KUBERNETES").is_ok_and(|wanted| wanted == "required");
    let missing = !root().join(VALIDATE).exists();
    let form = move || match missing {
        false => {
            the_form_is_that_of_kubernetes();
            Ok(Completion::Completed)
        }
        true if required => Err(Failed::from(format!("needs {VALIDATE}"))),
        true => Ok(Completion::ignored_with(format!("needs {VALIDATE}"))),
    };
    let ignored = missing && arguments.list && !required;
    let numbers = || {
        the_numbers_are_those_of_zdt_toml();
        Ok::<(), Failed>(())
    };
    let trials = vec![
        Trial::test("the_numbers_are_those_of_zdt_toml", numbers),
        Trial::ignorable_test("the_form_is_that_of_kubernetes", form).with_ignored_flag(ignored),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn shop() -> Service {
    let text = read("examples/kubernetes/zdt.toml");
    let model = Model::read("zdt.toml", &text).unwrap();
    model.services.into_iter().next().unwrap()
}

/// The lines of the manifest below `key`, without those of what comes after.
fn below<'t>(manifest: &'t str, key: &str) -> &'t str {
    let (_, rest) = manifest.split_once(&format!("{key}:\n")).expect(key);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(rest);
    let mut end = 0;
    for line in rest.lines() {
        if indent(line) < own {
            break;
        }
        end += line.len() + 1;
    }
    &rest[..end]
}

fn number(text: &str, key: &str) -> u64 {
    let (_, rest) = text.split_once(&format!("{key}: ")).expect(key);
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}

fn the_numbers_are_those_of_zdt_toml() {
    let (shop, manifest) = (shop(), read("examples/kubernetes/manifest.yaml"));
    let drain = &shop.drain;
    let stop = drain.stop_timeout().as_secs();
    assert_eq!(number(&manifest, "terminationGracePeriodSeconds"), stop);
    for (name, time) in [
        ("GRACE", drain.grace),
        ("LIMIT", drain.limit),
        ("LINGER", drain.linger),
    ] {
        let line = format!(
            "{{ name: ZDT_DRAIN_{name}, value: \"{}s\" }}",
            time.as_secs()
        );
        assert!(manifest.contains(&line), "no {line}");
    }
    let startup = below(&manifest, "startupProbe");
    let patience = number(startup, "periodSeconds") * number(startup, "failureThreshold");
    assert_eq!(patience, shop.start_timeout.as_secs());
    let deadline = number(&manifest, "progressDeadlineSeconds");
    assert_eq!(deadline, shop.start_timeout.as_secs() + stop);
    // Everybody has looked away before the grace is over.
    let ready = below(&manifest, "readinessProbe");
    let noticed = number(ready, "periodSeconds") * number(ready, "failureThreshold")
        + number(ready, "timeoutSeconds");
    assert!(Duration::from_secs(noticed) < drain.grace, "{noticed} s");
    assert!(ready.contains("path: /readyz"), "{ready}");
    assert!(below(&manifest, "livenessProbe").contains("path: /livez"));

    let text = read("examples/kubernetes/zdt.toml");
    for (name, key) in [
        ("http", "listen = \"0.0.0.0:"),
        ("health", "health = { listen = \"0.0.0.0:"),
    ] {
        let (_, port) = text.split_once(key).expect(key);
        let port = port.split('"').next().unwrap();
        let line = format!("{{ name: {name}, containerPort: {port} }}");
        assert!(manifest.contains(&line), "no {line}");
    }
    // And the page has them too.
    let page = read("docs/kubernetes.md");
    for row in [
        format!(
            "`preStop: {{ sleep: {{ seconds: {} }} }}` |",
            drain.grace.as_secs()
        ),
        format!("`terminationGracePeriodSeconds` | {stop} s |"),
        format!("`progressDeadlineSeconds` | {deadline} s |"),
        format!("`failureThreshold` | {patience} s |"),
    ] {
        assert!(page.contains(&row), "no {row}");
    }
}

/// Strictly: a key that Kubernetes does not know is an error.
fn the_form_is_that_of_kubernetes() {
    let directory = tempfile::tempdir().unwrap();
    let validate = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        let mut command = Command::new(root().join(VALIDATE));
        let output = command.arg("--strict").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // What it has no schema for it only warns of.
        let passed = said.matches(" passed for resource ").count();
        (output.status.success() && passed == 3, said)
    };
    let manifest = read("examples/kubernetes/manifest.yaml");
    let (well, said) = validate("manifest.yaml", &manifest);
    assert!(well, "{said}");
    // With what the page names for programs without the library.
    let sleep =
        "          lifecycle:\n            preStop: { sleep: { seconds: 10 } }\n          env:\n";
    let other = manifest.replacen("          env:\n", sleep, 1);
    let (well, said) = validate("sleep.yaml", &other);
    assert!(well, "{said}");
    let flaws = [
        ("path: /livez", "paht: /livez"),
        (
            "terminationGracePeriodSeconds: 51",
            "terminationGracePeriodSeconds: 51s",
        ),
        ("containerPort: 8080", "containerport: 8080"),
        ("apiVersion: policy/v1", "apiVersion: policy/v9"),
        ("maxUnavailable: 0", "maxUnavailable: {}"),
    ];
    for (right, wrong) in flaws {
        assert!(manifest.contains(right), "{right}");
        let (well, said) = validate("flaw.yaml", &manifest.replacen(right, wrong, 1));
        assert!(!well, "`{wrong}` is accepted: {said}");
    }
    println!(
        "three objects are accepted, and each of {} flaws is found",
        flaws.len()
    );
}
