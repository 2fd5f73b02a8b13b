//! Takes services away, and puts back what they replaced.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::plan::Gap;
use super::seen::{Seen, UnitSeen};
use super::steps::{is_socket, reach, step};
use super::take_over::{put_back, record, start};
use super::text::{UnitText, canonical, owner};
use crate::model::{Name, UnitName};
use crate::plan::{Act, Step};

/// What `uninstall` will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uninstall {
    pub units: Vec<UnitName>,
    /// Drop-ins stay, because someone else wrote them.
    pub drop_ins: Vec<PathBuf>,
    pub gaps: Vec<Gap>,
    pub steps: Vec<Step>,
}

const SMALL: Duration = Duration::from_secs(30);

/// Takes away everything of ours that belongs to `names`.
pub fn uninstall(names: &[Name], seen: &Seen) -> Uninstall {
    let mut plan = Uninstall::default();
    let live = seen.place.runtime.is_some();
    for name in names {
        let belongs = |unit: &&UnitSeen| {
            let text = UnitText::read(unit.text().unwrap_or_default());
            unit.is_ours() && owner(unit.unit.as_str(), &text).as_ref() == Some(name)
        };
        let units: Vec<&UnitSeen> = seen.units.iter().filter(belongs).collect();
        if units.is_empty() {
            continue;
        }
        plan.units
            .extend(units.iter().map(|seen| seen.unit.clone()));
        plan.drop_ins.extend(
            units
                .iter()
                .flat_map(|seen| &seen.drop_ins)
                .map(|drop_in| drop_in.path.clone()),
        );
        let taken = units.iter().find_map(|seen| seen.taken_over.clone());
        let taken = taken.unwrap_or_default();
        if live {
            plan.steps.extend(stop(name, &units, seen));
        }
        // A unit of another name was there all the time.
        let is_there = taken.files.is_empty();
        if live && is_there {
            plan.steps.extend(start(&taken));
        }
        plan.steps.push(remove(name, &units, seen));
        plan.steps.extend(put_back(&taken));
        if live {
            plan.steps.push(step(SMALL, Act::Reload));
        }
        if live && !is_there {
            plan.steps.extend(start(&taken));
        }
        if live && !taken.start.is_empty() {
            plan.gaps.push(way_back(name, &units));
        }
    }
    plan
}

/// Services before their sockets: what was accepted is finished first. All at
/// once, or traffic on a socket would start its service again.
fn stop(name: &Name, units: &[&UnitSeen], seen: &Seen) -> Option<Step> {
    let instance = format!("{name}@");
    let instances = seen
        .units
        .iter()
        .filter(|seen| seen.unit.as_str().starts_with(&instance));
    let mut active: Vec<&UnitSeen> = units
        .iter()
        .copied()
        .chain(instances)
        .filter(|seen| seen.is_active())
        .collect();
    active.sort_by_key(|seen| is_socket(&seen.unit));
    let mut units: Vec<UnitName> = active.iter().map(|seen| seen.unit.clone()).collect();
    units.dedup();
    (!units.is_empty()).then(|| step(stop_limit(&active) + SMALL, Act::Stop { units }))
}

/// What the manager gives the slowest of them.
fn stop_limit(units: &[&UnitSeen]) -> Duration {
    let limits = units.iter().filter_map(|seen| {
        let text = UnitText::read(seen.text()?);
        let micros = canonical("TimeoutStopSec", text.value("Service", "TimeoutStopSec")?);
        Some(Duration::from_micros(micros.parse().ok()?))
    });
    limits.max().unwrap_or_default()
}

fn remove(name: &Name, units: &[&UnitSeen], seen: &Seen) -> Step {
    let place = &seen.place;
    let mut paths: Vec<PathBuf> = Vec::new();
    for unit in units {
        paths.extend(unit.links.iter().map(|link| place.path(link)));
        paths.push(place.path(unit.unit.as_str()));
        paths.extend(
            unit.outdated_run
                .iter()
                .filter_map(|_| Some(place.runtime.as_ref()?.join(unit.unit.as_str()))),
        );
        if unit.taken_over.is_some() {
            paths.push(place.path(&record(&UnitName::service(name))));
        }
    }
    step(SMALL, Act::Remove { paths })
}

fn way_back(name: &Name, units: &[&UnitSeen]) -> Gap {
    let reach: Vec<_> = units
        .iter()
        .filter(|seen| is_socket(&seen.unit))
        .flat_map(|seen| {
            let text = UnitText::read(seen.text().unwrap_or_default());
            let listen = text
                .values("Socket", "ListenStream")
                .into_iter()
                .filter_map(reach);
            listen.collect::<Vec<_>>()
        })
        .collect();
    Gap {
        why: format!(
            "what `{name}` replaced listens by itself; clients are refused from the moment when \
             the sockets are closed until it listens"
        ),
        before: reach.clone(),
        after: reach,
    }
}

/// What goes and what comes; a plan without its steps.
#[derive(Debug)]
pub struct Changes<'p>(&'p Uninstall);

impl Uninstall {
    pub fn changes(&self) -> Changes<'_> {
        Changes(self)
    }
}

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        for unit in &plan.units {
            writeln!(f, "remove `{unit}`")?;
        }
        for path in &plan.drop_ins {
            writeln!(f, "note: `{}` stays, someone else wrote it", path.display())?;
        }
        for gap in &plan.gaps {
            writeln!(f, "\nwarning: {}", gap.why)?;
        }
        Ok(())
    }
}

impl fmt::Display for Uninstall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes().fmt(f)?;
        if !self.steps.is_empty() {
            writeln!(f)?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number}. {step}")?;
        }
        Ok(())
    }
}
