//! Out of rotation while processes are replaced, and in it again on every way.

use super::change::{deploy, seen};
use super::*;
use crate::observe::Standing;
use crate::recover::{Reached, Unfinished, WayBack, plan_anew, way_back};

const AT: &str = "balancer = { haproxy = \"/run/haproxy.sock\", server = \"shop/web1\" }\n";

fn text(more: &str) -> String {
    format!(
        "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\nhealth = {{ ready = \"/readyz\" }}\n{more}{AT}"
    )
}

fn of(text: &str, operation: Operation, options: Options, standing: Standing) -> String {
    planned_as(text, operation, options, |observed| {
        observed.rotation = Some(standing);
    })
}

fn restarted(options: Options, standing: Standing) -> String {
    of(&text(""), Operation::Restart, options, standing)
}

#[test]
fn a_restart_is_around_a_look_and_before_the_end() {
    insta::assert_snapshot!(restarted(Options::default(), Standing::In), @"
    restart `shop` (strategy `queue`)
    1. see that `shop.service` is well before anything is touched: `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    2. take `shop/web1` out of rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    3. restart `shop.service` and wait until it is ready (limit 111s)
    4. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    5. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    6. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    on failure of 1: it ends there, nothing was touched
    on failure of 2:
       1. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    on failure of 6: that is told, it goes on, and a person has to look
    on another failure: there is nothing to roll back to; the sockets stay open and connections wait; `shop/web1` stays out of rotation
    ");
}

#[test]
fn a_deployment_takes_out_once_there_is_something_to_change_and_bakes_in_rotation() {
    let text = format!(
        "[service.shop]\nexec = [\"{{{{release.path}}}}/shop\"]\nlisten = \":80\"\n\
         release = {{ root = \"/srv/shop\" }}\ncheck = {{ command = [\"/bin/true\"] }}\nbake = \"10s\"\n{AT}"
    );
    let planned = planned_as(&text, deploy(), Options::default(), |observed| {
        observed.releases = Some(seen());
        observed.rotation = Some(Standing::In);
    });
    insta::assert_snapshot!(planned, @"
    deploy `v2` of `shop` (strategy `queue`)
    1. copy `/tmp/new` to `/srv/shop/releases/v2` (limit 900s)
    2. point `/srv/shop/next` to `v2` (limit 60s)
    3. run `shop-check.service` to its end (limit 70s)
    4. take `shop/web1` out of rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    5. point `/srv/shop/current` to `v2` (limit 60s)
    6. restart `shop.service` and wait until it is ready (limit 111s)
    7. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    8. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    9. see `shop.service` stay up for 10s (limit 20s)
    10. note that `v2` serves (limit 60s)
    on failure of 1 to 3: it ends there, nothing was touched
    on failure of 4:
       1. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    on failure of 5:
       1. point `/srv/shop/current` to `v1` (limit 60s)
       2. note that `v2` failed (limit 60s)
       3. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    on failure of 8: that is told, it goes on, and a person has to look
    on failure of 10: that is told, and it goes on
    on another failure:
       1. take `shop/web1` out of rotation at HAProxy at `/run/haproxy.sock` (limit 90s)
       2. point `/srv/shop/current` to `v1` (limit 60s)
       3. restart `shop.service` and wait until it is ready (limit 111s)
       4. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
       5. note that `v2` failed (limit 60s)
       6. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    ");
}

#[test]
fn who_was_out_before_stays_out() {
    let planned = restarted(Options::default(), Standing::Out);
    assert!(!planned.contains("take `shop/web1` out"), "{planned}");
    assert!(!planned.contains("back into rotation at"), "{planned}");
    assert!(
        planned.contains(
            "note: `shop/web1` is out of rotation already, and stays so: `zdt-units balancer restore shop` puts it back"
        ),
        "{planned}"
    );
}

#[test]
fn the_last_one_that_is_up_is_not_taken_out() {
    insta::assert_snapshot!(restarted(Options::default(), Standing::LastUp), @"
    `shop/web1` is the last server that is up in `shop`: out of rotation nobody would answer
      put another one back first; or leave it in rotation with `--keep-in-rotation`, which loses nothing; or take the outage with `--last`
    ");
    let last = Options {
        last: true,
        ..Options::default()
    };
    let anyway = restarted(last, Standing::LastUp);
    assert!(
        anyway.contains("2. take `shop/web1` out of rotation"),
        "{anyway}"
    );
    let stopped = of(
        &text(""),
        Operation::Stop,
        Options::default(),
        Standing::LastUp,
    );
    assert!(
        stopped.contains("is the last server that is up"),
        "{stopped}"
    );
}

#[test]
fn a_stop_takes_out_first_and_a_start_puts_back_last() {
    let stopped = of(&text(""), Operation::Stop, Options::default(), Standing::In);
    insta::assert_snapshot!(stopped, @"
    stop `shop` (strategy `queue`)
    1. take `shop/web1` out of rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    2. stop `shop.service`, then close `shop.socket` (limit 51s)
    on failure of 1:
       1. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    on another failure: what is stopped by then stays so; `shop/web1` stays out of rotation
    ");
    let stopped = |observed: &mut Observed| {
        observed.rotation = Some(Standing::Out);
        observed.service = UnitState::stopped(observed.service.unit.clone());
    };
    let started = planned_as(&text(""), Operation::Start, Options::default(), stopped);
    insta::assert_snapshot!(started, @"
    start `shop` (strategy `queue`)
    1. start `shop.service` and wait until it is ready (limit 70s)
    2. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    4. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    on failure of 4: that is told, it goes on, and a person has to look
    on another failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
    // It runs already, such as after a boot: then it only has to be well.
    let running = of(
        &text(""),
        Operation::Start,
        Options::default(),
        Standing::Out,
    );
    insta::assert_snapshot!(running, @"
    start `shop` (strategy `queue`)
    1. see that `shop.service` is well before anything is touched: `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    2. put `shop/web1` back into rotation at HAProxy at `/run/haproxy.sock` (limit 120s)
    on failure of 2: that is told, it goes on, and a person has to look
    on another failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
    let nothing = of(
        &text(""),
        Operation::Start,
        Options::default(),
        Standing::In,
    );
    assert!(nothing.contains("it runs already"), "{nothing}");
}

/// The steps are: 1 look, 2 take out, 3 restart, 4 confirm, 5 ready, 6 put back.
#[test]
fn what_broke_off_puts_back_what_it_took_out() {
    let model = Model::read("zdt.toml", &text("")).unwrap();
    let service = &model.services[0];
    let mut observed = healthy(service);
    observed.rotation = Some(Standing::In);
    let plan = plan(&Request::restart(service), &observed).unwrap();
    let broken_off = |step| Unfinished {
        v: 1,
        restart_id: "5f0c".to_owned(),
        since: SystemTime::UNIX_EPOCH,
        reached: Reached {
            step,
            ..Reached::default()
        },
        plan: plan.clone(),
    };
    let kinds = |step| match way_back(&broken_off(step)) {
        WayBack::Nothing(why) => vec![format!("{why:?}")],
        WayBack::Anew => vec!["Anew".to_owned()],
        WayBack::Steps(steps) => steps
            .iter()
            .map(|step| step.action.kind().to_owned())
            .collect(),
    };
    let ways: Vec<_> = (0..=6).map(|step| kinds(step).join(" ")).collect();
    assert_eq!(
        ways,
        [
            "Untouched",
            "Untouched",
            "put_back_in",
            "Anew",
            "Anew",
            "Anew",
            "put_back_in"
        ]
    );
    observed.rotation = Some(Standing::Out);
    let anew = plan_anew(&broken_off(3), service, Vec::new(), &observed).unwrap();
    let kinds: Vec<_> = anew.steps.iter().map(|step| step.action.kind()).collect();
    assert_eq!(kinds.first(), Some(&"take_out"));
    assert_eq!(kinds.last(), Some(&"put_back_in"));
}
