//! All units of a `zdt.toml`: a small service manager. It opens the sockets, starts what is to run, and does what it
//! is asked on its control socket. What a restart consists of is decided by whoever asks.

#![expect(
    clippy::disallowed_methods,
    reason = "what runs is known by the clock on the wall"
)]

mod answer;
mod definition;
mod memory;
mod order;
mod orphans;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Interval;

use self::memory::Watched;
use super::control::{Access, Control};
use super::event::Event;
use super::kept::{Kept, KeptProcess};
use super::launch::Part;
use super::memory::Measured;
use super::output::{Output, Sink};
use super::ports::Book;
use super::protocol::Refusal;
use super::reap::reap_strangers;
use super::sockets::Held;
use super::unit::{Ask, Lasts, Unit};
use super::upgrade::Upgrade;
use crate::host::Failure;
use crate::host::launcher::place::Place;
use crate::model::{self, Model, Name, Service, UnitName};

/// What was said last has so long to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a launcher is started with.
#[derive(Debug)]
pub struct Boot {
    pub place: Place,
    /// `zdt.toml`; `None`: it was started by flags.
    pub config: Option<PathBuf>,
    /// What that says.
    pub text: String,
    pub model: Model,
    /// Only these services.
    pub only: Vec<Name>,
    /// A program that ends is not started again.
    pub once: bool,
}

/// The manager. Without it its processes are killed, unless they are to outlive it.
#[derive(Debug)]
pub struct Manager {
    pub(super) boot: Boot,
    pub(super) since: SystemTime,
    pub(super) services: BTreeMap<Name, Managed>,
    pub(super) units: BTreeMap<UnitName, Known>,
    pub(super) control: Control,
    told: mpsc::UnboundedReceiver<(UnitName, Event)>,
    pub(super) tell: mpsc::UnboundedSender<(UnitName, Event)>,
    work: mpsc::UnboundedReceiver<Work>,
    worker: mpsc::UnboundedSender<Work>,
    pub(super) sink: Sink,
    ports: Arc<Book>,
    memory: BTreeMap<UnitName, Watched>,
    /// When memory is looked at, where any is watched.
    next_measure: Option<Interval>,
    child_ended: Signal,
    /// Of a launcher before, and not taken up.
    orphans: Vec<(KeptProcess, String)>,
    /// What the state file says.
    kept: Kept,
    pub(super) upgrades: u32,
    ending: bool,
    _directory: Emptied,
}

/// A directory that goes with the last thing in it.
#[derive(Debug)]
struct Emptied(PathBuf);

impl Drop for Emptied {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A service and its sockets.
#[derive(Debug)]
pub(super) struct Managed {
    pub(super) service: Service,
    pub(super) held: Arc<Held>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) unit: Unit,
    service: Name,
    part: Part,
}

/// What other tasks of the launcher want of it.
#[derive(Debug)]
enum Work {
    Ended(u8),
    Measured(Vec<(UnitName, i32, Measured)>),
}

/// What there is to tell, or to do, next.
#[derive(Debug)]
pub enum Happened {
    /// Something in a unit.
    Unit(UnitName, Event),
    /// Something else that people may want to read.
    Said(String),
    /// This service has to be restarted, and why.
    Restart(Name, String),
    /// This process is to become another program; see [`Manager::upgrade`].
    Upgrade(Upgrade),
    /// Everything has ended, with what this program is to exit with.
    Ended(u8),
}

