//! What thousands of idle connections cost a restart.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::client::Client;
use zdt_e2e::idle::Idle;
use zdt_e2e::machine::Machine;

use super::app;
use crate::units;

const ROUNDS: usize = 7;

/// The time of a restart and what PID 1 works for it, beside so many idle
/// connections; all of them survive every one.
pub(crate) fn idle_connections_cost_next_to_nothing(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    app(machine, "")?;
    let mut measured = Vec::new();
    for count in [0, 1_000, 5_000, 15_000] {
        let mut idle = Idle::open(machine, units::ADDRESS, count)?;
        let mut costs = Vec::new();
        for _ in 0..ROUNDS {
            costs.push(restart(machine)?);
        }
        let survivors = idle.ask_all(Duration::from_secs(20));
        let time = median(costs.iter().map(|cost| cost.time));
        // The least of them: when anybody on this host, such as its monitoring, has
        // listed the descriptors of the process, PID 1 clears 15,000 entries of
        // that list away when it reaps it, which takes 16 ms.
        let manager = costs.iter().map(|cost| cost.manager).min();
        let manager = manager.unwrap_or_default();
        println!(
            "{count:>6} idle connections, {ROUNDS} restarts: {survivors}; restart {time:.1?} (median), PID 1 {manager:.1?} (least)"
        );
        assert_eq!(survivors.kept(), count, "{survivors}");
        measured.push((time, manager));
    }
    let (none, most) = (measured[0], measured[measured.len() - 1]);
    let time = most.0.as_secs_f64() / none.0.as_secs_f64();
    let manager = most.1.as_secs_f64() / none.1.as_secs_f64();
    println!("15,000 against none: time x {time:.2}, PID 1 x {manager:.2}");
    // A debug build works ten times as long for each connection, which is no property
    // of the hand-over.
    if !cfg!(debug_assertions) {
        assert!(time <= 3.0, "{time}");
    }
    assert!(manager <= 1.5, "{manager}");
    Ok(())
}

struct Cost {
    time: Duration,
    /// The processor time of PID 1.
    manager: Duration,
}

fn restart(machine: &Machine) -> Result<Cost, Box<dyn Error>> {
    // By default systemd refuses the sixth restart in ten seconds.
    machine.systemctl(&["reset-failed", "app.service"])?.ok()?;
    let manager = manager_time(machine)?;
    let start = Instant::now();
    machine.systemctl(&["restart", "app.service"])?.ok()?;
    let time = start.elapsed();
    // It serves, and has told the manager all it had to.
    assert_eq!(Client::tcp(machine, units::ADDRESS)?.get("/")?.status, 200);
    Ok(Cost {
        time,
        manager: manager_time(machine)?.saturating_sub(manager),
    })
}

/// What PID 1 has worked so far.
fn manager_time(machine: &Machine) -> Result<Duration, Box<dyn Error>> {
    let path = format!("/proc/{}/schedstat", machine.pid());
    let text = std::fs::read_to_string(path)?;
    let nanos = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanos))
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort();
    values[values.len() / 2]
}
