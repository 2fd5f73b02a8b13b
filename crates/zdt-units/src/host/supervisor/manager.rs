//! All units of a `zdt.toml`: a small service manager. It opens the sockets, starts what is to run, and does what it
//! is asked on its control socket. What a restart consists of is decided by whoever asks.

#![expect(
    clippy::disallowed_methods,
    reason = "what runs is known by the clock on the wall"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::control::{Access, Answers, Asked, Control};
use super::event::Event;
use super::jobs::{self, Job};
use super::launch::{Launch, Part};
use super::output::{Output, Sink};
use super::protocol::{About, Answer, Question, Refusal, UnitReport, VERSION};
use super::sockets::Held;
use super::unit::{Ask, Definition, Lasts, Unit, View};
use crate::host::Failure;
use crate::host::launcher::place::Place;
use crate::model::{Model, Name, Service, UnitName};
use crate::observe::{Active, UnitState};

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
    boot: Boot,
    since: SystemTime,
    services: BTreeMap<Name, Managed>,
    units: BTreeMap<UnitName, Known>,
    control: Control,
    told: mpsc::UnboundedReceiver<(UnitName, Event)>,
    tell: mpsc::UnboundedSender<(UnitName, Event)>,
    work: mpsc::UnboundedReceiver<Work>,
    worker: mpsc::UnboundedSender<Work>,
    sink: Sink,
    upgrades: u32,
    ending: bool,
}

/// A service and its sockets.
#[derive(Debug)]
struct Managed {
    service: Service,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Known {
    unit: Unit,
    service: Name,
    part: Part,
}

/// What other tasks of the launcher want of it.
#[derive(Debug)]
enum Work {
    Ended(u8),
}

/// What there is to tell, or to do, next.
#[derive(Debug)]
pub enum Happened {
    /// Something in a unit.
    Unit(UnitName, Event),
    /// Something else that people may want to read.
    Said(String),
    /// Everything has ended, with what this program is to exit with.
    Ended(u8),
}

impl Manager {
    /// Opens all sockets, or none; starts nothing yet. Needs a tokio runtime.
    pub fn open(boot: Boot) -> Result<Self, Failure> {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| Failure::new(format!("failed to become a subreaper: {error}")))?;
        boot.place.make()?;
        let access = Access::of(&boot.model.launcher);
        let control = Control::bind(&boot.place.control, &access)?;
        let sink = Sink::new(&boot.model.launcher.output).map_err(|error| {
            Failure::new(format!("failed to open the output of programs: {error}")).without_effect()
        })?;
        let (tell, told) = mpsc::unbounded_channel();
        let (worker, work) = mpsc::unbounded_channel();
        let mut manager = Self {
            since: SystemTime::now(),
            services: BTreeMap::new(),
            units: BTreeMap::new(),
            control,
            told,
            tell,
            work,
            worker,
            sink,
            upgrades: 0,
            ending: false,
            boot,
        };
        let model = manager.boot.model.clone();
        manager.load(model, manager.boot.text.clone())?;
        Ok(manager)
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

    /// Answers what is asked, until there is something to tell. Cancel-safe.
    pub async fn next(&mut self) -> Happened {
        loop {
            tokio::select! {
                biased;
                Some((unit, event)) = self.told.recv() => {
                    if let Event::GaveUp { .. } = event && self.boot.once {
                        self.end_with(&unit);
                    }
                    return Happened::Unit(unit, event);
                }
                Some(work) = self.work.recv() => match work {
                    Work::Ended(code) => return Happened::Ended(code),
                },
                asked = self.control.next() => {
                    if let Some(said) = self.answer(asked) {
                        return Happened::Said(said);
                    }
                }
            }
        }
    }

    /// The program has ended, and with it all of this.
    fn end_with(&mut self, unit: &UnitName) {
        let view = self
            .units
            .get(unit)
            .map(|known| known.unit.view.borrow().clone());
        let status = view.map_or(1, |view| view.state.exit_status);
        self.ending = true;
        let _ = self
            .worker
            .send(Work::Ended(u8::try_from(status).unwrap_or(1)));
    }

