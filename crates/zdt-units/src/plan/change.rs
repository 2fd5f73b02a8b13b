//! What changes besides the processes: releases, data and unit files. What leads there, what leads
//! back, and what is left to do when the new process has proved itself.

use std::time::Duration;

use super::{
    Action, CONFIRM_LIMIT, OnFailure, Operation, ReleaseAct, Request, Step, await_ready, step, stop,
};
use crate::model::{AbsolutePath, Health, ReleaseName, Service, Task, UnitName};
use crate::observe::{Observed, UnitCopy, UnitFiles};
use crate::release::{self, Mark, ReleaseLink, Releases, to_remove};

/// A release is copied at no less than some megabytes a second.
const COPY_LIMIT: Duration = Duration::from_secs(15 * 60);
const DISK_LIMIT: Duration = Duration::from_secs(60);

/// Everything but the processes.
pub(super) struct Change {
    pub(super) before: Vec<Step>,
    pub(super) undo: Undo,
    pub(super) after: Vec<Step>,
    pub(super) notes: Vec<String>,
}

/// What makes the next process that starts the old one again; empty where there is nothing else
/// to start than what is there.
#[derive(Default)]
pub(super) struct Undo {
    /// The link and the unit files. First of all: whatever restarts a process meanwhile starts the old one.
    first: Vec<Step>,
    /// When no process of the new release runs any more that can be spared.
    data: Vec<Step>,
    last: Vec<Step>,
}

impl Undo {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Whether what the new release did to data is taken back too.
    pub(super) fn takes_data_back(&self) -> bool {
        !self.data.is_empty()
    }

    /// A way back: `stop` ends processes of the new release that can be spared, `restart` starts old ones.
    pub(super) fn after_stopping(&self, stop: &[Step], restart: &[Step]) -> Vec<Step> {
        let parts = [&self.first[..], stop, &self.data, restart, &self.last];
        parts.concat()
    }
}

impl Change {
    pub(super) fn new(request: &Request<'_>, observed: &Observed) -> Self {
        let mut change = Self {
            before: Vec::new(),
            undo: Undo::default(),
            after: Vec::new(),
            notes: Vec::new(),
        };
        let services = || std::iter::once(&request.service).chain(&request.companions);
        let states = || std::iter::once(observed).chain(&observed.companions);
        for (service, observed) in services().zip(states()) {
            change.see_it_well(request, service, observed);
        }
        for observed in states() {
            if let Some(files) = &observed.files {
                change.unit_files(files, observed);
            }
        }
        let switch = Switch::of(request, observed);
        if let Some(switch) = &switch {
            change.prepare(request, switch);
        }
        for service in services().filter(|service| service.has(Task::Check)) {
            change.before.push(or_stop(task(service, Task::Check)));
        }
        change.migrate(request, switch.as_ref());
        if let Some(switch) = switch {
            change.switch(request, &switch);
        }
        change
    }

    /// A service that is unwell before cannot be told from one that the new release makes unwell.
    fn see_it_well(&mut self, request: &Request<'_>, service: &Service, observed: &Observed) {
        let goes_back = matches!(request.operation, Operation::RollBack { .. });
        if goes_back || request.options.force || !observed.service.serves() {
            return;
        }
        if let Some(health) = &service.health {
            let check = check_health(&observed.service.unit, health);
            self.before.push(or_stop(check));
        }
    }

    /// Kept while a process is known to run with them: now, or when the new one has proved itself.
    fn unit_files(&mut self, files: &UnitFiles, observed: &Observed) {
        let keep = |files: &UnitFiles| {
            let keep = Action::KeepUnits {
                place: files.place.clone(),
                files: files.now.clone(),
            };
            step(DISK_LIMIT, keep)
        };
        if files.kept.as_ref() == Some(&files.now) {
            return;
        }
        if observed.service.serves() && !files.are_newer {
            self.before.push(or_stop(keep(files)));
            return;
        }
        self.after.push(or_go_on(keep(files)));
        let Some(kept) = &files.kept else {
            return;
        };
        let is_added = |copy: &&UnitCopy| !kept.iter().any(|old| old.path == copy.path);
        let added = files.now.iter().filter(is_added);
        let restore = Action::RestoreUnits {
            place: files.place.clone(),
            files: kept.clone(),
            added: added.map(|copy| copy.path.clone()).collect(),
        };
        self.undo.first.push(step(DISK_LIMIT, restore));
        if files.need_reload {
            let read = Action::Install(super::Act::Reload);
            self.undo.first.push(step(CONFIRM_LIMIT, read));
        }
        let changed = match &files.now[..] {
            [one] => format!("`{}` has changed since it was", one.path.display()),
            _ => "the unit files have changed since they were".to_owned(),
        };
        self.notes.push(format!(
            "{changed} last good; on failure what was good is taken from `{}`",
            files.place.display()
        ));
    }

