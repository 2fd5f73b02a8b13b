//! Facts in which nothing is wrong, and for each code the one thing that makes it appear.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::balancer::State;
use crate::install::Drift;
use crate::model::{Address, UnitName};
use crate::observe::{Active, Instance, Load, UnitState};
use crate::sockets::Queue;

fn unit(name: &str) -> UnitName {
    UnitName::parse(name).unwrap()
}

fn state(name: &str, sub: &str) -> UnitState {
    UnitState {
        active: Active::Active,
        sub: sub.to_owned(),
        ..UnitState::stopped(unit(name))
    }
}

fn service(name: &str) -> ServiceUnit {
    ServiceUnit {
        state: UnitState {
            instance: Some(Instance {
                pid: 7,
                invocation: "a1".repeat(16),
            }),
            status: "serving 0.0.0.0:80".to_owned(),
            ..state(name, "running")
        },
        file_state: "enabled".to_owned(),
        needs: ["shop.socket", "sysinit.target", "system.slice", "-.mount"]
            .map(str::to_owned)
            .to_vec(),
        part_of: vec!["shop.target".to_owned()],
        triggered_by: vec![unit("shop.socket")],
        conditions: Vec::new(),
        start_limit: Limit {
            burst: 5,
            interval: Duration::ZERO,
        },
        kind: "notify".to_owned(),
        restart: "always".to_owned(),
        kill_mode: "mixed".to_owned(),
        start_timeout: Some(Duration::from_secs(60)),
        stop_timeout: Some(Duration::from_secs(41)),
        drain: Some(Duration::from_secs(31)),
        exec: vec!["/srv/shop/bin/shop".to_owned()],
        open_files: 65536,
        store: 16,
        process: Some(Process {
            program: "shop".to_owned(),
            has_children: true,
            sockets: Some(vec![5, 42]),
        }),
        is_standby: false,
        since: Some(1_700_000_000_000_000),
        start_took: Some(Duration::from_millis(200)),
        at_boot: true,
    }
}

fn standby() -> ServiceUnit {
    ServiceUnit {
        state: UnitState::stopped(unit("shop-standby.service")),
        restart: "no".to_owned(),
        is_standby: true,
        process: None,
        ..service("shop-standby.service")
    }
}

/// A service of `zdt.toml` with a standby, as it should be.
fn healthy() -> Facts {
    let socket = SocketUnit {
        state: state("shop.socket", "running"),
        file_state: "enabled".to_owned(),
        needs: ["sysinit.target", "system.slice"]
            .map(str::to_owned)
            .to_vec(),
        part_of: Vec::new(),
        triggers: vec![unit("shop.service")],
        addresses: vec![Address::parse("0.0.0.0:80").unwrap()],
        accept: false,
        backlog: 4096,
        flush_pending: false,
        reuse_port: false,
        trigger_limit: Limit {
            burst: 20,
            interval: Duration::from_secs(2),
        },
        queue: Some(Queue {
            waiting: 3,
            limit: Some(4096),
        }),
        inodes: vec![42],
        strangers: Vec::new(),
        rivals: Vec::new(),
        live: 100,
        is_health: false,
    };
    Facts {
        subjects: vec![Subject {
            name: "shop".to_owned(),
            services: vec![service("shop.service"), standby()],
            sockets: vec![socket],
            wished: Some(Wished {
                handover: true,
                instances: 1,
                release: Some(ReleaseSeen {
                    link: PathBuf::from("/srv/shop/current"),
                    target: Some(PathBuf::from("releases/v1")),
                    exists: true,
                    is_release: true,
                }),
                ..Wished::default()
            }),
        }],
        machine: Machine {
            somaxconn: Some(4096),
            abort_on_overflow: Some(false),
            overflows: Some(0),
            rate: Some(Rate {
                per_second: 1000,
                measured: true,
            }),
        },
        disks: vec![Disk {
            path: PathBuf::from("/srv/shop"),
            holds: "releases",
            free_bytes: 10 << 30,
            free_percent: 40,
            free_inodes_percent: Some(90),
        }],
        ..Facts::default()
    }
}

type Spoil = fn(&mut Facts);

fn main_unit(facts: &mut Facts) -> &mut ServiceUnit {
    &mut facts.subjects[0].services[0]
}

fn socket(facts: &mut Facts) -> &mut SocketUnit {
    &mut facts.subjects[0].sockets[0]
}

fn wished(facts: &mut Facts) -> &mut Wished {
    facts.subjects[0].wished.as_mut().unwrap()
}

