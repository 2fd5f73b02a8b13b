//! Releases, migrations and unit files.

use super::*;
use crate::observe::UnitFiles;
use crate::release::{Found, Kind, Mark, Record, Releases};

const MIGRATE: &str = "migrate = { command = [\"{{release.path}}/shop\", \"up\"], down = [\"{{release.path}}/shop\", \"down\"] }\n";

fn shop(strategy: &str, more: &str) -> String {
    format!(
        "[service.shop]\nexec = [\"{{{{release.path}}}}/shop\"]\nlisten = \":80\"\nhealth = {{}}\n\
         release = {{ root = \"/srv/shop\" }}\nstrategy = \"{strategy}\"\n{more}"
    )
}

fn release(name: &str) -> ReleaseName {
    ReleaseName::parse(name).unwrap()
}

/// `v1` serves, and others may have before it.
pub(super) fn seen() -> Releases {
    let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    let mut record = Record::new(release("v1"), at(1));
    record.mark(Mark::Served, at(2));
    Releases {
        current: Some(release("v1")),
        next: Some(release("v1")),
        all: vec![Found {
            name: release("v1"),
            kind: Kind::Ours(Box::new(record)),
        }],
        ..Releases::default()
    }
}

/// The same, and then `v2` changed data, and serves.
pub(super) fn migrated() -> Releases {
    let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    let mut record = Record::new(release("v2"), at(3));
    record.mark(Mark::Migrated, at(4));
    record.mark(Mark::Served, at(5));
    let mut seen = seen();
    seen.current = Some(release("v2"));
    seen.next = seen.current.clone();
    seen.all.push(Found {
        name: release("v2"),
        kind: Kind::Ours(Box::new(record)),
    });
    seen
}

pub(super) fn deploy() -> Operation {
    Operation::Deploy {
        release: release("v2"),
        from: "/tmp/new".into(),
    }
}

fn deployed(text: &str, change: impl FnOnce(&mut Observed)) -> String {
    planned_as(text, deploy(), Options::default(), |observed| {
        observed.releases = Some(seen());
        for other in &mut observed.beside {
            if other.unit.as_str().contains("standby") {
                *other = UnitState::stopped(other.unit.clone());
            }
        }
        change(observed);
    })
}

fn files(kept: Option<&str>, now: &str, are_newer: bool) -> Option<UnitFiles> {
    let copy = |text: &str| {
        vec![UnitCopy {
            path: "/etc/systemd/system/shop.service".into(),
            text: text.to_owned(),
        }]
    };
    Some(UnitFiles {
        place: "/var/lib/zdt/shop/units".into(),
        now: copy(now),
        kept: kept.map(copy),
        are_newer,
        need_reload: true,
    })
}

