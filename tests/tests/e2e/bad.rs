//! Bad releases, each taken back: the old one serves, and nobody is lost.

mod by_hand;
mod strategies;
mod tasks;
mod unit_files;

use std::error::Error;
use std::time::Duration;

use serde_json::Value;
use zdt_e2e::load::Load;
use zdt_e2e::machine::{Machine, Output};
use zdt_units::probe::Report;

use crate::{Test, units};

const UNITS: &str = "/opt/zdt/bin/units";
const LIMIT: Duration = Duration::from_secs(30);
const NEW: &str = "--stream=name=new,rate=200,think=5ms";
const PATIENT: &str = "--timeout=60s";
const RECORD: &str = "/var/lib/zdt/app/running.json";

/// What every service here has.
const KEYS: &str = r#"
[breaker]
failures = 50

[service.app]
exec = ["{{release.path}}/bin/app"]
listen = "127.0.0.1:8080"
release = { root = "/srv/app", keep = 50 }
health = { listen = "127.0.0.1:19081", successes = 3, interval = "20ms", timeout = "1500ms" }
start_timeout = "2s"
bake = "700ms"
"#;

/// The service `app`, with its processes in `units`.
struct App<'m> {
    machine: &'m Machine,
    units: &'static [&'static str],
}

impl<'m> App<'m> {
    /// Installs it and deploys `v1`, which is good.
    fn install(
        machine: &'m Machine,
        keys: &str,
        units: &'static [&'static str],
    ) -> Result<Self, Box<dyn Error>> {
        // Most of a debug build is of no use to whoever only runs it.
        let shell = "strip -o /tmp/app /opt/zdt/bin/app || cp /opt/zdt/bin/app /tmp/app";
        machine.run(&["sh", "-c", shell])?.ok()?;
        let app = Self { machine, units };
        let nothing = ["check", "warm", "up", "down"].map(|task| (task, ""));
        app.make("v1", &nothing)?;
        app.configure(keys)?;
        machine
            .systemctl(&["start", "app.socket", "app-health.socket"])?
            .ok()?;
        // Whoever looks whether a port is open starts what is not there yet. systemd may pass through
        // `final-sigkill` when that is stopped, and nobody was served by it.
        app.deploy("v1")?.ok()?;
        app.serves("v1")?;
        Ok(app)
    }

    /// Writes `zdt.toml` and the units.
    fn configure(&self, keys: &str) -> Result<(), Box<dyn Error>> {
        let zdt_toml = format!("{KEYS}{keys}\n");
        self.machine
            .write_file("/etc/zdt/zdt.toml", &zdt_toml, 0o644)?;
        for (name, text) in units::generate(&zdt_toml)? {
            let path = format!("/etc/systemd/system/{name}");
            self.machine.write_file(&path, text, 0o644)?;
        }
        self.machine.systemctl(&["daemon-reload"])?.ok()?;
        Ok(())
    }

    /// A release to be deployed, with these files beside its program.
    fn make(&self, release: &str, files: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
        let shell = r#"mkdir -p "/tmp/$1/bin" && cp /tmp/app "/tmp/$1/bin/""#;
        self.machine
            .run(&["sh", "-c", shell, "make", release])?
            .ok()?;
        for (name, text) in files {
            let path = format!("/tmp/{release}/bin/{name}");
            self.machine.write_file(&path, text, 0o644)?;
        }
        Ok(())
    }

    fn deploy(&self, release: &str) -> Result<Output, Box<dyn Error>> {
        self.deploy_with(release, &[])
    }

    fn deploy_with(&self, release: &str, flags: &[&str]) -> Result<Output, Box<dyn Error>> {
        let from = format!("/tmp/{release}");
        let deploy = ["deploy", "app", "--from", &from, "--release", release];
        self.zdt(&[&deploy, flags].concat())
    }

    fn zdt(&self, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
        Ok(self.machine.run(&[&[UNITS], arguments].concat())?)
    }

    /// It is `release` that serves, from each of its units and from no other, and nothing is under way.
    fn serves(&self, release: &str) -> Result<(), Box<dyn Error>> {
        assert_eq!(self.link("current")?, release);
        for unit in self.units {
            assert_eq!(self.machine.show(unit, "ActiveState")?, "active", "{unit}");
            assert_eq!(self.runs(unit)?, release, "{unit}");
        }
        let own = ["app.service", "app@*.service", "app-standby.service"];
        let list = ["list-units", "--plain", "--no-legend"];
        let all = self.machine.systemctl(&[list, own].concat())?.ok()?.stdout;
        let beside: Vec<&str> = all
            .lines()
            .filter(|line| !line.contains(" inactive "))
            .filter_map(|line| line.split_ascii_whitespace().next())
            .filter(|unit| !self.units.contains(unit))
            .collect();
        assert_eq!(beside, [""; 0], "{all}");
        assert!(!self.machine.host_path(RECORD).exists());
        Ok(())
    }

    /// Where a link of the root leads to.
    fn link(&self, name: &str) -> Result<String, Box<dyn Error>> {
        let path = format!("/srv/app/{name}");
        let link = self.machine.run(&["readlink", &path])?.ok()?.stdout;
        Ok(link.trim_end().trim_start_matches("releases/").to_owned())
    }

    /// The release that the main process of `unit` was started from.
    fn runs(&self, unit: &str) -> Result<String, Box<dyn Error>> {
        let path = format!("/proc/{}/exe", self.machine.show(unit, "MainPID")?);
        let program = self.machine.run(&["readlink", &path])?.ok()?.stdout;
        let below = program.trim_end().strip_prefix("/srv/app/releases/");
        let release = below.and_then(|below| below.strip_suffix("/bin/app"));
        Ok(release.ok_or(program.clone())?.to_owned())
    }

    /// The files that say how processes are started.
    fn unit_files(&self) -> Result<String, Box<dyn Error>> {
        let shell = "cd /etc/systemd/system && find app* -type f -exec sha256sum {} + | sort";
        Ok(self.machine.run(&["sh", "-ec", shell])?.ok()?.stdout)
    }

    /// How often in a row it failed, as the circuit breaker counts.
    fn failures(&self) -> Result<usize, Box<dyn Error>> {
        let path = self.machine.host_path("/var/lib/zdt/app/breaker.json");
        let Ok(text) = std::fs::read(path) else {
            return Ok(0);
        };
        let history: Value = serde_json::from_slice(&text)?;
        Ok(history["failures"].as_array().map_or(0, Vec::len))
    }

    /// What `zdt-units releases` says of one.
    fn states(&self, release: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let listed = self.zdt(&["releases", "app", "--json"])?.ok()?.stdout;
        let listed: Value = serde_json::from_str(&listed)?;
        let all = listed["releases"].as_array().ok_or("a list")?;
        let found = all.iter().find(|found| found["name"] == release);
        let states = &found.ok_or("it is listed")?["state"];
        Ok(serde_json::from_value(states.clone())?)
    }

    /// Deploys `release`, which does not prove itself: `before` serves as if nothing had been.
    fn is_taken_back(&self, release: &str, before: &str) -> Result<Output, Box<dyn Error>> {
        let (files, failures) = (self.unit_files()?, self.failures()?);
        let failed = self.deploy(release)?;
        assert_eq!(failed.code, Some(6), "{release}: {}", failed.stderr);
        self.serves(before)?;
        assert_eq!(self.states(release)?, ["next", "failed"]);
        assert_eq!(self.unit_files()?, files);
        assert_eq!(self.failures()?, failures + 1);
        Ok(failed)
    }

    /// New connections, and requests on kept ones.
    fn load(&self) -> Result<Load, Box<dyn Error>> {
        let kept = "--stream=name=kept,rate=100,keep-alive=8";
        Ok(units::load(self.machine, &[NEW, kept, PATIENT])?)
    }

    /// Where a process ends by itself, there may be nobody whom it could give kept connections to.
    fn load_of_new(&self) -> Result<Load, Box<dyn Error>> {
        Ok(units::load(self.machine, &[NEW, PATIENT])?)
    }
}

/// Why the first step that failed did.
fn why(output: &Output) -> &str {
    let mut lines = output.stderr.lines();
    let error = lines.find_map(|line| line.split_once("error: "));
    error.map_or("", |(_, reason)| reason)
}

fn lossless(what: &str, report: &Report) {
    println!("{what}: {}", crate::restart::summary(report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert!(report.total.outcomes.ok > 0, "{report}");
}

pub(crate) fn tests() -> impl Iterator<Item = &'static (&'static str, Test)> {
    [
        strategies::TESTS,
        by_hand::TESTS,
        tasks::TESTS,
        unit_files::TESTS,
    ]
    .into_iter()
    .flatten()
}
