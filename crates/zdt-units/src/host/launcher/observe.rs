//! A snapshot of the units of a launcher, and of the files that they start from.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::newer::{changed, is_newer};
use super::super::prove::{self, number};
use super::super::supervisor::protocol::UnitReport;
use super::super::{Failure, kept};
use super::Launcher;
use crate::model::{Service, UnitName};
use crate::observe::{Load, Observed, UnitCopy, UnitFiles, UnitState, Watched};

/// How many lines of a program are shown with its failure.
pub(super) const LAST_WORDS: usize = 10;

impl Launcher {
    pub(super) async fn snapshot(&self, watched: &Watched) -> Result<Observed, Failure> {
        let mut all = self.units(&[]).await?;
        // Those that never ran are told only to who asks for them, such as a standby before the first restart.
        let is_new = |unit: &&UnitName| !all.iter().any(|report| report.state.unit == **unit);
        let wanted: Vec<UnitName> = watched.beside.iter().filter(is_new).cloned().collect();
        if !wanted.is_empty() {
            all.extend(self.units(&wanted).await?);
        }
        let report = |unit: &UnitName| all.iter().find(|report| report.state.unit == *unit);
        let state = |unit: &UnitName| match report(unit) {
            Some(report) => report.state.clone(),
            None => self.unknown(unit),
        };
        let main = report(&watched.service);
        let began = main.and_then(|report| report.since);
        let began = began.filter(|_| main.is_some_and(|main| main.state.instance.is_some()));
        let service = self.model.as_ref().and_then(|model| {
            let mut services = model.services.iter();
            services.find(|service| service.activated() == watched.service)
        });
        let (newer, program_is_newer) = match (service, began) {
            (Some(service), Some(began)) => newer(service, micros(began)),
            _ => (Vec::new(), false),
        };
        let mut sockets = Vec::new();
        for socket in &watched.sockets {
            sockets.push(match report(&socket.unit) {
                Some(_) => prove::socket_state(self, socket).await?,
                None => self.unknown(&socket.unit),
            });
        }
        let releases = watched.releases.as_ref().map(super::super::releases::look);
        Ok(Observed {
            service: state(&watched.service),
            beside: others(watched, &all).iter().map(state).collect(),
            newer,
            program_is_newer,
            sockets,
            files: match &watched.keeps {
                Some(place) => self.files(place, began)?,
                None => None,
            },
            releases: releases.transpose()?,
            rotation: None,
            companions: Vec::new(),
            at: SystemTime::now(),
        })
    }

    pub(in crate::host) async fn others(
        &self,
        watched: &Watched,
    ) -> Result<Vec<UnitName>, Failure> {
        Ok(others(watched, &self.units(&[]).await?))
    }

    /// A unit that the launcher does not have: it comes with the next load, or never.
    fn unknown(&self, unit: &UnitName) -> UnitState {
        let load = match self.is_behind() {
            true => Load::Loaded,
            false => Load::NotFound,
        };
        UnitState {
            load,
            ..UnitState::stopped(unit.clone())
        }
    }

    /// `zdt.toml` in the place of unit files.
    fn files(&self, place: &Path, began: Option<SystemTime>) -> Result<Option<UnitFiles>, Failure> {
        let Some(path) = &self.about.config else {
            return Ok(None);
        };
        let loaded = || vec![copy(path, self.about.text.clone())];
        let at = changed(&path.display().to_string());
        let after_start = at.zip(began).is_some_and(|(at, began)| at > micros(began));
        Ok(Some(UnitFiles {
            place: place.to_owned(),
            now: vec![copy(path, self.text.clone())],
            kept: kept::read(place)?.or_else(|| self.is_behind().then(loaded)),
            are_newer: self.is_behind() || after_start,
            // It goes on with what it is given back.
            need_reload: false,
        }))
    }
}

pub(super) fn copy(path: &Path, text: String) -> UnitCopy {
    UnitCopy {
        path: path.to_owned(),
        text,
    }
}

/// The units beside the main one: those wanted, and further instances that the launcher has.
fn others(watched: &Watched, all: &[UnitReport]) -> Vec<UnitName> {
    let mut units = watched.beside.clone();
    if let Some(name) = &watched.template {
        let own = format!("{name}@");
        let has = all.iter().map(|report| &report.state.unit);
        let mut further: Vec<(u32, &UnitName)> = has
            .filter(|unit| **unit != watched.service && !units.contains(unit))
            .filter(|unit| unit.as_str().starts_with(&own))
            .filter_map(|unit| Some((number(unit)?, unit)))
            .collect();
        further.sort();
        units.extend(further.into_iter().map(|(_, unit)| unit.clone()));
    }
    units
}

/// Files that a process which began then has not read, and whether its program is another one by now.
fn newer(service: &Service, began: u64) -> (Vec<String>, bool) {
    let environment = service.environment_files.iter().map(|file| &file.path);
    let credentials = service.credentials.iter().map(|(_, path)| path);
    let files = environment.chain(credentials);
    let files = files.map(|path| path.text().of_instance(1));
    let files = files.filter(|path| changed(path).is_some_and(|at| at > began));
    let program = PathBuf::from(service.exec.program().of_instance(1));
    (files.collect(), is_newer(&program, began))
}

pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