#[test]
fn a_deployment_by_queue_goes_back_by_the_link_first() {
    insta::assert_snapshot!(deployed(&shop("queue", &format!("bake = \"30s\"\n{MIGRATE}")), |_| {}), @"
    deploy `v2` of `shop` (strategy `queue`)
    1. see that `shop.service` is well before anything is touched: `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    2. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    3. point `/srv/shop/next` to `v2` (limit 60s)
    4. note that `v2` has changed data (limit 60s)
    5. run `shop-migrate.service` to its end (limit 310s)
    6. point `/srv/shop/current` to `v2` (limit 60s)
    7. restart `shop.service` and wait until it is ready (limit 111s)
    8. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    9. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    10. see `shop.service` stay up for 30s (limit 40s)
    11. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    12. note that `v2` serves (limit 60s)
    on failure of 1 to 4: it ends there, nothing was touched
    on failure of 5:
       1. stop `shop-migrate.service` (limit 51s)
       2. note that `v2` failed (limit 60s)
    on failure of 6:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. run `shop-migrate-down.service` to its end (limit 310s)
       3. note that `v2` took its changes of data back (limit 60s)
       4. note that `v2` failed (limit 60s)
    on failure of 12: that is told, and it goes on
    on another failure:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. run `shop-migrate-down.service` to its end (limit 310s)
       3. note that `v2` took its changes of data back (limit 60s)
       4. restart `shop.service` and wait until it is ready (limit 111s)
       5. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       6. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
       7. note that `v2` failed (limit 60s)
    ");
}

#[test]
fn a_deployment_by_standby_is_taken_back_before_the_process_that_serves_is_touched() {
    insta::assert_snapshot!(deployed(&shop("standby", ""), |_| {}), @"
    deploy `v2` of `shop` (strategy `standby`)
    1. see that `shop.service` is well before anything is touched: `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    2. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    3. point `/srv/shop/next` to `v2` (limit 60s)
    4. point `/srv/shop/current` to `v2` (limit 60s)
    5. start `shop-standby.service` and wait until it is ready (limit 70s)
    6. confirm that `shop-standby.service` runs a process and that `shop.socket` stayed open (limit 10s)
    7. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop-standby.service` (limit 30s)
    8. restart `shop.service` and wait until it is ready (limit 111s)
    9. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    10. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    11. stop `shop-standby.service` (limit 51s)
    12. note that `v2` serves (limit 60s)
    on failure of 1 to 3: it ends there, nothing was touched
    on failure of 4:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. note that `v2` failed (limit 60s)
    on failure of 5 to 7:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. stop `shop-standby.service` (limit 51s)
       3. note that `v2` failed (limit 60s)
    on failure of 12: that is told, and it goes on
    on another failure:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
       5. stop `shop-standby.service` (limit 51s)
       6. note that `v2` failed (limit 60s)
    ");
}

#[test]
fn a_rolling_deployment_starts_old_processes_again() {
    insta::assert_snapshot!(deployed(&shop("rolling", "instances = 2\n"), |_| {}), @"
    deploy `v2` of `shop` (strategy `rolling`)
    1. see that `shop@1.service` is well before anything is touched: `http://127.0.0.1:80/readyz` answers 200 from the process of `shop@1.service` (limit 30s)
    2. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    3. point `/srv/shop/next` to `v2` (limit 60s)
    4. point `/srv/shop/current` to `v2` (limit 60s)
    5. restart `shop@1.service` and wait until it is ready (limit 111s)
    6. confirm that `shop@1.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    7. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop@1.service` (limit 30s)
    8. restart `shop@2.service` and wait until it is ready (limit 111s)
    9. confirm that `shop@2.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    10. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop@2.service` (limit 30s)
    11. note that `v2` serves (limit 60s)
    on failure of 1 to 3: it ends there, nothing was touched
    on failure of 4:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. note that `v2` failed (limit 60s)
    on failure of 5 to 7:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. stop `shop@1.service` (limit 51s)
       3. restart `shop@1.service` and wait until it is ready (limit 111s)
       4. confirm that `shop@1.service` runs a process and that `shop.socket` stayed open (limit 10s)
       5. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop@1.service` (limit 30s)
       6. note that `v2` failed (limit 60s)
    on failure of 8 to 10:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. stop `shop@2.service` (limit 51s)
       3. restart `shop@2.service` and wait until it is ready (limit 111s)
       4. confirm that `shop@2.service` runs a process and that `shop.socket` stayed open (limit 10s)
       5. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop@2.service` (limit 30s)
       6. restart `shop@1.service` and wait until it is ready (limit 111s)
       7. confirm that `shop@1.service` runs a process and that `shop.socket` stayed open (limit 10s)
       8. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop@1.service` (limit 30s)
       9. note that `v2` failed (limit 60s)
    on failure of 11: that is told, and it goes on
    ");
}

#[test]
fn the_first_release_has_nothing_to_go_back_to() {
    let first = deployed(&shop("queue", ""), |observed| {
        observed.releases = Some(Releases::default());
        observed.service = UnitState::stopped(observed.service.unit.clone());
    });
    insta::assert_snapshot!(first, @"
    deploy `v2` of `shop` (strategy `queue`)
    1. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    2. point `/srv/shop/next` to `v2` (limit 60s)
    3. point `/srv/shop/current` to `v2` (limit 60s)
    4. start `shop.service` and wait until it is ready (limit 70s)
    5. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    6. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    7. note that `v2` serves (limit 60s)
    on failure of 1 to 2: it ends there, nothing was touched
    on failure of 7: that is told, and it goes on
    on another failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}

/// What the mark says is that it began, not how far it came; a release that served knows more.
#[test]
fn a_migration_is_run_again_until_its_release_served() {
    let migrates = |marks: &[Mark]| {
        let planned = deployed(&shop("queue", MIGRATE), |observed| {
            let mut record = Record::new(release("v2"), SystemTime::UNIX_EPOCH);
            for mark in marks {
                record.mark(*mark, SystemTime::UNIX_EPOCH);
            }
            let mut releases = seen();
            releases.all.push(Found {
                name: release("v2"),
                kind: Kind::Ours(Box::new(record)),
            });
            observed.releases = Some(releases);
        });
        planned.contains("run `shop-migrate.service` to its end")
    };
    assert!(migrates(&[]));
    assert!(migrates(&[Mark::Migrated]));
    assert!(!migrates(&[Mark::Migrated, Mark::Served]));
    assert!(migrates(&[Mark::Migrated, Mark::Served, Mark::Failed]));
}

#[test]
fn unit_files_are_kept_while_a_process_runs_with_them_and_put_back_when_none_starts() {
    let text = "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\n";
    let first = planned(text, |observed| observed.files = files(None, "1", false));
    insta::assert_snapshot!(first, @"
    restart `shop` (strategy `queue`)
    1. keep `/etc/systemd/system/shop.service`, which works, in `/var/lib/zdt/shop/units` (limit 60s)
    2. restart `shop.service` and wait until it is ready (limit 111s)
    3. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    on failure of 1: it ends there, nothing was touched
    on another failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
    let changed = planned(text, |observed| {
        observed.files = files(Some("1"), "2", true)
    });
    insta::assert_snapshot!(changed, @"
    restart `shop` (strategy `queue`)
    note: `/etc/systemd/system/shop.service` has changed since it was last good; on failure what was good is taken from `/var/lib/zdt/shop/units`
    1. restart `shop.service` and wait until it is ready (limit 111s)
    2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    3. keep `/etc/systemd/system/shop.service`, which works, in `/var/lib/zdt/shop/units` (limit 60s)
    on failure of 3: that is told, and it goes on
    on another failure:
       1. go back to `/etc/systemd/system/shop.service` as kept in `/var/lib/zdt/shop/units` (limit 60s)
       2. let systemd read the units again (limit 10s)
       3. restart `shop.service` and wait until it is ready (limit 111s)
       4. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    ");
    let same = planned(text, |observed| {
        observed.files = files(Some("1"), "1", false)
    });
    assert_eq!(same, planned(text, |_| {}));
}

#[test]
fn where_a_launcher_goes_back_to_its_zdt_toml_no_unit_is_spoken_of() {
    let text = "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\n";
    let planned = planned(text, |observed| {
        let mut changed = files(Some("1"), "2", true).unwrap();
        changed.need_reload = false;
        let kept = changed.kept.iter_mut().flatten();
        for copy in kept.chain(&mut changed.now) {
            copy.path = "/etc/zdt/zdt.toml".into();
        }
        observed.files = Some(changed);
    });
    insta::assert_snapshot!(planned, @"
    restart `shop` (strategy `queue`)
    note: `/etc/zdt/zdt.toml` has changed since it was last good; on failure what was good is taken from `/var/lib/zdt/shop/units`
    1. restart `shop.service` and wait until it is ready (limit 111s)
    2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    3. keep `/etc/zdt/zdt.toml`, which works, in `/var/lib/zdt/shop/units` (limit 60s)
    on failure of 3: that is told, and it goes on
    on another failure:
       1. go back to `/etc/zdt/zdt.toml` as kept in `/var/lib/zdt/shop/units` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    ");
}

#[test]
fn a_link_that_was_moved_by_hand_is_moved_back() {
    let moved = planned(&shop("queue", ""), |observed| {
        observed.releases = Some(Releases {
            current: Some(release("v2")),
            next: Some(release("v2")),
            ..seen()
        });
    });
    insta::assert_snapshot!(moved, @"
    restart `shop` (strategy `queue`)
    note: `/srv/shop/current` points to `v2`, and what served last was `v1`; on failure it is pointed back
    1. see that `shop.service` is well before anything is touched: `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    2. restart `shop.service` and wait until it is ready (limit 111s)
    3. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    4. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    5. note that `v2` serves (limit 60s)
    on failure of 1: it ends there, nothing was touched
    on failure of 5: that is told, and it goes on
    on another failure:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    ");
}

#[test]
fn what_cannot_be_deployed_or_watched_is_refused() {
    let canary = Options {
        canary: true,
        ..Options::default()
    };
    let plain = "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\n";
    let refused = [
        planned_as(plain, deploy(), canary, |_| {}),
        planned_as(
            &shop("standby", ""),
            Operation::Restart,
            canary,
            |observed| {
                observed.releases = Some(Releases::default());
            },
        ),
    ];
    insta::assert_snapshot!(refused.join("--\n"), @r#"
    `zdt.toml` does not say where the releases of `shop` are kept
      add `release = { root = "/srv/NAME" }`, and `{{release.path}}` to `exec`
    `shop` is restarted by `queue`, which replaces all there is at once
      `standby` and `rolling` have one
    --
    `shop` has no release: there is no `/srv/shop/current`
      `zdt-units deploy shop --from PATH` brings the first one
    a canary of `shop` would not be looked at, without `bake`
      add `bake = "30s"` to the service: so long it has to stay up
    "#);
}

fn rolled_back(more: &str, force: bool) -> String {
    let release = release("v1");
    let options = Options {
        force,
        ..Options::default()
    };
    let text = shop("queue", more);
    planned_as(
        &text,
        Operation::RollBack { release },
        options,
        |observed| {
            observed.releases = Some(migrated());
        },
    )
}

#[test]
fn the_way_back_over_a_migration_takes_it_back_or_is_refused() {
    insta::assert_snapshot!(rolled_back("", false), @"
    `v2` changed data since `v1` served, and that stays changed
      declare `migrate = { down = [...] }`, or, if `v1` runs with the data as they are, `zdt-units rollback shop v1 --force`
    ");
    insta::assert_snapshot!(rolled_back("", true), @"
    roll `shop` back to `v1` (strategy `queue`)
    note: what `v2` did to data stays, and `v1` runs with it
    1. point `/srv/shop/next` to `v1` (limit 60s)
    2. point `/srv/shop/current` to `v1` (limit 60s)
    3. restart `shop.service` and wait until it is ready (limit 111s)
    4. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    5. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    6. note that `v1` serves (limit 60s)
    on failure of 1: it ends there, nothing was touched
    on failure of 2:
       1. point `/srv/shop/current` to `v2` (limit 60s)
       2. note that `v1` failed (limit 60s)
    on failure of 6: that is told, and it goes on
    on another failure:
       1. point `/srv/shop/current` to `v2` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
       5. note that `v1` failed (limit 60s)
    ");
    insta::assert_snapshot!(rolled_back(MIGRATE, false), @"
    roll `shop` back to `v1` (strategy `queue`)
    1. point `/srv/shop/next` to `v1` (limit 60s)
    2. point `/srv/shop/current` to `v1` (limit 60s)
    3. point `/srv/shop/next` to `v2` (limit 60s)
    4. run `shop-migrate-down.service` to its end (limit 310s)
    5. note that `v2` took its changes of data back (limit 60s)
    6. restart `shop.service` and wait until it is ready (limit 111s)
    7. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    8. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    9. note that `v1` serves (limit 60s)
    on failure of 1: it ends there, nothing was touched
    on failure of 2 to 4:
       1. point `/srv/shop/current` to `v2` (limit 60s)
       2. note that `v1` failed (limit 60s)
    on failure of 5: that is told, and it goes on
    on failure of 9: that is told, and it goes on
    on another failure: nothing is taken back, and who serves goes on
    ");
}

/// What a migration that broke off changed, nobody knows; one of a release that served was done.
#[test]
fn only_a_release_that_served_does_not_migrate_again() {
    let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    for served in [false, true] {
        let mut record = Record::new(release("v2"), at(3));
        record.mark(Mark::Migrated, at(4));
        if served {
            record.mark(Mark::Served, at(5));
        }
        let plan = deployed(&shop("queue", MIGRATE), |observed| {
            let found = Found {
                name: release("v2"),
                kind: Kind::Ours(Box::new(record)),
            };
            let releases = observed.releases.as_mut();
            releases.expect("there is `v1`").all.push(found);
        });
        let migrates = plan.contains("run `shop-migrate.service` to its end");
        assert_eq!(migrates, !served, "{plan}");
    }
}
