//! Where events go besides the one who asked. None of them can fail or delay a restart:
//! what does not get through is said, and the restart goes on.

#![expect(
    clippy::disallowed_methods,
    reason = "writes files, starts threads and programs"
)]

mod exec;
mod file;
mod journal;
mod metrics;
mod read;
mod tally;
mod webhook;

use std::path::{Path, PathBuf};

use self::exec::ExecHook;
pub use self::file::EventLog;
use self::journal::Journal;
use self::metrics::MetricsFile;
pub use self::read::EventReader;
use self::webhook::WebhookThread;
use crate::event::{EventKind, Record, is_wanted};
use crate::model::{EventFile, Events};
use crate::report::{brief, json};

/// Everything that an operation is told to.
#[derive(Debug, Default)]
pub struct Sinks {
    file: Option<EventLog>,
    journal: Option<Journal>,
    webhooks: Vec<WebhookThread>,
    hooks: Vec<ExecHook>,
    metrics: Option<MetricsFile>,
    /// Said once each; the sink is tried again with the next event.
    failed: Vec<String>,
    troubles: Vec<String>,
}

/// Whose directories and whose journal.
#[derive(Clone, Debug)]
pub struct Place {
    pub log: PathBuf,
    pub state: PathBuf,
    /// Units are those of a user's own manager.
    pub user: bool,
}

/// Where the events of `events` are on disk.
pub fn file(events: &Events, log: &Path) -> Option<PathBuf> {
    match &events.file {
        EventFile::Usual => Some(log.join("events.jsonl")),
        EventFile::At(path) => Some(PathBuf::from(path.as_str())),
        EventFile::Nowhere => None,
    }
}

impl Sinks {
    /// Within a runtime. What cannot be opened is among the troubles.
    pub fn open(events: &Events, place: &Place) -> Self {
        let mut troubles = Vec::new();
        let mut webhooks = Vec::new();
        for webhook in &events.webhooks {
            match WebhookThread::start(webhook) {
                Ok(webhook) => webhooks.push(webhook),
                Err(trouble) => troubles.push(trouble),
            }
        }
        Self {
            file: file(events, &place.log)
                .map(|path| EventLog::new(path, events.max_bytes, events.keep)),
            journal: events.journal.then(|| Journal::new(place.user)).flatten(),
            webhooks,
            hooks: events.hooks.iter().map(ExecHook::start).collect(),
            metrics: events
                .metrics
                .as_ref()
                .map(|path| MetricsFile::new(PathBuf::from(path.as_str()), &place.state)),
            failed: Vec::new(),
            troubles,
        }
    }

    /// Quick: what takes time happens elsewhere.
    pub fn take(&mut self, record: &Record) {
        let line = json::line(record);
        if let Some(file) = &mut self.file {
            let last = matches!(record.event.kind, EventKind::Finished { .. });
            let written = match last {
                true => file.append(&line).and_then(|()| file.sync()),
                false => file.append(&line),
            };
            if let Err(error) = written {
                let path = file.path().display();
                let trouble = format!("events are not written to `{path}`: {error}");
                self.trouble("file", trouble);
            }
        }
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.send(record)
        {
            self.journal = None;
            self.trouble(
                "journal",
                format!("the journal does not take events: {error}"),
            );
        }
        if let Some(metrics) = &self.metrics
            && let Err(trouble) = metrics.take(record)
        {
            self.trouble("metrics", trouble);
        }
        for webhook in &mut self.webhooks {
            if is_wanted(&webhook.wanted, &record.event.kind) {
                webhook.send(brief::message(record, webhook.format, &line));
            }
        }
        for hook in &mut self.hooks {
            if is_wanted(&hook.wanted, &record.event.kind) {
                hook.send(line.clone(), record.fields());
            }
        }
    }

    /// What went wrong since it was asked last.
    pub fn troubles(&mut self) -> Vec<String> {
        std::mem::take(&mut self.troubles)
    }

    /// Waits for what is still under way, each as long as it may take at most, and says what did not arrive.
    pub async fn close(self) -> Vec<String> {
        let mut missing = self.troubles;
        for webhook in self.webhooks {
            missing.extend(webhook.close().await);
        }
        for hook in self.hooks {
            missing.extend(hook.close().await);
        }
        missing
    }

    fn trouble(&mut self, sink: &str, text: String) {
        if !self.failed.iter().any(|failed| failed == sink) {
            self.failed.push(sink.to_owned());
            self.troubles.push(text);
        }
    }
}
