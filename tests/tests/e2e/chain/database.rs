//! PostgreSQL, a program that asks it, and a program that asks that one.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::Machine;
use zdt_units::probe::Report;

use super::{Told, install, zdt};
use crate::{Test, units};

pub(super) const TESTS: &[(&str, Test)] = &[(
    "chain::a_database_and_those_that_need_it_restart_without_a_loss",
    a_database_and_those_that_need_it_restart_without_a_loss,
)];

const CONFIG: &str = r#"
[service.web]
exec = ["/opt/zdt/bin/chain", "web"]
listen = "127.0.0.1:8080"
after = ["api"]
health = { listen = "127.0.0.1:9080", interval = "20ms" }

[service.api]
exec = ["/opt/zdt/bin/chain", "api"]
listen = "127.0.0.1:8081"
after = ["db"]
health = { listen = "127.0.0.1:9081", interval = "20ms" }

[service.db]
unit = "postgresql.service"
health = { command = ["pg_isready", "--quiet", "--host=/run/postgresql", "--port=5499"], interval = "20ms" }
"#;

/// A cluster of its own, held by the unit that holds all clusters. A generator would link it there; the
/// machine runs none.
const DATABASE: &str = r#"
systemctl unmask --quiet postgresql.service
version=$(ls /usr/lib/postgresql | sort -n | tail -n 1)
pg_createcluster --port 5499 --socketdir /run/postgresql "$version" chain -- --auth=trust --no-sync
systemctl add-wants postgresql.service "postgresql@$version-chain.service"
systemctl restart postgresql.service
pg_isready --host=/run/postgresql --port=5499 --timeout=20
"#;

const RESTARTS: usize = 3;

/// In the order of the chain nothing is lost, whoever restarts it, because the sockets stay open and
/// the one in the middle asks again. The same programs without sockets of systemd lose requests.
fn a_database_and_those_that_need_it_restart_without_a_loss(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    machine.needs("pg_createcluster", "postgresql")?;
    machine.run(&["sh", "-ec", DATABASE])?.ok()?;
    install(machine, CONFIG)?;

    let load = load(machine)?;
    for _ in 0..RESTARTS {
        let before = answer(machine)?;
        let restarted = zdt(machine, &["restart", "--all", "--json"])?.ok()?;
        let told = Told::read(&restarted)?;
        let in_turn = ["db", "api", "web"];
        let wanted: Vec<String> = in_turn
            .iter()
            .flat_map(|name| [format!("{name} begins"), format!("{name} ends")])
            .collect();
        assert_eq!(told.course(), wanted);
        let after = answer(machine)?;
        let same = before.iter().zip(&after).filter(|(old, new)| old == new);
        assert_eq!(same.count(), 0, "{before:?} and {after:?}");
    }
    let report = load.stop()?;
    told("zdt-units restart --all", &report);
    assert_eq!(report.lost(), 0, "{report}");

    let together = systemctl(machine, &[&["postgresql", "api", "web"]])?;
    told(
        "the same units, systemctl restart of all at once",
        &together,
    );
    let reversed = systemctl(machine, &[&["web"], &["api"], &["postgresql"]])?;
    told(
        "the same units, systemctl restart in the wrong order",
        &reversed,
    );

    plain(machine)?;
    let plain = systemctl(machine, &[&["postgresql"], &["api"], &["web"]])?;
    told("without sockets of systemd, in the right order", &plain);
    assert!(plain.lost() > 0, "the control lost nothing: {plain}");
    Ok(())
}

/// Restarts what each call names, one call after the other.
fn systemctl(machine: &Machine, calls: &[&[&str]]) -> Result<Report, Box<dyn Error>> {
    let load = load(machine)?;
    for _ in 0..RESTARTS {
        for units in calls {
            machine.systemctl(&[&["restart"], *units].concat())?.ok()?;
            // By default systemd refuses the sixth restart in ten seconds.
            machine.systemctl(&["reset-failed"])?.ok()?;
        }
        answer(machine)?;
    }
    Ok(load.stop()?)
}

/// The programs without zdt, in units that people write.
fn plain(machine: &Machine) -> Result<(), Box<dyn Error>> {
    zdt(machine, &["uninstall", "web", "api"])?.ok()?;
    let unit = |role: &str, after: &str| {
        format!("[Unit]\nAfter={after}\n[Service]\nExecStart=/opt/zdt/bin/chain {role} plain\n")
    };
    machine.install(&[
        ("api.service", &unit("api", "postgresql.service")),
        ("web.service", &unit("web", "api.service")),
    ])?;
    machine.systemctl(&["start", "api", "web"])?.ok()?;
    answer(machine)?;
    Ok(())
}

/// Since when the database runs, and the processes of the two others.
fn answer(machine: &Machine) -> Result<Vec<String>, Box<dyn Error>> {
    let mut words = Vec::new();
    machine.wait_until(Duration::from_secs(20), "the chain answers", |machine| {
        let asked = Client::tcp(machine, units::ADDRESS).and_then(|mut client| client.get("/"));
        match asked {
            Ok(answer) if answer.status == 200 => {
                let said = answer.text();
                words = said
                    .split_ascii_whitespace()
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect();
                true
            }
            _ => false,
        }
    })?;
    assert_eq!(words.len(), 3);
    Ok(words)
}

fn load(machine: &Machine) -> Result<Load, Box<dyn Error>> {
    Ok(units::load(
        machine,
        &["--rate=200", "--think=10ms", "--timeout=60s"],
    )?)
}

fn told(what: &str, report: &Report) {
    println!(
        "{RESTARTS} times {what}: {}",
        crate::restart::summary(report)
    );
    assert!(report.valid, "{report}");
}