const SPOILS: &[(&str, Spoil)] = &[
    ("001", |facts| {
        main_unit(facts).start_limit.interval = Duration::from_secs(10)
    }),
    ("001", |facts| {
        facts.subjects[0].services[1].start_limit.interval = Duration::from_secs(10)
    }),
    ("002", |facts| {
        main_unit(facts).restart = "on-failure".to_owned()
    }),
    ("003", |facts| {
        main_unit(facts)
            .conditions
            .push("ConditionPathExists".to_owned())
    }),
    ("004", |facts| {
        main_unit(facts).needs.push("db.service".to_owned())
    }),
    ("004", |facts| {
        main_unit(facts).part_of.push("db.service".to_owned())
    }),
    ("005", |facts| {
        socket(facts).part_of.push("db.service".to_owned())
    }),
    ("006", |facts| main_unit(facts).state.load = Load::Masked),
    ("006", |facts| socket(facts).state.load = Load::NotFound),
    ("007", |facts| socket(facts).state.active = Active::Failed),
    ("008", |facts| {
        let reach = socket(facts).addresses[0].reach();
        socket(facts).state.refused.push(reach);
    }),
    ("009", |facts| socket(facts).flush_pending = true),
    ("010", |facts| {
        main_unit(facts).state.status =
            "serving 0.0.0.0:80; NOT serving admin, which nobody took".to_owned();
    }),
    ("011", |facts| {
        main_unit(facts).process.as_mut().unwrap().sockets = Some(vec![5])
    }),
    ("012", |facts| {
        socket(facts)
            .strangers
            .push("`nginx` (process 9)".to_owned())
    }),
    ("013", |facts| socket(facts).rivals.push(unit("old.socket"))),
    ("014", |facts| {
        facts.subjects[0].sockets.clear();
        facts.subjects[0].services.truncate(1);
        for service in &mut facts.subjects[0].services {
            service.triggered_by.clear();
        }
    }),
    ("016", |facts| socket(facts).accept = true),
    ("017", |facts| {
        socket(facts).file_state = "disabled".to_owned();
        main_unit(facts).file_state = "disabled".to_owned();
        facts.subjects[0].services.truncate(1);
    }),
    ("018", |facts| {
        main_unit(facts).needs.retain(|unit| unit != "shop.socket")
    }),
    ("020", |facts| {
        main_unit(facts).stop_timeout = Some(Duration::from_secs(31))
    }),
    ("021", |facts| {
        main_unit(facts).kill_mode = "process".to_owned()
    }),
    ("022", |facts| {
        main_unit(facts).process.as_mut().unwrap().program = "sh".to_owned()
    }),
    ("022", |facts| {
        main_unit(facts).process = None;
        main_unit(facts).exec = ["/bin/sh", "-c", "ulimit -n 100; /srv/shop/bin/shop"]
            .map(str::to_owned)
            .to_vec();
    }),
    ("030", |facts| main_unit(facts).kind = "simple".to_owned()),
    ("031", |facts| main_unit(facts).start_timeout = None),
    ("032", |facts| {
        main_unit(facts).state.active = Active::Activating;
        main_unit(facts).state.sub = "auto-restart".to_owned();
    }),
    ("040", |facts| facts.machine.somaxconn = Some(128)),
    ("041", |facts| {
        main_unit(facts).start_took = Some(Duration::from_millis(4098))
    }),
    ("042", |facts| facts.machine.abort_on_overflow = Some(true)),
    ("043", |facts| {
        socket(facts).addresses = vec![Address::parse("/run/shop.sock").unwrap()];
        socket(facts).backlog = 128;
    }),
    ("044", |facts| socket(facts).reuse_port = true),
    ("045", |facts| facts.machine.overflows = Some(1)),
    ("046", |facts| {
        socket(facts).queue.as_mut().unwrap().waiting = 3277
    }),
    ("050", |facts| {
        facts.drift.push(Drift::NeedsReload {
            unit: unit("shop.service"),
        })
    }),
    ("050", |facts| main_unit(facts).state.needs_reload = true),
    ("051", |facts| {
        facts.drift.push(Drift::Outdated {
            unit: unit("shop.service"),
        })
    }),
    ("051", |facts| facts.outdated.push(unit("shop.service"))),
    ("052", |facts| {
        facts.too_old.push("no hand-over for `shop`".to_owned())
    }),
    ("060", |facts| main_unit(facts).store = 0),
    ("061", |facts| {
        facts.subjects[0].services[1].state = UnitState {
            instance: Some(Instance {
                pid: 8,
                invocation: "b2".repeat(16),
            }),
            ..state("shop-standby.service", "running")
        };
    }),
    ("062", |facts| wished(facts).instances = 2),
    ("063", |facts| main_unit(facts).open_files = 1024),
    ("064", |facts| {
        wished(facts).unhealthy = Some("503".to_owned())
    }),
    ("065", |facts| {
        wished(facts).release.as_mut().unwrap().target = None
    }),
    ("065", |facts| {
        wished(facts).release.as_mut().unwrap().exists = false
    }),
    ("065", |facts| {
        wished(facts).release.as_mut().unwrap().is_release = false
    }),
    ("066", |facts| {
        wished(facts).broken_off = Some("restart".to_owned())
    }),
    ("067", |facts| {
        wished(facts).rotation = Some(told(State::Out));
    }),
    ("067", |facts| {
        wished(facts).rotation = Some(told(State::Down));
    }),
    ("068", |facts| {
        wished(facts).rotation = Some(RotationSeen::Untold {
            why: "no connection".to_owned(),
            fix: "is it running?".to_owned(),
        });
    }),
    ("070", |facts| facts.disks[0].free_percent = 4),
    ("070", |facts| facts.disks[0].free_bytes = 99 << 20),
    ("070", |facts| facts.disks[0].free_inodes_percent = Some(4)),
    ("080", |facts| {
        facts.unseen.push(Unseen {
            what: "`/proc/7/fd`".to_owned(),
            why: "permission denied".to_owned(),
            fix: "run it as root".to_owned(),
        });
    }),
];

