//! Disks that take nothing, from the start or from the middle of an operation on.

use zdt_e2e::machine::Machine;

use super::{CONFIG, Call, Done, all, call, install, lossless, run, shell};
use crate::Test;

pub(super) const TESTS: &[(&str, Test)] = &[
    (
        "hostile::a_disk_that_takes_nothing_is_told_and_nothing_is_touched",
        a_disk_that_takes_nothing_is_told_and_nothing_is_touched,
    ),
    (
        "hostile::a_disk_that_fills_up_half_way_breaks_nothing",
        a_disk_that_fills_up_half_way_breaks_nothing,
    ),
];

const DEPLOY: &str = "deploy app --from /tmp/next --release v3";

/// All that only looks. They work whatever is full.
const LOOK: &[Call] = &[
    call("status", 0, &["serving"]),
    call("doctor app", 0, &[]),
    call("events --since 1h --kind finished", 0, &[]),
    call("history", 0, &[]),
    call("releases app --verify", 0, &["current, intact"]),
    call("restart app --dry-run", 0, &["1. restart `app.service`"]),
    call("install", 0, &["nothing to do"]),
];

fn a_disk_that_takes_nothing_is_told_and_nothing_is_touched(machine: &Machine) -> Done {
    small_disks(
        machine,
        &["/var/lib/zdt", "/var/log/zdt", "/run/zdt", "/srv/app"],
    )?;
    install(machine)?;
    let load = super::load(machine)?;

    const RESTART: &str = "restart app";
    const RECOVER: &str = "recover app";
    const ROLL_BACK: &str = "rollback app";
    const HOLD: &str = "hold app --max 5s -- true";
    let record = "failed to write `/var/lib/zdt/app/running.json`";
    let lock = "failed to lock `/run/zdt/app.lock`";
    let unsaid = "note: events are not written to `/var/log/zdt/events.jsonl`: ";
    for spoil in [Spoil::ReadOnly, Spoil::Full] {
        let refused = |what| {
            [format!(
                "error: {what}: {}; nothing was touched",
                spoil.reason()
            )]
        };
        let place = "/var/lib/zdt";
        spoil.begin(machine, place)?;
        let says = refused(record);
        let says = [says[0].as_str(), spoil.hint()];
        for arguments in [RESTART, DEPLOY, ROLL_BACK] {
            all(machine, &[call(arguments, 5, &says)])?;
        }
        all(machine, &[call(RECOVER, 0, &[]), call(HOLD, 0, &["done"])])?;
        all(machine, LOOK)?;
        spoil.end(machine, place)?;

        let place = "/run/zdt";
        spoil.begin(machine, place)?;
        let says = refused(lock);
        let says = [says[0].as_str(), spoil.hint()];
        for arguments in [RESTART, DEPLOY, ROLL_BACK, RECOVER, HOLD] {
            all(machine, &[call(arguments, 5, &says)])?;
        }
        all(machine, LOOK)?;
        spoil.end(machine, place)?;

        let place = "/var/log/zdt";
        spoil.begin(machine, place)?;
        all(
            machine,
            &[call(RESTART, 0, &[unsaid, "done"]), call(RECOVER, 0, &[])],
        )?;
        all(machine, LOOK)?;
        spoil.end(machine, place)?;
    }

    Spoil::ReadOnly.begin(machine, "/srv/app")?;
    let text = &[
        "Read-only file system (os error 30)",
        "stopped before anything was changed",
    ];
    all(
        machine,
        &[call(DEPLOY, 5, text), call("rollback app", 5, text)],
    )?;
    all(machine, LOOK)?;
    all(machine, &[call("restart app", 0, &["done"])])?;
    Spoil::ReadOnly.end(machine, "/srv/app")?;
    Spoil::Full.begin(machine, "/srv/app")?;
    let text = &[
        ", and `/srv/app/releases` has 0 B left",
        "stopped before anything was changed",
    ];
    all(
        machine,
        &[call(DEPLOY, 5, text), call("restart app", 0, &["done"])],
    )?;
    Spoil::Full.end(machine, "/srv/app")?;

    // Units as well: one of them changes.
    let changed = super::APP.replace("3s", "4s");
    machine.write_file(CONFIG, changed, 0o644)?;
    shell(
        machine,
        "mount --bind /etc/systemd/system /etc/systemd/system; \
         mount -o remount,bind,ro /etc/systemd/system",
    )?;
    let text = &[
        "failed to write `/etc/systemd/system/app.service`: Read-only",
        "stopped before",
    ];
    all(machine, &[call("install", 5, text)])?;
    shell(machine, "umount /etc/systemd/system")?;
    machine.write_file(CONFIG, super::APP, 0o644)?;

    all(
        machine,
        &[
            call(DEPLOY, 0, &["done"]),
            call("rollback app", 0, &["done"]),
        ],
    )?;
    lossless("disks that take nothing, and then do", load)
}

