//! `zdt-units hold`: the service stays down, and those who come wait.

use super::*;
use crate::examples::{self, HTTP};

/// A database is moved away for two seconds and back, while 200 posts a second come. Nobody is
/// lost, nobody writes meanwhile, and each of them waits no longer than it takes.
fn a_database_is_moved_while_clients_wait(machine: &Machine) -> Result<(), Box<dyn Error>> {
    examples::install(machine, "sqlite")?;
    let posts = [
        "--method=POST",
        "--expect=201",
        "--body-bytes=64",
        "--rate=200",
        "--timeout=60s",
    ];
    let load = examples::load(machine, HTTP, &posts)?;
    let script = "\
        cd /var/lib/guestbook && mv guestbook.db moved.db && sleep 2 && \
        test $(systemctl show --value -p MainPID $ZDT_SERVICE.service) = 0 && \
        test $(systemctl show --value -p ActiveState $ZDT_SERVICE.socket) = active && \
        test ! -e guestbook.db && test ! -e guestbook.db-wal && mv moved.db guestbook.db";
    let hold = [
        "hold",
        "guestbook",
        "--max",
        "30s",
        "--",
        "sh",
        "-c",
        script,
    ];
    let held = zdt(machine, &hold)?.ok()?;
    let report = load.stop()?;
    println!("{}", held.stderr);
    lossless("posts over a hold of 2 s", &report);
    assert!(longest(&report) >= Duration::from_secs(2), "{report}");
    let book = zdt_e2e::client::Client::tcp(machine, HTTP)?
        .get("/")?
        .text();
    let entries = u64::try_from(book.lines().count())?;
    assert_eq!(entries, report.total.outcomes.ok);
    assert_eq!(
        machine.show("zdt-hold-guestbook.service", "LoadState")?,
        "not-found"
    );
    assert_eq!(machine.show("guestbook.service", "DropInPaths")?, "");

    // The control: who comes while it is stopped starts it, and the command has it beside itself.
    let load = examples::load(machine, HTTP, &posts)?;
    let script = "\
        systemctl stop guestbook.service; sleep 2; \
        systemctl show --value -p MainPID guestbook.service; \
        systemctl start guestbook.service";
    let beside = machine.run(&["sh", "-c", script])?.ok()?;
    load.stop()?;
    println!(
        "after `systemctl stop`, two seconds later: process {}",
        beside.stdout.trim_end()
    );
    assert_ne!(beside.stdout.trim_end(), "0");
    Ok(())
}

/// `kill -9` in the middle: systemd starts the service by itself, and the command is ended.
fn a_killed_hold_ends_by_itself(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "", "handover = true")?;
    let load = load(machine)?;
    let before = pid(machine)?;
    launch(
        machine,
        &["hold", "app", "--max", "60s", "--", "sleep", "1234"],
    )?;
    await_sleeping(machine, true)?;
    assert_eq!(pid(machine)?, "0");
    let refused = zdt(machine, &["restart", "app"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    kill(machine)?;
    await_state(machine, "app.service", "active")?;
    await_sleeping(machine, false)?;
    assert_ne!(pid(machine)?, before);
    await_state(machine, "zdt-hold-app.service", "inactive")?;
    zdt(machine, &["restart", "app"])?.ok()?;
    lossless("a hold was killed", &load.stop()?);
    Ok(())
}

/// The command is ended with all that it started, and its exit status is told. Ctrl-C does the
/// same.
fn a_command_does_not_outlive_its_time(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "", "strategy = \"rolling\"\ninstances = 2")?;
    let load = load(machine)?;
    let units = ["app@1.service", "app@2.service"];
    let pids = || units.map(|unit| machine.show(unit, "MainPID").unwrap_or_default());
    let before = pids();
    let script = "sleep 1234 & wait";
    let hold = ["hold", "app", "--max", "500ms", "--", "sh", "-c", script];
    let held = zdt(machine, &hold)?;
    assert_eq!(held.code, Some(128 + 15), "{}", held.stderr);
    await_sleeping(machine, false)?;
    assert!(before.iter().all(|pid| !pids().contains(pid)));

    let own = zdt(
        machine,
        &["hold", "app", "--max=9s", "--", "sh", "-c", "exit 42"],
    )?;
    assert_eq!(own.code, Some(42), "{}", own.stderr);
    let missing = zdt(machine, &["hold", "app", "--max=9s", "--", "/no/such"])?;
    assert_eq!(missing.code, Some(127), "{}", missing.stderr);

    launch(
        machine,
        &["hold", "app", "--max", "60s", "--", "sleep", "1234"],
    )?;
    await_sleeping(machine, true)?;
    assert_eq!(pids(), ["0", "0"]);
    machine
        .systemctl(&[
            "kill",
            "--kill-whom=main",
            "--signal=INT",
            "launcher.service",
        ])?
        .ok()?;
    await_sleeping(machine, false)?;
    for unit in units {
        await_state(machine, unit, "active")?;
    }
    await_state(machine, "launcher.service", "inactive")?;
    lossless("four holds of two instances", &load.stop()?);
    Ok(())
}

fn await_sleeping(machine: &Machine, wanted: bool) -> Result<(), Box<dyn Error>> {
    let what = format!("the command runs: {wanted}");
    let runs = |machine: &Machine| {
        let found = machine.run(&[
            "sh",
            "-c",
            "grep -lz 1234 /proc/[0-9]*/cmdline 2>/dev/null | \
            while read -r file; do tr '\\0' ' ' <$file; echo; done | grep -q '^sleep 1234 '",
        ]);
        found.is_ok_and(|found| found.success() == wanted)
    };
    Ok(machine.wait_until(LIMIT, &what, runs)?)
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    (
        "hold::a_database_is_moved_while_clients_wait",
        a_database_is_moved_while_clients_wait,
    ),
    (
        "hold::a_killed_hold_ends_by_itself",
        a_killed_hold_ends_by_itself,
    ),
    (
        "hold::a_command_does_not_outlive_its_time",
        a_command_does_not_outlive_its_time,
    ),
];
