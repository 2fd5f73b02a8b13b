//! From what is wanted and what is there to what will be done, or why it will not.

use std::fmt;

use super::change::{self, Change, Cost, Running, UnitChange};
use super::drift::{self, Drift};
use super::refuse::Refusal;
use super::seen::{Seen, UnitSeen};
use super::steps;
use super::text::{UnitText, canonical, owner};
use crate::model::{Model, Name, Reach, Service, UnitName};
use crate::plan::Step;
use crate::unit_file::UnitFile;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub model: &'a Model,
    /// All units of the model.
    pub wanted: &'a [UnitFile],
    pub seen: &'a Seen,
    /// Close sockets where that cannot be helped.
    pub allow_gap: bool,
    pub take_over: TakeOver<'a>,
}

/// Whose place our services may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver<'a> {
    No,
    /// Of units with the names of ours.
    OfOwnNames,
    Of(&'a UnitName),
}

/// What an installation will do. `--dry-run` prints this value, and it is what is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub units: Vec<UnitChange>,
    pub drift: Vec<Drift>,
    /// If there is any, then there are no steps.
    pub refused: Vec<Refusal>,
    /// Services whose process has not seen all of it.
    pub restarts: Vec<Name>,
    /// Where clients will be refused for a while, to be announced and measured.
    pub gaps: Vec<Gap>,
    pub steps: Vec<Step>,
    /// Run in this order when a take-over fails.
    pub rollback: Vec<Step>,
}

/// Nobody listens for a while; it begins when the last of `before` is gone, and ends with the first of `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub why: String,
    pub before: Vec<Reach>,
    pub after: Vec<Reach>,
}

impl Gap {
    /// Every address once, to be asked while it lasts.
    pub fn reach(&self) -> Vec<Reach> {
        let mut all = self.before.clone();
        let more = self
            .after
            .iter()
            .filter(|reach| !self.before.contains(reach));
        all.extend(more.cloned());
        all
    }
}

pub fn plan(request: &Request<'_>) -> Plan {
    let decide = Decide { request };
    let mut refused = Vec::new();
    let olds = decide.olds(&mut refused);
    let units = decide.changes();
    refused.extend(decide.masked());
    refused.extend(decide.sockets(&units));
    refused.extend(decide.taken(&olds, &refused));
    let gone = decide.gone();
    if !request.allow_gap {
        refused.extend(gone.iter().filter(|seen| decide.closes(seen)).map(|seen| {
            Refusal::Closes {
                socket: seen.unit.clone(),
            }
        }));
    }
    let mut plan = Plan {
        drift: decide.drift(),
        restarts: decide.restarts(&units, &gone),
        refused,
        units,
        gaps: Vec::new(),
        steps: Vec::new(),
        rollback: Vec::new(),
    };
    plan.units.extend(gone.iter().map(|seen| UnitChange {
        unit: seen.unit.clone(),
        change: Change::Remove,
        directives: Vec::new(),
        cost: match decide.closes(seen) {
            true => Cost::Closes(seen.unit.clone()),
            false => Cost::Nothing,
        },
    }));
    if plan.refused.is_empty() {
        steps::compose(request, &olds, &gone, &mut plan);
    }
    plan
}

impl Plan {
    pub fn changes(&self) -> Changes<'_> {
        Changes(self)
    }

    /// Nothing is to be done, and nothing is to be said but that.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.refused.is_empty() && self.restarts.is_empty()
    }

    /// The machine is as the file says.
    pub fn is_settled(&self) -> bool {
        self.is_empty() && !self.drift.iter().any(Drift::is_wrong)
    }
}

pub(super) struct Decide<'a> {
    pub(super) request: &'a Request<'a>,
}

