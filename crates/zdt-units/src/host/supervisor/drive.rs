//! Carries inputs to the state machine and its actions to the world. It waits,
//! starts and signals; it decides nothing.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::event::{Event, Exit};
use super::launch::Launch;
use super::message::{self, Word};
use super::notify::{NotifySocket, Received};
use super::output::Output;
use super::process::{Leftovers, Process};
use super::sockets::Held;
use super::start::{self, Start, StartError, Told};
use super::state::{Action, Input, Machine};
use super::store::Store;
use super::{RestartError, RestartReport};
use crate::model::UnitName;

/// How long killed processes may take to vanish before they are left to init.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// What the holder of a [`Supervisor`](super::Supervisor) asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Restart(Option<Answer>),
    Stop,
    Kill,
}

pub(super) type Answer = oneshot::Sender<Result<RestartReport, RestartError>>;

pub(super) struct Driver {
    launch: Launch,
    held: Held,
    store: Store,
    notify: NotifySocket,
    machine: Machine,
    process: Option<Process>,
    leftovers: Leftovers,
    child_ended: Signal,
    output: Output,
    began: Instant,
    asks: mpsc::UnboundedReceiver<Ask>,
    events: mpsc::UnboundedSender<Event>,
    /// Who waits for the restart that is going on, and for the one after it.
    waiting: Vec<Answer>,
    queued: Vec<Answer>,
}

/// What woke the driver up.
enum Woken {
    Message(Received),
    Exited(Exit),
    Asked(Option<Ask>),
    Due,
    Child,
    /// Something that was kept is no use any more.
    HungUp,
}

