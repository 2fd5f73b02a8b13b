//! Without those who are asked: the system bus, the journal, systemd itself, and the right to.

use zdt_e2e::machine::Machine;

use super::{Done, all, by, call, install, load, lossless, shell};
use crate::Test;

pub(super) const TESTS: &[(&str, Test)] = &[
    (
        "hostile::neither_bus_nor_journal_is_needed",
        neither_bus_nor_journal_is_needed,
    ),
    (
        "hostile::who_may_not_or_cannot_is_told_so",
        who_may_not_or_cannot_is_told_so,
    ),
];

/// The manager has a socket of its own, and what the journal does not take is nobody's loss.
fn neither_bus_nor_journal_is_needed(machine: &Machine) -> Done {
    install(machine)?;
    shell(
        machine,
        "mkdir -p /tmp/broken/bin; cp /bin/false /tmp/broken/bin/app",
    )?;
    let load = load(machine)?;
    let work = [
        call("restart app", 0, &["done"]),
        call("deploy app --from /tmp/next", 0, &["done"]),
        call("rollback app", 0, &["done"]),
        call("recover app", 0, &["nothing broke off, and all is well"]),
        call("hold app --max 5s -- true", 0, &["done"]),
        call("status", 0, &["serving"]),
        call("doctor app", 0, &[]),
        call("install", 0, &["nothing to do"]),
        call("events --since 1h --kind finished", 0, &["done"]),
        call("history", 0, &["app"]),
    ];
    shell(
        machine,
        "systemctl stop dbus.socket dbus.service 2>&1; test ! -e /run/dbus/system_bus_socket || ! busctl list",
    )?;
    all(machine, &work)?;
    all(machine, &[call("status", 0, &["by its own socket"])])?;
    shell(machine, "systemctl start dbus.socket")?;

    shell(
        machine,
        "systemctl stop systemd-journald.socket systemd-journald-dev-log.socket \
           systemd-journald-audit.socket systemd-journald.service; \
         mv /run/systemd/journal /run/systemd/journal.away",
    )?;
    all(machine, &work)?;
    let broken = super::run(machine, "deploy app --from /tmp/broken --release broken")?;
    assert_eq!(broken.code, Some(6), "{}", broken.stderr);
    shell(
        machine,
        "mv /run/systemd/journal.away /run/systemd/journal; \
         systemctl start systemd-journald.socket systemd-journald.service",
    )?;
    lossless("without a bus, and without a journal", load)
}

fn who_may_not_or_cannot_is_told_so(machine: &Machine) -> Done {
    install(machine)?;
    let load = load(machine)?;
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    by(
        machine,
        &nobody,
        &[
            call("restart app", 5, LOCKED),
            call("restart app --dry-run", 0, &["1. restart `app.service`"]),
            call("deploy app --from /tmp/next", 5, LOCKED),
            call("deploy app --from /tmp/next --dry-run", 0, &["1. copy"]),
            call("rollback app", 5, LOCKED),
            call("rollback app --dry-run", 0, &["1. point"]),
            call("recover app", 5, LOCKED),
            call("hold app --max 5s -- true", 5, LOCKED),
            call(
                "install",
                5,
                &["`zdt-units install` needs root", "run it as root"],
            ),
            call("install --dry-run", 0, &["unchanged `app.service`"]),
            call("uninstall app", 5, &["needs root"]),
            call("events", 1, UNREAD),
            call("history", 1, UNREAD),
            call("releases app --verify", 0, &["current, intact"]),
            call(
                "status",
                0,
                &[
                    "serving",
                    "started by `zdt-units`, `systemctl`, or a connection",
                    "note: failed to read `/var/log/zdt/events.jsonl`: Permission denied",
                    "note: the sockets of the manager",
                ],
            ),
            call("doctor app", 0, &["ZDT-D080", "run it as root"]),
            call("explain app", 0, &["queue"]),
        ],
    )?;

    // Nobody without a bus may not talk to systemd at all.
    shell(machine, "systemctl stop dbus.socket dbus.service 2>&1")?;
    let unreachable = [
        call("restart app", 5, UNREACHABLE),
        call("restart app --dry-run", 5, UNREACHABLE),
        call("deploy app --from /tmp/next", 5, UNREACHABLE),
        call("rollback app", 5, UNREACHABLE),
        call("recover app", 5, UNREACHABLE),
        call("hold app --max 5s -- true", 5, UNREACHABLE),
        call("status", 5, UNREACHABLE),
        call("doctor app", 5, UNREACHABLE),
    ];
    by(machine, &nobody, &unreachable)?;
    shell(machine, "systemctl start dbus.socket")?;

    let hidden = "mount -t tmpfs none /run/systemd; mount -t tmpfs none /run/dbus; exec \"$@\"";
    let elsewhere = ["unshare", "--mount", "sh", "-ec", hidden, "sh"];
    by(machine, &elsewhere, &unreachable)?;
    by(
        machine,
        &elsewhere,
        &[
            call(
                "install",
                5,
                &["systemd cannot be reached", "`zdt-units install --root /`"],
            ),
            call("releases app --verify", 0, &["current, intact"]),
            call("events --since 1h --kind finished", 0, &["done"]),
            call("history", 0, &["app"]),
        ],
    )?;
    lossless("those who may not", load)
}

const UNREACHABLE: &[&str] = &[
    "error: systemd cannot be reached: ",
    "hint: this needs a machine that runs systemd, and root where there is no system bus",
];

const LOCKED: &[&str] = &[
    "failed to lock `/run/zdt/app.lock`: Permission denied (os error 13); nothing was touched",
    "hint: run it as root",
];

const UNREAD: &[&str] = &[
    "failed to read `/var/log/zdt/events.jsonl`: Permission denied",
    "hint: run it as root",
];