impl<'a> Decide<'a> {
    pub(super) fn seen(&self, unit: &UnitName) -> Option<&'a UnitSeen> {
        self.request.seen.unit(unit)
    }

    pub(super) fn is_wanted(&self, unit: &UnitName) -> bool {
        self.request
            .wanted
            .iter()
            .any(|wanted| wanted.name == *unit)
    }

    fn service_of(&self, wanted: &UnitFile) -> Option<&'a Service> {
        self.request.model.service(wanted.service.as_str())
    }

    fn changes(&self) -> Vec<UnitChange> {
        let change = |wanted: &UnitFile| {
            let seen = self.seen(&wanted.name);
            let running = self
                .service_of(wanted)
                .and_then(|service| running(self.request.seen, &service.name));
            let running = Running {
                service: running.map(|seen| &seen.unit),
            };
            change::compare(wanted, seen, running)
        };
        self.request.wanted.iter().map(change).collect()
    }

    fn drift(&self) -> Vec<Drift> {
        let mut found = Vec::new();
        for wanted in self.request.wanted {
            if let Some(seen) = self.seen(&wanted.name) {
                let text = UnitText::read(&wanted.to_string());
                found.extend(drift::of(seen, &text, &self.request.seen.place));
            }
        }
        let undeployed = self.request.seen.undeployed.iter().cloned();
        found.extend(undeployed.map(|service| Drift::Undeployed { service }));
        for seen in self.request.seen.ours() {
            let text = UnitText::read(seen.text().unwrap_or_default());
            let service = owner(seen.unit.as_str(), &text);
            let service = service.map(|name| name.to_string()).unwrap_or_default();
            if self.request.model.service(&service).is_none() && !self.is_wanted(&seen.unit) {
                found.push(Drift::Orphan {
                    unit: seen.unit.clone(),
                    service,
                });
            }
        }
        found
    }

    fn masked(&self) -> impl Iterator<Item = Refusal> {
        self.drift().into_iter().filter_map(|drift| match drift {
            Drift::Masked { unit } => Some(Refusal::Masked { unit }),
            _ => None,
        })
    }

    /// Units of ours that the services of this file had before.
    pub(super) fn gone(&self) -> Vec<&'a UnitSeen> {
        let of_ours = |seen: &&UnitSeen| {
            let text = UnitText::read(seen.text().unwrap_or_default());
            let service = owner(seen.unit.as_str(), &text);
            service.is_some_and(|name| self.request.model.service(name.as_str()).is_some())
        };
        let unwanted = |seen: &&UnitSeen| !self.is_wanted(&seen.unit);
        self.request
            .seen
            .ours()
            .filter(unwanted)
            .filter(of_ours)
            .collect()
    }

    /// Its removal closes a socket that clients may use.
    fn closes(&self, seen: &UnitSeen) -> bool {
        let text = UnitText::read(seen.text().unwrap_or_default());
        let runs = owner(seen.unit.as_str(), &text)
            .is_some_and(|name| running(self.request.seen, &name).is_some());
        seen.unit.as_str().ends_with(".socket") && seen.is_active() && runs
    }

    fn restarts(&self, units: &[UnitChange], gone: &[&UnitSeen]) -> Vec<Name> {
        let closes = |service: &Service| {
            let of_it = |seen: &&&UnitSeen| {
                let text = UnitText::read(seen.text().unwrap_or_default());
                owner(seen.unit.as_str(), &text).as_ref() == Some(&service.name)
            };
            gone.iter().filter(of_it).any(|seen| self.closes(seen))
        };
        let services = self.request.model.services.iter();
        services
            .filter(|service| {
                let Some(run) = running(self.request.seen, &service.name) else {
                    return false;
                };
                let counts = |change: &UnitChange| {
                    matches!(&change.cost, Cost::Restart(unit) if *unit == run.unit)
                        || change.directives.iter().any(
                            |change| matches!(&change.cost, Cost::Restart(unit) if *unit == run.unit),
                        )
                };
                closes(service) || run.is_outdated() || units.iter().any(counts)
            })
            .map(|service| service.name.clone())
            .collect()
    }

    /// Changes that would close an open socket.
    fn sockets(&self, units: &[UnitChange]) -> Vec<Refusal> {
        if self.request.allow_gap {
            return Vec::new();
        }
        let mut refused = Vec::new();
        for (wanted, change) in self.request.wanted.iter().zip(units) {
            let Some(seen) = self.seen(&wanted.name).filter(|seen| seen.is_active()) else {
                continue;
            };
            let keys: Vec<String> = change
                .directives
                .iter()
                .filter(|change| matches!(change.cost, Cost::Closes(_)))
                .map(|change| change.key.clone())
                .collect();
            match (moved(wanted, seen), self.service_of(wanted)) {
                (Some((old, new)), Some(service)) => {
                    refused.push(self.moves(wanted, service, old, new))
                }
                _ if keys.is_empty() => {}
                _ => refused.push(Refusal::Rebinds {
                    socket: wanted.name.clone(),
                    keys,
                }),
            }
        }
        refused
    }

    fn moves(
        &self,
        wanted: &UnitFile,
        service: &Service,
        old: Vec<String>,
        new: Vec<String>,
    ) -> Refusal {
        let socket = service
            .sockets
            .iter()
            .find(|socket| socket.unit == wanted.name);
        let name = socket.map_or(&service.name, |socket| &socket.name).clone();
        let is_free = |stem: &String| {
            let unit = format!("{stem}.socket");
            let known = |seen: &UnitSeen| seen.unit.as_str() == unit;
            !self
                .request
                .wanted
                .iter()
                .any(|wanted| wanted.name.as_str() == unit)
                && !self.request.seen.units.iter().any(known)
        };
        let mut free = (2..).map(|number| format!("{}-{name}-{number}", service.name));
        Refusal::Moves {
            socket: wanted.name.clone(),
            service: service.name.clone(),
            name: name.clone(),
            free: free.find(is_free).expect("there is a free number"),
            old,
            new,
        }
    }
}

