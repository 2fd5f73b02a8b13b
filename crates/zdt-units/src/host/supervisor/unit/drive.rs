//! Carries inputs to the state machine of a unit, and the machine's actions to the world. It waits, starts and signals;
//! it decides nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "when a process began is told by the clock on the wall"
)]

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Answer, Ask, Definition, Events, Lasts, Parked, Unit, View};
use crate::event::EventKind;
use crate::host::Failure;
use crate::host::supervisor::RestartError;
use crate::host::supervisor::event::{Event, Exit, RestartReport};
use crate::host::supervisor::hook::{self, HookFailed};
use crate::host::supervisor::launch;
use crate::host::supervisor::message::{self, Word};
use crate::host::supervisor::notify::{NotifySocket, Received};
use crate::host::supervisor::output::Output;
use crate::host::supervisor::process::{Leftovers, Process};
use crate::host::supervisor::start::{self, Start, StartError, Told};
use crate::host::supervisor::state::{Action, Hook, Input, Machine};
use crate::host::supervisor::store::Store;
use crate::model::{UnitName, Values};
use crate::observe::{Active, Instance, UnitState};

/// How long killed processes may take to vanish before they are left to init.
const REAP_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    pub(super) name: UnitName,
    pub(super) definition: Definition,
    pub(super) store: Store,
    pub(super) notify: NotifySocket,
    pub(super) machine: Machine,
    pub(super) process: Option<Process>,
    pub(super) leftovers: Leftovers,
    pub(super) child_ended: Signal,
    pub(super) began: Instant,
    /// The run that the next process, or the present one, belongs to.
    pub(super) invocation: String,
    pub(super) since: Option<SystemTime>,
    pub(super) port: Option<u16>,
    pub(super) untaken: usize,
    pub(super) output: Output,
    pub(super) hook: Option<AbortHandle>,
    pub(super) hook_ended: mpsc::UnboundedReceiver<(Hook, Result<(), HookFailed>)>,
    pub(super) hook_ends: mpsc::UnboundedSender<(Hook, Result<(), HookFailed>)>,
    /// Who waits for what is going on, and for the restart after it.
    pub(super) waiting: Vec<Answer>,
    pub(super) queued: Vec<Answer>,
    pub(super) stopping: Vec<oneshot::Sender<u8>>,
    pub(super) lasts: Lasts,
    pub(super) over: bool,
}

/// Those who listen to a driver.
pub(super) struct Listeners {
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
    pub(super) fn new(
        name: UnitName,
        definition: Definition,
        output: Output,
        lasts: Lasts,
    ) -> io::Result<Self> {
        let notify = NotifySocket::bind(definition.launch.user.is_some())?;
        let machine = Machine::new(definition.launch.limits());
        Self::with(name, definition, output, lasts, notify, machine)
    }

    pub(super) fn with(
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

    pub(super) fn spawn(self, events: Events) -> Unit {
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
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::UnboundedReceiver<Ask>,
        mut listeners: Listeners,
    ) {
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
            Ask::LetGo => {
                if let Some(process) = &mut self.process {
                    process.let_go();
                }
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
