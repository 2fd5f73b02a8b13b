//! The releases of a service: which serves, which to go back to, and which nobody needs any more.
//! Pure: no files, no clock.

mod manifest;
mod mark;
mod record;

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

pub use manifest::{Entry, Manifest};
pub use mark::{Mark, ReleaseLink};
pub use record::{Record, Served, Stamp};

use crate::model::{self, ReleaseName};

/// What is below `ROOT` at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Releases {
    /// What the link names, whether it is there or not.
    pub current: Option<ReleaseName>,
    pub next: Option<ReleaseName>,
    /// Links that cannot be switched, because something else has their name.
    pub blocked: Vec<ReleaseLink>,
    /// By name.
    pub all: Vec<Found>,
}

/// One directory in `ROOT/releases`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: ReleaseName,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours(Box<Record>),
    /// Somebody else put it there: it is never removed.
    Foreign,
    /// Its record does not say what it has to, and why.
    Damaged(String),
}

impl Releases {
    pub fn has(&self, name: &ReleaseName) -> bool {
        self.all.iter().any(|found| found.name == *name)
    }

    pub fn record(&self, name: &ReleaseName) -> Option<&Record> {
        self.records().find(|record| record.name == *name)
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.all.iter().filter_map(|found| match &found.kind {
            Kind::Ours(record) => Some(record.as_ref()),
            Kind::Foreign | Kind::Damaged(_) => None,
        })
    }

    /// What the running process was started from, also where somebody has switched `current` by
    /// hand since.
    pub fn serving(&self) -> Option<&ReleaseName> {
        let served = self.records().filter(|record| record.served.is_some());
        let newest = served.max_by_key(|record| (record.last_served(), &record.name))?;
        Some(&newest.name)
    }

    /// Where to roll back to: of the good ones that came to serve before the current one, that
    /// which served last. So a second roll back leads further back, and not to what was left.
    /// Where none is older it is one of the others.
    pub fn previous(&self) -> Option<&ReleaseName> {
        let current = self.current.as_ref();
        let since = current.and_then(|name| self.record(name));
        let since = since.map(Record::first_use);
        let others = self
            .records()
            .filter(|record| record.is_good() && Some(&record.name) != current);
        let newest = others.max_by_key(|record| {
            let is_older = since.is_none_or(|since| record.first_use() < since);
            (is_older, record.last_served(), &record.name)
        })?;
        Some(&newest.name)
    }

    /// How it will be once `release` serves: what a deployment that is planned has to go by.
    #[must_use]
    pub fn once_served(&self, release: &ReleaseName, now: SystemTime) -> Self {
        let mut later = self.clone();
        later.current = Some(release.clone());
        let known = self.record(release).cloned();
        let mut record = known.unwrap_or_else(|| Record::new(release.clone(), now));
        record.mark(Mark::Served, now);
        later.all.retain(|found| found.name != *release);
        later.all.push(Found {
            name: release.clone(),
            kind: Kind::Ours(Box::new(record)),
        });
        later.all.sort_by(|one, two| one.name.cmp(&two.name));
        later
    }
}

/// The releases that nobody needs: of those beyond the newest `keep` the ones that are older than
/// `keep_days`, where that is given. How new one is counts from when it last came to serve.
///
/// What `current` and `next` name, what serves, and what to roll back to is always needed.
pub fn to_remove(
    releases: &Releases,
    config: &model::Release,
    now: SystemTime,
) -> Vec<ReleaseName> {
    let needed = [
        releases.current.as_ref(),
        releases.next.as_ref(),
        releases.serving(),
        releases.previous(),
    ];
    let mut records: Vec<&Record> = releases.records().collect();
    records.sort_by_key(|record| Reverse((record.last_use(), &record.name)));
    let keep = usize::try_from(config.keep).unwrap_or(usize::MAX);
    let days = config.keep_days.map(|days| DAY.saturating_mul(days));
    let is_old = |record: &Record| {
        let age = now.duration_since(record.last_use().time());
        days.is_none_or(|days| age.is_ok_and(|age| age > days))
    };
    records
        .into_iter()
        .skip(keep)
        .filter(|record| is_old(record) && !needed.contains(&Some(&record.name)))
        .map(|record| record.name.clone())
        .collect()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Releases that changed data in a way that `to` may not know, should it serve after `from`; the
/// one that changed them first comes first.
///
/// Those are all that migrated since `to` first served, also if they did not come to serve
/// themselves. On the way to a newer release there are none: it brings its own migration.
pub fn crossed(releases: &Releases, from: &ReleaseName, to: &ReleaseName) -> Vec<ReleaseName> {
    let since = releases.record(to).map(Record::first_use);
    if from == to || releases.record(from).map(Record::first_use) < since {
        return Vec::new();
    }
    let mut crossed: Vec<(Stamp, &ReleaseName)> = releases
        .records()
        .filter(|record| record.name != *to)
        .filter_map(|record| Some((record.migrated?, &record.name)))
        .filter(|(migrated, _)| Some(*migrated) > since)
        .collect();
    crossed.sort();
    crossed.into_iter().map(|(_, name)| name.clone()).collect()
}

/// The name of a release that got none: the second in which it is made, in UTC, and a number
/// behind it if that is taken.
pub fn default_name(now: SystemTime, releases: &Releases) -> ReleaseName {
    let time = Stamp::new(now).seconds();
    let time = time.trim_end_matches('Z').replace(':', ".");
    let numbered = (2..).map(|number| format!("{time}-{number}"));
    let mut names = std::iter::once(time.clone())
        .chain(numbered)
        .map(|name| ReleaseName::parse(&name).expect("digits, `-`, `T` and `.`"));
    names
        .find(|name| !releases.has(name))
        .expect("there are fewer releases than numbers")
}

#[cfg(test)]
mod tests;