/// The running unit of a service: itself, or the first of its instances.
pub(super) fn running<'a>(seen: &'a Seen, service: &Name) -> Option<&'a UnitSeen> {
    let instance = format!("{service}@");
    let own = UnitName::service(service);
    seen.units.iter().find(|seen| {
        let name = seen.unit.as_str();
        let runs = seen.state().is_some_and(|state| state.instance.is_some());
        let is_it = seen.unit == own || (name.starts_with(&instance) && name.ends_with(".service"));
        runs && is_it
    })
}

/// Where an open socket listens and where it is to listen, if that is not the same.
pub(super) fn moved(wanted: &UnitFile, seen: &UnitSeen) -> Option<(Vec<String>, Vec<String>)> {
    let loaded = seen.loaded.as_ref()?;
    if !seen.unit.as_str().ends_with(".socket") || !seen.is_active() {
        return None;
    }
    let wanted = seen.effective(&wanted.to_string());
    let new: Vec<String> = wanted
        .values("Socket", "ListenStream")
        .iter()
        .map(|value| canonical("ListenStream", value))
        .collect();
    let old = loaded.values.get("ListenStream")?;
    (*old != new).then(|| (old.clone(), new))
}

/// What changes, and what stands against it; a plan without its steps.
#[derive(Debug)]
pub struct Changes<'p>(&'p Plan);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        for unit in &plan.units {
            writeln!(f, "{unit}")?;
        }
        for drift in &plan.drift {
            writeln!(f, "note: {drift}")?;
        }
        for refusal in &plan.refused {
            writeln!(f, "\nerror: {refusal}\n\nhint: {}", refusal.hint())?;
        }
        for gap in &plan.gaps {
            writeln!(f, "\nwarning: {}", gap.why)?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes().fmt(f)?;
        if !self.steps.is_empty() {
            writeln!(f)?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number}. {step}")?;
        }
        if !self.rollback.is_empty() {
            writeln!(f, "on failure:")?;
        }
        for (number, step) in (1..).zip(&self.rollback) {
            writeln!(f, "   {number}. {step}")?;
        }
        Ok(())
    }
}
