//! What goes wrong, and who loses what by it.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::idle::{Idle, Survivors};
use zdt_e2e::machine::Machine;

use super::{app, held, hold, last_drain, setting, summary, systemctl};
use crate::units;

const COUNT: usize = 200;

/// Long enough for an answer; who waits longer hangs.
const PATIENCE: Duration = Duration::from_secs(3);

fn say(what: &str, survivors: &Survivors) {
    println!("{what}: {survivors}");
    assert_eq!(survivors.hang(), 0, "{survivors}");
}

/// A release that crashes at once, and one that crashes in its warm-up, leave the
/// connections in the manager's store, however often they try.
pub(crate) fn a_crash_before_the_takeover_loses_nobody(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    app(machine, "")?;
    for crash in ["CRASH=1\n", "CRASH=warm\nWARMUP_MS=200\n"] {
        let mut idle = Idle::open(machine, units::ADDRESS, COUNT)?;
        setting(machine, crash)?;
        systemctl(machine, &["--no-block", "restart", "app.service"])?;
        machine.wait_until(Duration::from_secs(30), "three crashes", |machine| {
            let restarts = machine.show("app.service", "NRestarts");
            restarts.is_ok_and(|n| n.parse::<u32>().is_ok_and(|n| n >= 3))
        })?;
        setting(machine, "")?;
        units::restart(machine)?;
        let survivors = idle.ask_all(PATIENCE);
        say(&format!("{}, three times", crash.trim_end()), &survivors);
        assert_eq!(survivors.kept(), COUNT, "{survivors}");
    }
    Ok(())
}

/// Killed after it took them over: what it held is lost, closed and not hanging,
/// and no other connection is.
pub(crate) fn a_crash_loses_what_the_process_held(machine: &Machine) -> Result<(), Box<dyn Error>> {
    app(machine, "")?;
    let mut idle = Idle::open(machine, units::ADDRESS, COUNT)?;
    units::restart(machine)?;
    let killed = machine.show("app.service", "MainPID")?;
    systemctl(
        machine,
        &["kill", "--kill-whom=main", "--signal=KILL", "app.service"],
    )?;
    machine.wait_until(Duration::from_secs(30), "the next process", |machine| {
        let now = machine.show("app.service", "MainPID");
        now.is_ok_and(|now| now != killed && now != "0")
    })?;
    units::await_main(machine)?;
    let survivors = idle.ask_all(PATIENCE);
    say("killed after the take-over", &survivors);
    assert_eq!(survivors.kept(), 0, "{survivors}");
    // The next one holds again.
    let mut idle = Idle::open(machine, units::ADDRESS, COUNT)?;
    units::restart(machine)?;
    let survivors = idle.ask_all(PATIENCE);
    say("and then restarted", &survivors);
    assert_eq!(survivors.kept(), COUNT, "{survivors}");
    Ok(())
}

/// The manager keeps nothing: every connection ends, no request is lost.
pub(crate) fn without_a_store_the_close_is_announced(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let drop_in = "[Service]\nFileDescriptorStoreMax=0\n";
    machine.write_file(
        "/etc/systemd/system/app.service.d/store.conf",
        drop_in,
        0o644,
    )?;
    app(machine, "")?;
    let load = hold(machine, units::ADDRESS, COUNT, "50ms")?;
    units::restart(machine)?;
    let report = load.stop()?;
    println!("FileDescriptorStoreMax=0: {}", summary(&report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert_eq!(held(&report).kept, 0, "{report}");
    Ok(())
}

/// The next process may open 512 descriptors, and 2,000 connections wait for it: in
/// the queue, as new ones would in the kernel's, until others leave.
pub(crate) fn few_descriptors_are_enough(machine: &Machine) -> Result<(), Box<dyn Error>> {
    const MANY: usize = 2_000;
    app(machine, "")?;
    let idle = Idle::open(machine, units::ADDRESS, MANY)?;
    let drop_in = "[Service]\nLimitNOFILE=512\n";
    machine.write_file("/etc/systemd/system/app.service.d/few.conf", drop_in, 0o644)?;
    systemctl(machine, &["daemon-reload"])?;
    systemctl(machine, &["restart", "app.service"])?;
    let status = machine.show("app.service", "StatusText")?;
    let survivors = idle.ask_and_leave(Duration::from_secs(20))?;
    say(
        &format!("2,000 connections, 512 descriptors, `{status}`; as they leave"),
        &survivors,
    );
    assert_eq!(survivors.kept(), MANY, "{survivors}");
    Ok(())
}

const ADMIN: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
environment_files = ["-/etc/app.env"]
handover = true

[[service.app.socket]]
name = "http"
listen = "127.0.0.1:8080"

[[service.app.socket]]
name = "admin"
listen = "127.0.0.1:8081"
"#;

/// The next release does not serve that listener any more: its connections are
/// closed and counted.
pub(crate) fn a_listener_that_is_gone_closes_its_connections(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, ADMIN)?;
    let mut stays = Idle::open(machine, units::ADDRESS, COUNT)?;
    let mut goes = Idle::open(machine, "127.0.0.1:8081", COUNT)?;
    setting(machine, "WITHOUT=admin\n")?;
    systemctl(machine, &["restart", "app.service"])?;
    let status = machine.show("app.service", "StatusText")?;
    let (stayed, gone) = (stays.ask_all(PATIENCE), goes.ask_all(PATIENCE));
    println!("of the listener that is served still: {stayed}");
    say(&format!("of the one that is not: `{status}`"), &gone);
    assert_eq!(stayed.kept(), COUNT, "{stayed}");
    assert_eq!(gone.kept(), 0, "{gone}");
    assert!(status.contains(&format!("CLOSED {COUNT}")), "{status}");
    Ok(())
}

/// `systemctl stop` really closes; and a release that knows no hand-over announces
/// its closes, whoever came before and comes after it.
pub(crate) fn a_stop_closes_and_a_rollback_hangs_nobody(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    app(machine, "")?;
    let mut idle = Idle::open(machine, units::ADDRESS, COUNT)?;
    systemctl(machine, &["stop", "app.service"])?;
    let survivors = idle.ask_all(PATIENCE);
    say("systemctl stop", &survivors);
    println!("{}", last_drain(machine, "app.service")?);
    assert_eq!(survivors.kept(), 0, "{survivors}");

    // From a release that hands over to one that does not, and back.
    systemctl(machine, &["start", "app.service"])?;
    setting(machine, "ZDT_HANDOVER=0\n")?;
    let mut idle = Idle::open(machine, units::ADDRESS, COUNT)?;
    units::restart(machine)?;
    let survivors = idle.ask_all(PATIENCE);
    say("to one that is told not to hand over", &survivors);
    assert_eq!(
        survivors.kept(),
        COUNT,
        "what was handed over is taken in any case"
    );
    setting(machine, "")?;
    let load = hold(machine, units::ADDRESS, COUNT, "50ms")?;
    units::restart(machine)?;
    let report = load.stop()?;
    println!("and back: {}", summary(&report));
    assert_eq!((report.lost(), held(&report).kept), (0, 0), "{report}");
    Ok(())
}
