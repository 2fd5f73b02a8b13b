//! How much memory processes have, and what follows from it.

#![expect(
    clippy::disallowed_methods,
    reason = "when a process was found too large is told by the clock on the wall"
)]

use std::time::SystemTime;

use nix::unistd::Pid;
use tokio::time::{MissedTickBehavior, interval};

use super::{Happened, Manager, Work};
use crate::host::supervisor::memory::{Groups, Measured, Step, Watch};
use crate::host::supervisor::output::unit_label;
use crate::host::supervisor::protocol::MemoryReport;
use crate::model::{Name, UnitName};

/// What is known of the memory of a unit.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) service: Name,
    watch: Watch,
    pub(super) report: MemoryReport,
    /// The process that was found too large, and is to be replaced.
    over: Option<String>,
}

impl Manager {
    /// Measures, from now on, as often as the services want it.
    pub(super) fn watch_memory(&mut self) {
        let services = self.services.values().map(|managed| &managed.service);
        let every = services
            .filter_map(|service| Some(service.memory?.every))
            .min();
        self.next_measure = every.map(|every| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let services = &self.services;
        self.memory
            .retain(|_, watched| services[&watched.service].service.memory.is_some());
    }

    /// Looks into all of `/proc`, which takes a while.
    pub(super) fn measure(&self) {
        let units = self.units.iter().filter_map(|(unit, known)| {
            self.services[&known.service].service.memory?;
            let group = known.unit.view.borrow().process.as_ref()?.group;
            Some((unit.clone(), group))
        });
        let units: Vec<(UnitName, i32)> = units.collect();
        let worker = self.worker.clone();
        tokio::task::spawn_blocking(move || {
            let groups = Groups::read();
            let measured = units.into_iter().map(|(unit, group)| {
                let measured = groups.measure(Pid::from_raw(group));
                (unit, group, measured)
            });
            let _ = worker.send(Work::Measured(measured.collect()));
        });
    }

    pub(in crate::host::supervisor) fn memory(&self) -> Vec<(UnitName, MemoryReport)> {
        let units = self.memory.iter();
        units
            .map(|(unit, watched)| (unit.clone(), watched.report.clone()))
            .collect()
    }

    /// What another program has counted.
    pub(in crate::host::supervisor) fn remember(&mut self, memory: Vec<(UnitName, MemoryReport)>) {
        for (unit, report) in memory {
            let Some(known) = self.units.get(&unit) else {
                continue;
            };
            if let Some(memory) = self.services[&known.service].service.memory {
                let watched = Watched {
                    service: known.service.clone(),
                    watch: Watch::new(&memory),
                    report,
                    over: None,
                };
                self.memory.insert(unit, watched);
            }
        }
    }

    /// What follows from a measurement; a service that has to be restarted is told one at a time.
    pub(super) fn weigh(&mut self, measured: Vec<(UnitName, i32, Measured)>) -> Option<Happened> {
        let mut restart = None;
        for (
            unit,
            group,
            Measured {
                bytes,
                proportional,
                ..
            },
        ) in measured
        {
            let Some(known) = self.units.get(&unit) else {
                continue;
            };
            let Some(memory) = self.services[&known.service].service.memory else {
                continue;
            };
            let view = known.unit.view.borrow().clone();
            // What was measured may be gone by now, and another process be in its place.
            let (Some(instance), Some(process)) = (view.state.instance, view.process) else {
                continue;
            };
            if process.group != group {
                continue;
            }
            let invocation = instance.invocation;
            let watched = self.memory.entry(unit.clone()).or_insert_with(|| Watched {
                service: known.service.clone(),
                watch: Watch::new(&memory),
                report: MemoryReport::default(),
                over: None,
            });
            watched.report.bytes = bytes;
            watched.report.proportional = proportional;
            let size = |bytes: u64| format!("{} MiB", bytes >> 20);
            match watched.watch.step(bytes) {
                Step::Nothing => {}
                Step::Warn => self.sink.say(&format!(
                    "{}: its processes have {}, and {} is the limit",
                    unit_label(&unit),
                    size(bytes),
                    size(memory.limit)
                )),
                Step::Over if restart.is_some() || watched.over.as_ref() == Some(&invocation) => {}
                Step::Over => {
                    watched.over = Some(invocation);
                    watched.report.restarts += 1;
                    watched.report.last_restart = Some(SystemTime::now());
                    let why = format!(
                        "{}: its processes have {}, more than {} (`memory.limit`): it is restarted",
                        unit_label(&unit),
                        size(bytes),
                        size(memory.limit)
                    );
                    restart = Some(Happened::Restart(known.service.clone(), why));
                }
            }
        }
        restart
    }
}
