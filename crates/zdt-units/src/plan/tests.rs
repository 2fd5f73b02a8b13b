mod change;
mod companions;
mod overlap;
mod rotation;

use std::time::SystemTime;

use super::*;
use crate::model::Model;
use crate::observe::{Active, Load};

const SHOP: &str = r#"
    [service.shop]
    exec = ["/srv/shop"]
    listen = "0.0.0.0:80"
    health = { listen = "127.0.0.1:19081", successes = 3, timeout = "20s" }
"#;

fn state(unit: &UnitName) -> UnitState {
    UnitState {
        unit: unit.clone(),
        load: Load::Loaded,
        active: Active::Active,
        was_active: true,
        sub: "running".to_owned(),
        result: "success".to_owned(),
        needs_reload: false,
        instance: unit.as_str().ends_with(".service").then(|| Instance {
            pid: 7,
            invocation: "a1".repeat(16),
        }),
        restarts: 0,
        status: String::new(),
        exit_status: 0,
        refused: Vec::new(),
    }
}

/// Plans a restart of the only service in `text`, after `change` to a healthy snapshot.
fn planned(text: &str, change: impl FnOnce(&mut Observed)) -> String {
    planned_as(text, Operation::Restart, Options::default(), change)
}

fn healthy(service: &Service) -> Observed {
    let watched = Watched::of(service);
    Observed {
        releases: None,
        rotation: None,
        service: state(&watched.service),
        beside: watched.beside.iter().map(state).collect(),
        newer: Vec::new(),
        companions: Vec::new(),
        program_is_newer: false,
        files: None,
        at: SystemTime::UNIX_EPOCH,
        sockets: watched
            .sockets
            .iter()
            .map(|socket| state(&socket.unit))
            .collect(),
    }
}

fn planned_as(
    text: &str,
    operation: Operation,
    options: Options,
    change: impl FnOnce(&mut Observed),
) -> String {
    let model = Model::read("zdt.toml", text).unwrap();
    let service = &model.services[0];
    let companions = model.companions(&service.name);
    let mut observed = healthy(service);
    observed.companions = companions.iter().map(|service| healthy(service)).collect();
    change(&mut observed);
    let request = Request {
        service,
        companions,
        operation,
        options,
    };
    match plan(&request, &observed) {
        Ok(plan) => plan.to_string(),
        Err(refused) => {
            let reasons = refused.reasons.iter();
            reasons
                .map(|reason| format!("{reason}\n  {}\n", reason.hint()))
                .collect()
        }
    }
}

