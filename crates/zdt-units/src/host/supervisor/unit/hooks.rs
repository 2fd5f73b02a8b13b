//! The commands of a stop, which run beside the process that stops.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::drive::Driver;
use super::seen::Listeners;
use crate::host::supervisor::event::Event;
use crate::host::supervisor::hook::{self, HookFailed};
use crate::host::supervisor::launch;
use crate::host::supervisor::process::Process;
use crate::host::supervisor::start::Told;
use crate::host::supervisor::state::{Hook, Input};

/// The command that runs, if one does.
pub(super) struct Hooks {
    running: Option<AbortHandle>,
    ended: mpsc::UnboundedReceiver<Ended>,
    ends: mpsc::UnboundedSender<Ended>,
}

pub(super) type Ended = (Hook, Result<(), HookFailed>);

impl Default for Hooks {
    fn default() -> Self {
        let (ends, ended) = mpsc::unbounded_channel();
        Self {
            running: None,
            ended,
            ends,
        }
    }
}

impl Hooks {
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Until one has ended. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => ended,
            None => pending().await,
        }
    }

    /// Kills it.
    pub(super) fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

impl Driver {
    pub(super) fn run_hook(&mut self, hook: Hook, limit: Duration) {
        let launch = Arc::clone(&self.definition.launch);
        let pid = self.process.as_ref().map_or(0, Process::main);
        let ends = self.hooks.ends.clone();
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
        self.hooks.running = Some(running.abort_handle());
    }

    pub(super) fn hook_ended(&mut self, (hook, done): Ended, to: &mut Listeners) {
        self.hooks.running = None;
        if let Err(failed) = done {
            let why = failed.to_string();
            self.tell(Event::HookFailed { hook, why }, to);
        }
        self.feed(Input::HookEnded, to);
    }
}
