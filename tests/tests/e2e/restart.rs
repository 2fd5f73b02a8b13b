//! Restarts under load.

use std::error::Error;

use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;
use zdt_units::probe::Report;

use crate::units;

/// The control: what everybody copies loses requests at a plain restart.
pub(crate) fn stock_recipe_loses_requests(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::stock(machine)?;
    let control = ten_restarts(machine)?;
    println!("stock recipe, 10 restarts: {}", control.total.outcomes);
    assert!(control.valid, "{control}");
    assert!(control.lost() > 0, "{control}");
    Ok(())
}

/// Ten plain restarts, while a thousand clients a second connect and send
/// their request 20 ms later, as clients at a distance do.
fn ten_restarts(machine: &Machine) -> Result<Report, Box<dyn Error>> {
    let load = units::load(machine, &["--rate=1000", "--think=20ms"])?;
    for _ in 0..10 {
        machine.systemctl(&["restart", "app.service"])?.ok()?;
        units::await_main(machine)?;
        // Each restart meets clients that were served for a while.
        Client::tcp(machine, units::ADDRESS)?.get("/slow?ms=200")?;
        // By default systemd refuses the sixth restart in ten seconds.
        machine.systemctl(&["reset-failed", "app.service"])?.ok()?;
    }
    Ok(load.stop()?)
}
