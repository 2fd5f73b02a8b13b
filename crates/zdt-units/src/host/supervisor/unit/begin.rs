//! How a process of a unit begins: what can be done for it is done while the one before it still serves, and what is
//! left when that one has ended.

#![expect(
    clippy::disallowed_methods,
    reason = "when a process began is told by the clock on the wall"
)]

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};

use super::Answer;
use super::drive::{Driver, settle};
use super::seen::Listeners;
use crate::host::Failure;
use crate::host::supervisor::RestartError;
use crate::host::supervisor::launch::Launch;
use crate::host::supervisor::output::Output;
use crate::host::supervisor::process::Process;
use crate::host::supervisor::start::{self, Start, StartError, Told};
use crate::host::supervisor::state::Input;
use crate::model::Values;

/// How long a helper may take to be ready for its program before it is no longer waited for.
const PREPARE_LIMIT: Duration = Duration::from_secs(1);

/// The next process, before its time.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// Its helper, and until when it is waited for.
    helper: Option<(Process, Instant)>,
    /// Who wants it: restarts that begin when the helper waits.
    wanted: Vec<Option<Answer>>,
}

impl Next {
    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Until the helper waits for its program, or was waited for long enough.
    pub(super) async fn is_prepared(&self) {
        if let Some((helper, until)) = &self.helper {
            let _ = timeout_at(*until, helper.waits()).await;
        }
    }

    pub(super) fn take_wanted(&mut self) -> Vec<Option<Answer>> {
        std::mem::take(&mut self.wanted)
    }

    pub(super) fn drop_helper(&mut self) {
        self.helper = None;
    }

    /// Where this fails it is told at the start, which tries again.
    fn prepare(&mut self, launch: &Launch, output: &Output) {
        if self.helper.is_none() {
            let until = Instant::now() + PREPARE_LIMIT;
            let helper = start::prepare(launch, output);
            self.helper = helper.ok().map(|helper| (helper, until));
        }
    }

    /// The helper that was prepared, or else one made now.
    fn take_helper(&mut self, launch: &Launch, output: &Output) -> Result<Process, StartError> {
        match self.helper.take() {
            Some((helper, _)) if !helper.has_ended() => Ok(helper),
            _ => start::prepare(launch, output),
        }
    }
}

impl Driver {
    /// Clients wait from the end of one process to the start of the next, so whatever can be done for that one before is
    /// done first.
    pub(super) fn restart(&mut self, answer: Option<Answer>, to: &mut Listeners) {
        if self.process.is_none() {
            return self.job(Input::Restart, answer, to);
        }
        self.next.prepare(&self.definition.launch, &self.output);
        self.next.wanted.push(answer);
    }

    pub(super) fn prepare_nothing(&mut self) {
        self.next.drop_helper();
        let answers = self.next.take_wanted().into_iter().flatten();
        settle(answers, &Err(RestartError::Stopping));
    }

    pub(super) fn launch(&mut self, to: &mut Listeners) {
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
        let definition = &self.definition;
        let helper = self.next.take_helper(&definition.launch, &self.output)?;
        helper.invocation().clone_into(&mut self.invocation);
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
        start.run(helper)
    }

    /// What is filled in where `zdt.toml` asks for it, and what is told in the environment.
    pub(super) fn known(&self) -> (Values, Vec<(String, String)>) {
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
}
