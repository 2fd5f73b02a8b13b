//! Several services that need each other, restarted together.

mod changed;
mod database;
mod dry_run;
mod order;

use std::error::Error;

use serde_json::Value;
use zdt_e2e::machine::{Machine, Output};

use crate::Test;

pub(crate) fn tests() -> impl Iterator<Item = &'static (&'static str, Test)> {
    [
        database::TESTS,
        order::TESTS,
        changed::TESTS,
        dry_run::TESTS,
    ]
    .into_iter()
    .flatten()
}

const UNITS: &str = "/opt/zdt/bin/units";

fn zdt(machine: &Machine, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    Ok(machine.run(&[&[UNITS], arguments].concat())?)
}

fn install(machine: &Machine, zdt_toml: &str) -> Result<(), Box<dyn Error>> {
    machine.write_file("/etc/zdt/zdt.toml", zdt_toml, 0o644)?;
    zdt(machine, &["install"])?.ok()?;
    Ok(())
}

/// An `app` on a port of its own, with its settings in `/etc/NAME.env`.
fn app(name: &str, port: u16, keys: &str) -> String {
    let health = port + 1000;
    format!(
        "[service.{name}]\n\
         exec = [\"/opt/zdt/bin/app\"]\n\
         listen = \"127.0.0.1:{port}\"\n\
         environment_files = [\"-/etc/{name}.env\"]\n\
         health = {{ listen = \"127.0.0.1:{health}\", interval = \"20ms\", timeout = \"4s\" }}\n\
         {keys}\n"
    )
}

/// What a call with `--json` told, in its order.
struct Told(Vec<Value>);

impl Told {
    fn read(output: &Output) -> Result<Self, Box<dyn Error>> {
        let lines = output.stdout.lines().map(serde_json::from_str);
        Ok(Self(lines.collect::<Result<_, _>>()?))
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |event| event["kind"] == kind)
    }

    /// The services of which `kind` was told.
    fn services(&self, kind: &str) -> Vec<&str> {
        let events = self.of_kind(kind);
        events
            .filter_map(|event| event["service"].as_str())
            .collect()
    }

    /// `begins SERVICE` and `ends SERVICE`, as they came.
    fn course(&self) -> Vec<String> {
        let turns = self.0.iter().filter_map(|event| {
            let service = event["service"].as_str()?;
            match event["kind"].as_str()? {
                "planned" => Some(format!("{service} begins")),
                "finished" => Some(format!("{service} ends")),
                _ => None,
            }
        });
        turns.collect()
    }

    /// How many were at work at the same time, at most.
    fn at_once(&self) -> usize {
        let mut now = 0_usize;
        let mut most = 0;
        for event in &self.0 {
            match event["kind"].as_str() {
                Some("planned") => now += 1,
                Some("finished") => now -= 1,
                _ => {}
            }
            most = most.max(now);
        }
        most
    }
}
