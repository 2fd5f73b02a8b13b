//! What differs between a unit as it is and as it is wanted, and what the difference costs.

use std::fmt;

use super::seen::UnitSeen;
use super::text::UnitText;
use crate::model::UnitName;
use crate::plan::SocketOption;
use crate::render::{Directive, Takes};
use crate::unit_file::UnitFile;

/// One unit, and each directive of it that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitChange {
    pub unit: UnitName,
    pub change: Change,
    pub directives: Vec<DirectiveChange>,
    /// The dearest of what changes.
    pub cost: Cost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Create,
    Update,
    /// Somebody else's file gives way to ours.
    Replace,
    Unchanged,
    /// A file of ours whose unit is no longer wanted.
    Remove,
}

/// All values of one directive that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectiveChange {
    pub section: String,
    pub key: String,
    /// Empty if it was not there.
    pub old: Vec<String>,
    /// Empty if it goes away.
    pub new: Vec<String>,
    pub cost: Cost,
}

/// What it takes until a change counts; the dearer one is the greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    Nothing,
    /// Nothing either, because it is set on the open socket.
    OnSocket,
    /// It counts from the next restart of this service on.
    Restart(UnitName),
    /// The listening socket is closed.
    Closes(UnitName),
}

/// What is active, for the price of a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running<'a> {
    /// The service that runs on the unit, or is it.
    pub(super) service: Option<&'a UnitName>,
}

pub(super) fn compare(
    wanted: &UnitFile,
    seen: Option<&UnitSeen>,
    running: Running<'_>,
) -> UnitChange {
    let new = wanted.to_string();
    let old = seen.and_then(UnitSeen::text);
    let active = seen.is_some_and(UnitSeen::is_active);
    let unit = wanted.name.clone();
    let is_socket = unit.as_str().ends_with(".socket");
    // A socket cannot be opened while its service runs.
    let opening = match running.service {
        Some(service) if is_socket && !active => Cost::Restart(service.clone()),
        _ => Cost::Nothing,
    };
    let Some(old) = old else {
        return UnitChange {
            unit,
            change: Change::Create,
            directives: Vec::new(),
            cost: opening,
        };
    };
    if old == new {
        return UnitChange {
            unit,
            change: Change::Unchanged,
            directives: Vec::new(),
            cost: opening,
        };
    }
    let is_foreign = seen.is_some_and(UnitSeen::is_foreign);
    let directives = match is_foreign && !is_socket {
        // All of it differs, and all of it has the same price.
        true => Vec::new(),
        false => differences(&UnitText::read(old), &UnitText::read(&new), |key| {
            price(key, &unit, active, running)
        }),
    };
    let opening = match running.service {
        Some(service) if is_foreign && !is_socket => Cost::Restart(service.clone()),
        _ => opening,
    };
    let dearest = directives.iter().map(|change| change.cost.clone()).max();
    UnitChange {
        unit,
        change: match is_foreign {
            true => Change::Replace,
            false => Change::Update,
        },
        directives,
        cost: dearest.unwrap_or(Cost::Nothing).max(opening),
    }
}

/// Each directive whose values differ; of lists only the values that do.
pub(super) fn differences(
    old: &UnitText,
    new: &UnitText,
    price: impl Fn(&str) -> Cost,
) -> Vec<DirectiveChange> {
    let mut keys = new.keys();
    for key in old.keys() {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.into_iter()
        .filter_map(|(section, key)| {
            let (before, after) = (old.values(section, key), new.values(section, key));
            if before == after {
                return None;
            }
            let only = |these: &[&str], others: &[&str]| -> Vec<String> {
                let differ = these.iter().filter(|value| !others.contains(value));
                differ.map(|value| (*value).to_owned()).collect()
            };
            let (mut left, mut right) = (only(&before, &after), only(&after, &before));
            if left.is_empty() && right.is_empty() {
                // Only their order.
                left = before.iter().map(|value| (*value).to_owned()).collect();
                right = after.iter().map(|value| (*value).to_owned()).collect();
            }
            Some(DirectiveChange {
                section: section.to_owned(),
                key: key.to_owned(),
                old: left,
                new: right,
                cost: price(key),
            })
        })
        .collect()
}

fn price(key: &str, unit: &UnitName, active: bool, running: Running<'_>) -> Cost {
    let takes = Directive::named(key).map(|directive| directive.takes);
    let restart = || match running.service {
        Some(service) => Cost::Restart(service.clone()),
        None => Cost::Nothing,
    };
    match (unit.as_str().ends_with(".socket"), takes) {
        (_, Some(Takes::Reload)) => Cost::Nothing,
        (true, Some(Takes::OpenSocket)) if active => Cost::OnSocket,
        // What is not known may be anything; the careful answer differs.
        (true, Some(Takes::Rebind) | None) if active => Cost::Closes(unit.clone()),
        (true, Some(Takes::OpenSocket | Takes::Rebind) | None) => Cost::Nothing,
        (_, _) => restart(),
    }
}

impl UnitChange {
    pub fn writes(&self) -> bool {
        matches!(
            self.change,
            Change::Create | Change::Update | Change::Replace
        )
    }

    /// What can be set on the open socket.
    pub(super) fn socket_options(&self) -> Vec<SocketOption> {
        self.directives
            .iter()
            .filter(|change| change.cost == Cost::OnSocket)
            .filter_map(|change| {
                let value = change.new.last().map_or("", String::as_str);
                let number = value.trim_end_matches('s').parse().unwrap_or(0);
                Some(match change.key.as_str() {
                    "Backlog" => SocketOption::Backlog(number),
                    "NoDelay" => SocketOption::NoDelay(value == "yes"),
                    "DeferAcceptSec" => SocketOption::DeferAccept(number),
                    "SocketMode" => {
                        SocketOption::Mode(u32::from_str_radix(value, 8).unwrap_or(0o666))
                    }
                    "SocketUser" if value.is_empty() => SocketOption::User("root".to_owned()),
                    "SocketUser" => SocketOption::User(value.to_owned()),
                    "SocketGroup" if value.is_empty() => SocketOption::Group("root".to_owned()),
                    "SocketGroup" => SocketOption::Group(value.to_owned()),
                    _ => return None,
                })
            })
            .collect()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("costs nothing"),
            Self::OnSocket => f.write_str("costs nothing, it is set on the open socket"),
            Self::Restart(service) => write!(f, "counts from the next restart of `{service}`"),
            Self::Closes(socket) => write!(f, "closes `{socket}`"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Unchanged => "unchanged",
            Self::Remove => "remove",
        })
    }
}

impl fmt::Display for UnitChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.change, self.unit)?;
        match (self.change, &self.cost) {
            (_, Cost::Nothing) if self.change != Change::Update => {}
            (Change::Update, _) if self.directives.is_empty() => f.write_str(" (comments)")?,
            (Change::Update, _) => {}
            (_, cost) => write!(f, ": {cost}")?,
        }
        for change in &self.directives {
            write!(f, "\n    {change}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DirectiveChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, cost, .. } = self;
        let (old, new) = (self.old.join(", "), self.new.join(", "));
        match (old.as_str(), new.as_str()) {
            ("", new) => write!(f, "{key}={new} is new: {cost}"),
            (old, "") => write!(f, "{key}={old} goes: {cost}"),
            (old, new) => write!(f, "{key}={old} becomes {new}: {cost}"),
        }
    }
}
