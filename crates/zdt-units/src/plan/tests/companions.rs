//! Several services with the releases of one, and those that are stopped and started.

use super::change::{deploy, seen};
use super::*;
use crate::recover::{Reached, Unfinished, WayBack, way_back};

/// A service that keeps releases, a worker in two instances, and a singleton that waits for it.
fn family(strategy: &str, jobs: &str, more: &str) -> String {
    format!(
        "[service.shop]\nexec = [\"{{{{release.path}}}}/shop\"]\nlisten = \":80\"\n\
         release = {{ root = \"/srv/shop\" }}\nstrategy = \"{strategy}\"\n{more}\
         [service.clock]\nkind = \"singleton\"\nexec = [\"{{{{release.path}}}}/clock\"]\n\
         release = {{ of = \"shop\" }}\nafter = [\"jobs\"]\n\
         [service.jobs]\nkind = \"worker\"\ninstances = 2\nexec = [\"{{{{release.path}}}}/jobs\"]\n\
         release = {{ of = \"shop\"{jobs} }}\n"
    )
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

#[test]
fn each_is_replaced_in_its_turn_and_all_that_was_touched_goes_back() {
    insta::assert_snapshot!(deployed(&family("queue", "", "bake = \"10s\"\n"), |_| {}), @"
    deploy `v2` of `shop` (strategy `queue`)
    note: `jobs` and `clock` run with the releases of `shop`, and are replaced together with it
    1. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    2. point `/srv/shop/next` to `v2` (limit 60s)
    3. point `/srv/shop/current` to `v2` (limit 60s)
    4. restart `shop.service` and wait until it is ready (limit 111s)
    5. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    6. restart `jobs@1.service` and wait until it is ready (limit 111s)
    7. confirm that `jobs@1.service` runs a new process (limit 10s)
    8. restart `jobs@2.service` and wait until it is ready (limit 111s)
    9. confirm that `jobs@2.service` runs a new process (limit 10s)
    10. restart `clock.service` and wait until it is ready (limit 111s)
    11. confirm that `clock.service` runs a new process (limit 10s)
    12. see `shop.service`, `jobs@1.service`, `jobs@2.service` and `clock.service` stay up for 10s (limit 20s)
    13. note that `v2` serves (limit 60s)
    on failure of 1 to 2: it ends there, nothing was touched
    on failure of 3:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. note that `v2` failed (limit 60s)
    on failure of 4 to 5:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. note that `v2` failed (limit 60s)
    on failure of 6 to 9:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. restart `jobs@1.service` and wait until it is ready (limit 111s)
       5. confirm that `jobs@1.service` runs a process (limit 10s)
       6. restart `jobs@2.service` and wait until it is ready (limit 111s)
       7. confirm that `jobs@2.service` runs a process (limit 10s)
       8. note that `v2` failed (limit 60s)
    on failure of 13: that is told, and it goes on
    on another failure:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. restart `jobs@1.service` and wait until it is ready (limit 111s)
       5. confirm that `jobs@1.service` runs a process (limit 10s)
       6. restart `jobs@2.service` and wait until it is ready (limit 111s)
       7. confirm that `jobs@2.service` runs a process (limit 10s)
       8. restart `clock.service` and wait until it is ready (limit 111s)
       9. confirm that `clock.service` runs a process (limit 10s)
       10. note that `v2` failed (limit 60s)
    ");
}

#[test]
fn one_that_drains_early_is_restarted_in_the_same_step() {
    insta::assert_snapshot!(deployed(&family("standby", ", drain_early = true", ""), |_| {}), @"
    deploy `v2` of `shop` (strategy `standby`)
    note: `jobs` and `clock` run with the releases of `shop`, and are replaced together with it
    1. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    2. point `/srv/shop/next` to `v2` (limit 60s)
    3. point `/srv/shop/current` to `v2` (limit 60s)
    4. start `shop-standby.service` and wait until it is ready (limit 70s)
    5. confirm that `shop-standby.service` runs a process and that `shop.socket` stayed open (limit 10s)
    6. restart `shop.service`, `jobs@1.service` and `jobs@2.service` at the same time and wait until each is ready (limit 111s)
    7. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    8. stop `shop-standby.service` (limit 51s)
    9. confirm that `jobs@1.service` runs a new process (limit 10s)
    10. confirm that `jobs@2.service` runs a new process (limit 10s)
    11. restart `clock.service` and wait until it is ready (limit 111s)
    12. confirm that `clock.service` runs a new process (limit 10s)
    13. note that `v2` serves (limit 60s)
    on failure of 1 to 2: it ends there, nothing was touched
    on failure of 3:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. note that `v2` failed (limit 60s)
    on failure of 4 to 5:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. stop `shop-standby.service` (limit 51s)
       3. note that `v2` failed (limit 60s)
    on failure of 6 to 10:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. stop `shop-standby.service` (limit 51s)
       5. restart `jobs@1.service` and wait until it is ready (limit 111s)
       6. confirm that `jobs@1.service` runs a process (limit 10s)
       7. restart `jobs@2.service` and wait until it is ready (limit 111s)
       8. confirm that `jobs@2.service` runs a process (limit 10s)
       9. note that `v2` failed (limit 60s)
    on failure of 13: that is told, and it goes on
    on another failure:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop.service` and wait until it is ready (limit 111s)
       3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. stop `shop-standby.service` (limit 51s)
       5. restart `jobs@1.service` and wait until it is ready (limit 111s)
       6. confirm that `jobs@1.service` runs a process (limit 10s)
       7. restart `jobs@2.service` and wait until it is ready (limit 111s)
       8. confirm that `jobs@2.service` runs a process (limit 10s)
       9. restart `clock.service` and wait until it is ready (limit 111s)
       10. confirm that `clock.service` runs a process (limit 10s)
       11. note that `v2` failed (limit 60s)
    ");
}

#[test]
fn early_with_rolling_is_with_the_first_batch() {
    insta::assert_snapshot!(deployed(&family("rolling", ", drain_early = true", ""), |_| {}), @"
    deploy `v2` of `shop` (strategy `rolling`)
    note: `jobs` and `clock` run with the releases of `shop`, and are replaced together with it
    1. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    2. point `/srv/shop/next` to `v2` (limit 60s)
    3. point `/srv/shop/current` to `v2` (limit 60s)
    4. restart `shop@1.service`, `jobs@1.service` and `jobs@2.service` at the same time and wait until each is ready (limit 111s)
    5. confirm that `shop@1.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    6. restart `shop@2.service` and wait until it is ready (limit 111s)
    7. confirm that `shop@2.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    8. confirm that `jobs@1.service` runs a new process (limit 10s)
    9. confirm that `jobs@2.service` runs a new process (limit 10s)
    10. restart `clock.service` and wait until it is ready (limit 111s)
    11. confirm that `clock.service` runs a new process (limit 10s)
    12. note that `v2` serves (limit 60s)
    on failure of 1 to 2: it ends there, nothing was touched
    on failure of 3:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. note that `v2` failed (limit 60s)
    on failure of 4 to 9:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop@1.service` and wait until it is ready (limit 111s)
       3. confirm that `shop@1.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. restart `shop@2.service` and wait until it is ready (limit 111s)
       5. confirm that `shop@2.service` runs a process and that `shop.socket` stayed open (limit 10s)
       6. restart `jobs@1.service` and wait until it is ready (limit 111s)
       7. confirm that `jobs@1.service` runs a process (limit 10s)
       8. restart `jobs@2.service` and wait until it is ready (limit 111s)
       9. confirm that `jobs@2.service` runs a process (limit 10s)
       10. note that `v2` failed (limit 60s)
    on failure of 12: that is told, and it goes on
    on another failure:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. restart `shop@1.service` and wait until it is ready (limit 111s)
       3. confirm that `shop@1.service` runs a process and that `shop.socket` stayed open (limit 10s)
       4. restart `shop@2.service` and wait until it is ready (limit 111s)
       5. confirm that `shop@2.service` runs a process and that `shop.socket` stayed open (limit 10s)
       6. restart `jobs@1.service` and wait until it is ready (limit 111s)
       7. confirm that `jobs@1.service` runs a process (limit 10s)
       8. restart `jobs@2.service` and wait until it is ready (limit 111s)
       9. confirm that `jobs@2.service` runs a process (limit 10s)
       10. restart `clock.service` and wait until it is ready (limit 111s)
       11. confirm that `clock.service` runs a process (limit 10s)
       12. note that `v2` failed (limit 60s)
    ");
    let again = planned(&family("rolling", ", drain_early = true", ""), |observed| {
        observed.releases = Some(seen());
    });
    insta::assert_snapshot!(again, @"
    restart `shop` (strategy `rolling`)
    note: `jobs` and `clock` run with the releases of `shop`, and are replaced together with it
    note: `jobs` drains after `shop`, not with it: if it failed, all of its processes would be taken back
    1. restart `shop@1.service` and wait until it is ready (limit 111s)
    2. confirm that `shop@1.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    3. restart `shop@2.service` and wait until it is ready (limit 111s)
    4. confirm that `shop@2.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    5. restart `jobs@1.service` and wait until it is ready (limit 111s)
    6. confirm that `jobs@1.service` runs a new process (limit 10s)
    7. restart `jobs@2.service` and wait until it is ready (limit 111s)
    8. confirm that `jobs@2.service` runs a new process (limit 10s)
    9. restart `clock.service` and wait until it is ready (limit 111s)
    10. confirm that `clock.service` runs a new process (limit 10s)
    on failure of 1 to 2:
       1. stop `shop@1.service` (limit 51s)
    on failure of 3 to 4:
       1. stop `shop@2.service` (limit 51s)
    on failure of 5 to 6:
       1. stop `jobs@1.service` (limit 51s)
    on failure of 7 to 8:
       1. stop `jobs@2.service` (limit 51s)
    on another failure: nothing is taken back, and who serves goes on
    ");
}

#[test]
fn workers_are_gone_before_their_data_are_taken_back() {
    let migrate = "migrate = { command = [\"{{release.path}}/shop\", \"up\"], down = [\"{{release.path}}/shop\", \"down\"] }\n";
    let all = deployed(&family("queue", "", migrate), |_| {});
    let back = all
        .lines()
        .skip_while(|line| *line != "on another failure:");
    let back: Vec<&str> = back.map(str::trim_start).collect();
    insta::assert_snapshot!(back.join("\n"), @"
    on another failure:
    1. point `/srv/shop/current` to `v1` (limit 60s)
    2. stop `jobs@1.service`, `jobs@2.service` and `clock.service` (limit 111s)
    3. run `shop-migrate-down.service` to its end (limit 310s)
    4. note that `v2` took its changes of data back (limit 60s)
    5. restart `shop.service` and wait until it is ready (limit 111s)
    6. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    7. restart `jobs@1.service` and wait until it is ready (limit 111s)
    8. confirm that `jobs@1.service` runs a process (limit 10s)
    9. restart `jobs@2.service` and wait until it is ready (limit 111s)
    10. confirm that `jobs@2.service` runs a process (limit 10s)
    11. restart `clock.service` and wait until it is ready (limit 111s)
    12. confirm that `clock.service` runs a process (limit 10s)
    13. note that `v2` failed (limit 60s)
    ");
}

#[test]
fn a_companion_alone_is_restarted_and_never_deployed_alone() {
    let mut model = Model::read("zdt.toml", &family("queue", "", "")).unwrap();
    model.services.swap(0, 2);
    let jobs = &model.services[0];
    let alone = plan(&Request::restart(jobs), &healthy(jobs)).unwrap();
    insta::assert_snapshot!(alone, @"
    restart `jobs` (strategy `rolling`)
    1. restart `jobs@1.service` and wait until it is ready (limit 111s)
    2. confirm that `jobs@1.service` runs a new process (limit 10s)
    3. restart `jobs@2.service` and wait until it is ready (limit 111s)
    4. confirm that `jobs@2.service` runs a new process (limit 10s)
    on failure of 1 to 2:
       1. stop `jobs@1.service` (limit 51s)
    on failure of 3 to 4:
       1. stop `jobs@2.service` (limit 51s)
    ");
    let request = Request {
        operation: deploy(),
        ..Request::restart(jobs)
    };
    let refused = plan(&request, &healthy(jobs)).unwrap_err();
    let told = format!("{refused}\n  {}", refused.reasons[0].hint());
    insta::assert_snapshot!(told, @"
    `jobs` runs with the releases of `shop`
      name `shop`: the two are deployed and rolled back together
    ");
}

#[test]
fn what_is_missing_of_a_companion_refuses_all() {
    let refused = deployed(&family("queue", "", ""), |observed| {
        observed.companions[0].service.load = Load::NotFound;
    });
    insta::assert_snapshot!(refused, @"
    systemd has no unit `jobs@1.service`
      install it with `zdt-units install`
    ");
}

#[test]
fn a_stop_drains_before_it_closes_and_a_start_opens_first() {
    let text = family("queue", ", drain_early = true", "");
    let as_operation = |operation, change: fn(&mut Observed)| {
        planned_as(&text, operation, Options::default(), |observed| {
            observed.releases = Some(seen());
            change(observed);
        })
    };
    fn stopped(observed: &mut Observed) {
        let states = std::iter::once(&mut observed.service)
            .chain(&mut observed.beside)
            .chain(&mut observed.sockets);
        states.for_each(|state| *state = UnitState::stopped(state.unit.clone()));
        observed.companions.iter_mut().for_each(stopped);
    }
    insta::assert_snapshot!(as_operation(Operation::Stop, |_| {}), @"
    stop `shop` (strategy `queue`)
    note: with `shop`: `jobs` and `clock`
    1. stop `shop.service`, `jobs@1.service` and `jobs@2.service`, then close `shop.socket` (limit 51s)
    2. stop `clock.service` (limit 51s)
    on failure: what is stopped by then stays so
    ");
    insta::assert_snapshot!(as_operation(Operation::Stop, stopped), @"
    stop `shop` (strategy `queue`)
    note: it is stopped already
    ");
    insta::assert_snapshot!(as_operation(Operation::Start, stopped), @"
    start `shop` (strategy `queue`)
    note: with `shop`: `jobs` and `clock`
    1. open `shop.socket` (limit 10s)
    2. start `shop.service` and wait until it is ready (limit 70s)
    3. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    4. start `jobs@1.service` and wait until it is ready (limit 70s)
    5. start `jobs@2.service` and wait until it is ready (limit 70s)
    6. confirm that `jobs@1.service` runs a process (limit 10s)
    7. confirm that `jobs@2.service` runs a process (limit 10s)
    8. start `clock.service` and wait until it is ready (limit 70s)
    9. confirm that `clock.service` runs a process (limit 10s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
    insta::assert_snapshot!(as_operation(Operation::Start, |_| {}), @"
    start `shop` (strategy `queue`)
    note: it runs already
    ");
    let half = as_operation(Operation::Start, |observed| {
        observed.companions[0].beside[0] =
            UnitState::stopped(observed.companions[0].beside[0].unit.clone());
    });
    insta::assert_snapshot!(half, @"
    start `shop` (strategy `queue`)
    note: with `shop`: `jobs` and `clock`
    1. start `jobs@2.service` and wait until it is ready (limit 70s)
    2. confirm that `jobs@1.service` runs a process (limit 10s)
    3. confirm that `jobs@2.service` runs a process (limit 10s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}

#[test]
fn a_stop_that_broke_off_is_ended_and_not_taken_back() {
    let model = Model::read("zdt.toml", &family("queue", "", "")).unwrap();
    let service = &model.services[0];
    let companions = model.companions(&service.name);
    let mut observed = healthy(service);
    observed.companions = companions.iter().map(|service| healthy(service)).collect();
    let request = Request {
        companions,
        operation: Operation::Stop,
        ..Request::restart(service)
    };
    let plan = plan(&request, &observed).unwrap();
    let left = Unfinished {
        v: 1,
        restart_id: "5f0c".to_owned(),
        since: SystemTime::UNIX_EPOCH,
        reached: Reached {
            step: 2,
            ..Reached::default()
        },
        plan: plan.clone(),
    };
    assert_eq!(way_back(&left), WayBack::Steps(plan.steps[1..].to_vec()));
}