    fn answer(&mut self, asked: Asked) -> Option<String> {
        let Asked {
            question,
            by,
            answers,
        } = asked;
        let changes = !matches!(
            question,
            Question::Hello | Question::Units { .. } | Question::Logs { .. } | Question::Orphans
        );
        if changes && self.ending {
            let reason = "the launcher is ending".to_owned();
            answers.send(Answer::Failed(refused(reason, None)));
            return None;
        }
        match question {
            Question::Hello => {
                answers.send(Answer::Launcher(self.about()));
                answers.send(Answer::Done);
            }
            Question::Units { units } => self.report(&units, &answers),
            Question::Start { unit } => self.begin(&[unit], Job::Start, answers),
            Question::Restart { units } => self.begin(&units, Job::Restart, answers),
            Question::Reload { unit } => self.begin(&[unit], Job::Reload, answers),
            Question::Task { unit } => self.begin(&[unit], Job::Start, answers),
            Question::Stop { units } => self.begin(&units, Job::Stop, answers),
            Question::CloseUntaken { unit } => self.untaken(&unit, &answers),
            Question::Load { text } => self.load_text(text, &answers),
            Question::OpenSockets { service } => {
                let opened = self.open_sockets(&service);
                settle(&answers, opened);
            }
            Question::CloseSockets { service } => {
                let closed = self.close_sockets(&service);
                settle(&answers, closed);
            }
            Question::Logs { of, lines, follow } => self.logs(&of, lines, follow, answers),
            Question::Orphans | Question::StopOrphans => {
                answers.send(Answer::Done);
            }
            Question::Shutdown => {
                answers.send(Answer::Done);
                self.shut_down();
                return Some(format!("shutting down, as {by} asked for"));
            }
            Question::Upgrade { .. } => {
                let reason = "this launcher cannot become another program yet".to_owned();
                answers.send(Answer::Failed(refused(reason, None)));
            }
        }
        None
    }

    fn about(&self) -> About {
        About {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: self.since,
            config: self.boot.config.clone(),
            text: self.boot.text.clone(),
            state: self.boot.place.state.clone(),
            upgrades: self.upgrades,
        }
    }

    fn report(&mut self, wanted: &[UnitName], answers: &Answers) {
        let all = wanted.is_empty();
        let is_wanted = |unit: &UnitName| all || wanted.contains(unit);
        let mut reports = Vec::new();
        for (name, managed) in &self.services {
            for socket in &managed.service.sockets {
                if is_wanted(&socket.unit) {
                    reports.push(of_socket(name, &socket.unit, &managed.held));
                }
            }
        }
        for (unit, known) in &self.units {
            if is_wanted(unit) {
                reports.push(of_unit(known));
            }
        }
        // What could be started, and never was.
        for unit in wanted {
            if !reports.iter().any(|report| report.state.unit == *unit)
                && let Some((service, _)) = self.part(unit)
            {
                let state = UnitState::stopped(unit.clone());
                reports.push(without_process(service.name.clone(), state));
            }
        }
        for report in reports {
            answers.send(Answer::Unit(Box::new(report)));
        }
        answers.send(Answer::Done);
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
        let lines = usize::try_from(self.boot.model.launcher.lines).unwrap_or(usize::MAX);
        let output = Output::new(name.clone(), lines, self.sink.clone());
        let unit = Unit::new(
            name.clone(),
            definition,
            output,
            Lasts::WhileAsked,
            self.tell.clone(),
        )
        .map_err(|error| refused(format!("failed to make unit `{name}`: {error}"), None))?;
        let known = Known {
            unit: unit.clone(),
            service,
            part,
        };
        self.units.insert(name.clone(), known);
        Ok(unit)
    }

