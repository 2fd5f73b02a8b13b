//! What is on disk and in the manager at one moment. Data only; the hosts fill it in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::text::{UnitText, is_ours};
use crate::model::{Address, Name, UnitName};
use crate::observe::{Active, Load, UnitState};

/// Where units are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the root of an image is; `/` on a live machine.
    pub root: PathBuf,
    /// As the manager sees it: `/etc/systemd/system`.
    pub directory: PathBuf,
    /// Where it is noted which processes are older than their unit; none in an image.
    pub runtime: Option<PathBuf>,
}

impl Place {
    /// The path of a file in the directory, from here.
    pub fn path(&self, name: &str) -> PathBuf {
        let inside = self.directory.strip_prefix("/").unwrap_or(&self.directory);
        self.root.join(inside).join(name)
    }

    /// As the manager will see it.
    pub fn managed(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Everything that a plan is made from, besides the wish itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub place: Place,
    pub units: Vec<UnitSeen>,
    /// Who listens where a wanted socket is to listen.
    pub holders: Vec<Holder>,
    /// Services of which no release is there yet.
    pub undeployed: Vec<Name>,
}

/// One name of a unit: its file, and what the manager makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSeen {
    pub unit: UnitName,
    pub file: Option<FileSeen>,
    /// Links that enable it, below the directory: `multi-user.target.wants/shop.service`.
    pub links: Vec<String>,
    /// Files of the same name in other directories that systemd reads.
    pub copies: Vec<Copied>,
    pub drop_ins: Vec<DropIn>,
    /// None where there is no manager to ask.
    pub loaded: Option<Loaded>,
    /// The run that was going on when a change was made that it has not seen.
    pub outdated_run: Option<String>,
    pub taken_over: Option<TakenOver>,
}

/// A file at its place in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSeen {
    Text(String),
    /// A link to `/dev/null`.
    Mask,
}

/// A file of the same name elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub path: PathBuf,
    pub is_ours: bool,
}

/// A file `NAME.d/*.conf` that is read after the unit's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropIn {
    pub path: PathBuf,
    pub text: String,
}

/// What the manager knows about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub state: UnitState,
    /// The file that it read; empty if there is none.
    pub fragment: PathBuf,
    /// Units whose traffic or time starts it.
    pub triggered_by: Vec<UnitName>,
    /// It has commands of its own to stop it.
    pub stops_itself: bool,
    /// Some of its directives, in one spelling each.
    pub values: BTreeMap<String, Vec<String>>,
}

/// A listening socket in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The wanted address.
    pub address: Address,
    pub pid: Option<u32>,
    pub program: Option<String>,
    /// The socket unit if the manager holds it, else the unit whose process does.
    pub unit: Option<UnitName>,
}

/// What is needed to put a service back that was taken over. Kept beside the new units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// To start again, in this order.
    pub start: Vec<String>,
    /// Files that were put aside: where each belongs, and where it is.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Links that enabled it, each with what it pointed to.
    pub links: Vec<(PathBuf, PathBuf)>,
}

impl Seen {
    pub fn unit(&self, unit: &UnitName) -> Option<&UnitSeen> {
        self.units.iter().find(|seen| seen.unit == *unit)
    }

    /// Units that this program wrote.
    pub fn ours(&self) -> impl Iterator<Item = &UnitSeen> {
        self.units.iter().filter(|seen| seen.is_ours())
    }
}

impl UnitSeen {
    pub fn text(&self) -> Option<&str> {
        match &self.file {
            Some(FileSeen::Text(text)) => Some(text),
            Some(FileSeen::Mask) | None => None,
        }
    }

    pub fn is_ours(&self) -> bool {
        self.text().is_some_and(is_ours)
    }

    /// There is a unit of this name, and someone else wrote it.
    pub fn is_foreign(&self) -> bool {
        match self.text() {
            Some(text) => !is_ours(text),
            None => match &self.loaded {
                None => self.copies.iter().any(|copy| !copy.is_ours),
                Some(loaded) => {
                    let ours = |copy: &Copied| copy.is_ours && copy.path == loaded.fragment;
                    loaded.state.load == Load::Loaded
                        && !loaded.fragment.as_os_str().is_empty()
                        && !self.copies.iter().any(ours)
                }
            },
        }
    }

    pub fn is_active(&self) -> bool {
        self.state()
            .is_some_and(|state| !matches!(state.active, Active::Inactive | Active::Failed))
    }

    pub fn state(&self) -> Option<&UnitState> {
        self.loaded.as_ref().map(|loaded| &loaded.state)
    }

    /// Its own file and its drop-ins, as one.
    pub fn effective(&self, own: &str) -> UnitText {
        let own = UnitText::read(own);
        self.drop_ins.iter().fold(own, |text, drop_in| {
            text.with(&UnitText::read(&drop_in.text))
        })
    }

    /// The running process is older than a change that counts for it.
    pub fn is_outdated(&self) -> bool {
        let run = self
            .state()
            .and_then(|state| state.instance.as_ref())
            .map(|instance| instance.invocation.as_str());
        run.is_some() && run == self.outdated_run.as_deref()
    }
}
