//! The one reader for all who watch: on a thread of its own, and only while somebody does.

#![expect(clippy::disallowed_methods, reason = "commands read the wall clock")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::super::Failed;
use super::super::config_file::Read;
use super::super::operation::runtime;
use super::super::scope::Scope;
use super::follow::Follow;
use crate::cli::DashboardArgs;
use crate::host::any::AnyHost;
use crate::report::dashboard::{Doctor, Kept, View, page, parts};
use crate::status::Status;

mod look;

/// Between two looks at services.
const LOOK: Duration = Duration::from_secs(1);

/// Between two looks for events, as for `events --follow`.
const FOLLOW: Duration = Duration::from_millis(200);

/// Between two examinations by `doctor`.
const EXAMINE: Duration = Duration::from_secs(60);

/// How long a page waits for what it is to show.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was seen, as everybody gets it.
#[derive(Debug)]
pub(super) struct Frame {
    looked: Option<Instant>,
    followed: Option<Instant>,
    /// The whole page.
    pub(super) page: Bytes,
    /// As `zdt-units status --json` prints it, or why not.
    pub(super) status: Result<Bytes, String>,
    pub(super) parts: Vec<Sent>,
}

impl Frame {
    /// Whether there is anything in it.
    fn has_looked(&self) -> bool {
        self.looked.is_some()
    }
}

/// A part of the page as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Another one with each change.
    pub(super) version: u64,
    pub(super) event: Bytes,
}

/// What those who watch share.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    frames: watch::Sender<Arc<Frame>>,
    watchers: watch::Sender<usize>,
}

/// Somebody watches until it is dropped.
#[derive(Debug)]
pub(super) struct Lease(watch::Sender<usize>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Watched {
    pub(super) fn lease(&self) -> Lease {
        self.watchers.send_modify(|count| *count += 1);
        Lease(self.watchers.clone())
    }

    pub(super) fn frames(&self) -> watch::Receiver<Arc<Frame>> {
        self.frames.subscribe()
    }

    /// What was seen a second ago at the most.
    pub(super) async fn now(&self) -> Option<Arc<Frame>> {
        let since = Instant::now() - LOOK;
        let _lease = self.lease();
        let mut frames = self.frames.subscribe();
        let is_new = |at: Option<Instant>| at.is_some_and(|at| at >= since);
        let fresh = frames.wait_for(|frame| is_new(frame.looked) && is_new(frame.followed));
        let fresh = timeout(PATIENCE, fresh).await.ok()?.ok()?;
        Some(fresh.clone())
    }
}

/// Where services are, and whom to ask about them.
struct Reached {
    read: Read,
    scope: Scope,
    /// Of `zdt.toml`, by which a change is seen.
    stamp: look::Stamp,
}

#[derive(Debug)]
struct Seen {
    looked: Option<Instant>,
    followed: Option<Instant>,
    at: SystemTime,
    status: Result<Status, String>,
    releases: Vec<Kept>,
    doctor: Doctor,
    notes: Vec<String>,
}

pub(super) struct Reader {
    args: DashboardArgs,
    watched: Watched,
    reached: RefCell<Rc<Reached>>,
    /// A launcher is connected to for each question.
    systemd: RefCell<Option<Rc<AnyHost>>>,
    seen: RefCell<Seen>,
    follow: RefCell<Follow>,
    /// Of the last frame.
    shown: RefCell<Vec<(String, Sent)>>,
}

impl Reader {
    /// Nothing is looked at before somebody asks.
    pub(super) fn start(
        args: DashboardArgs,
        (read, scope): (Read, Scope),
    ) -> Result<Watched, Failed> {
        let nothing = Frame {
            looked: None,
            followed: None,
            page: Bytes::new(),
            status: Err("nothing was looked at yet".to_owned()),
            parts: Vec::new(),
        };
        let watched = Watched {
            frames: watch::Sender::new(Arc::new(nothing)),
            watchers: watch::Sender::new(0),
        };
        let shared = watched.clone();
        let runtime = runtime()?;
        let begin = move || {
            let reader = Self {
                follow: RefCell::new(Follow::new(&read.model, &scope)),
                reached: RefCell::new(Rc::new(Reached::new(read, scope))),
                systemd: RefCell::new(None),
                args,
                watched: shared,
                seen: RefCell::new(Seen {
                    looked: None,
                    followed: None,
                    at: SystemTime::UNIX_EPOCH,
                    status: Err("nothing was looked at yet".to_owned()),
                    releases: Vec::new(),
                    doctor: Doctor::NotYet,
                    notes: Vec::new(),
                }),
                shown: RefCell::new(Vec::new()),
            };
            runtime.block_on(async {
                tokio::join!(reader.looks(), reader.follows(), reader.examines())
            });
        };
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(begin)
            .map_err(|error| Failed::unexpected(format!("failed to start a thread: {error}")))?;
        Ok(watched)
    }

    /// Until somebody watches.
    async fn wanted(&self) {
        let mut watchers = self.watched.watchers.subscribe();
        // The sender is in `self`, so the wait cannot fail.
        let _ = watchers.wait_for(|count| *count > 0).await;
    }

    async fn follows(&self) {
        loop {
            self.wanted().await;
            let began = Instant::now();
            let changed = self.follow.borrow_mut().read();
            self.seen.borrow_mut().followed = Some(began);
            if changed && self.seen.borrow().looked.is_some() {
                self.publish();
            }
            sleep(FOLLOW).await;
        }
    }

    fn publish(&self) {
        let seen = self.seen.borrow();
        let follow = self.follow.borrow();
        let now = SystemTime::now();
        let view = View {
            at: seen.at,
            status: seen.status.clone(),
            running: follow.running(now),
            past: follow.operations.past().cloned().collect(),
            releases: seen.releases.clone(),
            doctor: seen.doctor.clone(),
            events: follow.lines.iter().rev().cloned().collect(),
            notes: seen.notes.iter().chain(&follow.troubles).cloned().collect(),
        };
        let status = match &view.status {
            Ok(status) => {
                let json = serde_json::to_string(status);
                Ok((json.expect("a status has nothing that JSON has not") + "\n").into())
            }
            Err(why) => Err(why.clone()),
        };
        let frame = Frame {
            looked: seen.looked,
            followed: seen.followed,
            page: page(&view).into(),
            status,
            parts: self.sent(&view),
        };
        self.watched.frames.send_replace(Arc::new(frame));
    }

    /// The parts, those that have not changed as they were.
    fn sent(&self, view: &View) -> Vec<Sent> {
        let mut shown = self.shown.borrow_mut();
        let parts = parts(view).into_iter().enumerate();
        *shown = parts
            .map(|(place, part)| {
                let before = shown.get(place);
                match before.filter(|(html, _)| *html == part.html) {
                    Some(before) => before.clone(),
                    None => {
                        let version = before.map_or(1, |(_, sent)| sent.version + 1);
                        let event = super::stream::event(part.id, &part.html);
                        (part.html, Sent { version, event })
                    }
                }
            })
            .collect();
        shown.iter().map(|(_, sent)| sent.clone()).collect()
    }
}

impl Reached {
    fn new(read: Read, scope: Scope) -> Self {
        Self {
            stamp: look::stamp(&read.path),
            read,
            scope,
        }
    }
}
