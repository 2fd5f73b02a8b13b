use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::model::{Model, ReleaseName, Service, UnitName};
use crate::observe::{Active, Instance, Watched};
use crate::plan::Options;
use crate::release::{Mark, ReleaseLink};
use crate::tool::Tool;

const STANDBY: &str = "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\nhealth = {}\nstrategy = \"standby\"\n";

fn model() -> Model {
    Model::read("zdt.toml", STANDBY).unwrap()
}

fn running(unit: &UnitName) -> UnitState {
    UnitState {
        active: Active::Active,
        was_active: true,
        instance: unit.as_str().ends_with(".service").then(|| Instance {
            pid: 7,
            invocation: "a1".repeat(16),
        }),
        ..UnitState::stopped(unit.clone())
    }
}

/// A restart that does not look before it begins.
fn forced(service: &Service) -> Request<'_> {
    let options = Options {
        force: true,
        ..Options::default()
    };
    Request {
        options,
        ..Request::restart(service)
    }
}

/// Everything runs but the standby.
fn healthy(service: &Service) -> Observed {
    let watched = Watched::of(service);
    Observed {
        service: running(&watched.service),
        beside: watched.beside.into_iter().map(UnitState::stopped).collect(),
        newer: Vec::new(),
        companions: Vec::new(),
        program_is_newer: false,
        at: SystemTime::UNIX_EPOCH,
        files: None,
        releases: None,
        rotation: None,
        sockets: watched
            .sockets
            .iter()
            .map(|socket| running(&socket.unit))
            .collect(),
    }
}

/// A restart by `standby` that broke off there.
fn broken_off(step: usize, back: usize, done: bool) -> Unfinished {
    let model = model();
    let service = &model.services[0];
    Unfinished {
        v: 1,
        restart_id: "5f0c".to_owned(),
        since: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        reached: Reached { step, back, done },
        plan: plan(&forced(service), &healthy(service)).unwrap(),
    }
}

fn said(way_back: &WayBack) -> String {
    match way_back {
        WayBack::Nothing(why) => format!("{why:?}"),
        WayBack::Anew => "Anew".to_owned(),
        WayBack::Steps(steps) => {
            let steps: Vec<String> = steps.iter().map(Step::to_string).collect();
            steps.join("; ")
        }
    }
}

/// Steps 1 to 3 start the standby, 4 to 6 replace the process, 7 stops the standby.
#[test]
fn each_step_of_a_standby_restart_has_its_way_back() {
    let stop = "stop `shop-standby.service` (limit 51s)";
    let ways: Vec<String> = (0..=7)
        .map(|step| said(&way_back(&broken_off(step, 0, false))))
        .collect();
    assert_eq!(
        ways,
        [
            "Untouched",
            stop,
            stop,
            stop,
            "Anew",
            "Anew",
            "Anew",
            "Anew"
        ]
    );
    // Half-way through the way back it is gone again from its beginning.
    assert_eq!(said(&way_back(&broken_off(2, 1, false))), stop);
    assert_eq!(said(&way_back(&broken_off(7, 0, true))), "Finished");
}

/// What follows the proof is done to its end, and what cannot be is passed by as before.
#[test]
fn what_had_proved_itself_is_finished() {
    let mut left = broken_off(6, 0, false);
    for step in &mut left.plan.steps[5..] {
        step.on_failure = OnFailure::GoOn;
    }
    assert_eq!(
        said(&way_back(&left)),
        "wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s); \
         stop `shop-standby.service` (limit 51s)"
    );
    // One in the middle is as far as the step after it.
    left.reached.step = 3;
    left.plan.steps[2].on_failure = OnFailure::GoOn;
    assert_eq!(way_back(&left), WayBack::Anew);
}

#[test]
fn a_plan_that_had_only_looked_is_only_cleaned() {
    let mut left = broken_off(1, 0, false);
    left.plan.steps.remove(0);
    assert_eq!(said(&way_back(&left)), "Untouched");
}

