//! One unit: carries inputs to its state machine and the machine's actions to the world. It waits,
//! starts and signals; it decides nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "when a process began is told by the clock on the wall"
)]

use std::fmt;
use std::future::pending;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::event::{Event, Exit, RestartReport};
use super::hook::{self, HookFailed};
use super::kept::KeptProcess;
use super::launch::{self, Launch};
use super::message::{self, Word};
use super::notify::{NotifySocket, Received};
use super::output::{Output, PipeMark};
use super::ports::Book;
use super::process::{Leftovers, Mark, Process};
use super::protocol::Line;
use super::sockets::Held;
use super::start::{self, Start, StartError, Told};
use super::state::{Action, Hook, Input, Machine};
use super::store::Store;
use super::{RestartError, descriptors};
use crate::event::EventKind;
use crate::host::Failure;
use crate::model::{Name, UnitName, Values};
use crate::observe::{Active, Instance, UnitState};

/// How long killed processes may take to vanish before they are left to init.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// What is asked of a unit.
#[derive(Debug)]
pub(super) enum Ask {
    Start(Answer),
    Restart(Option<Answer>),
    Reload(Answer),
    Stop(Option<oneshot::Sender<u8>>),
    Kill,
    /// For what is started from now on.
    Define(Definition),
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

/// A unit as another program takes it up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Frozen {
    pub(super) unit: UnitName,
    pub(super) service: Name,
    machine: Machine,
    /// How old the machine is.
    elapsed: Duration,
    pub(super) process: Option<Mark>,
    invocation: String,
    since: Option<SystemTime>,
    pub(super) port: Option<u16>,
    untaken: usize,
    notify: (PathBuf, RawFd),
    store: Vec<(String, bool, RawFd)>,
    output: Vec<PipeMark>,
    /// What was printed last.
    lines: Vec<Line>,
}

/// A unit that is not driven for the moment.
pub(super) struct Parked {
    driver: Driver,
    asks: mpsc::UnboundedReceiver<Ask>,
    listeners: Listeners,
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parked").field(&self.driver.name).finish()
    }
}

impl Parked {
    /// Its descriptors stay open for another program.
    pub(super) fn freeze(&self) -> io::Result<Frozen> {
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
    pub(super) fn go_on(self) {
        let driver = &self.driver;
        let _ = descriptors::inherit(driver.notify.fd(), false);
        for (_, _, fd) in driver.store.watched() {
            let _ = descriptors::inherit(fd, false);
        }
        let _ = driver.output.keep();
        tokio::spawn(self.driver.run(self.asks, self.listeners));
    }
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

pub(super) struct Driver {
    name: UnitName,
    definition: Definition,
    store: Store,
    notify: NotifySocket,
    machine: Machine,
    process: Option<Process>,
    leftovers: Leftovers,
    child_ended: Signal,
    began: Instant,
    /// The run that the next process, or the present one, belongs to.
    invocation: String,
    since: Option<SystemTime>,
    port: Option<u16>,
    untaken: usize,
    output: Output,
    hook: Option<AbortHandle>,
    hook_ended: mpsc::UnboundedReceiver<(Hook, Result<(), HookFailed>)>,
    hook_ends: mpsc::UnboundedSender<(Hook, Result<(), HookFailed>)>,
    /// Who waits for what is going on, and for the restart after it.
    waiting: Vec<Answer>,
    queued: Vec<Answer>,
    stopping: Vec<oneshot::Sender<u8>>,
    lasts: Lasts,
    over: bool,
}

/// How long a driver goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// Until its unit has stopped.
    UntilStopped,
    /// For as long as somebody may ask for something.
    WhileAsked,
}

/// Those who listen to a driver.
struct Listeners {
    events: Events,
    view: watch::Sender<View>,
    told: broadcast::Sender<EventKind>,
    last: (Active, &'static str),
}

/// What woke a driver up.
enum Woken {
    Message(Received),
    Exited(Exit),
    Asked(Option<Ask>),
    Due,
    Hook(Hook, Result<(), HookFailed>),
    Child,
    /// Nothing that it has to do anything about.
    Nothing,
}

impl Driver {
    fn new(
        name: UnitName,
        definition: Definition,
        output: Output,
        lasts: Lasts,
    ) -> io::Result<Self> {
        let notify = NotifySocket::bind(definition.launch.user.is_some())?;
        let machine = Machine::new(definition.launch.limits());
        Self::with(name, definition, output, lasts, notify, machine)
    }