fn told(state: State) -> RotationSeen {
    RotationSeen::Told {
        server: "shop/web1".to_owned(),
        balancer: "HAProxy at `/run/haproxy/admin.sock`".to_owned(),
        state,
        says: "DRAIN".to_owned(),
    }
}

#[test]
fn who_is_out_for_a_reason_is_not_told() {
    let mut facts = healthy();
    wished(&mut facts).rotation = Some(told(State::Up));
    assert_eq!(examine(&facts), []);
    wished(&mut facts).rotation = Some(told(State::Out));
    assert_eq!(examine(&facts)[0].fix, "`zdt-units balancer restore shop`");
    wished(&mut facts).broken_off = Some("restart".to_owned());
    assert!(
        examine(&facts)
            .iter()
            .all(|finding| finding.fix == "`zdt-units recover shop`")
    );
    wished(&mut facts).broken_off = None;
    wished(&mut facts).busy = true;
    assert_eq!(examine(&facts), []);
    let mut stopped = healthy();
    wished(&mut stopped).rotation = Some(told(State::Out));
    main_unit(&mut stopped).state.active = Active::Inactive;
    assert!(!found(&stopped).contains(&"ZDT-D067"));
}

fn found(facts: &Facts) -> Vec<&'static str> {
    let mut found: Vec<_> = examine(facts).iter().map(|finding| finding.code).collect();
    found.sort_unstable();
    found
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(examine(&healthy()), []);
    // What may not be seen is not guessed at.
    let mut blind = healthy();
    main_unit(&mut blind).process.as_mut().unwrap().sockets = None;
    blind.machine = Machine::default();
    socket(&mut blind).queue = None;
    assert_eq!(examine(&blind), []);
}

#[test]
fn each_thing_that_is_wrong_has_its_code_and_no_other() {
    for (code, spoil) in SPOILS {
        let mut facts = healthy();
        spoil(&mut facts);
        assert_eq!(
            found(&facts),
            [format!("ZDT-D{code}")],
            "{:#?}",
            examine(&facts)
        );
    }
}

#[test]
fn every_code_is_tested_and_has_a_number_of_its_own() {
    let tested: BTreeSet<String> = SPOILS
        .iter()
        .map(|(code, _)| format!("ZDT-D{code}"))
        .collect();
    let known: BTreeSet<String> = CODES.iter().map(|code| code.id.to_owned()).collect();
    assert_eq!(tested, known);
    assert_eq!(known.len(), CODES.len());
}

#[test]
fn what_becomes_the_program_is_no_wrapper() {
    for exec in [
        ["/usr/bin/env", "A=1", "/srv/shop"],
        ["/bin/sh", "-c", "exec /srv/shop"],
        ["/usr/bin/nohup", "/srv/shop", ""],
        ["/usr/bin/python3", "-c", "serve()"],
    ] {
        let mut facts = healthy();
        main_unit(&mut facts).process = None;
        main_unit(&mut facts).exec = exec.map(str::to_owned).to_vec();
        assert_eq!(found(&facts), [""; 0], "{exec:?}");
    }
    // A shell that became the program is gone.
    let mut facts = healthy();
    main_unit(&mut facts).exec = ["/bin/sh", "-c", "/srv/shop"].map(str::to_owned).to_vec();
    assert_eq!(found(&facts), [""; 0]);
}

#[test]
fn the_worst_comes_first_and_says_what_to_do() {
    let mut facts = healthy();
    facts.machine.overflows = Some(3);
    main_unit(&mut facts).start_limit.interval = Duration::from_secs(10);
    facts.machine.somaxconn = Some(128);
    let found = examine(&facts);
    let severities: Vec<Severity> = found.iter().map(|finding| finding.severity).collect();
    assert_eq!(
        severities,
        [Severity::Danger, Severity::Warning, Severity::Note]
    );
    assert_eq!(
        found[0].what,
        "`shop.service` may start 5 times in 10s; one more closes the port"
    );
    assert_eq!(
        found[0].fix,
        "`systemctl edit shop.service`, with `StartLimitIntervalSec=0` below `[Unit]`"
    );
}