    /// The new release is there, and nobody runs it.
    fn prepare(&mut self, request: &Request<'_>, switch: &Switch) {
        let root = &switch.root;
        if let Operation::Deploy { release, from } = &request.operation {
            let copy = ReleaseAct::Copy {
                from: from.clone(),
                root: root.clone(),
                release: release.clone(),
            };
            let copy = step(COPY_LIMIT, Action::Release(copy));
            self.before.push(or_stop(copy));
        }
        if switch.next.as_ref() != Some(&switch.to) {
            let next = point(root, ReleaseLink::Next, &switch.to);
            self.before.push(or_stop(next));
        }
    }

    fn migrate(&mut self, request: &Request<'_>, switch: Option<&Switch>) {
        let service = request.service;
        if !service.has(Task::Migrate) {
            return;
        }
        let done = switch.is_some_and(|switch| switch.migrated);
        let goes_back = matches!(request.operation, Operation::RollBack { .. });
        if request.options.skip_migrations {
            self.notes.push("migrations are skipped".to_owned());
            return;
        }
        if done || goes_back {
            return;
        }
        if service.has(Task::Backup) {
            let backup = task(service, Task::Backup);
            self.before.push(or_stop(backup));
        }
        // One that was interrupted, or took too long, may still be at work.
        let unit = UnitName::task(&service.name, Task::Migrate);
        let mut back = vec![or_go_on(stop(service, &[unit]))];
        if let Some(switch) = switch {
            let mark = |what| mark(&switch.root, &switch.to, what);
            self.before.push(or_stop(mark(Mark::Migrated)));
            back.push(or_go_on(mark(Mark::Failed)));
            match service.has(Task::MigrateDown) {
                true => {
                    self.undo.data.push(task(service, Task::MigrateDown));
                    self.undo.data.push(or_go_on(mark(Mark::MigratedDown)));
                }
                false => self.notes.push(
                    "the migration has no `down`: on failure what it did stays, and the release \
                     before runs with it"
                        .to_owned(),
                ),
            }
        }
        self.before.push(Step {
            on_failure: OnFailure::TakeBack(back),
            ..task(service, Task::Migrate)
        });
    }

    fn switch(&mut self, request: &Request<'_>, switch: &Switch) {
        let (root, to) = (&switch.root, &switch.to);
        let restarts = request.operation == Operation::Restart;
        if let Some(from) = &switch.back_to {
            self.undo
                .first
                .insert(0, point(root, ReleaseLink::Current, from));
            if !restarts {
                let failed = mark(root, to, Mark::Failed);
                self.undo.last.push(or_go_on(failed));
            }
            if restarts {
                self.notes.push(format!(
                    "`{root}/current` points to `{to}`, and what served last was `{from}`; on failure \
                     it is pointed back"
                ));
            }
        }
        if switch.current.as_ref() != Some(to) {
            self.before.push(Step {
                on_failure: self.taken_back(),
                ..point(root, ReleaseLink::Current, to)
            });
        }
        for release in &switch.crossed {
            self.take_data_back(request, switch, release);
        }
        if !restarts || switch.back_to.is_some() {
            self.after.push(or_go_on(mark(root, to, Mark::Served)));
        }
        if !switch.expired.is_empty() {
            let remove = ReleaseAct::Remove {
                root: root.clone(),
                releases: switch.expired.clone(),
            };
            let remove = step(COPY_LIMIT, Action::Release(remove));
            self.after.push(or_go_on(remove));
        }
    }

    /// What `release` did to data is taken back by itself. From then on only what was before it can run.
    fn take_data_back(&mut self, request: &Request<'_>, switch: &Switch, release: &ReleaseName) {
        let (service, root) = (request.service, &switch.root);
        if !service.has(Task::MigrateDown) || request.options.skip_migrations {
            self.notes.push(format!(
                "what `{release}` did to data stays, and `{}` runs with it",
                switch.to
            ));
            return;
        }
        let on_failure = self.taken_back();
        let steps = [
            point(root, ReleaseLink::Next, release),
            task(service, Task::MigrateDown),
        ];
        let steps = steps.into_iter().map(|step| Step {
            on_failure: on_failure.clone(),
            ..step
        });
        self.before.extend(steps);
        let taken_back = mark(root, release, Mark::MigratedDown);
        self.before.push(or_go_on(taken_back));
        self.undo = Undo::default();
    }

    /// Before any process was touched.
    fn taken_back(&self) -> OnFailure {
        match self.undo.is_empty() {
            true => OnFailure::LookNow,
            false => OnFailure::TakeBack(self.undo.after_stopping(&[], &[])),
        }
    }
}

