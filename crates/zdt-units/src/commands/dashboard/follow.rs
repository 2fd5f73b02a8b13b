//! Follows what is written down of operations, and who is at work.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::SystemTime;

use super::super::scope::Scope;
use crate::event::{EventKind, Records, Stored};
use crate::host::lock::{Holder, holder};
use crate::host::record::Record;
use crate::host::sinks::{self, EventReader};
use crate::model::{Model, Name};
use crate::recover::Unfinished;
use crate::report::dashboard::operations::Operations;
use crate::report::dashboard::{Line, Running, Who};

/// So many events are shown.
const LINES: usize = 15;

#[derive(Debug)]
pub(super) struct Follow {
    path: Option<PathBuf>,
    reader: Option<EventReader>,
    records: Records,
    pub(super) operations: Operations,
    /// The youngest last.
    pub(super) lines: VecDeque<Line>,
    /// Why less is shown than there may be.
    pub(super) troubles: Vec<String>,
    names: Vec<Name>,
    state: PathBuf,
    runtime: PathBuf,
    at_work: Vec<AtWork>,
}

/// Who has the lock of a service.
#[derive(Clone, Debug, PartialEq)]
struct AtWork {
    service: Name,
    holder: Holder,
    /// As far as it may be read.
    left: Option<Unfinished>,
}

impl Follow {
    pub(super) fn new(model: &Model, scope: &Scope) -> Self {
        let mut follow = Self {
            path: None,
            reader: None,
            records: Records::default(),
            operations: Operations::default(),
            lines: VecDeque::new(),
            troubles: Vec::new(),
            names: Vec::new(),
            state: PathBuf::new(),
            runtime: PathBuf::new(),
            at_work: Vec::new(),
        };
        follow.services(model, scope);
        follow
    }

    /// Goes by another `zdt.toml`.
    pub(super) fn services(&mut self, model: &Model, scope: &Scope) {
        self.names = model
            .services
            .iter()
            .map(|service| service.name.clone())
            .collect();
        self.names
            .extend(model.foreign.iter().map(|foreign| foreign.name.clone()));
        (self.state, self.runtime) = (scope.state(), scope.runtime());
        let path = sinks::file(&model.events, &scope.log());
        if path != self.path {
            self.reader = path.clone().map(EventReader::new);
            self.path = path;
            self.records = Records::default();
            self.operations = Operations::default();
            self.lines.clear();
        }
    }

    /// Whether there is anything new.
    pub(super) fn read(&mut self) -> bool {
        let news = self.events();
        let known: Vec<(String, String)> = self
            .operations
            .under_way()
            .filter(|operation| !operation.service.is_empty())
            .map(|operation| (operation.restart_id.clone(), operation.service.clone()))
            .collect();
        let at_work = self.look();
        let has_changed = at_work != self.at_work;
        self.at_work = at_work;
        if known.is_empty() {
            return news || has_changed;
        }
        // The end is written down before the lock is left, so whoever has left it by now and has
        // not written anything will not.
        let more = self.events();
        let mut broke_off = false;
        for (restart_id, service) in known {
            let is_at_work = self.at_work.iter().any(|work| {
                work.service.as_str() == service && work.holder.restart_id == restart_id
            });
            if !is_at_work {
                let before = self.operations.under_way().count();
                self.operations.broke_off(&restart_id, &service);
                broke_off |= before != self.operations.under_way().count();
            }
        }
        news || has_changed || more || broke_off
    }

    fn look(&self) -> Vec<AtWork> {
        let at_work = self.names.iter().filter_map(|service| {
            Some(AtWork {
                holder: holder(&self.runtime, service)?,
                left: Record::left(&self.state, service).ok().flatten(),
                service: service.clone(),
            })
        });
        at_work.collect()
    }

    fn events(&mut self) -> bool {
        let Some(reader) = &mut self.reader else {
            self.troubles = vec![
                "`[events]` has `file = false`, so nothing is known of operations that have ended"
                    .to_owned(),
            ];
            return false;
        };
        let lines = match reader.read() {
            Ok(lines) => lines,
            Err(error) => {
                let path = self
                    .path
                    .as_deref()
                    .unwrap_or_else(|| "".as_ref())
                    .display();
                self.troubles = vec![format!(
                    "`{path}` cannot be read: {error}; operations that have ended are not shown"
                )];
                return false;
            }
        };
        self.troubles.clear();
        let is_new = !lines.is_empty();
        for stored in lines.into_iter().filter_map(Stored::read) {
            let Some(event) = stored.event else { continue };
            let record = self.records.take(event, stored.time);
            self.operations.take(&record);
            // Too many, and the next step says the same.
            let is_detail = matches!(
                record.event.kind,
                EventKind::UnitState { .. } | EventKind::StepCompleted { .. }
            );
            if !is_detail {
                self.lines.push_back(Line::of(&record));
                self.lines.drain(..self.lines.len().saturating_sub(LINES));
            }
        }
        is_new
    }

    /// What is being done.
    pub(super) fn running(&self, now: SystemTime) -> Vec<Running> {
        let mut running: Vec<(bool, Running)> = Vec::new();
        for AtWork {
            service,
            holder,
            left,
        } in &self.at_work
        {
            let is_it = |id: &str, of: &str| id == holder.restart_id && of == service.as_str();
            let has_ended = self
                .operations
                .past()
                .any(|past| is_it(&past.restart_id, &past.service));
            if has_ended {
                continue;
            }
            let operation = self
                .operations
                .under_way()
                .find(|operation| is_it(&operation.restart_id, &operation.service));
            let left = left
                .as_ref()
                .filter(|left| left.restart_id == holder.restart_id);
            let who = Who {
                command: holder.command.clone(),
                user: holder.user.clone(),
                pid: holder.pid,
                since: holder.since,
            };
            let has_begun = operation.is_some() || left.is_some();
            running.push((
                has_begun,
                Running::of(service.as_str(), who, operation, left, now),
            ));
        }
        // One that has several services to do has the locks of those that come later, too.
        let begun: Vec<u32> = running
            .iter()
            .filter(|(begun, _)| *begun)
            .map(|(_, one)| one.who.pid)
            .collect();
        running.retain(|(has_begun, one)| *has_begun || !begun.contains(&one.who.pid));
        running.into_iter().map(|(_, one)| one).collect()
    }
}
