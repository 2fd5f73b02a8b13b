//! Who else has the names that our units want, or the addresses.

use super::plan::{Decide, TakeOver};
use super::refuse::Refusal;
use super::seen::{Holder, UnitSeen};
use crate::model::{Address, Service, UnitName};

/// A service, and the units whose place it takes.
pub(super) struct Old<'a> {
    pub(super) service: &'a Service,
    /// Of the same names as ours, or others.
    pub(super) units: Vec<&'a UnitSeen>,
    /// It listens by itself where ours is to listen.
    pub(super) holds: Vec<Address>,
}

impl<'a> Decide<'a> {
    /// Units of others whose place is taken, and a refusal for each that nobody gave free.
    pub(super) fn olds(&self, refused: &mut Vec<Refusal>) -> Vec<Old<'a>> {
        let mut olds = Vec::new();
        for service in &self.request.model.services {
            let unit = service.unit();
            let names = service
                .sockets
                .iter()
                .map(|socket| &socket.unit)
                .chain([&unit]);
            let foreign: Vec<&UnitSeen> = names
                .filter(|name| self.is_wanted(name))
                .filter_map(|name| self.seen(name))
                .filter(|seen| seen.is_foreign())
                .collect();
            if foreign.is_empty() {
                continue;
            }
            let named = |seen: &&UnitSeen| self.request.take_over == TakeOver::Of(&seen.unit);
            let holds: Vec<Address> = foreign.iter().flat_map(|seen| self.holds(seen)).collect();
            if self.request.take_over == TakeOver::OfOwnNames || foreign.iter().any(named) {
                olds.push(Old {
                    service,
                    units: foreign,
                    holds,
                });
                continue;
            }
            refused.extend(foreign.iter().map(|seen| Refusal::Foreign {
                unit: seen.unit.clone(),
                path: match (&seen.file, &seen.loaded) {
                    (None, Some(loaded)) => loaded.fragment.clone(),
                    _ => self.request.seen.place.path(seen.unit.as_str()),
                },
                runs: seen.is_active() && seen.unit.as_str().ends_with(".service"),
                holds: self.holds(seen),
            }));
        }
        if let TakeOver::Of(unit) = self.request.take_over
            && !self.is_wanted(unit)
        {
            olds.extend(self.old(unit, refused));
        }
        olds
    }

    /// A unit of another name, with the sockets that it is started by.
    fn old(&self, unit: &UnitName, refused: &mut Vec<Refusal>) -> Option<Old<'a>> {
        let Some(seen) = self.seen(unit).filter(|seen| seen.is_foreign()) else {
            refused.push(Refusal::NoSuchUnit { unit: unit.clone() });
            return None;
        };
        let mut units = vec![seen];
        let triggers = seen.loaded.iter().flat_map(|loaded| &loaded.triggered_by);
        units.extend(triggers.filter_map(|trigger| self.seen(trigger)));
        let holds: Vec<Address> = units.iter().flat_map(|seen| self.holds(seen)).collect();
        let services = &self.request.model.services;
        let clashes: Vec<&Service> = services
            .iter()
            .filter(|service| {
                let sockets = service.sockets.iter();
                let mut addresses = sockets.flat_map(|socket| socket.listen.addresses());
                addresses.any(|address| holds.contains(&address))
            })
            .collect();
        let service = match (clashes.as_slice(), services.as_slice()) {
            ([service], _) => *service,
            (_, [service]) => service,
            _ => {
                refused.push(Refusal::Unclear {
                    unit: unit.clone(),
                    services: services
                        .iter()
                        .map(|service| service.name.clone())
                        .collect(),
                });
                return None;
            }
        };
        Some(Old {
            service,
            units,
            holds,
        })
    }

    fn holds(&self, seen: &UnitSeen) -> Vec<Address> {
        let holders = self.request.seen.holders.iter();
        holders
            .filter(|holder| holder.unit.as_ref() == Some(&seen.unit))
            .map(|holder| holder.address.clone())
            .collect()
    }

    /// Addresses that are to be opened and that someone else has.
    pub(super) fn taken(&self, olds: &[Old<'_>], refused: &[Refusal]) -> Vec<Refusal> {
        let seen = self.request.seen;
        let going = |unit: &UnitName| {
            let old = |old: &Old<'_>| old.units.iter().any(|seen| seen.unit == *unit);
            let gone = |seen: &&UnitSeen| seen.unit == *unit;
            let told = refused.iter().any(
                |refusal| matches!(refusal, Refusal::Foreign { unit: foreign, .. } if foreign == unit),
            );
            told || olds.iter().any(old)
                || self.gone().iter().any(gone)
                || (self.request.allow_gap && self.is_wanted(unit))
        };
        let mut taken = Vec::new();
        for service in &self.request.model.services {
            for socket in &service.sockets {
                let addresses = socket.listen.addresses();
                let is_open = self.seen(&socket.unit).is_some_and(UnitSeen::is_active);
                let in_the_way = |holder: &&Holder| {
                    addresses.contains(&holder.address)
                        && match &holder.unit {
                            // Its own copy of a socket that systemd lost; it goes with a restart.
                            Some(unit) => {
                                *unit != socket.unit && *unit != service.unit() && !going(unit)
                            }
                            None => true,
                        }
                };
                if !is_open {
                    taken.extend(seen.holders.iter().filter(in_the_way).map(|holder| {
                        Refusal::Taken {
                            socket: socket.unit.clone(),
                            holder: holder.clone(),
                        }
                    }));
                }
            }
        }
        taken
    }
}
