use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::model::{Address, Model, Name, UnitName};
use crate::observe::{Active, Instance, Load, UnitState};
use crate::plan::{Action, Step};
use crate::render::{Target, render};
use crate::unit_file::UnitFile;

const SHOP: &str = r#"
    [service.shop]
    exec = ["/srv/shop"]
    listen = "0.0.0.0:80"
"#;

fn units(text: &str) -> Vec<UnitFile> {
    let model = Model::read("zdt.toml", text).unwrap();
    render(&model, "zdt.toml", Target::default()).units
}

fn name(unit: &str) -> UnitName {
    UnitName::parse(unit).unwrap()
}

fn unseen(unit: &str) -> UnitSeen {
    UnitSeen {
        unit: name(unit),
        file: None,
        links: Vec::new(),
        copies: Vec::new(),
        drop_ins: Vec::new(),
        loaded: None,
        outdated_run: None,
        taken_over: None,
    }
}

fn loaded(unit: &str, active: Active) -> Loaded {
    let runs = active == Active::Active && unit.ends_with(".service");
    Loaded {
        state: UnitState {
            unit: name(unit),
            load: Load::Loaded,
            active,
            was_active: active == Active::Active,
            sub: "some".to_owned(),
            result: "success".to_owned(),
            needs_reload: false,
            instance: runs.then(|| Instance {
                pid: 7,
                invocation: "a1".repeat(16),
            }),
            restarts: 0,
            status: String::new(),
            exit_status: 0,
            refused: Vec::new(),
        },
        fragment: PathBuf::from("/etc/systemd/system").join(unit),
        triggered_by: Vec::new(),
        stops_itself: false,
        values: BTreeMap::new(),
    }
}

/// A file of somebody who is active.
fn theirs(unit: &str, text: &str) -> UnitSeen {
    UnitSeen {
        file: Some(FileSeen::Text(text.to_owned())),
        loaded: Some(loaded(unit, Active::Active)),
        ..unseen(unit)
    }
}

/// Everything that `text` asks for, installed and running.
fn installed(text: &str) -> Vec<UnitSeen> {
    let seen = |unit: &UnitFile| {
        let text = unit.to_string();
        let read = UnitText::read(&text);
        let mut seen = theirs(unit.name.as_str(), &text);
        let links = read.wanted_in().into_iter();
        seen.links = links
            .map(|target| format!("{target}/{}", unit.name))
            .collect();
        let listen = read.values("Socket", "ListenStream");
        let listen = listen.into_iter().map(str::to_owned).collect();
        if let Some(loaded) = seen
            .loaded
            .as_mut()
            .filter(|_| read.value("Socket", "Backlog").is_some())
        {
            loaded.values.insert("ListenStream".to_owned(), listen);
        }
        seen
    };
    units(text).iter().map(seen).collect()
}

fn seen(units: Vec<UnitSeen>) -> Seen {
    Seen {
        place: Place {
            root: PathBuf::from("/"),
            directory: PathBuf::from("/etc/systemd/system"),
            runtime: Some(PathBuf::from("/run/zdt-units")),
        },
        units,
        holders: Vec::new(),
        undeployed: Vec::new(),
    }
}

struct Wish<'a> {
    text: &'a str,
    allow_gap: bool,
    take_over: TakeOver<'a>,
}

impl<'a> Wish<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            allow_gap: false,
            take_over: TakeOver::No,
        }
    }

    fn plan(&self, seen: &Seen) -> Plan {
        let model = Model::read("zdt.toml", self.text).unwrap();
        plan(&Request {
            model: &model,
            wanted: &units(self.text),
            seen,
            allow_gap: self.allow_gap,
            take_over: self.take_over,
        })
    }
}

fn planned(text: &str, there: Vec<UnitSeen>) -> String {
    Wish::of(text).plan(&seen(there)).to_string()
}