/// From one release to another.
struct Switch {
    root: AbsolutePath,
    current: Option<ReleaseName>,
    next: Option<ReleaseName>,
    to: ReleaseName,
    /// What serves, where that is another one.
    back_to: Option<ReleaseName>,
    /// `to` has changed data before, and all of them: it served, and nothing was found wrong since.
    migrated: bool,
    /// Newer releases that changed data, the newest first.
    crossed: Vec<ReleaseName>,
    expired: Vec<ReleaseName>,
}

impl Switch {
    fn of(request: &Request<'_>, observed: &Observed) -> Option<Self> {
        let config = request.service.release.as_ref()?;
        let seen = observed.releases.as_ref()?;
        let current = seen.current.as_ref();
        let to = request.operation.release().or(current)?;
        let serving = seen.serving().or(current);
        let (crossed, expired) = match &request.operation {
            Operation::RollBack { .. } => (crossed(seen, current, to), Vec::new()),
            Operation::Deploy { .. } => {
                let later = seen.once_served(to, observed.at);
                (Vec::new(), to_remove(&later, config, observed.at))
            }
            Operation::Restart | Operation::Stop | Operation::Start | Operation::Recover => {
                (Vec::new(), Vec::new())
            }
        };
        Some(Self {
            root: config.root.clone(),
            current: current.cloned(),
            next: seen.next.clone(),
            back_to: serving.filter(|serving| *serving != to).cloned(),
            migrated: seen
                .record(to)
                .is_some_and(|record| record.migrated.is_some() && record.is_good()),
            crossed,
            expired,
            to: to.clone(),
        })
    }
}

/// Releases that changed data in a way that `to` may not know, the newest first.
pub(super) fn crossed(
    releases: &Releases,
    current: Option<&ReleaseName>,
    to: &ReleaseName,
) -> Vec<ReleaseName> {
    let mut crossed = current.map_or_else(Vec::new, |from| release::crossed(releases, from, to));
    crossed.reverse();
    crossed
}

/// Fills the caches of new processes.
pub(super) fn warm(service: &Service) -> Option<Step> {
    service.has(Task::Warm).then(|| task(service, Task::Warm))
}

/// What shows that new processes do, once they are ready: for the longest time that one of the services asks for.
pub(super) fn bake_all(services: &[&Service]) -> Vec<Step> {
    let time = services.iter().map(|service| service.bake).max();
    let time = time.unwrap_or_default();
    if time.is_zero() {
        return Vec::new();
    }
    let each = || {
        services.iter().flat_map(|service| {
            service
                .instances()
                .into_iter()
                .map(move |unit| (service, unit))
        })
    };
    let stay_up = Action::StayUp {
        units: each().map(|(_, unit)| unit).collect(),
        time,
    };
    let well = each().filter_map(|(service, unit)| await_ready(service, &unit, None));
    std::iter::once(step(time + CONFIRM_LIMIT, stay_up))
        .chain(well)
        .collect()
}

/// The units go on running what they run now, and are well in the end.
pub(super) fn bake(service: &Service, units: &[UnitName]) -> Vec<Step> {
    let time = service.bake;
    let stay_up = Action::StayUp {
        units: units.to_vec(),
        time,
    };
    let mut steps = vec![step(time + CONFIRM_LIMIT, stay_up)];
    let well = units
        .iter()
        .filter_map(|unit| await_ready(service, unit, None));
    steps.extend(well);
    steps
}

pub(super) fn check_health(unit: &UnitName, health: &Health) -> Step {
    let check = Action::CheckHealth {
        unit: unit.clone(),
        health: health.clone(),
    };
    step(health.timeout, check)
}

fn task(service: &Service, task: Task) -> Step {
    let unit = UnitName::task(&service.name, task);
    let limit = service.task_timeout(task) + CONFIRM_LIMIT;
    step(limit, Action::RunTask { unit, task })
}

fn point(root: &AbsolutePath, link: ReleaseLink, release: &ReleaseName) -> Step {
    let point = ReleaseAct::Point {
        root: root.clone(),
        link,
        release: release.clone(),
    };
    step(DISK_LIMIT, Action::Release(point))
}

fn mark(root: &AbsolutePath, release: &ReleaseName, mark: Mark) -> Step {
    let mark = ReleaseAct::Mark {
        root: root.clone(),
        release: release.clone(),
        mark,
    };
    step(DISK_LIMIT, Action::Release(mark))
}

/// Nothing that serves, or will, was touched before it.
fn or_stop(step: Step) -> Step {
    Step {
        on_failure: OnFailure::Stop,
        ..step
    }
}

fn or_go_on(step: Step) -> Step {
    Step {
        on_failure: OnFailure::GoOn,
        ..step
    }
}
