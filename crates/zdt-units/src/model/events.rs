//! Where events go.

use std::time::Duration;

use super::{AbsolutePath, Mistake};
use crate::config::{list, nearest};
use crate::event::KINDS;

/// `[events]` as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    pub file: EventFile,
    /// A file above this is put aside.
    pub max_bytes: u64,
    /// How many older files are kept.
    pub keep: u32,
    pub journal: bool,
    /// For the textfile collector of node_exporter.
    pub metrics: Option<AbsolutePath>,
    pub webhooks: Vec<Webhook>,
    pub hooks: Vec<Hook>,
}

/// Where the file of events is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFile {
    /// `events.jsonl` where logs are.
    Usual,
    At(AbsolutePath),
    Nowhere,
}

/// Who is told by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: Url,
    pub format: Format,
    pub on: Vec<Wanted>,
    /// For one attempt.
    pub timeout: Duration,
    pub retries: u32,
    /// `Name: value` on each line.
    pub headers_file: Option<AbsolutePath>,
}

/// An address, or the file that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    Written(String),
    InFile(AbsolutePath),
}

/// What a webhook takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Slack,
    Discord,
    Sentry,
}

/// Where a project of Sentry takes events, by its DSN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    pub endpoint: String,
    /// Its public key.
    pub key: String,
}

impl Dsn {
    /// `https://KEY@HOST/PROJECT`; there may be a path before the project.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let (key, place) = rest.split_once('@')?;
        // Old ones have a secret behind it, which nobody asks for any more.
        let key = key.split(':').next().filter(|key| !key.is_empty())?;
        let (place, project) = place.trim_end_matches('/').rsplit_once('/')?;
        let is_id = !project.is_empty() && project.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then(|| Self {
            endpoint: format!("{scheme}://{place}/api/{project}/envelope/"),
            key: key.to_owned(),
        })
    }
}

/// A program that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program is looked up on `PATH` if it has no slash.
    pub command: Vec<String>,
    pub on: Vec<Wanted>,
    pub timeout: Duration,
}

/// Events that somebody wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// Something is about to be done.
    Started,
    Finished,
    /// Refused, a step that failed, or an end that is not the wanted one.
    Failed,
    Kind(&'static str),
}

impl Default for Events {
    fn default() -> Self {
        Self {
            file: EventFile::Usual,
            max_bytes: 10 << 20,
            keep: 5,
            journal: true,
            metrics: None,
            webhooks: Vec::new(),
            hooks: Vec::new(),
        }
    }
}

impl Wanted {
    /// Words for several kinds.
    const GROUPS: [&str; 4] = ["all", "failed", "finished", "started"];

    pub fn parse(text: &str) -> Result<Self, Mistake> {
        match text {
            "all" => return Ok(Self::All),
            "started" => return Ok(Self::Started),
            "finished" => return Ok(Self::Finished),
            "failed" => return Ok(Self::Failed),
            _ => {}
        }
        if let Some(kind) = KINDS.iter().find(|kind| **kind == text) {
            return Ok(Self::Kind(kind));
        }
        let known = [&Self::GROUPS, KINDS].concat();
        let mistake = Mistake::new(format!("`{text}` is not a kind of event"));
        Err(match nearest(text, &known) {
            Some(meant) => mistake.hint(format!("did you mean `{meant}`?")),
            None => mistake.hint(format!("there are {}", list(&known))),
        })
    }
}
