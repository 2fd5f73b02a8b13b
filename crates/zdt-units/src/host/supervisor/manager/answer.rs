//! What is asked on the control socket, and the answers.

use super::{Happened, Known, Manager, refused};
use crate::host::supervisor::control::{Answers, Asked};
use crate::host::supervisor::jobs::{self, Job};
use crate::host::supervisor::memory::Groups;
use crate::host::supervisor::protocol::{About, Answer, Question, Refusal, UnitReport, VERSION};
use crate::host::supervisor::sockets::Held;
use crate::host::supervisor::unit::View;
use crate::host::supervisor::upgrade::Upgrade;
use crate::model::{Model, Name, UnitName};
use crate::observe::{Active, UnitState};
use nix::unistd::Pid;
use std::collections::BTreeSet;

/// How many lines of output a report has.
const LAST_WORDS: usize = 10;

impl Manager {
    pub(super) fn answer(&mut self, asked: Asked) -> Option<Happened> {
        let Asked {
            question,
            by,
            answers,
        } = asked;
        let changes = !matches!(
            question,
            Question::Hello | Question::Units { .. } | Question::Logs { .. } | Question::Orphans
        );
        if changes && self.ending {
            let reason = "the launcher is ending".to_owned();
            answers.send(Answer::Failed(refused(reason, None)));
            return None;
        }
        match question {
            Question::Hello => {
                answers.send(Answer::Launcher(self.about()));
                answers.send(Answer::Done);
            }
            Question::Units { units, whole } => self.report(&units, whole, &answers),
            Question::Start { unit } => self.begin(&[unit], Job::Start, answers),
            Question::Restart { units } => self.begin(&units, Job::Restart, answers),
            Question::Reload { unit } => self.begin(&[unit], Job::Reload, answers),
            Question::Task { unit } => self.begin(&[unit], Job::Start, answers),
            Question::Stop { units, held: false } => self.begin(&units, Job::Stop, answers),
            Question::Stop { units, held: true } => self.begin(&units, Job::Hold, answers),
            Question::CloseUntaken { unit } => self.untaken(&unit, &answers),
            Question::Load { text } => self.load_text(text, &answers),
            Question::OpenSockets { service } => {
                let opened = self.open_sockets(&service);
                settle(&answers, opened);
            }
            Question::CloseSockets { service } => {
                let closed = self.close_sockets(&service);
                settle(&answers, closed);
            }
            Question::Logs { of, lines, follow } => self.logs(&of, lines, follow, answers),
            Question::Orphans => self.report_orphans(&answers),
            Question::StopOrphans => self.stop_orphans(&answers),
            Question::Shutdown => {
                answers.send(Answer::Done);
                self.shut_down();
                return Some(Happened::Said(format!("shutting down, as {by} asked for")));
            }
            Question::Upgrade { program } => {
                return Some(Happened::Upgrade(Upgrade { program, answers }));
            }
        }
        None
    }

    pub(super) fn about(&self) -> About {
        About {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: self.since,
            config: self.boot.config.clone(),
            text: self.boot.text.clone(),
            state: self.boot.place.state.clone(),
            upgrades: self.upgrades,
        }
    }

    pub(super) fn report(&mut self, wanted: &[UnitName], whole: bool, answers: &Answers) {
        let all = wanted.is_empty();
        let is_wanted = |unit: &UnitName| all || wanted.contains(unit);
        let mut reports = Vec::new();
        for (name, managed) in &self.services {
            for socket in &managed.service.sockets {
                if is_wanted(&socket.unit) {
                    reports.push(of_socket(name, &socket.unit, &managed.held));
                }
            }
        }
        let groups = whole.then(Groups::read);
        for (unit, known) in &self.units {
            if is_wanted(unit) {
                let memory = self.memory.get(unit).map(|watched| watched.report.clone());
                let mut report = UnitReport {
                    memory,
                    ..of_unit(known)
                };
                let process = known.unit.view.borrow().process.clone();
                if let (Some(groups), Some(mark)) = (&groups, process) {
                    report.children = groups.measure(Pid::from_raw(mark.group)).processes;
                }
                reports.push(report);
            }
        }
        // What could be started, and never was.
        for unit in wanted {
            if !reports.iter().any(|report| report.state.unit == *unit)
                && let Some((service, _)) = self.part(unit)
            {
                let state = UnitState::stopped(unit.clone());
                reports.push(without_process(service.name.clone(), state));
            }
        }
        for report in reports {
            answers.send(Answer::Unit(Box::new(report)));
        }
        answers.send(Answer::Done);
    }

