//! One unit: how it is asked, and how it is seen. A task of its own drives it.

mod begin;
mod drive;
mod hear;
mod hooks;
mod park;
mod seen;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::drive::Driver;
pub(super) use self::park::{Frozen, Parked};
use super::RestartError;
use super::event::{Event, RestartReport};
use super::kept::KeptProcess;
use super::launch::Launch;
use super::output::Output;
use super::ports::Book;
use super::process::Mark;
use super::sockets::Held;
use crate::event::EventKind;
use crate::model::UnitName;
use crate::observe::UnitState;

/// What is asked of a unit.
#[derive(Debug)]
pub(super) enum Ask {
    Start(Answer),
    Restart(Option<Answer>),
    Reload(Answer),
    Stop(Option<oneshot::Sender<u8>>),
    /// To stop, and to keep what the process leaves for the next one.
    Hold(oneshot::Sender<u8>),
    Kill,
    /// For what is started from now on.
    Define(Definition),
    /// The process that was started is known by whoever comes after the launcher.
    LetGo,
    /// What another program needs to go on with it.
    Describe(oneshot::Sender<Frozen>),
    /// To rest, unless something is going on.
    Park(oneshot::Sender<Box<Parked>>),
}

pub(super) type Answer = oneshot::Sender<Result<RestartReport, RestartError>>;

/// What its processes are, and what they are given.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) launch: Arc<Launch>,
    pub(super) held: Arc<Held>,
    pub(super) ports: Arc<Book>,
}

/// A unit that is driven by a task of its own. Without any handle left its process is killed.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) asks: mpsc::UnboundedSender<Ask>,
    pub(super) view: watch::Receiver<View>,
    told: broadcast::Sender<EventKind>,
    pub(super) output: Output,
}

/// How a unit is right now.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) state: UnitState,
    pub(super) process: Option<Mark>,
    pub(super) notify: PathBuf,
    pub(super) since: Option<SystemTime>,
    pub(super) start_took: Option<Duration>,
    pub(super) generation: u64,
    pub(super) port: Option<u16>,
    /// Of the connections that the process was handed and did not take.
    pub(super) untaken: usize,
    /// Nothing is going on.
    pub(super) settled: bool,
}

/// Where what happens to a unit is told.
pub(super) type Events = mpsc::UnboundedSender<(UnitName, Event)>;

impl Unit {
    /// Drives `name` from now on; nothing is started yet.
    pub(super) fn new(
        name: UnitName,
        definition: Definition,
        output: Output,
        lasts: Lasts,
        events: Events,
    ) -> io::Result<Self> {
        let driver = Driver::new(name, definition, output, lasts)?;
        Ok(driver.spawn(events))
    }

    pub(super) fn ask(&self, ask: Ask) {
        let _ = self.asks.send(ask);
    }

    /// Goes on with what another program has driven until now.
    pub(super) fn thaw(
        frozen: Frozen,
        definition: Definition,
        output: Output,
        events: Events,
    ) -> io::Result<Self> {
        Ok(Driver::thaw(frozen, definition, output)?.spawn(events))
    }

    /// Takes up a process that is ready, and whose launcher was killed.
    pub(super) fn adopt(
        orphan: &KeptProcess,
        definition: Definition,
        output: Output,
        events: Events,
    ) -> io::Result<Self> {
        Ok(Driver::adopt(orphan, definition, output)?.spawn(events))
    }

    /// What is seen of it from now on.
    pub(super) fn told(&self) -> broadcast::Receiver<EventKind> {
        self.told.subscribe()
    }
}

/// How long a driver goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// Until its unit has stopped.
    UntilStopped,
    /// For as long as somebody may ask for something.
    WhileAsked,
}
