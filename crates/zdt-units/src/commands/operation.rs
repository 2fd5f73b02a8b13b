//! What the commands that change services have in common: where they run, how they
//! are interrupted, what they tell, and what they exit with.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read files and stamp events with the wall clock"
)]

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::Failed;
use super::scope::Scope;
pub(super) use super::stopped;
use crate::config::Colour;
use crate::event::{Event, EventKind, Outcome, Record, Records};
use crate::execute::Interrupts;
use crate::exit_code;
use crate::host::Failure;
use crate::host::sinks::{Place, Sinks};
use crate::model::Events;
use crate::report::progress::Progress;
use crate::report::{human, json};

pub(super) fn runtime() -> Result<Runtime, Failed> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failed::unexpected(format!("failed to start the runtime: {source}")))
}

pub(super) fn restart_id() -> Result<String, Failed> {
    let source = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(source)
        .map_err(|error| Failed::unexpected(format!("failed to read `{source}`: {error}")))?;
    Ok(uuid.chars().filter(char::is_ascii_hexdigit).collect())
}

/// SIGINT and SIGTERM, each time; from here on neither ends this process by itself.
pub(super) fn interrupts() -> Result<Interrupts, Failed> {
    let failed =
        |source: io::Error| Failed::unexpected(format!("failed to listen for signals: {source}"));
    let (sender, interrupts) = Interrupts::channel();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = interrupt.recv() => {}
                Some(()) = terminate.recv() => {}
                else => return,
            }
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(interrupts)
}

/// All who are told what an operation does: the one who asked, and those of `[events]`.
pub(super) struct Told {
    teller: Teller,
    sinks: Sinks,
    records: Records,
}

impl Told {
    /// Within the runtime.
    pub(super) fn open(json: bool, events: &Events, scope: &Scope) -> Self {
        let place = match scope {
            // Its log is for what happens when it runs.
            Scope::Image(_) => return Self::here(json),
            Scope::System | Scope::User { .. } | Scope::Launcher(_) => Place {
                log: scope.log(),
                state: scope.state(),
                user: matches!(scope, Scope::User { .. }),
            },
        };
        Self {
            sinks: Sinks::open(events, &place),
            ..Self::here(json)
        }
    }

    /// Only the one who asked: nothing is done.
    pub(super) fn here(json: bool) -> Self {
        Self {
            teller: Teller::new(json),
            sinks: Sinks::default(),
            records: Records::default(),
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        let (id, elapsed) = (event.restart_id.clone(), event.elapsed);
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let record = self.records.take(event, SystemTime::now());
            self.sinks.take(&record);
            self.teller.tell(&record);
            for text in self.sinks.troubles() {
                events.push(Event::new(&id, "", elapsed, EventKind::Note { text }));
            }
        }
    }

    /// What follows is of several services at once.
    pub(super) fn of_many(&mut self) {
        if let Teller::Plain { many } = &mut self.teller {
            *many = true;
        }
    }

    /// Only to the one who asked.
    pub(super) fn show(&mut self, event: Event) {
        let record = self.records.take(event, SystemTime::now());
        self.teller.tell(&record);
    }

    /// For people only.
    pub(super) fn talk(&self, text: &str) {
        self.teller.talk(text);
    }

    /// Waits for those who are still being told, and says who was not.
    pub(super) async fn finish(self) {
        drop(self.teller);
        let missing = self.sinks.close().await;
        super::note(&missing);
    }
}

/// Tells the one who asked: people on standard error, programs on standard output.
pub(super) enum Teller {
    Json,
    /// Ansible, CI, a file.
    Plain {
        /// Several services are told of at once.
        many: bool,
    },
    Terminal(Progress),
}

impl Teller {
    pub(super) fn new(json: bool) -> Self {
        let is = |name, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
        let is_set = |name| std::env::var_os(name).is_some_and(|set| !set.is_empty());
        let watched = io::stderr().is_terminal() && !is_set("CI") && !is("TERM", "dumb");
        match (json, watched) {
            (true, _) => Self::Json,
            (false, false) => Self::Plain { many: false },
            (false, true) => Self::Terminal(Progress::new(match is_set("NO_COLOR") {
                true => Colour::Never,
                false => Colour::Always,
            })),
        }
    }

    /// The report must not stop a restart that has begun, so a closed terminal is nothing here.
    pub(super) fn tell(&mut self, record: &Record) {
        match self {
            Self::Json => {
                let _ = io::stdout().write_all(json::line(record).as_bytes());
            }
            Self::Plain { many } => {
                let lines = match many {
                    true => human::lines_of_many(&record.event),
                    false => human::lines(&record.event),
                };
                let _ = io::stderr().write_all(lines.as_bytes());
            }
            Self::Terminal(progress) => progress.take(&record.event),
        }
    }

    /// For people only.
    pub(super) fn talk(&self, text: &str) {
        match self {
            Self::Json => {}
            Self::Plain { .. } => {
                let _ = io::stderr().write_all(text.as_bytes());
            }
            Self::Terminal(progress) => progress.say(text),
        }
    }
}

pub(super) fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Completed => exit_code::DONE,
        Outcome::Lossy => exit_code::LOST,
        Outcome::Stopped => exit_code::STOPPED,
        Outcome::RolledBack => exit_code::ROLLED_BACK,
        Outcome::LookNow => exit_code::LOOK_NOW,
    }
}

/// Before anything was done.
pub(super) fn untouched(failure: Failure) -> Failed {
    let reason = format!("{}; nothing was touched", failure.reason);
    stopped(Failure { reason, ..failure })
}
