//! Disks that are full or read-only, nobody to talk to, no permission, damaged files, and words that
//! make no sense: the reason is told, and what is there is left as it was.

mod disks;
mod inputs;
mod managers;

use std::error::Error;

use zdt_e2e::load::Load;
use zdt_e2e::machine::{Machine, Output};

use crate::{Test, units};

const UNITS: &str = "/opt/zdt/bin/units";
const CONFIG: &str = "/etc/zdt/zdt.toml";

type Done = Result<(), Box<dyn Error>>;

const APP: &str = r#"
[service.app]
exec = ["{{release.path}}/bin/app"]
listen = "127.0.0.1:8080"
release = { root = "/srv/app", keep = 3 }
start_timeout = "3s"
"#;

/// Small, so that a look at all that is there takes no time.
const PROGRAM: &str = "#!/bin/sh\nexec /opt/zdt/bin/app\n";

/// Everything that an operation could change: units, releases, records, who serves, and since when.
const FINGERPRINT: &str = "\
    set -e
    find /etc/systemd/system /srv /var/lib/zdt -printf '%p %y %m %l\\n' | sort
    find /etc/systemd/system /srv /var/lib/zdt -type f -exec sha256sum {} + | sort
    systemctl show --property=InvocationID,ActiveState app.service app.socket";

/// How a call has to end, and words that it has to say.
struct Call<'a> {
    arguments: &'a str,
    code: i32,
    says: &'a [&'a str],
}

const fn call<'a>(arguments: &'a str, code: i32, says: &'a [&'a str]) -> Call<'a> {
    Call {
        arguments,
        code,
        says,
    }
}

impl Call<'_> {
    /// Where it does not say that it is done, all is as it was before.
    fn check(&self, machine: &Machine, by: &[&str]) -> Done {
        let words: Vec<&str> = self.arguments.split_ascii_whitespace().collect();
        let before = fingerprint(machine)?;
        let output = machine.run(&[by, &[UNITS], &words].concat())?;
        let said = format!("{}\n{}{}", output.command, output.stdout, output.stderr);
        println!("[{}] {}", self.code, first_words(self.arguments, &output));
        assert_eq!(output.code, Some(self.code), "{said}");
        for words in self.says {
            assert!(said.contains(words), "not told `{words}`: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        if self.code != 0 {
            assert_eq!(fingerprint(machine)?, before, "{said}");
        }
        Ok(())
    }
}

fn all(machine: &Machine, calls: &[Call<'_>]) -> Done {
    by(machine, &[], calls)
}

/// Each call is the end of the command line `by`.
fn by(machine: &Machine, by: &[&str], calls: &[Call<'_>]) -> Done {
    calls.iter().try_for_each(|call| call.check(machine, by))
}

fn first_words(arguments: &str, output: &Output) -> String {
    let said = output.stderr.lines().chain(output.stdout.lines());
    let mut errors = said.filter(|line| line.contains("error: ") || line.contains("note: "));
    let told = errors.next().unwrap_or_default().trim();
    format!(
        "{arguments}: {}",
        told.chars().take(150).collect::<String>()
    )
}

fn fingerprint(machine: &Machine) -> Result<String, Box<dyn Error>> {
    Ok(machine.run(&["sh", "-c", FINGERPRINT])?.ok()?.stdout)
}

/// `app` serves its second release, `v2`, and a program for the next one is in `/tmp/next`.
fn install(machine: &Machine) -> Done {
    machine.write_file(CONFIG, APP, 0o644)?;
    machine.write_file("/tmp/next/bin/app", PROGRAM, 0o755)?;
    // So that the first start has something to start.
    machine.write_file("/srv/app/releases/v0/bin/app", PROGRAM, 0o755)?;
    machine
        .run(&["ln", "-s", "releases/v0", "/srv/app/current"])?
        .ok()?;
    run(machine, "install")?.ok()?;
    for release in ["v1", "v2"] {
        let deploy = format!("deploy app --from /tmp/next --release {release}");
        run(machine, &deploy)?.ok()?;
    }
    Ok(())
}

fn run(machine: &Machine, arguments: &str) -> Result<Output, Box<dyn Error>> {
    let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
    Ok(machine.run(&[&[UNITS], words.as_slice()].concat())?)
}

fn shell(machine: &Machine, script: &str) -> Done {
    machine.run(&["sh", "-ec", script])?.ok()?;
    Ok(())
}

fn load(machine: &Machine) -> Result<Load, Box<dyn Error>> {
    Ok(units::load(machine, &["--rate=50", "--timeout=60s"])?)
}

fn lossless(what: &str, load: Load) -> Done {
    let report = load.stop()?;
    println!("{what}: {}", crate::restart::summary(&report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert!(report.total.outcomes.ok > 0, "{report}");
    Ok(())
}

pub(crate) fn tests() -> impl Iterator<Item = &'static (&'static str, Test)> {
    [disks::TESTS, inputs::TESTS, managers::TESTS]
        .into_iter()
        .flatten()
}