impl Manager {
    /// Opens all sockets, or none, and takes up what a launcher left that was killed; starts nothing yet. Needs a tokio
    /// runtime.
    pub fn open(boot: Boot) -> Result<Self, Failure> {
        boot.place.make()?;
        if has_guests(&boot.model) {
            // It is passed through, and not listed, by others.
            let passable = fs::Permissions::from_mode(0o711);
            fs::set_permissions(&boot.place.runtime, passable)
                .map_err(|error| Failure::io("change the mode of", &boot.place.runtime, &error))?;
        }
        let access = Access::of(&boot.model.launcher);
        let control = Control::bind(&boot.place.control, &access)?;
        let mut manager = Self::new(boot, control)?;
        let orphans = manager.find_orphans();
        manager.take_listeners(&orphans);
        let model = manager.boot.model.clone();
        manager.load(model, manager.boot.text.clone())?;
        for orphan in orphans {
            if let Err(why) = manager.adopt(&orphan) {
                manager.orphans.push((orphan, why));
            }
        }
        manager.keep();
        Ok(manager)
    }

    pub(super) fn new(boot: Boot, control: Control) -> Result<Self, Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::new(format!("failed to {what}: {error}")).without_effect()
        };
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| failed("become a subreaper", &error))?;
        let sink = Sink::new(&boot.model.launcher.output)
            .map_err(|error| failed("open the output of programs", &error))?;
        let child_ended = signal(SignalKind::child())
            .map_err(|error| failed("listen for the end of processes", &error))?;
        let (tell, told) = mpsc::unbounded_channel();
        let (worker, work) = mpsc::unbounded_channel();
        Ok(Self {
            since: SystemTime::now(),
            services: BTreeMap::new(),
            units: BTreeMap::new(),
            control,
            told,
            tell,
            work,
            worker,
            sink,
            ports: Arc::default(),
            memory: BTreeMap::new(),
            next_measure: None,
            child_ended,
            orphans: Vec::new(),
            kept: Kept::new(boot.config.clone())?,
            upgrades: 0,
            ending: false,
            _directory: Emptied(boot.place.runtime.clone()),
            boot,
        })
    }

    pub(super) fn know(&mut self, name: UnitName, unit: Unit, service: Name, part: Part) {
        let known = Known {
            unit,
            service,
            part,
        };
        self.units.insert(name, known);
    }

    /// The sockets of a service that are open already, to add to.
    pub(super) fn held_mut(&mut self, service: &Service) -> &mut Held {
        let managed = self.services.entry(service.name.clone());
        let managed = managed.or_insert_with(|| Managed {
            service: service.clone(),
            held: Arc::default(),
        });
        Arc::make_mut(&mut managed.held)
    }

    pub(super) fn output(&self, unit: &UnitName) -> Output {
        let lines = usize::try_from(self.boot.model.launcher.lines).unwrap_or(usize::MAX);
        Output::new(unit.clone(), lines, self.sink.clone())
    }

    /// The service, the name and the address of each socket.
    pub fn addresses(&self) -> Vec<(String, Name, String)> {
        let of = |(service, managed): (&Name, &Managed)| {
            let service = service.to_string();
            let held = managed.held.addresses();
            let all = held.map(|(name, address)| (service.clone(), name.clone(), address));
            all.collect::<Vec<_>>()
        };
        self.services.iter().flat_map(of).collect()
    }

    /// Says something beside what processes print.
    pub fn say(&self, text: &str) {
        self.sink.say(text);
    }

    /// Where it is asked.
    pub fn control(&self) -> &Path {
        self.control.path()
    }

    /// `zdt.toml`, if there is one.
    pub fn config(&self) -> Option<&Path> {
        self.boot.config.as_deref()
    }

    /// Answers those who still wait, after everything has ended. Who sees the control socket go finds all lines written.
    pub async fn close(self) {
        self.sink.flush(LAST_WORDS);
        self.control.finish().await;
    }

    /// Answers what is asked, until there is something to tell. Cancel-safe.
    pub async fn next(&mut self) -> Happened {
        loop {
            tokio::select! {
                biased;
                Some((unit, event)) = self.told.recv() => {
                    self.keep();
                    if let (Event::Started { .. }, Some(known)) = (&event, self.units.get(&unit)) {
                        known.unit.ask(Ask::LetGo);
                    }
                    if let Event::GaveUp { .. } = event && self.boot.once {
                        self.end_with(&unit);
                    }
                    return Happened::Unit(unit, event);
                }
                Some(work) = self.work.recv() => match work {
                    Work::Ended(code) => {
                        self.end();
                        return Happened::Ended(code);
                    }
                    Work::Measured(measured) => {
                        if let Some(happened) = self.weigh(measured) {
                            return happened;
                        }
                    }
                },
                () = tick(&mut self.next_measure) => self.measure(),
                _ = self.child_ended.recv() => {
                    reap_strangers(|_| false);
                }
                asked = self.control.next() => {
                    if let Some(happened) = self.answer(asked) {
                        return happened;
                    }
                }
            }
        }
    }

    /// Nothing is left for a launcher to come.
    fn end(&mut self) {
        if self.orphans.is_empty() {
            let _ = Kept::remove(&self.state_file());
        }
        if self.boot.config.is_none() {
            // Nobody finds it again: the next one started by flags is another one.
            let _ = fs::remove_dir_all(&self.boot.place.state);
        }
    }

    /// The program has ended, and with it all of this.
    fn end_with(&mut self, unit: &UnitName) {
        let view = self
            .units
            .get(unit)
            .map(|known| known.unit.view.borrow().clone());
        let status = view.map_or(1, |view| match view.state.result.as_str() {
            "signal" => 128 + view.state.exit_status,
            _ => view.state.exit_status,
        });
        self.ending = true;
        let _ = self
            .worker
            .send(Work::Ended(u8::try_from(status).unwrap_or(1)));
    }

    /// The service that `unit` belongs to, and what it is of it.
    fn part(&self, unit: &UnitName) -> Option<(&Service, Part)> {
        let mut services = self.services.values().map(|managed| &managed.service);
        services.find_map(|service| Some((service, Part::find(service, unit)?)))
    }

    /// The processes that `unit` stands for: those of a service whose instances have units of their own, too.
    fn units_of(&mut self, unit: &UnitName) -> Result<Vec<Unit>, Refusal> {
        if let Some(known) = self.units.get(unit) {
            return Ok(vec![known.unit.clone()]);
        }
        let together = self.services.values().map(|managed| &managed.service);
        let mut together = together.filter(|service| service.unit() == *unit);
        let units = match together.next() {
            Some(service) if Part::find(service, unit).is_none() => service.instances(),
            _ => vec![unit.clone()],
        };
        units.iter().map(|unit| self.unit(unit)).collect()
    }

    fn unit(&mut self, name: &UnitName) -> Result<Unit, Refusal> {
        if let Some(known) = self.units.get(name) {
            return Ok(known.unit.clone());
        }
        let Some((service, part)) = self.part(name) else {
            let reason = format!("the launcher has no unit `{name}`");
            let hint = "see `zdt-units status` for what it has".to_owned();
            return Err(refused(reason, Some(hint)));
        };
        let service = service.name.clone();
        let definition = self.definition(&service, part);
        let output = self.output(name);
        let unit = Unit::new(
            name.clone(),
            definition,
            output,
            Lasts::WhileAsked,
            self.tell.clone(),
        )
        .map_err(|error| refused(format!("failed to make unit `{name}`: {error}"), None))?;
        self.know(name.clone(), unit.clone(), service, part);
        Ok(unit)
    }
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => _ = ticks.tick().await,
        None => std::future::pending().await,
    }
}

/// Whether other users have business in the directory of the launcher: processes that run as them, or commands.
fn has_guests(model: &Model) -> bool {
    let mut users = model.services.iter().map(|service| &service.user);
    model.launcher.mode & 0o077 != 0 || users.any(|user| matches!(user, model::User::Named(_)))
}

fn refused(reason: String, hint: Option<String>) -> Refusal {
    Refusal {
        reason,
        hint,
        untouched: true,
        output: Vec::new(),
    }
}
