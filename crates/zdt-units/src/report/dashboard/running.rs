//! Operations under way: who began them, and how far they are.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::View;
use super::operations::{Operation, Progress, Step};
use super::table::{Table, none, or_none};
use crate::event::Phase;
use crate::recover::Unfinished;
use crate::report::html::mark;
use crate::report::html::words::{millis, printable, prose};
use crate::stamp;

/// An operation under way on one service.
#[derive(Clone, Debug)]
pub struct Running {
    pub service: String,
    pub who: Who,
    pub release: Option<String>,
    pub strategy: Option<String>,
    pub steps: Vec<Step>,
    /// Since it began.
    pub elapsed: Duration,
}

/// Who holds the lock of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// `restart shop`, as it was called.
    pub command: String,
    pub user: String,
    pub pid: u32,
    pub since: SystemTime,
}

impl Running {
    /// What `who` does to `service`: by the events, or without them by the record on disk.
    pub fn of(
        service: &str,
        who: Who,
        operation: Option<&Operation>,
        left: Option<&Unfinished>,
        now: SystemTime,
    ) -> Self {
        let planned = || left.map(|left| left.plan.operation.release());
        let strategy = || left.and_then(|left| left.plan.strategy.as_ref());
        // Who waits for the lock of another service has begun before this one did.
        let began = operation.map_or(who.since, |operation| operation.began);
        Self {
            service: service.to_owned(),
            release: match operation {
                Some(operation) => operation.release.clone(),
                None => planned().flatten().map(ToString::to_string),
            },
            strategy: match operation {
                Some(operation) => Some(operation.strategy.clone()),
                None => strategy().map(ToString::to_string),
            },
            steps: match (operation, left) {
                (Some(operation), _) => operation.steps.clone(),
                (None, Some(left)) => by_record(left),
                (None, None) => Vec::new(),
            },
            elapsed: now.duration_since(began).unwrap_or_default(),
            who,
        }
    }

    fn at(&self) -> Option<&Step> {
        let begun = |step: &&Step| step.progress != Progress::Waiting;
        self.steps.iter().rfind(begun)
    }
}

/// It says which step was begun, not when.
fn by_record(left: &Unfinished) -> Vec<Step> {
    let progress = |number: usize, reached: usize| match number {
        _ if number < reached || left.reached.done => Progress::Done,
        _ if number == reached => Progress::Running,
        _ => Progress::Waiting,
    };
    let forward = (1..).zip(&left.plan.steps).map(|(number, step)| Step {
        progress: progress(number, left.reached.step),
        ..Step::new(Phase::Forward, number, &step.to_string())
    });
    let back = (1..=left.reached.back).map(|number| Step {
        progress: progress(number, left.reached.back),
        ..Step::new(Phase::Rollback, number, "")
    });
    forward.chain(back).collect()
}

/// One sentence for each, which changes only with the step.
pub(super) fn said(view: &View) -> Markup {
    html! {
        @if view.running.is_empty() { "No operation is running." }
        @for running in &view.running {
            span class="sentence" {
                code { (printable(&running.who.command)) }
                @match running.at() {
                    Some(step) => {
                        ": " (name(step)) " of " (steps(running, step.phase)) ", " (prose(&step.text)) ". "
                    },
                    None => " has begun. ",
                }
            }
        }
    }
}

fn name(step: &Step) -> String {
    match step.phase {
        Phase::Forward => format!("step {}", step.number),
        Phase::Rollback => format!("step back {}", step.number),
    }
}

fn steps(running: &Running, phase: Phase) -> usize {
    let same = |step: &&Step| step.phase == phase;
    running.steps.iter().filter(same).count()
}

pub(super) fn now(view: &View) -> Markup {
    html! {
        @for running in &view.running {
            article class="running" {
                h3 { code { "zdt-units " (printable(&running.who.command)) } }
                (facts(running))
                @if !running.steps.is_empty() {
                    (Table {
                        class: "steps",
                        caption: &format!("The steps for {}.", printable(&running.service)),
                        head: &["Step", "What", "State", "Began after", "Took"],
                    }.of(running.steps.iter().map(|step| row(step, running))))
                }
            }
        }
    }
}

fn facts(running: &Running) -> Markup {
    let since = stamp::text(running.who.since);
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    html! {
        dl class="facts" {
            (fact("Service", html! { (printable(&running.service)) }))
            (fact("Begun by", html! { (printable(&running.who.user)) ", process " (running.who.pid) }))
            (fact("Since", html! { time datetime=(since) { (since.replace('T', " ").replace('Z', " UTC")) } }))
            (fact("Runs for", html! { (running.elapsed.as_secs()) "\u{a0}s" }))
            @if let Some(release) = &running.release { (fact("Release", html! { (printable(release)) })) }
            @if let Some(strategy) = &running.strategy { (fact("Strategy", html! { (printable(strategy)) })) }
        }
    }
}

fn row(step: &Step, running: &Running) -> Vec<Markup> {
    let ms = |time: Duration| millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let so_far = || {
        let began = step.began?;
        let seconds = running.elapsed.saturating_sub(began).as_secs();
        Some(format!("{seconds}\u{a0}s so far"))
    };
    let (shape, word) = match &step.progress {
        Progress::Waiting => ("absent", "to do"),
        Progress::Running => ("moving", "running"),
        Progress::Done => ("passed", "done"),
        Progress::Failed(_) => ("lost", "failed"),
    };
    vec![
        html! { (name(step)) },
        html! {
            (prose(&step.text))
            @if let Progress::Failed(reason) = &step.progress { p class="loss" { (prose(reason)) } }
        },
        html! { span class="fate" { (mark(shape)) " " (word) } },
        or_none(step.began.map(ms)),
        match step.progress {
            Progress::Running => or_none(so_far()),
            Progress::Waiting => none(),
            Progress::Done | Progress::Failed(_) => or_none(step.took.map(ms)),
        },
    ]
}