    pub(super) fn begin(&mut self, names: &[UnitName], job: Job, answers: Answers) {
        let mut units = Vec::new();
        for name in names {
            let is_socket = name.as_str().ends_with(".socket");
            let done = match is_socket {
                true => self.socket_job(name, job).map(|()| Vec::new()),
                false => self.units_of(name),
            };
            match done {
                Ok(more) => units.extend(more),
                Err(refusal) => {
                    answers.send(Answer::Failed(refusal));
                    return;
                }
            }
        }
        tokio::spawn(jobs::follow(units, job, answers));
    }

    /// Sockets of one service open and close together.
    pub(super) fn socket_job(&mut self, unit: &UnitName, job: Job) -> Result<(), Refusal> {
        let services = self.services.values();
        let mut with = services.filter(|managed| {
            let sockets = &managed.service.sockets;
            sockets.iter().any(|socket| socket.unit == *unit)
        });
        let Some(name) = with.next().map(|managed| managed.service.name.clone()) else {
            return Err(refused(
                format!("the launcher has no socket `{unit}`"),
                None,
            ));
        };
        match job {
            Job::Start => self.open_sockets(&name),
            Job::Stop => self.close_sockets(&name),
            Job::Hold | Job::Restart | Job::Reload => Err(refused(
                format!("`{unit}` is a socket, which clients wait in: it is not restarted"),
                None,
            )),
        }
    }

    pub(super) fn untaken(&mut self, unit: &UnitName, answers: &Answers) {
        let Some(known) = self.units.get(unit) else {
            answers.send(Answer::Done);
            return;
        };
        let view = known.unit.view.borrow().clone();
        if let Some(instance) = &view.state.instance {
            answers.send(Answer::Told {
                event: crate::event::EventKind::Untaken {
                    unit: unit.to_string(),
                    pid: instance.pid,
                    connections: view.untaken,
                },
            });
        }
        answers.send(Answer::Done);
    }

    pub(super) fn load_text(&mut self, text: String, answers: &Answers) {
        if text == self.boot.text {
            answers.send(Answer::Done);
            return;
        }
        let file = self.boot.config.as_ref();
        let file = file.map_or_else(|| "zdt.toml".to_owned(), |file| file.display().to_string());
        let model = match Model::read(&file, &text) {
            Ok(model) => model,
            Err(mistakes) => {
                let refusal = refused(format!("`{file}` has mistakes"), None);
                let output = mistakes.render(crate::config::Colour::Never);
                answers.send(Answer::Failed(Refusal {
                    output: output.lines().map(str::to_owned).collect(),
                    ..refusal
                }));
                return;
            }
        };
        let before: BTreeSet<Name> = self.services.keys().cloned().collect();
        match self.load(model, text) {
            Ok(()) => {
                let added = self.services.keys().filter(|name| !before.contains(*name));
                let added: Vec<Name> = added.cloned().collect();
                self.start_services(&added);
                answers.send(Answer::Done);
            }
            Err(failure) => {
                answers.send(Answer::Failed(failure.into()));
            }
        }
    }

    pub(super) fn logs(&self, of: &[String], lines: usize, follow: bool, answers: Answers) {
        let is_wanted = |(name, known): &(&UnitName, &Known)| {
            let of_it =
                |wanted: &String| *wanted == name.as_str() || *wanted == known.service.as_str();
            of.is_empty() || of.iter().any(of_it)
        };
        let outputs = self.units.iter().filter(is_wanted);
        let outputs = outputs
            .map(|(_, known)| known.unit.output.clone())
            .collect();
        tokio::spawn(jobs::logs(outputs, lines, follow, answers));
    }
}

fn settle(answers: &Answers, done: Result<(), Refusal>) {
    answers.send(match done {
        Ok(()) => Answer::Done,
        Err(refusal) => Answer::Failed(refusal),
    });
}

fn of_socket(service: &Name, unit: &UnitName, held: &Held) -> UnitReport {
    let is_open = held.has(unit);
    let state = UnitState {
        active: match is_open {
            true => Active::Active,
            false => Active::Inactive,
        },
        sub: if is_open { "running" } else { "dead" }.to_owned(),
        was_active: true,
        ..UnitState::stopped(unit.clone())
    };
    without_process(service.clone(), state)
}

fn without_process(service: Name, state: UnitState) -> UnitReport {
    UnitReport {
        service,
        state,
        since: None,
        start_ms: None,
        generation: 0,
        memory: None,
        port: None,
        children: Vec::new(),
        output: Vec::new(),
    }
}

fn of_unit(known: &Known) -> UnitReport {
    let view: View = known.unit.view.borrow().clone();
    let lines = known.unit.output.tail(LAST_WORDS);
    UnitReport {
        since: view.since,
        start_ms: view
            .start_took
            .and_then(|took| u64::try_from(took.as_millis()).ok()),
        generation: view.generation,
        port: view.port,
        output: lines.into_iter().map(|line| line.text).collect(),
        ..without_process(known.service.clone(), view.state)
    }
}
