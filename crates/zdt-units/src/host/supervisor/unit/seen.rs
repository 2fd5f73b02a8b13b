//! What is seen of a unit, and told of it.

use tokio::sync::{broadcast, watch};

use super::drive::Driver;
use super::{Events, View};
use crate::event::EventKind;
use crate::host::supervisor::event::Event;
use crate::host::supervisor::process::Process;
use crate::observe::{Active, Instance, UnitState};

/// Those who listen to a driver.
pub(super) struct Listeners {
    events: Events,
    pub(super) view: watch::Sender<View>,
    pub(super) told: broadcast::Sender<EventKind>,
    last: (Active, &'static str),
}

impl Driver {
    pub(super) fn tell(&mut self, event: Event, to: &mut Listeners) {
        match &event {
            Event::Restarting { .. } => self.waiting.append(&mut self.queued),
            Event::Killed { .. } if self.machine.has_served() => {
                let unit = self.name.to_string();
                let _ = to.told.send(EventKind::Killed { unit });
            }
            _ => {}
        }
        // Nobody has to listen.
        let _ = to.events.send((self.name.clone(), event));
        to.see(self);
    }

    fn view(&self) -> View {
        let (active, sub, result) = self.machine.state();
        let instance = self.process.as_ref().map(|process| Instance {
            pid: process.main(),
            invocation: self.invocation.clone(),
        });
        View {
            state: UnitState {
                active,
                sub: sub.to_owned(),
                result: result.to_owned(),
                was_active: self.machine.generation() > 0,
                instance,
                restarts: self.machine.restarts(),
                status: self.machine.status().to_owned(),
                exit_status: self.machine.exit_status(),
                ..UnitState::stopped(self.name.clone())
            },
            process: self.process.as_ref().map(Process::mark),
            notify: self.notify.path().to_owned(),
            since: self.process.as_ref().and(self.since),
            start_took: self.machine.start_took(),
            generation: self.machine.generation(),
            port: self.port,
            untaken: self.untaken,
            settled: self.is_settled(),
        }
    }
}

impl Listeners {
    pub(super) fn of(driver: &Driver, events: Events) -> Self {
        let (active, sub, _) = driver.machine.state();
        Self {
            events,
            view: watch::Sender::new(driver.view()),
            told: broadcast::Sender::new(64),
            last: (active, sub),
        }
    }

    pub(super) fn see(&mut self, driver: &Driver) {
        let (active, sub, _) = driver.machine.state();
        self.view.send_replace(driver.view());
        if self.last != (active, sub) {
            self.last = (active, sub);
            let _ = self.told.send(EventKind::UnitState {
                unit: driver.name.to_string(),
                active,
                sub: sub.to_owned(),
            });
        }
    }
}
