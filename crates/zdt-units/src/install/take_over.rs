//! The place of a service that others wrote: how it is taken, and how it is given back.

use std::path::PathBuf;

use super::change::Change;
use super::others::Old;
use super::seen::{TakenOver, UnitSeen};
use super::steps::{Compose, SMALL, STOP, is_socket, step};
use super::text::UnitText;
use crate::model::{Service, UnitName};
use crate::plan::{Act, Action, File, Link, OnFailure, Step};

impl<'a> Compose<'a> {
    pub(super) fn old_of(&self, service: &Service) -> Option<&'a Old<'a>> {
        self.olds
            .iter()
            .find(|old| old.service.name == service.name)
    }

    pub(super) fn taken_over(&self, old: &Old<'_>) -> TakenOver {
        let place = &self.request.seen.place;
        let kept_files = old
            .units
            .iter()
            .filter(|seen| self.is_ours_to_be(&seen.unit));
        let files = kept_files
            .filter(|seen| seen.file.is_some())
            .map(|seen| {
                let unit = seen.unit.as_str();
                (place.path(unit), place.path(&kept(&seen.unit)))
            })
            .collect();
        let links = old.units.iter().flat_map(|seen| self.links(seen)).collect();
        let (sockets, others): (Vec<&UnitSeen>, Vec<&UnitSeen>) = old
            .units
            .iter()
            .copied()
            .filter(|seen| seen.is_active())
            .partition(|seen| is_socket(&seen.unit));
        let active = sockets.into_iter().chain(others);
        TakenOver {
            start: active.map(|seen| seen.unit.to_string()).collect(),
            files,
            links,
        }
    }

    /// Links that enable an old unit, and what each points to.
    pub(super) fn links(&self, seen: &UnitSeen) -> Vec<(PathBuf, PathBuf)> {
        let place = &self.request.seen.place;
        let target = match &seen.loaded {
            Some(loaded) => loaded.fragment.clone(),
            None => place.managed(seen.unit.as_str()),
        };
        let links = seen.links.iter();
        links
            .map(|link| (place.path(link), target.clone()))
            .collect()
    }

    pub(super) fn record(&self, old: &Old<'_>) -> File {
        let text = serde_json::to_string_pretty(&self.taken_over(old));
        let mut text = text.expect("a record has nothing that JSON has not");
        text.push('\n');
        File {
            path: self.request.seen.place.path(&record(&old.service.unit())),
            text,
            keep: None,
        }
    }

    /// A unit that is stopped by commands of its own is stopped while systemd still knows them.
    pub(super) fn stop_by_old_commands(&self) -> Option<Step> {
        self.stop(|seen| self.is_ours_to_be(&seen.unit) && stops_itself(seen))
    }

    pub(super) fn stop_olds(&self) -> Option<Step> {
        self.stop(|seen| !self.is_ours_to_be(&seen.unit))
    }

    fn stop(&self, which: impl Fn(&UnitSeen) -> bool) -> Option<Step> {
        let olds = self.olds.iter().flat_map(|old| &old.units);
        let units: Vec<UnitName> = olds
            .filter(|seen| seen.is_active() && which(seen))
            .map(|seen| seen.unit.clone())
            .collect();
        (!units.is_empty() && self.request.seen.place.runtime.is_some())
            .then(|| step(STOP, Act::Stop { units }))
    }

    /// The old units as they were, and running.
    pub(super) fn rollback(&self) -> Vec<Step> {
        let place = &self.request.seen.place;
        let mut steps = Vec::new();
        for old in self.olds {
            let service = old.service;
            let record_path = place.path(&record(&service.unit()));
            let taken = self.taken_over(old);
            let mut units: Vec<UnitName> = vec![service.unit()];
            units.extend(service.sockets.iter().map(|socket| socket.unit.clone()));
            let mut paths = vec![record_path];
            for (wanted, change) in self.wanted() {
                let of_it = units.contains(&wanted.name);
                let seen = self.seen(&wanted.name);
                if !of_it {
                    continue;
                }
                let had_file = seen.is_some_and(|seen| seen.file.is_some());
                if change.change == Change::Create && !had_file {
                    paths.push(place.path(wanted.name.as_str()));
                }
                let text = UnitText::read(&wanted.to_string());
                let links = text.wanted_in().into_iter();
                paths.extend(
                    links
                        .map(|directory| format!("{directory}/{}", wanted.name))
                        .filter(|link| !seen.is_some_and(|seen| seen.links.contains(link)))
                        .map(|link| place.path(&link)),
                );
            }
            steps.push(step(self.stop_limit(), Act::Stop { units }));
            steps.push(step(SMALL, Act::Remove { paths }));
            steps.extend(put_back(&taken));
            steps.push(step(STOP, Act::Reload));
            steps.extend(start(&taken));
        }
        steps
    }
}

/// Files and links of a service that was taken over.
pub(super) fn put_back(taken: &TakenOver) -> Vec<Step> {
    let mut steps: Vec<Step> = taken
        .files
        .iter()
        .map(|(file, aside)| {
            step(
                SMALL,
                Act::PutBack {
                    file: file.clone(),
                    aside: aside.clone(),
                },
            )
        })
        .collect();
    if !taken.links.is_empty() {
        let links = taken.links.iter().map(|(path, target)| Link {
            path: path.clone(),
            target: target.clone(),
        });
        let links = links.collect();
        steps.push(step(
            SMALL,
            Act::Write {
                files: Vec::new(),
                links,
            },
        ));
    }
    steps
}

pub(super) fn start(taken: &TakenOver) -> Vec<Step> {
    let units = taken
        .start
        .iter()
        .filter_map(|unit| UnitName::parse(unit).ok());
    units
        .map(|unit| match is_socket(&unit) {
            true => step(SMALL, Act::Open { socket: unit }),
            false => Step {
                action: Action::StartUnit { unit },
                limit: STOP,
                on_failure: OnFailure::LookNow,
            },
        })
        .collect()
}

/// systemd reads no file that ends so.
pub(super) fn kept(unit: &UnitName) -> String {
    format!("{unit}.before-zdt")
}

/// The file that says what a service replaced.
pub(super) fn record(service: &UnitName) -> String {
    format!("{service}.taken-over.json")
}

pub(super) fn stops_itself(seen: &UnitSeen) -> bool {
    seen.is_active()
        && seen
            .loaded
            .as_ref()
            .is_some_and(|loaded| loaded.stops_itself)
}
