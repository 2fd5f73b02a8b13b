//! Server-sent events in a real browser.

use std::error::Error;

use zdt_e2e::browser::Browser;
use zdt_e2e::machine::Machine;

use super::{HTTP, count, install, restart};

/// Five restarts, and the page has counted every tick once. It comes back by
/// itself, as browsers do, and says which tick it had last.
pub(crate) fn a_browser_misses_no_event(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "events")?;
    let browser = Browser::open(machine, "http://127.0.0.1/")?;
    let mut ticks: u32 = 0;
    for _ in 0..5 {
        let before = ticks;
        while ticks <= before {
            ticks = count(&browser.says()?, " ticks")?;
        }
        restart(machine, "ticker", HTTP, 1)?;
    }
    // And two seconds of the last process.
    let mut said = browser.says()?;
    while count::<u32>(&said, " ticks")? < ticks + 100 {
        said = browser.says()?;
    }
    assert!(count::<u32>(&said, " streams")? > 5, "{said}");
    println!("a browser over 5 restarts: {said}");
    assert!(said.ends_with(" ticks, 0 missing, 0 twice"), "{said}");
    Ok(())
}