#[test]
fn the_first_time_everything_is_written_and_started() {
    insta::assert_snapshot!(planned(SHOP, Vec::new()), @r#"
    create `shop.socket`
    create `shop.service`

    1. write `shop.socket` and `shop.service` in `/etc/systemd/system`, enable `shop.socket` and `shop.service` (limit 30s)
    2. let systemd read the units again (limit 100s)
    3. open `shop.socket` (limit 30s)
    4. start `shop.service` and wait until it is ready (limit 90s)
    5. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    "#);
}

#[test]
fn the_second_time_there_is_nothing_to_do() {
    let plan = Wish::of(SHOP).plan(&seen(installed(SHOP)));
    assert!(plan.is_settled(), "{plan}");
}

#[test]
fn each_change_has_its_cost() {
    let changed = r#"
        [service.shop]
        exec = ["/srv/shop", "--fast"]
        start_timeout = "90s"

        [[service.shop.socket]]
        name = "http"
        listen = "0.0.0.0:80"
        backlog = 128

        [[service.shop.socket]]
        name = "admin"
        listen = "/run/shop.sock"
    "#;
    let plan = Wish::of(changed).plan(&seen(installed(SHOP)));
    assert_eq!(plan.restarts, [Name::parse("shop").unwrap()]);
    insta::assert_snapshot!(plan, @r#"
    update `shop.socket`
        Backlog=4096 becomes 128: costs nothing, it is set on the open socket
    create `shop-admin.socket`: counts from the next restart of `shop.service`
    update `shop.service`
        Requires=shop.socket becomes shop.socket shop-admin.socket: costs nothing
        After=shop.socket becomes shop.socket shop-admin.socket: costs nothing
        ExecStart=/srv/shop becomes /srv/shop --fast: counts from the next restart of `shop.service`
        Sockets=shop.socket shop-admin.socket is new: counts from the next restart of `shop.service`
        TimeoutStartSec=60s becomes 90s: costs nothing
        Also=shop.socket becomes shop.socket shop-admin.socket: costs nothing

    1. write `shop.socket`, `shop-admin.socket` and `shop.service` in `/etc/systemd/system`, write `shop.service` in `/run/zdt-units`, enable `shop-admin.socket` (limit 30s)
    2. let systemd read the units again (limit 100s)
    3. set Backlog=128 on the open `shop.socket` (limit 30s)
    "#);
}

#[test]
fn a_moved_address_is_refused_with_the_way_that_loses_nothing() {
    let moved = SHOP.replace(":80", ":81");
    insta::assert_snapshot!(planned(&moved, installed(SHOP)), @r#"
    update `shop.socket`
        ListenStream=0.0.0.0:80 becomes 0.0.0.0:81: closes `shop.socket`
    unchanged `shop.service`

    error: `shop.socket` listens on 0.0.0.0:80 and is to listen on 0.0.0.0:81: that closes it

    hint: without a gap: leave this socket as it was, and add one of the same name

        [[service.shop.socket]]
        name = "http"
        unit = "shop-http-2"
        listen = "0.0.0.0:81"

    then `zdt-units install --restart`. When nobody uses the old address any more, remove the old socket: `zdt-units install --allow-gap`.
    With a gap, at once: `zdt-units install --allow-gap`
    "#);
    let wish = Wish {
        allow_gap: true,
        ..Wish::of(&moved)
    };
    insta::assert_snapshot!(wish.plan(&seen(installed(SHOP))), @r#"
    update `shop.socket`
        ListenStream=0.0.0.0:80 becomes 0.0.0.0:81: closes `shop.socket`
    unchanged `shop.service`

    warning: `shop.socket` is closed and opened anew; clients are refused from the moment when the old process stops accepting until systemd listens again

    1. write `shop.socket` in `/etc/systemd/system` (limit 30s)
    2. let systemd read the units again (limit 100s)
    3. close `shop.socket` and open it anew (limit 71s)
    4. start `shop.service` and wait until it is ready (limit 90s)
    5. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    "#);
}

#[test]
fn a_file_that_was_written_and_not_read_is_no_way_round_the_refusal() {
    let moved = SHOP.replace(":80", ":81");
    let mut there = installed(&moved);
    let loaded = there[0].loaded.as_mut().unwrap();
    loaded.state.needs_reload = true;
    let old = vec!["0.0.0.0:80".to_owned()];
    loaded.values.insert("ListenStream".to_owned(), old);
    let plan = Wish::of(&moved).plan(&seen(there));
    assert!(
        matches!(plan.refused.as_slice(), [Refusal::Moves { .. }]),
        "{plan}"
    );
    assert!(plan.steps.is_empty());
}

#[test]
fn a_port_that_closed_behind_an_active_unit_is_opened_when_that_is_allowed() {
    let mut there = installed(SHOP);
    let state = &mut there[0].loaded.as_mut().unwrap().state;
    state.refused = vec![Address::parse("0.0.0.0:80").unwrap().reach()];
    let there = seen(there);
    let plan = Wish::of(SHOP).plan(&there);
    assert!(plan.is_empty() && !plan.is_settled(), "{plan}");
    let wish = Wish {
        allow_gap: true,
        ..Wish::of(SHOP)
    };
    let steps = wish.plan(&there).steps;
    assert_eq!(
        steps[0].to_string(),
        "close `shop.socket` and open it anew (limit 71s)"
    );
}

#[test]
fn an_open_socket_is_not_removed_unless_that_is_allowed() {
    let two = format!("{SHOP}\n[[service.shop.socket]]\nname = \"admin\"\nlisten = \":81\"\n");
    insta::assert_snapshot!(planned(SHOP, installed(&two)), @r#"
    unchanged `shop.socket`
    update `shop.service`
        Requires=shop.socket shop-admin.socket becomes shop.socket: costs nothing
        After=shop.socket shop-admin.socket becomes shop.socket: costs nothing
        Also=shop.socket shop-admin.socket becomes shop.socket: costs nothing
        Sockets=shop.socket shop-admin.socket goes: counts from the next restart of `shop.service`
    remove `shop-admin.socket`: closes `shop-admin.socket`

    error: `shop-admin.socket` is open and no longer wanted: that closes it

    hint: `zdt-units install --allow-gap` closes it; clients that still connect there are refused from then on
    "#);
    let wish = Wish {
        allow_gap: true,
        ..Wish::of(SHOP)
    };
    insta::assert_snapshot!(wish.plan(&seen(installed(&two))), @r#"
    unchanged `shop.socket`
    update `shop.service`
        Requires=shop.socket shop-admin.socket becomes shop.socket: costs nothing
        After=shop.socket shop-admin.socket becomes shop.socket: costs nothing
        Also=shop.socket shop-admin.socket becomes shop.socket: costs nothing
        Sockets=shop.socket shop-admin.socket goes: counts from the next restart of `shop.service`
    remove `shop-admin.socket`: closes `shop-admin.socket`

    1. write `shop.service` in `/etc/systemd/system`, write `shop.service` in `/run/zdt-units` (limit 30s)
    2. let systemd read the units again (limit 100s)
    3. stop `shop-admin.socket` (limit 71s)
    4. disable `shop-admin.socket`, remove `shop-admin.socket` in `/etc/systemd/system` (limit 30s)
    5. let systemd read the units again (limit 100s)
    "#);
}

#[test]
fn units_of_another_file_are_left_alone() {
    let other = SHOP.replace("shop", "other").replace(":80", ":81");
    let there = [installed(SHOP), installed(&other)].concat();
    let plan = Wish::of(SHOP).plan(&seen(there));
    assert!(plan.is_settled(), "{plan}");
    assert_eq!(plan.drift.len(), 2);
}

#[test]
fn a_service_without_a_release_is_not_started() {
    let deployed = SHOP.replace(
        "exec = [",
        "release = { root = \"/srv/shop\" }\nexec = [\"{{release.path}}/shop\", ",
    );
    let starts = |plan: &Plan| {
        let starts = |step: &&Step| matches!(step.action, Action::StartUnit { .. });
        plan.steps.iter().filter(starts).count()
    };
    let mut seen = seen(Vec::new());
    assert_eq!(starts(&Wish::of(&deployed).plan(&seen)), 1);
    seen.undeployed = vec![Name::parse("shop").unwrap()];
    let plan = Wish::of(&deployed).plan(&seen);
    assert_eq!(starts(&plan), 0, "{plan}");
    let told = plan.drift.iter().map(Drift::to_string);
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "`shop` is not started before it has a release: `zdt-units deploy shop --from PATH` brings one, and starts it"
        ]
    );
}

const THEIRS: &str = "[Service]\nExecStart=/srv/shop\n";

#[test]
fn a_service_of_others_is_taken_over_only_when_asked() {
    let holder = |unit: &str| Holder {
        address: Address::parse("0.0.0.0:80").unwrap(),
        pid: Some(7),
        program: Some("shop".to_owned()),
        unit: Some(name(unit)),
    };
    let mut there = seen(vec![theirs("shop.service", THEIRS)]);
    there.holders = vec![holder("shop.service")];
    insta::assert_snapshot!(Wish::of(SHOP).plan(&there), @r#"
    create `shop.socket`: counts from the next restart of `shop.service`
    replace `shop.service`: counts from the next restart of `shop.service`

    error: `/etc/systemd/system/shop.service` was not written by zdt-units; `shop.service` runs and listens on `0.0.0.0:80` by itself

    hint: `zdt-units install --take-over shop.service` replaces it; its file is kept, and `zdt-units uninstall` puts it back. Clients are refused once, from the moment when the old process stops listening until systemd listens; the time is measured and told
    "#);
    let wish = Wish {
        take_over: TakeOver::OfOwnNames,
        ..Wish::of(SHOP)
    };
    insta::assert_snapshot!(wish.plan(&there), @r#"
    create `shop.socket`: counts from the next restart of `shop.service`
    replace `shop.service`: counts from the next restart of `shop.service`

    warning: `shop.service` listens by itself, and only one can; clients are refused once, from the moment when its process stops listening until systemd listens

    1. keep `shop.service` as `shop.service.before-zdt`, write `shop.socket`, `shop.service` and `shop.service.taken-over.json` in `/etc/systemd/system`, write `shop.service` in `/run/zdt-units`, enable `shop.socket` and `shop.service` (limit 30s)
    2. let systemd read the units again (limit 100s)
    3. restart `shop.service` and wait until it is ready (limit 201s)
    4. confirm that `shop.service` runs a new process and that `shop.socket` stayed open (limit 10s)
    on failure:
       1. stop `shop.service` and `shop.socket` (limit 71s)
       2. disable `shop.socket` and `shop.service`, remove `shop.service.taken-over.json` and `shop.socket` in `/etc/systemd/system` (limit 30s)
       3. put `shop.service.before-zdt` back as `/etc/systemd/system/shop.service` (limit 30s)
       4. let systemd read the units again (limit 100s)
       5. start `shop.service` and wait until it is ready (limit 100s)
    "#);

    let mut old = theirs("old.service", THEIRS);
    old.links = vec!["multi-user.target.wants/old.service".to_owned()];
    let mut there = seen(vec![old]);
    there.holders = vec![holder("old.service")];
    insta::assert_snapshot!(Wish::of(SHOP).plan(&there), @r#"
    create `shop.socket`
    create `shop.service`

    error: `shop.socket` cannot listen on `0.0.0.0:80`: process 7 (`shop`) of `old.service` does

    hint: if it is the service that is to be replaced: `zdt-units install --take-over old.service`. Otherwise choose another address, or stop it with `systemctl stop old.service`
    "#);
    let unit = name("old.service");
    let wish = Wish {
        take_over: TakeOver::Of(&unit),
        ..Wish::of(SHOP)
    };
    insta::assert_snapshot!(wish.plan(&there), @r#"
    create `shop.socket`
    create `shop.service`

    warning: `old.service` listens by itself, and only one can; clients are refused once, from the moment when its process stops listening until systemd listens

    1. write `shop.socket`, `shop.service` and `shop.service.taken-over.json` in `/etc/systemd/system`, enable `shop.socket` and `shop.service` (limit 30s)
    2. disable `old.service` (limit 30s)
    3. let systemd read the units again (limit 100s)
    4. stop `old.service` (limit 100s)
    5. open `shop.socket` (limit 30s)
    6. start `shop.service` and wait until it is ready (limit 90s)
    7. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    on failure:
       1. stop `shop.service` and `shop.socket` (limit 71s)
       2. disable `shop.socket` and `shop.service`, remove `shop.service.taken-over.json`, `shop.socket` and `shop.service` in `/etc/systemd/system` (limit 30s)
       3. enable `old.service` (limit 30s)
       4. let systemd read the units again (limit 100s)
       5. start `old.service` and wait until it is ready (limit 100s)
    "#);
}

#[test]
fn commands_that_stop_a_unit_are_used_while_systemd_knows_them() {
    let mut old = theirs("shop.service", THEIRS);
    old.loaded.as_mut().unwrap().stops_itself = true;
    let wish = Wish {
        take_over: TakeOver::OfOwnNames,
        ..Wish::of(SHOP)
    };
    let plan = wish.plan(&seen(vec![old]));
    let first = plan.steps.first().map(ToString::to_string);
    assert_eq!(first.as_deref(), Some("stop `shop.service` (limit 100s)"));
}

#[test]
fn an_uninstall_stops_services_before_their_sockets_and_puts_back() {
    let mut there = installed(SHOP);
    there[1].taken_over = Some(TakenOver {
        start: vec!["old.service".to_owned()],
        files: Vec::new(),
        links: vec![(
            PathBuf::from("/etc/systemd/system/multi-user.target.wants/old.service"),
            PathBuf::from("/etc/systemd/system/old.service"),
        )],
    });
    let shop = [Name::parse("shop").unwrap()];
    insta::assert_snapshot!(uninstall(&shop, &seen(there)), @r#"
    remove `shop.socket`
    remove `shop.service`

    warning: what `shop` replaced listens by itself; clients are refused from the moment when the sockets are closed until it listens

    1. stop `shop.service` and `shop.socket` (limit 71s)
    2. start `old.service` and wait until it is ready (limit 100s)
    3. disable `shop.socket` and `shop.service`, remove `shop.socket`, `shop.service` and `shop.service.taken-over.json` in `/etc/systemd/system` (limit 30s)
    4. enable `old.service` (limit 30s)
    5. let systemd read the units again (limit 30s)
    "#);
    assert_eq!(uninstall(&shop, &seen(Vec::new())), Uninstall::default());
}
