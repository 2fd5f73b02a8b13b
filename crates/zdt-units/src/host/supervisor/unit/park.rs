//! A unit that rests while its launcher becomes another program, and one that is taken up again.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::drive::Driver;
use super::seen::Listeners;
use super::{Ask, Definition, Lasts};
use crate::host::supervisor::descriptors;
use crate::host::supervisor::kept::KeptProcess;
use crate::host::supervisor::notify::NotifySocket;
use crate::host::supervisor::output::{Output, PipeMark};
use crate::host::supervisor::process::{Mark, Process};
use crate::host::supervisor::protocol::Line;
use crate::host::supervisor::state::Machine;
use crate::model::{Name, UnitName};

/// A unit as another program takes it up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::host::supervisor) struct Frozen {
    pub(in crate::host::supervisor) unit: UnitName,
    pub(in crate::host::supervisor) service: Name,
    machine: Machine,
    /// How old the machine is.
    elapsed: Duration,
    pub(in crate::host::supervisor) process: Option<Mark>,
    invocation: String,
    since: Option<SystemTime>,
    pub(in crate::host::supervisor) port: Option<u16>,
    untaken: usize,
    notify: (PathBuf, RawFd),
    store: Vec<(String, bool, RawFd)>,
    output: Vec<PipeMark>,
    /// What was printed last.
    lines: Vec<Line>,
}

/// A unit that is not driven for the moment.
pub(in crate::host::supervisor) struct Parked {
    pub(super) driver: Driver,
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) listeners: Listeners,
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parked").field(&self.driver.name).finish()
    }
}

impl Parked {
    /// Its descriptors stay open for another program.
    pub(in crate::host::supervisor) fn freeze(&self) -> io::Result<Frozen> {
        let driver = &self.driver;
        let mut frozen = driver.describe();
        frozen.notify.1 = descriptors::leave(driver.notify.fd())?;
        for ((.., number), (.., fd)) in frozen.store.iter_mut().zip(driver.store.watched()) {
            *number = descriptors::leave(fd)?;
        }
        frozen.output = driver.output.hand_on()?;
        Ok(frozen)
    }

    /// This process did not become another program after all.
    pub(in crate::host::supervisor) fn go_on(self) {
        let driver = &self.driver;
        let _ = descriptors::inherit(driver.notify.fd(), false);
        for (_, _, fd) in driver.store.watched() {
            let _ = descriptors::inherit(fd, false);
        }
        let _ = driver.output.keep();
        tokio::spawn(self.driver.run(self.asks, self.listeners));
    }
}

impl Driver {
    pub(super) fn thaw(frozen: Frozen, definition: Definition, output: Output) -> io::Result<Self> {
        let (path, number) = frozen.notify;
        let notify = NotifySocket::resume(path, descriptors::take(number)?)?;
        let mut machine = frozen.machine;
        machine.set_limits(definition.launch.limits());
        let lasts = Lasts::WhileAsked;
        let mut driver = Self::with(frozen.unit, definition, output, lasts, notify, machine)?;
        let now = Instant::now();
        driver.began = now.checked_sub(frozen.elapsed).unwrap_or(now);
        driver.process = frozen.process.map(Process::resume).transpose()?;
        for (name, watch, number) in frozen.store {
            let fd = descriptors::take(number)?;
            driver.store.keep(&name, watch, vec![fd]);
        }
        for mark in frozen.output {
            // A process that has ended meanwhile prints nothing more.
            let _ = driver.output.resume(mark);
        }
        driver.output.remember(frozen.lines);
        driver.invocation = frozen.invocation;
        driver.since = frozen.since;
        driver.untaken = frozen.untaken;
        driver.note_port(frozen.port);
        Ok(driver)
    }

    pub(super) fn adopt(
        orphan: &KeptProcess,
        definition: Definition,
        output: Output,
    ) -> io::Result<Self> {
        let gone = || io::Error::other("nobody hears what it says any more");
        let path = orphan.notify.as_ref().ok_or_else(gone)?;
        let process = Process::resume(orphan.mark.clone())?;
        let notify = NotifySocket::again(path)?;
        let (limits, pid) = (definition.launch.limits(), process.main());
        let machine = Machine::of_ready(limits, pid, orphan.generation);
        let lasts = Lasts::WhileAsked;
        let unit = orphan.unit.clone();
        let mut driver = Self::with(unit, definition, output, lasts, notify, machine)?;
        driver.process = Some(process);
        for mark in orphan.output.clone() {
            let _ = driver.output.resume(mark);
        }
        driver.invocation.clone_from(&orphan.invocation);
        driver.since = Some(orphan.began);
        driver.note_port(orphan.port);
        Ok(driver)
    }

    pub(super) fn note_port(&mut self, port: Option<u16>) {
        self.port = port;
        if let Some(port) = port {
            let service = &self.definition.launch.service;
            self.definition.ports.note(&self.name, service, port);
        }
    }

    /// With numbers of descriptors that mean nothing yet.
    pub(super) fn describe(&self) -> Frozen {
        let store = self.store.watched();
        Frozen {
            unit: self.name.clone(),
            service: self.definition.launch.service.clone(),
            machine: self.machine.clone(),
            elapsed: self.began.elapsed(),
            process: self.process.as_ref().map(Process::mark),
            invocation: self.invocation.clone(),
            since: self.since,
            port: self.port,
            untaken: self.untaken,
            notify: (self.notify.path().to_owned(), -1),
            store: store
                .map(|(name, watch, _)| (name.to_owned(), watch, -1))
                .collect(),
            output: self.output.marks(),
            lines: self.output.tail(usize::MAX),
        }
    }
}
