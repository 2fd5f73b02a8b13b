//! Starts and ends all services, each in its turn.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{Known, Manager, Work};
use crate::host::supervisor::jobs;
use crate::host::supervisor::unit::Ask;
use crate::model::{Name, Service, UnitName};

impl Manager {
    /// Starts all services, each after those that it names in `after` have started, or could not.
    pub fn start(&mut self) {
        let names: Vec<Name> = self.services.keys().cloned().collect();
        self.start_services(&names);
    }

    /// Lets everything drain and end, those first that others do not need any more.
    pub fn shut_down(&mut self) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        let names: Vec<Name> = self.services.keys().cloned().collect();
        let parts = self.ordered(&names, |service, units| {
            let own = units
                .iter()
                .filter(|(_, known)| known.service == service.name);
            own.map(|(unit, _)| unit.clone()).collect()
        });
        let alone = parts.len() == 1;
        let worker = self.worker.clone();
        let ends = jobs::in_order(jobs::reversed(parts), async |units| {
            let ends = units.iter().map(|unit| {
                let (sender, ended) = oneshot::channel();
                unit.ask(Ask::Stop(Some(sender)));
                ended
            });
            let codes = join_all(ends).await;
            codes.into_iter().flatten().max().unwrap_or_default()
        });
        tokio::spawn(async move {
            let codes = ends.await;
            let code = match alone {
                true => codes.into_iter().next().unwrap_or_default(),
                false => 0,
            };
            let _ = worker.send(Work::Ended(code));
        });
    }

    /// Ends everything at once; what is being served is lost.
    pub fn kill(&mut self) {
        self.shut_down();
        for known in self.units.values() {
            known.unit.ask(Ask::Kill);
        }
    }

    pub(super) fn start_services(&mut self, names: &[Name]) {
        let parts = self.ordered(names, |service, _| service.instances());
        let starts = jobs::in_order(parts, async |units| {
            let ready = units.iter().map(|unit| {
                let (sender, ready) = oneshot::channel();
                unit.ask(Ask::Start(sender));
                ready
            });
            join_all(ready).await;
        });
        tokio::spawn(starts);
    }

    /// Those units of each service that `choose` names, and the services that come before it.
    fn ordered(
        &mut self,
        names: &[Name],
        choose: impl Fn(&Service, &BTreeMap<UnitName, Known>) -> Vec<UnitName>,
    ) -> Vec<jobs::Ordered> {
        let mut parts = Vec::new();
        for name in names {
            let service = self.services[name].service.clone();
            let place = |unit: &UnitName| {
                let mut others = names.iter().map(|other| &self.services[other].service);
                others.position(|other| other.unit() == *unit)
            };
            let after = service.after.iter().filter_map(place).collect();
            let units = choose(&service, &self.units);
            parts.push(jobs::Ordered {
                units: units
                    .iter()
                    .filter_map(|unit| self.unit(unit).ok())
                    .collect(),
                after,
            });
        }
        parts
    }
}
