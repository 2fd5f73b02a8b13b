#![expect(clippy::disallowed_methods, reason = "damages a record")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::model::{Model, UnitName};
use crate::observe::{Active, Instance, Load, Observed, UnitState, Watched};
use crate::plan::{Request, plan};

const NOW: SystemTime = UNIX_EPOCH;

fn state_of(unit: UnitName, active: Active, pid: u32) -> UnitState {
    let is_service = unit.as_str().ends_with(".service");
    UnitState {
        load: Load::Loaded,
        active,
        was_active: true,
        instance: (is_service && active == Active::Active).then(|| Instance {
            pid,
            invocation: format!("{pid:032x}"),
        }),
        ..UnitState::stopped(unit)
    }
}

/// A plan for the only service in `text`, whose other units are in the state `beside`.
fn planned(text: &str, active: Active, beside: Active, pid: u32) -> Plan {
    let model = Model::read("zdt.toml", text).unwrap();
    let service = &model.services[0];
    let watched = Watched::of(service);
    let sockets = watched.sockets.into_iter();
    let observed = Observed {
        service: state_of(watched.service, active, pid),
        beside: watched
            .beside
            .into_iter()
            .map(|unit| state_of(unit, beside, pid + 1))
            .collect(),
        newer: Vec::new(),
        companions: Vec::new(),
        program_is_newer: false,
        at: SystemTime::UNIX_EPOCH,
        files: None,
        releases: None,
        rotation: None,
        sockets: sockets
            .map(|socket| state_of(socket.unit, Active::Active, 0))
            .collect(),
    };
    plan(&Request::restart(service), &observed).unwrap()
}

fn shop(strategy: &str, listen: &str) -> String {
    format!(
        "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \"{listen}\"\nhealth = {{}}\n{strategy}\n"
    )
}

fn any_active() -> impl Strategy<Value = Active> {
    prop::sample::select(vec![
        Active::Active,
        Active::Inactive,
        Active::Failed,
        Active::Activating,
    ])
}

proptest! {
    #[test]
    fn any_plan_is_read_back_as_it_was_written(
        strategy in prop::sample::select(vec![
            "",
            "handover = true",
            "strategy = \"standby\"",
            "strategy = \"reload\"",
            "strategy = \"rolling\"\ninstances = 3\nrolling = { surge = 1, pause = \"250us\" }",
            "strategy = \"rolling\"\ninstances = 4\nbake = \"2s\"\nrolling = { batch = 2, canary = true }",
        ]),
        listen in prop::sample::select(vec![":80", "[::1]:80", "/run/shop/a b.sock"]),
        active in any_active(),
        beside in any_active(),
        pid in 1u32..,
    ) {
        let pid = pid.min(u32::MAX - 1);
        let plan = planned(&shop(strategy, listen), active, beside, pid);
        let directory = tempfile::tempdir().unwrap();
        Record::begin(directory.path(), "5f0c", &plan, NOW).unwrap();
        let left = Record::left(directory.path(), &plan.service).unwrap().unwrap();
        prop_assert_eq!(left.plan, plan);
    }
}

fn event(kind: EventKind) -> Event {
    Event::new("5f0c", "shop", Duration::ZERO, kind)
}

fn begins(phase: Phase, step: usize) -> Event {
    event(EventKind::StepStarted {
        phase,
        step,
        action: String::new(),
        text: String::new(),
        limit_ms: Duration::ZERO,
    })
}

#[test]
fn each_step_is_on_disk_before_it_is_done_and_the_end_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let plan = planned(&shop("", ":80"), Active::Active, Active::Inactive, 7);
    let reached = |expected: (usize, usize, bool)| {
        let left = Record::left(directory.path(), &plan.service).unwrap();
        let reached = left.unwrap().reached;
        assert_eq!((reached.step, reached.back, reached.done), expected);
    };
    let mut record = Record::begin(directory.path(), "5f0c", &plan, NOW).unwrap();
    reached((0, 0, false));
    record.take(&begins(Phase::Forward, 2)).unwrap();
    reached((2, 0, false));
    record.take(&begins(Phase::Rollback, 1)).unwrap();
    reached((2, 1, false));
    let completed = |step| {
        let phase = Phase::Forward;
        event(EventKind::StepCompleted { phase, step })
    };
    record.take(&completed(plan.steps.len() - 1)).unwrap();
    reached((2, 1, false));
    record.take(&completed(plan.steps.len())).unwrap();
    reached((2, 1, true));
    let outcome = crate::event::Outcome::Completed;
    record
        .take(&event(EventKind::Finished { outcome }))
        .unwrap();
    assert_eq!(Record::left(directory.path(), &plan.service), Ok(None));
}

#[test]
fn a_way_back_that_was_interrupted_is_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let plan = planned(&shop("", ":80"), Active::Active, Active::Inactive, 7);
    let mut record = Record::begin(directory.path(), "5f0c", &plan, NOW).unwrap();
    let outcome = crate::event::Outcome::LookNow;
    let last = [EventKind::BrokenOff, EventKind::Finished { outcome }];
    for kind in [begins(Phase::Forward, 2), begins(Phase::Rollback, 1)]
        .into_iter()
        .chain(last.map(event))
    {
        record.take(&kind).unwrap();
    }
    let left = Record::left(directory.path(), &plan.service).unwrap();
    assert_eq!(left.map(|left| left.reached.back), Some(1));
}

#[test]
fn a_damaged_record_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let plan = planned(&shop("", ":80"), Active::Active, Active::Inactive, 7);
    Record::begin(directory.path(), "5f0c", &plan, NOW).unwrap();
    let path = directory.path().join("shop/running.json");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let failure = Record::left(directory.path(), &plan.service).unwrap_err();
    assert!(
        failure
            .reason
            .starts_with(&format!("`{}` is damaged: ", path.display()))
    );
    assert!(failure.hint.unwrap().contains("forgets what broke off"));

    // A name that could lead elsewhere is not read back.
    let evil = String::from_utf8(whole)
        .unwrap()
        .replace("\"shop\"", "\"../shop\"");
    std::fs::write(&path, evil).unwrap();
    let failure = Record::left(directory.path(), &plan.service).unwrap_err();
    assert!(
        failure.reason.contains("does not do as a name"),
        "{failure}"
    );
}

#[test]
fn a_directory_that_cannot_be_written_to_stops_before_anything_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::File::create(&file).unwrap();
    let plan = planned(&shop("", ":80"), Active::Active, Active::Inactive, 7);
    let failure = Record::begin(&file, "5f0c", &plan, NOW).unwrap_err();
    assert_eq!(failure.effect, crate::host::Effect::None);
}