#[test]
fn a_queue_restart_proves_the_new_process() {
    insta::assert_snapshot!(planned(SHOP, |_| {}), @"
    restart `shop` (strategy `queue`)
    1. see that `shop.service` is well before anything is touched: `http://127.0.0.1:19081/readyz` answers 200 from the process of `shop.service` (limit 20s)
    2. restart `shop.service` and wait until it is ready (limit 111s)
    3. confirm that `shop.service` runs a new process and that `shop.socket` and `shop-health.socket` stayed open (limit 10s)
    4. wait until `http://127.0.0.1:19081/readyz` answers 200 from the process of `shop.service` 3 times in a row (limit 20s)
    on failure of 1: it ends there, nothing was touched
    on another failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
}

#[test]
fn what_was_handed_over_and_not_taken_is_closed() {
    let text = "[service.a]\nexec = [\"/a\"]\nlisten = \":80\"\nhandover = true\n";
    insta::assert_snapshot!(planned(text, |_| {}), @r#"
    restart `a` (strategy `queue`)
    1. restart `a.service` and wait until it is ready (limit 111s)
    2. confirm that `a.service` runs a new process and that `a.socket` stayed open (limit 10s)
    3. close connections that the process of `a.service` was handed and did not take (limit 10s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    "#);
}

#[test]
fn without_health_the_manager_s_word_is_taken() {
    let text = "[service.a]\nexec = [\"/a\"]\nlisten = \":80\"\n";
    insta::assert_snapshot!(planned(text, |_| {}), @r#"
    restart `a` (strategy `queue`)
    1. restart `a.service` and wait until it is ready (limit 111s)
    2. confirm that `a.service` runs a new process and that `a.socket` stayed open (limit 10s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    "#);
}

#[test]
fn a_stopped_service_is_started() {
    let planned = planned(SHOP, |observed| {
        observed.service.active = Active::Failed;
        observed.service.instance = None;
    });
    insta::assert_snapshot!(planned, @r#"
    restart `shop` (strategy `queue`)
    1. start `shop.service` and wait until it is ready (limit 70s)
    2. confirm that `shop.service` runs a process and that `shop.socket` and `shop-health.socket` stayed open (limit 10s)
    3. wait until `http://127.0.0.1:19081/readyz` answers 200 from the process of `shop.service` 3 times in a row (limit 20s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    "#);
}

#[test]
fn units_that_are_not_loaded_are_refused_each_with_its_remedy() {
    let planned = planned(SHOP, |observed| {
        observed.service.load = Load::NotFound;
        observed.sockets[0].load = Load::Masked;
        observed.sockets[1].load = Load::Other("bad-setting".to_owned());
        observed.sockets[1].active = Active::Inactive;
    });
    insta::assert_snapshot!(planned, @r#"
    systemd has no unit `shop.service`
      install it with `zdt-units install`
    `shop.socket` is masked
      allow it again with `systemctl unmask shop.socket`; if that leaves no unit, `zdt-units install` writes it
    systemd cannot load `shop-health.socket` (bad-setting)
      see what is wrong with it with `systemd-analyze verify shop-health.socket`
    "#);
}

#[test]
fn a_file_that_systemd_has_not_read_is_refused() {
    let planned = planned(SHOP, |observed| {
        observed.service.needs_reload = true;
        observed.sockets[1].needs_reload = true;
    });
    insta::assert_snapshot!(planned, @r#"
    the file of `shop.service` has changed since systemd read it
      let systemd read it with `systemctl daemon-reload`
    the file of `shop-health.socket` has changed since systemd read it
      let systemd read it with `systemctl daemon-reload`
    "#);
}

#[test]
fn a_closed_port_is_refused_with_the_command_that_opens_it() {
    let close = |observed: &mut Observed, result: &str| {
        observed.sockets[0].active = Active::Failed;
        observed.sockets[0].result = result.to_owned();
    };
    let stop = |observed: &mut Observed| {
        observed.service.active = Active::Failed;
        observed.service.instance = None;
    };
    let crashed = planned(SHOP, |observed| {
        close(observed, "service-start-limit-hit");
        stop(observed);
    });
    let never_started = planned(SHOP, |observed| {
        close(observed, "success");
        stop(observed);
    });
    let still_serving = planned(SHOP, |observed| close(observed, "trigger-limit-hit"));
    insta::assert_snapshot!([crashed, never_started, still_serving].join("\n"), @r#"
    `shop.socket` is not active (service-start-limit-hit), so its port is closed
      open it with `systemctl reset-failed shop.socket shop.service; systemctl start shop.socket shop.service`

    `shop.socket` is not active, so its port is closed
      open it with `systemctl start shop.socket`

    `shop.socket` is not active (trigger-limit-hit), so its port is closed
      `systemctl restart shop.service` opens `shop.socket` again while the process is stopped; until then only what the process holds by itself is open
    "#);
}

#[test]
fn an_active_socket_whose_port_is_closed_is_refused() {
    let planned = planned(SHOP, |observed| {
        let address = crate::model::Address::parse("0.0.0.0:80").unwrap();
        observed.sockets[0].refused = vec![address.reach()];
    });
    insta::assert_snapshot!(planned, @r#"
    `shop.socket` is active, but connections to `http://127.0.0.1:80` are refused
      its addresses changed while it ran; `systemctl restart shop.socket` opens them, stops the service for that moment, and refuses clients meanwhile
    "#);
}

#[test]
fn a_socket_that_is_new_is_opened_by_the_restart() {
    let never = |observed: &mut Observed| {
        observed.sockets[1].active = Active::Inactive;
        observed.sockets[1].was_active = false;
    };
    assert_eq!(planned(SHOP, never), planned(SHOP, |_| {}));
    // Where nothing runs it would only be a socket that is missing.
    let stopped = |observed: &mut Observed| {
        never(observed);
        observed.service.active = Active::Inactive;
        observed.service.instance = None;
    };
    insta::assert_snapshot!(planned(SHOP, stopped), @r#"
    `shop-health.socket` is not active, so its port is closed
      open it with `systemctl start shop-health.socket`
    "#);
}

#[test]
fn nothing_is_said_of_the_sockets_of_others() {
    let text = format!("{SHOP}\n[service.cache]\nunit = \"cache.service\"\n");
    let model = Model::read("zdt.toml", &text).unwrap();
    let watched = Watched::foreign(&model.foreign[0]);
    let observed = Observed {
        releases: None,
        rotation: None,
        service: state(&watched.service),
        beside: Vec::new(),
        newer: Vec::new(),
        companions: Vec::new(),
        program_is_newer: false,
        files: None,
        at: SystemTime::UNIX_EPOCH,
        sockets: Vec::new(),
    };
    let plan = plan_foreign(&model.foreign[0], false, &observed).unwrap();
    insta::assert_snapshot!(plan, @"
    restart `cache` (`cache.service`)
    note: `cache.service` is not ours: whether its clients wait or fail meanwhile is theirs to know
    1. restart `cache.service` and wait until it is ready (limit 900s)
    2. confirm that `cache.service` runs a new process (limit 10s)
    on failure: there is nothing to roll back to
    ");
}
