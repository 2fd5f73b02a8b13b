//! Carries inputs to the state machine of a unit, and the machine's actions to the world. It waits, starts and signals;
//! it decides nothing.

use std::future::pending;
use std::io;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::begin::Next;
use super::hooks::{Ended, Hooks};
use super::seen::Listeners;
use super::{Answer, Ask, Definition, Events, Lasts, Parked, Unit};
use crate::host::supervisor::RestartError;
use crate::host::supervisor::event::{Event, Exit, RestartReport};
use crate::host::supervisor::notify::{NotifySocket, Received};
use crate::host::supervisor::output::Output;
use crate::host::supervisor::process::{Leftovers, Process};
use crate::host::supervisor::state::{Action, Input, Machine};
use crate::host::supervisor::store::Store;
use crate::model::UnitName;

/// How long killed processes may take to vanish before they are left to init.
const REAP_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    pub(super) name: UnitName,
    pub(super) definition: Definition,
    pub(super) store: Store,
    pub(super) notify: NotifySocket,
    pub(super) machine: Machine,
    pub(super) process: Option<Process>,
    pub(super) next: Next,
    pub(super) leftovers: Leftovers,
    pub(super) child_ended: Signal,
    pub(super) began: Instant,
    /// The run that the next process, or the present one, belongs to.
    pub(super) invocation: String,
    pub(super) since: Option<SystemTime>,
    pub(super) port: Option<u16>,
    pub(super) untaken: usize,
    pub(super) output: Output,
    pub(super) hooks: Hooks,
    /// Who waits for what is going on, and for the restart after it.
    pub(super) waiting: Vec<Answer>,
    pub(super) queued: Vec<Answer>,
    pub(super) stopping: Vec<oneshot::Sender<u8>>,
    /// What its process leaves is kept when it has stopped.
    held: bool,
    pub(super) lasts: Lasts,
    pub(super) over: bool,
}

/// What woke a driver up.
enum Woken {
    Message(Received),
    Exited(Exit),
    Asked(Option<Ask>),
    Due,
    Hook(Ended),
    Prepared,
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
        Ok(Self {
            notify,
            machine,
            store: Store::new(launch.room())?,
            output,
            name,
            definition,
            process: None,
            next: Next::default(),
            leftovers: Leftovers::default(),
            child_ended: signal(SignalKind::child())?,
            began: Instant::now(),
            invocation: String::new(),
            since: None,
            port: None,
            untaken: 0,
            hooks: Hooks::default(),
            waiting: Vec::new(),
            queued: Vec::new(),
            stopping: Vec::new(),
            held: false,
            lasts,
            over: false,
        })
    }

    pub(super) fn spawn(self, events: Events) -> Unit {
        let (asks, asked) = mpsc::unbounded_channel();
        let listeners = Listeners::of(&self, events);
        let unit = Unit {
            asks,
            view: listeners.view.subscribe(),
            told: listeners.told.clone(),
            output: self.output.clone(),
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
                    if self.is_settled() && !self.hooks.is_running() =>
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
                Woken::Hook(ended) => self.hook_ended(ended, to),
                Woken::Prepared => {
                    for answer in self.next.take_wanted() {
                        self.job(Input::Restart, answer, to);
                    }
                }
                Woken::Child => self.leftovers.collect(),
                Woken::Nothing => {}
            }
            if self.is_settled() {
                self.next.drop_helper();
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
        /// So long after the deadline messages come before it. Nobody can put it off for ever by saying more and more.
        const LATE: Duration = Duration::from_secs(1);
        let deadline = self.machine.deadline().map(|after| self.began + after);
        let is_overdue = deadline.is_some_and(|deadline| deadline.elapsed() > LATE);
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
            () = self.next.is_prepared(), if self.next.is_wanted() => Woken::Prepared,
            () = due => {
                // It may ask for more time, and have done so before this task had its turn.
                let message = if is_overdue { None } else { self.notify.try_receive() };
                message.map_or(Woken::Due, Woken::Message)
            }
            ended = self.hooks.ended() => Woken::Hook(ended),
            () = self.store.hang_up() => Woken::Nothing,
            _ = self.child_ended.recv(), if !self.leftovers.is_empty() => Woken::Child,
        }
    }

    fn asked(&mut self, ask: Ask, to: &mut Listeners) {
        match ask {
            Ask::Start(answer) => self.job(Input::Start, Some(answer), to),
            Ask::Restart(answer) => self.restart(answer, to),
            Ask::Reload(answer) => self.job(Input::Reload, Some(answer), to),
            Ask::Stop(answer) => self.stop(answer, to),
            Ask::Hold(answer) => {
                self.held = true;
                self.stop(Some(answer), to);
            }
            Ask::Kill => {
                self.prepare_nothing();
                self.feed(Input::Kill, to);
            }
            Ask::Define(definition) => {
                // It may be another user's now.
                self.next.drop_helper();
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

    fn stop(&mut self, answer: Option<oneshot::Sender<u8>>, to: &mut Listeners) {
        self.prepare_nothing();
        self.stopping.extend(answer);
        self.feed(Input::Stop, to);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.machine.is_settled() && !self.next.is_wanted()
    }

    pub(super) fn job(&mut self, input: Input, answer: Option<Answer>, to: &mut Listeners) {
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

    pub(super) fn feed(&mut self, input: Input, to: &mut Listeners) {
        let now = self.began.elapsed();
        let actions = self.machine.step(now, input);
        self.perform(actions, to);
    }

    fn perform(&mut self, actions: Vec<Action>, to: &mut Listeners) {
        for action in actions {
            match action {
                Action::Launch => self.launch(to),
                Action::Run(hook, limit) => self.run_hook(hook, limit),
                Action::EndHook => self.hooks.end(),
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
                    // Nobody comes for what is in it, and whoever waits there is to hear that.
                    if !std::mem::take(&mut self.held) {
                        self.store.empty();
                    }
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
}

pub(super) fn settle(
    answers: impl IntoIterator<Item = Answer>,
    answer: &Result<RestartReport, RestartError>,
) {
    for waiting in answers {
        let _ = waiting.send(answer.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;
    use crate::host::supervisor::{Held, Launch};
    use crate::model::Name;

    fn driver() -> Driver {
        let service = Name::parse("shop").unwrap();
        let name = UnitName::service(&service);
        let definition = Definition {
            launch: Arc::new(Launch::new(service, "/bin/true")),
            held: Arc::new(Held::default()),
            ports: Arc::default(),
        };
        let output = Output::inherited(name.clone());
        Driver::new(name, definition, output, Lasts::UntilStopped).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_is_heard_before_its_time_is_up_but_not_for_ever() {
        let mut driver = driver();
        driver.machine.step(Duration::ZERO, Input::Start);
        driver.machine.step(Duration::ZERO, Input::Started(1));
        let process = UnixDatagram::unbound().unwrap();
        process.connect(driver.notify.path()).unwrap();
        let say = || process.send(b"STATUS=still at it").unwrap();

        advance(driver.machine.deadline().unwrap()).await;
        for _ in 0..100 {
            say();
            assert!(matches!(driver.woken(None).await, Woken::Message(_)));
        }
        assert!(matches!(driver.woken(None).await, Woken::Due));

        advance(Duration::from_secs(2)).await;
        let mut heard = 0;
        say();
        while matches!(driver.woken(None).await, Woken::Message(_)) {
            heard += 1;
            assert!(heard < 1000, "the deadline is put off for ever");
            say();
        }
    }
}
