//! Strategies with more than one process.

use super::*;

const STANDBY: &str = "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\nhealth = {}\nstrategy = \"standby\"\n";
const RELOAD: &str = "[service.edge]\nexec = [\"/srv/edge\"]\nlisten = \":80\"\nhealth = {}\nstrategy = \"reload\"\n";

/// Without a health check, which is the same for all of them.
fn rolling(keys: &str) -> String {
    format!(
        "[service.api]\nexec = [\"/srv/api\"]\nlisten = \":80\"\nstrategy = \"rolling\"\n{keys}\n"
    )
}

fn stopped(state: &mut UnitState) {
    *state = UnitState::stopped(state.unit.clone());
}

/// A healthy snapshot has a standby at rest.
fn standby(change: impl FnOnce(&mut Observed)) -> String {
    planned(STANDBY, |observed| {
        stopped(&mut observed.beside[0]);
        change(observed);
    })
}

fn new_socket(observed: &mut Observed) {
    observed.sockets[0].active = Active::Inactive;
    observed.sockets[0].was_active = false;
}

#[test]
fn a_standby_serves_while_the_process_is_replaced() {
    insta::assert_snapshot!(standby(|_| {}), @"
    restart `shop` (strategy `standby`)
    1. start `shop-standby.service` and wait until it is ready (limit 70s)
    2. confirm that `shop-standby.service` runs a process and that `shop.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop-standby.service` (limit 30s)
    4. restart `shop.service` and wait until it is ready (limit 111s)
    5. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    6. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    7. stop `shop-standby.service` (limit 51s)
    on failure of 1 to 3:
       1. stop `shop-standby.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn a_standby_that_was_left_behind_is_of_an_old_release() {
    let left_behind = standby(|observed| observed.beside[0] = state(&observed.beside[0].unit));
    insta::assert_snapshot!(left_behind, @"
    restart `shop` (strategy `standby`)
    note: `shop-standby.service` was left behind by another restart and may be of an old release, so it is restarted too
    1. restart `shop-standby.service` and wait until it is ready (limit 111s)
    2. confirm that `shop-standby.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop-standby.service` (limit 30s)
    4. restart `shop.service` and wait until it is ready (limit 111s)
    5. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    6. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    7. stop `shop-standby.service` (limit 51s)
    on failure of 1 to 3:
       1. stop `shop-standby.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn a_standby_that_failed_once_is_started() {
    let failed = standby(|observed| observed.beside[0].active = Active::Failed);
    assert_eq!(failed, standby(|_| {}));
}

#[test]
fn a_standby_that_serves_alone_is_not_touched_before_the_other_one_does() {
    let alone = standby(|observed| {
        observed.beside[0] = state(&observed.beside[0].unit);
        observed.service.active = Active::Activating;
        observed.service.instance = None;
    });
    insta::assert_snapshot!(alone, @"
    restart `shop` (strategy `standby`)
    note: `shop-standby.service` serves and `shop.service` does not, so it is left alone until that is mended
    1. restart `shop.service` and wait until it is ready (limit 111s)
    2. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    4. stop `shop-standby.service` (limit 51s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}

#[test]
fn a_process_that_does_not_run_needs_no_standby() {
    let none = standby(|observed| stopped(&mut observed.service));
    insta::assert_snapshot!(none, @"
    restart `shop` (strategy `standby`)
    1. start `shop.service` and wait until it is ready (limit 70s)
    2. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}

#[test]
fn a_new_socket_and_a_standby_exclude_each_other() {
    insta::assert_snapshot!(standby(new_socket), @"
    restart `shop` (strategy `standby`)
    note: `shop.socket` is new and is opened only while `shop.service` is stopped, so no standby serves meanwhile: connections wait
    1. restart `shop.service` and wait until it is ready (limit 111s)
    2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}

#[test]
fn a_standby_that_is_not_installed_is_refused() {
    let missing = standby(|observed| observed.beside[0].load = Load::NotFound);
    insta::assert_snapshot!(missing, @"
    systemd has no unit `shop-standby.service`
      install it with `zdt-units install`
    ");
}

#[test]
fn instances_are_replaced_one_after_the_other() {
    let two = planned(
        &rolling("instances = 2\nhealth = { successes = 3 }"),
        |_| {},
    );
    insta::assert_snapshot!(two, @"
    restart `api` (strategy `rolling`)
    1. restart `api@1.service` and wait until it is ready (limit 111s)
    2. confirm that `api@1.service` runs a new process and that `api.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@1.service` 3 times in a row (limit 30s)
    4. restart `api@2.service` and wait until it is ready (limit 111s)
    5. confirm that `api@2.service` runs a new process and that `api.socket` stayed open (limit 10s)
    6. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@2.service` 3 times in a row (limit 30s)
    on failure of 1 to 3:
       1. stop `api@1.service` (limit 51s)
    on failure of 4 to 6:
       1. stop `api@2.service` (limit 51s)
    ");
}

#[test]
fn batches_with_a_canary_and_a_pause() {
    let keys =
        "instances = 5\nbake = \"30s\"\nrolling = { batch = 2, pause = \"5s\", canary = true }";
    insta::assert_snapshot!(planned(&rolling(keys), |_| {}), @"
    restart `api` (strategy `rolling`)
    1. restart `api@1.service` and wait until it is ready (limit 111s)
    2. confirm that `api@1.service` runs a new process and that `api.socket` stayed open (limit 10s)
    3. see `api@1.service` stay up for 30s (limit 40s)
    4. see `api@1.service` stay up for 5s (limit 15s)
    5. restart `api@2.service` and `api@3.service` at the same time and wait until each is ready (limit 111s)
    6. confirm that `api@2.service` runs a new process and that `api.socket` stayed open (limit 10s)
    7. confirm that `api@3.service` runs a new process and that `api.socket` stayed open (limit 10s)
    8. see `api@2.service` and `api@3.service` stay up for 5s (limit 15s)
    9. restart `api@4.service` and `api@5.service` at the same time and wait until each is ready (limit 111s)
    10. confirm that `api@4.service` runs a new process and that `api.socket` stayed open (limit 10s)
    11. confirm that `api@5.service` runs a new process and that `api.socket` stayed open (limit 10s)
    12. see `api@1.service`, `api@2.service`, `api@3.service`, `api@4.service` and `api@5.service` stay up for 30s (limit 40s)
    on failure of 1 to 3:
       1. stop `api@1.service` (limit 51s)
    on failure of 4: nothing is taken back, and who serves goes on
    on failure of 5 to 7:
       1. stop `api@2.service` and `api@3.service` (limit 51s)
    on failure of 8: nothing is taken back, and who serves goes on
    on failure of 9 to 11:
       1. stop `api@4.service` and `api@5.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn a_surge_comes_first_and_goes_last() {
    let keys = "instances = 2\nhealth = {}\nbake = \"30s\"\nrolling = { surge = 1, max_unavailable = 0, canary = true }";
    insta::assert_snapshot!(planned(&rolling(keys), |_| {}), @"
    restart `api` (strategy `rolling`)
    1. start `api@3.service` and wait until it is ready (limit 70s)
    2. confirm that `api@3.service` runs a process and that `api.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@3.service` (limit 30s)
    4. see `api@3.service` stay up for 30s (limit 40s)
    5. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@3.service` (limit 30s)
    6. restart `api@1.service` and wait until it is ready (limit 111s)
    7. confirm that `api@1.service` runs a new process and that `api.socket` stayed open (limit 10s)
    8. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@1.service` (limit 30s)
    9. restart `api@2.service` and wait until it is ready (limit 111s)
    10. confirm that `api@2.service` runs a new process and that `api.socket` stayed open (limit 10s)
    11. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@2.service` (limit 30s)
    12. stop `api@3.service` (limit 51s)
    13. see `api@1.service` and `api@2.service` stay up for 30s (limit 40s)
    14. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@1.service` (limit 30s)
    15. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `api@2.service` (limit 30s)
    on failure of 1 to 5:
       1. stop `api@3.service` (limit 51s)
    on failure of 6 to 8:
       1. stop `api@1.service` (limit 51s)
    on failure of 9 to 11:
       1. stop `api@2.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn instances_that_do_not_run_come_first() {
    let third = planned(&rolling("instances = 3"), |observed| {
        stopped(&mut observed.beside[1])
    });
    insta::assert_snapshot!(third, @"
    restart `api` (strategy `rolling`)
    1. start `api@3.service` and wait until it is ready (limit 70s)
    2. confirm that `api@3.service` runs a process and that `api.socket` stayed open (limit 10s)
    3. restart `api@1.service` and wait until it is ready (limit 111s)
    4. confirm that `api@1.service` runs a new process and that `api.socket` stayed open (limit 10s)
    5. restart `api@2.service` and wait until it is ready (limit 111s)
    6. confirm that `api@2.service` runs a new process and that `api.socket` stayed open (limit 10s)
    on failure of 1 to 2:
       1. stop `api@3.service` (limit 51s)
    on failure of 3 to 4:
       1. stop `api@1.service` (limit 51s)
    on failure of 5 to 6:
       1. stop `api@2.service` (limit 51s)
    ");
}

#[test]
fn instances_above_the_number_are_stopped() {
    let fewer = planned(
        &rolling("instances = 2\nrolling = { surge = 1 }"),
        |observed| {
            let more = ["api@3.service", "api@4.service"];
            let more = more.map(|unit| state(&UnitName::parse(unit).unwrap()));
            observed.beside.extend(more);
        },
    );
    insta::assert_snapshot!(fewer, @"
    restart `api` (strategy `rolling`)
    note: `api@3.service` and `api@4.service` are beyond `instances = 2` and are stopped in the end
    1. restart `api@3.service` and wait until it is ready (limit 111s)
    2. confirm that `api@3.service` runs a new process and that `api.socket` stayed open (limit 10s)
    3. restart `api@1.service` and wait until it is ready (limit 111s)
    4. confirm that `api@1.service` runs a new process and that `api.socket` stayed open (limit 10s)
    5. restart `api@2.service` and wait until it is ready (limit 111s)
    6. confirm that `api@2.service` runs a new process and that `api.socket` stayed open (limit 10s)
    7. stop `api@3.service` and `api@4.service` (limit 51s)
    on failure of 1 to 2:
       1. stop `api@3.service` (limit 51s)
    on failure of 3 to 4:
       1. stop `api@1.service` (limit 51s)
    on failure of 5 to 6:
       1. stop `api@2.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn the_last_instance_that_could_serve_is_not_stopped() {
    let one = planned(&rolling("instances = 1"), |_| {});
    insta::assert_snapshot!(one, @"
    restart `api` (strategy `rolling`)
    1. restart `api@1.service` and wait until it is ready (limit 111s)
    2. confirm that `api@1.service` runs a new process and that `api.socket` stayed open (limit 10s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
    let all_stopped = planned(&rolling("instances = 2"), |observed| {
        stopped(&mut observed.service);
        stopped(&mut observed.beside[0]);
    });
    insta::assert_snapshot!(all_stopped, @"
    restart `api` (strategy `rolling`)
    1. start `api@1.service` and wait until it is ready (limit 70s)
    2. confirm that `api@1.service` runs a process and that `api.socket` stayed open (limit 10s)
    3. start `api@2.service` and wait until it is ready (limit 70s)
    4. confirm that `api@2.service` runs a process and that `api.socket` stayed open (limit 10s)
    on failure of 3 to 4:
       1. stop `api@2.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn a_new_socket_is_opened_by_the_first_instance() {
    let keys = "instances = 2\nrolling = { surge = 1 }";
    let planned = planned(&rolling(keys), |observed| {
        new_socket(observed);
        stopped(&mut observed.beside[0]);
    });
    insta::assert_snapshot!(planned, @"
    restart `api` (strategy `rolling`)
    note: `api.socket` is new and is opened only while `api@1.service` is stopped, so that one comes first
    1. restart `api@1.service` and wait until it is ready (limit 111s)
    2. confirm that `api@1.service` runs a new process and that `api.socket` stayed open (limit 10s)
    3. start `api@2.service` and wait until it is ready (limit 70s)
    4. confirm that `api@2.service` runs a process and that `api.socket` stayed open (limit 10s)
    on failure of 3 to 4:
       1. stop `api@2.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn a_reload_is_proved_by_another_process_of_the_same_run() {
    insta::assert_snapshot!(planned(RELOAD, |_| {}), @"
    restart `edge` (strategy `reload`)
    1. reload `edge.service` and wait until its next process is ready (limit 70s)
    2. confirm that `edge.service` runs another process than 7 and that `edge.socket` stayed open (limit 70s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `edge.service` (limit 30s)
    on failure of 1 to 2:
       1. confirm that `edge.service` runs a process and that `edge.socket` stayed open (limit 10s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn what_a_reload_would_not_apply_takes_a_restart() {
    let changed = planned(RELOAD, |observed| {
        observed.newer = vec!["/etc/edge.env".to_owned()];
    });
    insta::assert_snapshot!(changed, @"
    restart `edge` (strategy `reload`)
    note: a reload would not apply it, so this is a restart by `queue`: `/etc/edge.env` has changed since `edge.service` was started
    1. restart `edge.service` and wait until it is ready (limit 111s)
    2. confirm that `edge.service` runs a new process and that `edge.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `edge.service` (limit 30s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
    insta::assert_snapshot!(planned(RELOAD, new_socket), @"
    restart `edge` (strategy `reload`)
    note: a reload would not apply it, so this is a restart by `queue`: `edge.socket` is new and is opened only while `edge.service` is stopped
    1. restart `edge.service` and wait until it is ready (limit 111s)
    2. confirm that `edge.service` runs a new process and that `edge.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `edge.service` (limit 30s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}

#[test]
fn a_process_that_does_not_run_is_started_and_not_reloaded() {
    let started = planned(RELOAD, |observed| stopped(&mut observed.service));
    insta::assert_snapshot!(started, @"
    restart `edge` (strategy `reload`)
    1. start `edge.service` and wait until it is ready (limit 70s)
    2. confirm that `edge.service` runs a process and that `edge.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `edge.service` (limit 30s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}