impl Driver {
    pub(super) fn new(
        launch: Launch,
        held: Held,
        asks: mpsc::UnboundedReceiver<Ask>,
        events: mpsc::UnboundedSender<Event>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            notify: NotifySocket::bind()?,
            child_ended: signal(SignalKind::child())?,
            machine: Machine::new(launch.limits()),
            store: Store::new(launch.room())?,
            output: Output::inherited(UnitName::service(&launch.service)),
            launch,
            held,
            process: None,
            leftovers: Leftovers::default(),
            began: Instant::now(),
            asks,
            events,
            waiting: Vec::new(),
            queued: Vec::new(),
        })
    }

    /// Runs until the service was stopped, and returns what to exit with.
    pub(super) async fn run(mut self) -> u8 {
        let mut ended = self.perform(vec![Action::Start]);
        loop {
            if let Some(code) = ended {
                let _ = timeout(REAP_LIMIT, self.reap()).await;
                return code;
            }
            ended = match self.woken().await {
                Woken::Message(message) => self.hear(message),
                Woken::Exited(exit) => self.exited(exit),
                Woken::Asked(ask) => self.asked(ask),
                Woken::Due => self.feed(Input::Due),
                Woken::Child => {
                    self.leftovers.collect();
                    None
                }
                Woken::HungUp => None,
            };
        }
    }

    async fn reap(&mut self) {
        while !self.leftovers.is_empty() {
            self.child_ended.recv().await;
            self.leftovers.collect();
        }
    }

    async fn woken(&mut self) -> Woken {
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
        tokio::select! {
            message = self.notify.receive() => match message {
                Ok(message) => Woken::Message(message),
                // A descriptor that the kernel could not give us, such as at a limit.
                Err(_) => Woken::Child,
            },
            exit = exited => Woken::Exited(exit),
            ask = self.asks.recv() => Woken::Asked(ask),
            () = due => Woken::Due,
            () = self.store.hang_up() => Woken::HungUp,
            _ = self.child_ended.recv(), if !self.leftovers.is_empty() => Woken::Child,
        }
    }

    fn asked(&mut self, ask: Option<Ask>) -> Option<u8> {
        match ask {
            Some(Ask::Restart(answer)) => self.restart(answer),
            Some(Ask::Stop) => self.feed(Input::Stop),
            // Nobody is left who could ask for anything.
            Some(Ask::Kill) | None => self.feed(Input::Kill),
        }
    }

    fn restart(&mut self, answer: Option<Answer>) -> Option<u8> {
        let now = self.began.elapsed();
        let actions = self.machine.step(now, Input::Restart);
        if actions.contains(&Action::Refuse) {
            tell([answer], &Err(RestartError::Stopping));
        } else if actions.contains(&Action::Tell(Event::Queued)) {
            self.queued.extend(answer);
        } else {
            self.waiting.extend(answer);
        }
        self.perform(actions)
    }

    fn hear(&mut self, mut received: Received) -> Option<u8> {
        let mut ended = None;
        let main = self.process.as_ref().map_or(0, Process::main);
        if received.sender.unsigned_abs() == main {
            for word in message::parse(&received.bytes) {
                ended = ended.or(match word {
                    Word::Keep { name, watch } => {
                        let descriptors = std::mem::take(&mut received.descriptors);
                        self.keep(name, watch, descriptors);
                        None
                    }
                    other => self.heed(other),
                });
            }
        } else {
            let _ = self.events.send(Event::Stranger {
                sender: received.sender,
                main,
                text: message::shown(&received.bytes),
            });
        }
        received.done();
        ended
    }

    fn keep(&mut self, name: String, watch: bool, descriptors: Vec<OwnedFd>) {
        let descriptors = self.store.keep(&name, watch, descriptors);
        if descriptors > 0 {
            self.tell(Event::NotKept {
                name,
                descriptors,
                most: self.launch.room(),
            });
        }
    }

    fn heed(&mut self, word: Word) -> Option<u8> {
        let input = match word {
            Word::Ready => Input::Ready,
            Word::Stopping => Input::Stopping,
            Word::Status(text) => Input::Status(text),
            Word::Extend(time) => Input::Extend(time),
            Word::Watchdog => Input::Watchdog,
            Word::WatchdogTrigger => Input::WatchdogTrigger,
            Word::Remove(name) => {
                self.store.remove(&name);
                return None;
            }
            // With its descriptors this is for `keep`.
            Word::Keep { .. } => return None,
            Word::MainPid(pid) => {
                let process = self.process.as_mut()?;
                if process.main() == pid || !process.set_main(pid) {
                    return None;
                }
                Input::MainPid(pid)
            }
        };
        self.feed(input)
    }

    fn exited(&mut self, exit: Exit) -> Option<u8> {
        // What it said last is still in the socket.
        while let Some(message) = self.notify.try_receive() {
            if let Some(code) = self.hear(message) {
                return Some(code);
            }
        }
        self.feed(Input::Exited(exit))
    }

    fn feed(&mut self, input: Input) -> Option<u8> {
        let now = self.began.elapsed();
        let actions = self.machine.step(now, input);
        self.perform(actions)
    }

    fn perform(&mut self, actions: Vec<Action>) -> Option<u8> {
        let mut ended = None;
        for action in actions {
            match action {
                Action::Start => ended = ended.or(self.start()),
                Action::Terminate => self.process.iter().for_each(|process| {
                    process.signal(nix::sys::signal::Signal::SIGTERM);
                }),
                Action::Kill => self.process.iter().for_each(Process::kill),
                Action::KillRest => {
                    if let Some(process) = self.process.take() {
                        if process.kill_group() {
                            let pid = process.main();
                            self.tell(Event::LeftBehind { pid });
                        }
                        self.leftovers.add(process.group());
                    }
                }
                Action::CloseUntaken => self.close_untaken(),
                Action::Tell(event) => self.tell(event),
                Action::Refuse => {}
                Action::End(code) => ended = Some(code),
            }
        }
        ended
    }

    fn close_untaken(&mut self) {
        let pid = self.process.as_ref().map_or(0, Process::main);
        // A queue that cannot be read has nothing to close.
        let connections = self.store.close_untaken().unwrap_or_default();
        if connections > 0 {
            self.tell(Event::Untaken { pid, connections });
        }
    }

    fn start(&mut self) -> Option<u8> {
        let start = |invocation: String| {
            let told = Told {
                generation: self.machine.generation(),
                invocation: &invocation,
                number: 1,
                port: None,
                extra: &[],
            };
            let start = Start {
                launch: &self.launch,
                held: &self.held,
                store: &self.store,
                notify_socket: self.notify.path(),
                told,
                output: &self.output,
            };
            start.run()
        };
        let invocation = start::invocation().map_err(StartError::Share);
        let input = match invocation.and_then(start) {
            Ok(process) => {
                let pid = process.main();
                self.process = Some(process);
                Input::Started(pid)
            }
            Err(error) => Input::NotStarted(error.to_string()),
        };
        self.feed(input)
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Restarted(report) => tell(self.waiting.drain(..), &Ok(report.clone())),
            Event::RestartFailed { why } => {
                let failed = Err(RestartError::Failed(why.clone()));
                tell(self.waiting.drain(..).chain(self.queued.drain(..)), &failed);
            }
            Event::Restarting { .. } => self.waiting.append(&mut self.queued),
            Event::Ended { .. } => {
                let answers = self.waiting.drain(..).chain(self.queued.drain(..));
                tell(answers, &Err(RestartError::Stopping));
            }
            _ => {}
        }
        // Nobody has to listen.
        let _ = self.events.send(event);
    }
}

fn tell(
    answers: impl IntoIterator<Item = impl Into<Option<Answer>>>,
    answer: &Result<RestartReport, RestartError>,
) {
    for waiting in answers {
        if let Some(waiting) = waiting.into() {
            let _ = waiting.send(answer.clone());
        }
    }
}