/// Why a disk takes nothing.
#[derive(Clone, Copy)]
enum Spoil {
    ReadOnly,
    Full,
}

impl Spoil {
    fn begin(self, machine: &Machine, place: &str) -> Done {
        match self {
            Self::ReadOnly => shell(machine, &format!("mount -o remount,ro {place}")),
            Self::Full => shell(machine, &format!("{} || true", fill(place))),
        }
    }

    fn end(self, machine: &Machine, place: &str) -> Done {
        match self {
            Self::ReadOnly => shell(machine, &format!("mount -o remount,rw {place}")),
            Self::Full => emptied(machine, place),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::ReadOnly => "Read-only file system (os error 30)",
            Self::Full => "No space left on device (os error 28)",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::ReadOnly => "hint: see `findmnt --target`",
            Self::Full => "hint: make room there",
        }
    }
}

/// As much as goes in.
fn fill(place: &str) -> String {
    format!("head -c 10000000 /dev/zero > {place}/fill")
}

/// What is written down on the way cannot be any more; what was begun is ended, or taken back.
fn a_disk_that_fills_up_half_way_breaks_nothing(machine: &Machine) -> Done {
    small_disks(machine, &["/var/lib/zdt", "/var/log/zdt", "/srv/app"])?;
    install(machine)?;
    shell(
        machine,
        "mkdir -p /tmp/broken/bin; cp /bin/false /tmp/broken/bin/app",
    )?;
    let load = super::load(machine)?;

    fills(machine, "/var/lib/zdt")?;
    let unwritten = "note: failed to write `/var/lib/zdt/app/running.json`: No space left";
    let deploy = run(machine, DEPLOY)?;
    assert_eq!(deploy.code, Some(0), "{}", deploy.stderr);
    assert!(deploy.stderr.contains(unwritten), "{}", deploy.stderr);
    emptied(machine, "/var/lib/zdt")?;
    let broken = run(machine, "deploy app --from /tmp/broken --release v4")?;
    assert_eq!(broken.code, Some(6), "{}", broken.stderr);
    assert!(broken.stderr.contains(unwritten), "{}", broken.stderr);
    let nothing = "nothing broke off, and all is well";
    all(
        machine,
        &[
            call("recover app", 0, &[nothing]),
            call("doctor app", 0, &[]),
        ],
    )?;
    emptied(machine, "/var/lib/zdt")?;

    fills(machine, "/var/log/zdt")?;
    let restart = run(machine, "restart app")?;
    assert_eq!(restart.code, Some(0), "{}", restart.stderr);
    assert!(
        restart.stderr.contains("events are not written to"),
        "{}",
        restart.stderr
    );
    emptied(machine, "/var/log/zdt")?;
    // The line that was cut off is told, and those after it are whole.
    let restart = run(machine, "restart app")?;
    assert_eq!(restart.code, Some(0), "{}", restart.stderr);
    all(machine, &[call("history", 0, &["restart: completed"])])?;
    emptied(machine, "/var/log/zdt")?;

    fills(machine, "/srv/app")?;
    let deploy = run(machine, "deploy app --from /tmp/next --release v5")?;
    assert_eq!(deploy.code, Some(0), "{}", deploy.stderr);
    emptied(machine, "/srv/app")?;
    shell(
        machine,
        "rm /etc/systemd/system/app.service.d/fill.conf; systemctl daemon-reload",
    )?;
    all(
        machine,
        &[
            call("status", 0, &["serving  v5"]),
            call("rollback app", 0, &["done"]),
            call("releases app --verify", 0, &["current, intact"]),
        ],
    )?;
    lossless("disks that fill up half-way", load)
}

fn small_disks(machine: &Machine, places: &[&str]) -> Done {
    places.iter().try_for_each(|place| {
        let mount = format!("mount -t tmpfs -o size=256k,mode=755 none {place}");
        shell(machine, &format!("mkdir -p {place}; {mount}"))
    })
}

/// From here on each start of the service fills `place`.
fn fills(machine: &Machine, place: &str) -> Done {
    let fill = format!(
        "[Service]\nExecStartPre=+/bin/sh -c \"{}; true\"\n",
        self::fill(place)
    );
    Ok(machine.install(&[("app.service.d/fill.conf", &fill)])?)
}

fn emptied(machine: &Machine, place: &str) -> Done {
    shell(machine, &format!("rm {place}/fill"))
}