    fn definition(&self, service: &Name, part: Part) -> Definition {
        let managed = &self.services[service];
        let mut launch = Launch::of(&managed.service, part);
        launch.runtime = Some(self.boot.place.runtime.clone());
        if self.boot.once {
            launch.restarts.limit = Some(0);
        }
        let is_task = matches!(part, Part::Task(_));
        if let Some(directory) = managed.service.handover_directory()
            && !is_task
        {
            launch.handover_directory = Some(self.boot.place.runtime.join(directory));
        }
        let held = match is_task {
            true => Arc::new(Held::default()),
            false => Arc::clone(&managed.held),
        };
        Definition {
            launch: Arc::new(launch),
            held,
        }
    }

    fn begin(&mut self, names: &[UnitName], job: Job, answers: Answers) {
        let mut units = Vec::new();
        for name in names {
            let is_socket = name.as_str().ends_with(".socket");
            let done = match is_socket {
                true => self.socket_job(name, job).map(|()| Vec::new()),
                false => self.units_of(name),
            };
            match done {
                Ok(more) => units.extend(more),
                Err(refusal) => {
                    answers.send(Answer::Failed(refusal));
                    return;
                }
            }
        }
        tokio::spawn(jobs::follow(units, job, answers));
    }

    /// Sockets of one service open and close together.
    fn socket_job(&mut self, unit: &UnitName, job: Job) -> Result<(), Refusal> {
        let services = self.services.values();
        let mut with = services.filter(|managed| {
            let sockets = &managed.service.sockets;
            sockets.iter().any(|socket| socket.unit == *unit)
        });
        let Some(name) = with.next().map(|managed| managed.service.name.clone()) else {
            return Err(refused(
                format!("the launcher has no socket `{unit}`"),
                None,
            ));
        };
        match job {
            Job::Start => self.open_sockets(&name),
            Job::Stop => self.close_sockets(&name),
            Job::Restart | Job::Reload => Err(refused(
                format!("`{unit}` is a socket, which clients wait in: it is not restarted"),
                None,
            )),
        }
    }

    fn open_sockets(&mut self, service: &Name) -> Result<(), Refusal> {
        let managed = self.managed(service)?;
        let held = managed.held.rebind_for(&managed.service);
        managed.held = Arc::new(held.map_err(|errors| refused(errors.to_string(), None))?);
        self.define(service);
        Ok(())
    }

    fn close_sockets(&mut self, service: &Name) -> Result<(), Refusal> {
        self.managed(service)?.held = Arc::default();
        self.define(service);
        Ok(())
    }

    fn managed(&mut self, service: &Name) -> Result<&mut Managed, Refusal> {
        let unknown = || refused(format!("the launcher has no service `{service}`"), None);
        self.services.get_mut(service).ok_or_else(unknown)
    }

    /// Tells the units of a service what they start from now on.
    fn define(&mut self, service: &Name) {
        for known in self.units.values() {
            if known.service == *service {
                let definition = self.definition(service, known.part);
                known.unit.ask(Ask::Define(definition));
            }
        }
    }

    fn untaken(&mut self, unit: &UnitName, answers: &Answers) {
        let Some(known) = self.units.get(unit) else {
            answers.send(Answer::Done);
            return;
        };
        let view = known.unit.view.borrow().clone();
        if let Some(instance) = &view.state.instance {
            answers.send(Answer::Told {
                event: crate::event::EventKind::Untaken {
                    unit: unit.to_string(),
                    pid: instance.pid,
                    connections: view.untaken,
                },
            });
        }
        answers.send(Answer::Done);
    }

    fn load_text(&mut self, text: String, answers: &Answers) {
        if text == self.boot.text {
            answers.send(Answer::Done);
            return;
        }
        let file = self.boot.config.as_ref();
        let file = file.map_or_else(|| "zdt.toml".to_owned(), |file| file.display().to_string());
        let model = match Model::read(&file, &text) {
            Ok(model) => model,
            Err(mistakes) => {
                let refusal = refused(format!("`{file}` has mistakes"), None);
                let output = mistakes.render(crate::config::Colour::Never);
                answers.send(Answer::Failed(Refusal {
                    output: output.lines().map(str::to_owned).collect(),
                    ..refusal
                }));
                return;
            }
        };
        let before: BTreeSet<Name> = self.services.keys().cloned().collect();
        match self.load(model, text) {
            Ok(()) => {
                let added = self.services.keys().filter(|name| !before.contains(*name));
                let added: Vec<Name> = added.cloned().collect();
                self.start_services(&added);
                answers.send(Answer::Done);
            }
            Err(failure) => {
                answers.send(Answer::Failed(failure.into()));
            }
        }
    }