    fn with(
        name: UnitName,
        definition: Definition,
        output: Output,
        lasts: Lasts,
        notify: NotifySocket,
        machine: Machine,
    ) -> io::Result<Self> {
        let launch = &definition.launch;
        let (hook_ends, hook_ended) = mpsc::unbounded_channel();
        Ok(Self {
            notify,
            machine,
            store: Store::new(launch.room())?,
            output,
            name,
            definition,
            process: None,
            leftovers: Leftovers::default(),
            child_ended: signal(SignalKind::child())?,
            began: Instant::now(),
            invocation: String::new(),
            since: None,
            port: None,
            untaken: 0,
            hook: None,
            hook_ended,
            hook_ends,
            waiting: Vec::new(),
            queued: Vec::new(),
            stopping: Vec::new(),
            lasts,
            over: false,
        })
    }

    fn thaw(frozen: Frozen, definition: Definition, output: Output) -> io::Result<Self> {
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

    fn adopt(orphan: &KeptProcess, definition: Definition, output: Output) -> io::Result<Self> {
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

    fn note_port(&mut self, port: Option<u16>) {
        self.port = port;
        if let Some(port) = port {
            let service = &self.definition.launch.service;
            self.definition.ports.note(&self.name, service, port);
        }
    }

    /// With numbers of descriptors that mean nothing yet.
    fn describe(&self) -> Frozen {
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

    fn spawn(self, events: Events) -> Unit {
        let (asks, asked) = mpsc::unbounded_channel();
        let (view, seen) = watch::channel(self.view());
        let (told, _) = broadcast::channel(64);
        let unit = Unit {
            asks,
            view: seen,
            told: told.clone(),
            output: self.output.clone(),
        };
        let (active, sub, _) = self.machine.state();
        let listeners = Listeners {
            events,
            view,
            told,
            last: (active, sub),
        };
        tokio::spawn(self.run(asked, listeners));
        unit
    }

    /// Until nobody is left who could ask for anything.
    async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>, mut listeners: Listeners) {
        let mut abandoned = false;
        loop {
            let woken = match abandoned {
                true if self.process.is_none() => return,
                true => self.woken(None).await,
                false => self.woken(Some(&mut asks)).await,
            };
            let to = &mut listeners;
            match woken {
                Woken::Message(message) => self.hear(message, to),
                Woken::Exited(exit) => self.exited(exit, to),
                Woken::Asked(Some(Ask::Park(answer)))
                    if self.machine.is_settled() && self.hook.is_none() =>
                {
                    let parked = Parked {
                        driver: self,
                        asks,
                        listeners,
                    };
                    let _ = answer.send(Box::new(parked));
                    return;
                }
                Woken::Asked(Some(ask)) => self.asked(ask, to),
                Woken::Asked(None) => {
                    abandoned = true;
                    self.feed(Input::Kill, to);
                }
                Woken::Due => self.feed(Input::Due, to),
                Woken::Hook(hook, done) => {
                    self.hook = None;
                    if let Err(failed) = done {
                        let why = failed.to_string();
                        self.tell(Event::HookFailed { hook, why }, to);
                    }
                    self.feed(Input::HookEnded, to);
                }
                Woken::Child => self.leftovers.collect(),
                Woken::Nothing => {}
            }
            listeners.see(&self);
            if self.over {
                let _ = timeout(REAP_LIMIT, self.reap()).await;
                return;
            }
        }
    }

    async fn reap(&mut self) {
        while !self.leftovers.is_empty() {
            self.child_ended.recv().await;
            self.leftovers.collect();
        }
    }

    async fn woken(&mut self, asks: Option<&mut mpsc::UnboundedReceiver<Ask>>) -> Woken {
        let deadline = self.machine.deadline().map(|after| self.began + after);
        let exited = async {
            match &mut self.process {
                Some(process) => process.exited().await,
                None => pending().await,
            }
        };
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let asked = async {
            match asks {
                Some(asks) => asks.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            message = self.notify.receive() => match message {
                Ok(message) => Woken::Message(message),
                // A descriptor that the kernel could not give us, such as at a limit.
                Err(_) => Woken::Nothing,
            },
            exit = exited => Woken::Exited(exit),
            ask = asked => Woken::Asked(ask),
            () = due => Woken::Due,
            Some((hook, done)) = self.hook_ended.recv() => Woken::Hook(hook, done),
            () = self.store.hang_up() => Woken::Nothing,
            _ = self.child_ended.recv(), if !self.leftovers.is_empty() => Woken::Child,
        }
    }

    fn asked(&mut self, ask: Ask, to: &mut Listeners) {
        match ask {
            Ask::Start(answer) => self.job(Input::Start, Some(answer), to),
            Ask::Restart(answer) => self.job(Input::Restart, answer, to),
            Ask::Reload(answer) => self.job(Input::Reload, Some(answer), to),
            Ask::Stop(answer) => {
                self.stopping.extend(answer);
                self.feed(Input::Stop, to);
            }
            Ask::Kill => self.feed(Input::Kill, to),
            Ask::Define(definition) => {
                self.machine.set_limits(definition.launch.limits());
                self.definition = definition;
            }
            Ask::Describe(answer) => _ = answer.send(self.describe()),
            // Whoever asks for that sees that nothing comes of it.
            Ask::Park(_) => {}
        }
    }

    fn job(&mut self, input: Input, answer: Option<Answer>, to: &mut Listeners) {
        let now = self.began.elapsed();
        let actions = self.machine.step(now, input);
        if actions.contains(&Action::Refuse) {
            settle(answer, &Err(RestartError::Stopping));
        } else if actions.contains(&Action::Tell(Event::Queued)) {
            self.queued.extend(answer);
        } else {
            self.waiting.extend(answer);
        }
        self.perform(actions, to);
    }

    fn hear(&mut self, mut received: Received, to: &mut Listeners) {
        let main = self.process.as_ref().map_or(0, Process::main);
        if received.sender.unsigned_abs() == main {
            for word in message::parse(&received.bytes) {
                match word {
                    Word::Keep { name, watch } => {
                        let descriptors = std::mem::take(&mut received.descriptors);
                        self.keep(name, watch, descriptors, to);
                    }
                    other => self.heed(other, to),
                }
            }
        } else {
            let stranger = Event::Stranger {
                sender: received.sender,
                main,
                text: message::shown(&received.bytes),
            };
            self.tell(stranger, to);
        }
        received.done();
    }

    fn keep(&mut self, name: String, watch: bool, descriptors: Vec<OwnedFd>, to: &mut Listeners) {
        let descriptors = self.store.keep(&name, watch, descriptors);
        if descriptors > 0 {
            let most = self.definition.launch.room();
            let not_kept = Event::NotKept {
                name,
                descriptors,
                most,
            };
            self.tell(not_kept, to);
        }
    }

    fn heed(&mut self, word: Word, to: &mut Listeners) {
        let input = match word {
            Word::Ready => Input::Ready,
            Word::Reloading => Input::Reloading,
            Word::Stopping => Input::Stopping,
            Word::Status(text) => Input::Status(text),
            Word::Extend(time) => Input::Extend(time),
            Word::Watchdog => Input::Watchdog,
            Word::WatchdogTrigger => Input::WatchdogTrigger,
            Word::Remove(name) => return self.store.remove(&name),
            // With its descriptors this is for `keep`.
            Word::Keep { .. } => return,
            Word::MainPid(pid) => {
                let set = |process: &mut Process| process.main() != pid && process.set_main(pid);
                if !self.process.as_mut().is_some_and(set) {
                    return;
                }
                Input::MainPid(pid)
            }
        };
        self.feed(input, to);
    }

    fn exited(&mut self, exit: Exit, to: &mut Listeners) {
        // What it said last is still in the socket.
        while let Some(message) = self.notify.try_receive() {
            self.hear(message, to);
        }
        self.feed(Input::Exited(exit), to);
    }

    fn feed(&mut self, input: Input, to: &mut Listeners) {
        let now = self.began.elapsed();
        let actions = self.machine.step(now, input);
        self.perform(actions, to);
    }

    fn perform(&mut self, actions: Vec<Action>, to: &mut Listeners) {
        for action in actions {
            match action {
                Action::Launch => self.launch(to),
                Action::Run(hook, limit) => self.run_hook(hook, limit),
                Action::EndHook => self.hook.take().iter().for_each(AbortHandle::abort),
                Action::Terminate => {
                    let signal = self.definition.launch.stop.signal;
                    self.process
                        .iter()
                        .for_each(|process| process.signal(signal));
                }
                Action::Hangup => {
                    let signal = nix::sys::signal::Signal::SIGHUP;
                    self.process
                        .iter()
                        .for_each(|process| process.signal(signal));
                }
                Action::Kill => self.process.iter().for_each(Process::kill),
                Action::KillRest => {
                    if let Some(process) = self.process.take() {
                        if process.kill_group() {
                            let pid = process.main();
                            self.tell(Event::LeftBehind { pid }, to);
                        }
                        self.leftovers.add(process.group());
                        self.output.catch_up();
                        self.definition.ports.give_back(&self.name);
                    }
                }
                Action::CloseUntaken => self.close_untaken(to),
                Action::Settle(done) => {
                    let done = done.map_err(RestartError::Failed);
                    settle(self.waiting.drain(..), &done);
                }
                Action::Tell(event) => self.tell(event, to),
                Action::Refuse => {}
                Action::End(code) => {
                    self.over = self.lasts == Lasts::UntilStopped;
                    settle(self.waiting.drain(..), &Err(RestartError::Stopping));
                    settle(self.queued.drain(..), &Err(RestartError::Stopping));
                    for stopping in self.stopping.drain(..) {
                        let _ = stopping.send(code);
                    }
                }
            }
        }
    }

    fn run_hook(&mut self, hook: Hook, limit: Duration) {
        let launch = Arc::clone(&self.definition.launch);
        let pid = self.process.as_ref().map_or(0, Process::main);
        let ends = self.hook_ends.clone();
        let output = self.output.clone();
        let (generation, port) = (self.machine.generation(), self.port);
        let invocation = self.invocation.clone();
        let (values, extra) = self.known();
        let running = tokio::spawn(async move {
            let stop = &launch.stop;
            let (name, exec) = match hook {
                Hook::Quiet => ("stop.quiet", &stop.quiet),
                Hook::Drain => ("stop.drain", &stop.drain),
                Hook::Stop => ("stop.command", &stop.command),
            };
            let words = exec.as_ref().map(|exec| launch::words(exec, &values));
            let (exec, launch) = match (words.transpose(), launch.filled(&values)) {
                (Ok(words), Ok(launch)) => (words.unwrap_or_default(), launch),
                (Err(source), _) | (_, Err(source)) => {
                    let failed = HookFailed::NotStarted {
                        name: name.to_owned(),
                        source: source.into(),
                    };
                    let _ = ends.send((hook, Err(failed)));
                    return;
                }
            };
            let run = hook::Hook {
                name,
                exec: &exec,
                launch: &launch,
                told: Told {
                    generation,
                    invocation: &invocation,
                    number: launch.number,
                    port,
                    extra: &extra,
                },
                pid,
                limit,
                output: &output,
            };
            let done = run.run().await;
            let _ = ends.send((hook, done));
        });
        self.hook = Some(running.abort_handle());
    }

    fn close_untaken(&mut self, to: &mut Listeners) {
        let pid = self.process.as_ref().map_or(0, Process::main);
        // A queue that cannot be read has nothing to close.
        let connections = self.store.close_untaken().unwrap_or_default();
        self.untaken = connections;
        if connections > 0 {
            self.tell(Event::Untaken { pid, connections }, to);
        }
    }

    fn launch(&mut self, to: &mut Listeners) {
        let input = match self.start() {
            Ok(process) => {
                let pid = process.main();
                self.process = Some(process);
                self.since = Some(SystemTime::now());
                Input::Started(pid)
            }
            Err(error) => Input::NotStarted(error.to_string()),
        };
        self.feed(input, to);
    }

    fn start(&mut self) -> Result<Process, StartError> {
        self.invocation = start::invocation().map_err(StartError::Share)?;
        let definition = &self.definition;
        if let Some(range) = definition.launch.ports {
            let service = &definition.launch.service;
            let port = definition.ports.take(&self.name, service, range);
            let said = |failure: Failure| match failure.hint {
                Some(hint) => format!("{}; {hint}", failure.reason),
                None => failure.reason,
            };
            self.port = Some(port.map_err(|failure| StartError::Port(said(failure)))?);
        }
        let (values, extra) = self.known();
        let launch = self.definition.launch.filled(&values)?;
        let start = Start {
            launch: &launch,
            held: &self.definition.held,
            store: &self.store,
            notify_socket: self.notify.path(),
            told: Told {
                generation: self.machine.generation(),
                invocation: &self.invocation,
                number: launch.number,
                port: self.port,
                extra: &extra,
            },
            output: &self.output,
        };
        start.run()
    }

    /// What is filled in where `zdt.toml` asks for it, and what is told in the environment.
    fn known(&self) -> (Values, Vec<(String, String)>) {
        let launch = &self.definition.launch;
        let mut extra = Vec::new();
        let mut values = Values {
            instance: Some(launch.number),
            port: self.port,
            ports: self.definition.ports.of_services(),
            ..Values::default()
        };
        if let Some((path, revision)) = launch.release() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            extra.push(("ZDT_RELEASE".to_owned(), name.to_string()));
            extra.push(("ZDT_RELEASE_PATH".to_owned(), path.display().to_string()));
            let revision = revision.unwrap_or_else(|| name.to_string());
            extra.push(("ZDT_REVISION".to_owned(), revision.clone()));
            values.release = Some(name.into_owned());
            values.revision = Some(revision);
        }
        if let Some(directory) = &launch.handover_directory {
            let directory = directory.display().to_string();
            extra.push(("ZDT_HANDOVER_DIR".to_owned(), directory));
        }
        (values, extra)
    }

    fn tell(&mut self, event: Event, to: &mut Listeners) {
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
            settled: self.machine.is_settled(),
        }
    }
}

impl Listeners {
    fn see(&mut self, driver: &Driver) {
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

fn settle(answers: impl IntoIterator<Item = Answer>, answer: &Result<RestartReport, RestartError>) {
    for waiting in answers {
        let _ = waiting.send(answer.clone());
    }
}
