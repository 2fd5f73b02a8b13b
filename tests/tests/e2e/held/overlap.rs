//! Several processes at a time: connections go to one that serves now.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::idle::Idle;
use zdt_e2e::machine::Machine;
use zdt_units::probe::Report;

use super::{all_kept, hold, setting, systemctl};
use crate::units;

const STANDBY: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
strategy = "standby"
handover = true
"#;

const WARM_UP: Duration = Duration::from_millis(800);

/// Nobody waited for a start.
fn unhurt(what: &str, report: &Report) {
    all_kept(what, report);
    let longest = Duration::from_micros(report.total.latency.max_us);
    assert!(longest < WARM_UP, "{longest:?}");
}

/// From the primary to the standby and on to the new primary: two hops in one
/// restart, and nobody waits for a start. The plain restart is the control: it keeps
/// the connections, too, and they wait.
pub(crate) fn a_standby_takes_connections_meanwhile(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, STANDBY)?;
    setting(machine, &format!("WARMUP_MS={}\n", WARM_UP.as_millis()))?;
    let load = hold(machine, units::ADDRESS, 200, "200ms")?;
    for _ in 0..3 {
        systemctl(machine, &["start", "app-standby.service"])?;
        systemctl(machine, &["restart", "app.service"])?;
        systemctl(machine, &["stop", "app-standby.service"])?;
    }
    unhurt("3 restarts with a standby", &load.stop()?);

    let load = hold(machine, units::ADDRESS, 200, "200ms")?;
    systemctl(machine, &["restart", "app.service"])?;
    let report = load.stop()?;
    all_kept("1 restart without one", &report);
    let longest = Duration::from_micros(report.total.latency.max_us);
    assert!(longest >= WARM_UP, "{longest:?}");
    Ok(())
}

fn rolling(machine: &Machine, instances: u32) -> Result<(), Box<dyn Error>> {
    let toml = STANDBY.replace(
        "strategy = \"standby\"",
        &format!("strategy = \"rolling\"\ninstances = {instances}"),
    );
    for (name, text) in units::generate(&toml)? {
        machine.install(&[(&name, &text)])?;
    }
    systemctl(machine, &["enable", "--now", "app.target"])?;
    Ok(())
}

/// One instance after the other, with two and with four of them.
pub(crate) fn instances_take_connections_from_each_other(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let four = crate::builder().boot()?;
    for (machine, instances) in [(machine, 2), (&four, 4)] {
        rolling(machine, instances)?;
        setting(machine, &format!("WARMUP_MS={}\n", WARM_UP.as_millis()))?;
        let load = hold(machine, units::ADDRESS, 200, "200ms")?;
        for _ in 0..2 {
            for instance in 1..=instances {
                systemctl(machine, &["restart", &format!("app@{instance}.service")])?;
            }
        }
        unhurt(
            &format!("{instances} instances, each restarted twice"),
            &load.stop()?,
        );
    }
    Ok(())
}

/// One of three instances is killed while another hands over to it or is about to:
/// what is lost is at most what the killed one held, and nobody hangs.
pub(crate) fn a_killed_sibling_takes_only_its_own(machine: &Machine) -> Result<(), Box<dyn Error>> {
    rolling(machine, 3)?;
    for round in 0..5 {
        let mut idle = Idle::open(machine, units::ADDRESS, 600)?;
        let held = idle.ask_all(Duration::from_secs(3)).answered;
        let pid = |n: u32| -> Result<String, Box<dyn Error>> {
            Ok(machine.show(&format!("app@{n}.service"), "MainPID")?)
        };
        let victim = pid(3)?;
        let of_victim = held.get(&format!("pid {victim}")).copied().unwrap_or(0);
        let stopping = pid(1)?;
        let of_stopping = held.get(&format!("pid {stopping}")).copied().unwrap_or(0);
        systemctl(machine, &["--no-block", "restart", "app@1.service"])?;
        systemctl(
            machine,
            &["kill", "--kill-whom=main", "--signal=KILL", "app@3.service"],
        )?;
        machine.wait_until(Duration::from_secs(30), "all are active again", |machine| {
            (1..=3).all(|n| {
                let unit = format!("app@{n}.service");
                let state = machine.show(&unit, "ActiveState");
                state.is_ok_and(|state| state == "active") && pid(n).is_ok_and(|pid| pid != victim)
            })
        })?;
        let survivors = idle.ask_all(Duration::from_secs(5));
        println!(
            "round {round}: the killed one held {of_victim}, the stopping one {of_stopping}: {survivors}"
        );
        assert_eq!(survivors.hang(), 0, "{survivors}");
        let lost = 600 - survivors.kept();
        // It may have taken over what the other one had before it was killed.
        assert!(
            lost >= of_victim && lost <= of_victim + of_stopping,
            "{survivors}"
        );
    }
    Ok(())
}