    /// Takes `model` for what processes are from now on, with all its sockets open, or leaves everything as it was.
    fn load(&mut self, model: Model, text: String) -> Result<(), Failure> {
        let only = &self.boot.only;
        let wanted = |service: &&Service| only.is_empty() || only.contains(&service.name);
        let mut services = BTreeMap::new();
        let mut errors = Vec::new();
        for service in model.services.iter().filter(wanted) {
            let there = self.services.get(&service.name);
            let there = there
                .map(|managed| Arc::clone(&managed.held))
                .unwrap_or_default();
            match there.rebind_for(service) {
                Ok(held) => {
                    let managed = Managed {
                        service: service.clone(),
                        held: Arc::new(held),
                    };
                    services.insert(service.name.clone(), managed);
                }
                Err(more) => errors.push(more.to_string()),
            }
        }
        if !errors.is_empty() {
            return Err(Failure::new(errors.join("\nerror: ")).without_effect());
        }
        // What is not in the file any more goes on until it is stopped.
        for (name, managed) in std::mem::take(&mut self.services) {
            services.entry(name).or_insert(managed);
        }
        self.services = services;
        self.boot.model = model;
        self.boot.text = text;
        let names: Vec<Name> = self.services.keys().cloned().collect();
        for name in names {
            self.define(&name);
        }
        Ok(())
    }

    fn start_services(&mut self, names: &[Name]) {
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

    fn logs(&self, of: &[String], lines: usize, follow: bool, answers: Answers) {
        let is_wanted = |(name, known): &(&UnitName, &Known)| {
            let of_it =
                |wanted: &String| *wanted == name.as_str() || *wanted == known.service.as_str();
            of.is_empty() || of.iter().any(of_it)
        };
        let outputs = self.units.iter().filter(is_wanted);
        let outputs = outputs
            .map(|(_, known)| known.unit.output.clone())
            .collect();
        tokio::spawn(jobs::logs(outputs, lines, follow, answers));
    }
}

fn settle(answers: &Answers, done: Result<(), Refusal>) {
    answers.send(match done {
        Ok(()) => Answer::Done,
        Err(refusal) => Answer::Failed(refusal),
    });
}

fn refused(reason: String, hint: Option<String>) -> Refusal {
    Refusal {
        reason,
        hint,
        untouched: true,
        output: Vec::new(),
    }
}

fn of_socket(service: &Name, unit: &UnitName, held: &Held) -> UnitReport {
    let is_open = held.has(unit);
    let state = UnitState {
        active: match is_open {
            true => Active::Active,
            false => Active::Inactive,
        },
        sub: if is_open { "running" } else { "dead" }.to_owned(),
        was_active: true,
        ..UnitState::stopped(unit.clone())
    };
    without_process(service.clone(), state)
}

fn without_process(service: Name, state: UnitState) -> UnitReport {
    UnitReport {
        service,
        state,
        since: None,
        start_ms: None,
        generation: 0,
        memory: None,
        port: None,
        children: Vec::new(),
        output: Vec::new(),
    }
}

fn of_unit(known: &Known) -> UnitReport {
    let view: View = known.unit.view.borrow().clone();
    let lines = known.unit.output.tail(LAST_WORDS);
    UnitReport {
        since: view.since,
        start_ms: view
            .start_took
            .and_then(|took| u64::try_from(took.as_millis()).ok()),
        generation: view.generation,
        port: view.port,
        output: lines.into_iter().map(|line| line.text).collect(),
        ..without_process(known.service.clone(), view.state)
    }
}

/// How many lines of output a report has.
const LAST_WORDS: usize = 10;