/// The processes that it speaks of are not those that run after a reboot.
#[test]
fn the_way_back_asks_for_no_process_that_was_there_before() {
    let mut left = broken_off(4, 0, false);
    left.plan.rollback = left.plan.steps[4..6].to_vec();
    left.plan.steps[3].on_failure = OnFailure::RollBack;
    let WayBack::Steps(steps) = way_back(&left) else {
        panic!("{:?}", way_back(&left));
    };
    let plan = plan_back(&left, steps);
    insta::assert_snapshot!(plan, @"
    take back what broke off of `shop` (strategy `standby`)
    note: the restart 5f0c of 2023-11-14T22:13:20Z broke off at step 4: restart `shop.service` and wait until it is ready
    1. confirm that `shop.service` runs a process and that `shop.socket` stayed open (limit 10s)
    2. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service` (limit 30s)
    on failure: there is nothing to roll back to; the sockets stay open and connections wait
    ");
    assert!(
        plan.steps
            .iter()
            .all(|step| step.on_failure == OnFailure::LookNow)
    );
}

#[test]
fn where_nothing_can_be_taken_back_the_service_is_restarted_as_it_is() {
    let model = model();
    let service = &model.services[0];
    let mut observed = healthy(service);
    observed.beside[0] = running(&observed.beside[0].unit);
    let plan = plan_anew(&broken_off(5, 0, false), service, Vec::new(), &observed).unwrap();
    assert_eq!(plan.operation, Operation::Recover);
    insta::assert_snapshot!(plan.notes.join("\n"), @"
    the restart 5f0c of 2023-11-14T22:13:20Z broke off at step 5: confirm that `shop.service` runs a new process and that `shop.socket` stayed open
    `shop-standby.service` was left behind by another restart and may be of an old release, so it is restarted too
    ");
}

#[test]
fn only_what_changed_processes_alone_lets_another_restart_begin() {
    let deploy = Operation::Deploy {
        release: ReleaseName::parse("v2").unwrap(),
        from: "/tmp/v2".into(),
    };
    let left = broken_off(5, 0, false);
    assert!(admits(&left, &Operation::Restart));
    assert!(!admits(&left, &deploy));

    // The same with a release that was switched before, or is about to be.
    let act = |link| {
        Action::Release(ReleaseAct::Point {
            root: crate::model::AbsolutePath::parse("/srv/shop").unwrap(),
            link,
            release: ReleaseName::parse("v2").unwrap(),
        })
    };
    let switched = |at: usize| {
        let mut left = left.clone();
        let step = Step {
            action: act(ReleaseLink::Next),
            ..left.plan.steps[0].clone()
        };
        left.plan.steps.insert(at, step);
        left
    };
    assert!(!admits(&switched(0), &Operation::Restart));
    assert!(!admits(&switched(4), &Operation::Restart));
    assert!(admits(&switched(6), &Operation::Restart));

    let mut migrated = left.clone();
    let run = |task| Action::RunTask {
        unit: UnitName::task(&left.plan.service, task),
        task,
    };
    migrated.plan.steps[0].action = run(Task::Migrate);
    assert!(!admits(&migrated, &Operation::Restart));
    migrated.plan.steps[0].action = run(Task::Check);
    assert!(admits(&migrated, &Operation::Restart));

    let mut marked = broken_off(2, 1, false);
    marked.plan.steps[1].on_failure = OnFailure::TakeBack(vec![Step {
        action: Action::Release(ReleaseAct::Mark {
            root: crate::model::AbsolutePath::parse("/srv/shop").unwrap(),
            release: ReleaseName::parse("v2").unwrap(),
            mark: Mark::Failed,
        }),
        ..left.plan.steps[0].clone()
    }]);
    assert!(!admits(&marked, &Operation::Restart));
    marked.reached.back = 0;
    assert!(admits(&marked, &Operation::Restart));
}

#[test]
fn without_a_record_what_is_off_is_told_with_its_command() {
    let model = model();
    let service = &model.services[0];
    assert_eq!(off(service, &healthy(service), Tool::default()), []);
    let mut observed = healthy(service);
    observed.beside[0] = running(&observed.beside[0].unit);
    observed.sockets[0].active = Active::Failed;
    observed.sockets[0].result = "trigger-limit-hit".to_owned();
    observed.service = UnitState::stopped(observed.service.unit);
    let off: String = off(service, &observed, Tool::default())
        .iter()
        .map(|off| format!("{}\n  {}\n", off.what, off.command))
        .collect();
    insta::assert_snapshot!(off, @"
    `shop.socket` is not active (trigger-limit-hit), so its port is closed
      open it with `systemctl reset-failed shop.socket shop.service; systemctl start shop.socket shop.service`
    `shop-standby.service` runs, and nothing is under way
      replace all of it with `zdt-units restart shop`
    `shop.service` is inactive (dead)
      start it with `systemctl start shop.service`
    ");
}

/// A deployment of `v2`, whose migration can be taken back; then the service is restarted.
fn migrating(operation: Operation, task: Task) -> Unfinished {
    let left = broken_off(1, 0, false);
    let run = |task| Action::RunTask {
        unit: UnitName::task(&left.plan.service, task),
        task,
    };
    let point = |release: &str| {
        Action::Release(ReleaseAct::Point {
            root: crate::model::AbsolutePath::parse("/srv/shop").unwrap(),
            link: ReleaseLink::Current,
            release: ReleaseName::parse(release).unwrap(),
        })
    };
    let note = Action::Release(ReleaseAct::Mark {
        root: crate::model::AbsolutePath::parse("/srv/shop").unwrap(),
        release: ReleaseName::parse("v2").unwrap(),
        mark: Mark::Failed,
    });
    let step = |action, on_failure| Step {
        action,
        limit: Duration::from_secs(1),
        on_failure,
    };
    let failed = || OnFailure::TakeBack(vec![step(note.clone(), OnFailure::GoOn)]);
    let back = vec![
        step(point("v1"), OnFailure::LookNow),
        step(run(Task::MigrateDown), OnFailure::LookNow),
    ];
    let restart = left.plan.steps[3].clone();
    Unfinished {
        plan: Plan {
            operation,
            steps: vec![
                step(run(task), failed()),
                step(point("v2"), OnFailure::TakeBack(back)),
                restart,
            ],
            ..left.plan
        },
        ..left
    }
}

/// It may have ended, not have begun, or run on.
#[test]
fn a_migration_is_brought_to_its_end_before_it_is_taken_back() {
    let deploy = Operation::Deploy {
        release: ReleaseName::parse("v2").unwrap(),
        from: "/tmp/v2".into(),
    };
    let mut left = migrating(deploy, Task::Migrate);
    assert_eq!(
        said(&way_back(&left)),
        "run `shop-migrate.service` to its end (limit 1s); point `/srv/shop/current` to `v1` (limit 1s); \
         run `shop-migrate-down.service` to its end (limit 1s)"
    );
    let WayBack::Steps(steps) = way_back(&left) else {
        panic!("{:?}", way_back(&left));
    };
    assert_eq!(steps[0].on_failure, left.plan.steps[0].on_failure);
    // Without `down` nothing is gained by that.
    left.plan.steps[1].on_failure = OnFailure::LookNow;
    assert_eq!(said(&way_back(&left)), "note that `v2` failed (limit 1s)");
}

/// Only what was before the data can run, so the way is on.
#[test]
fn data_that_were_being_taken_back_are_and_the_release_before_serves() {
    let back = Operation::RollBack {
        release: ReleaseName::parse("v1").unwrap(),
    };
    let left = migrating(back, Task::MigrateDown);
    assert_eq!(
        said(&way_back(&left)),
        "run `shop-migrate-down.service` to its end (limit 1s); point `/srv/shop/current` to `v2` (limit 1s); \
         restart `shop.service` and wait until it is ready (limit 111s)"
    );
    let mut left = left;
    left.reached.step = 3;
    assert_eq!(
        said(&way_back(&left)),
        "restart `shop.service` and wait until it is ready (limit 111s)"
    );
}

#[test]
fn what_left_nothing_to_take_back_is_in_nobodys_way() {
    let deploy = Operation::Deploy {
        release: ReleaseName::parse("v2").unwrap(),
        from: "/tmp/v2".into(),
    };
    for left in [broken_off(0, 0, false), broken_off(7, 0, true)] {
        assert!(admits(&left, &deploy));
    }
}
