//! The order of an installation.
//!
//! Files first, then one `daemon-reload`; then what needs no gap; then what
//! does, as close together as it can be; services last.

use std::path::PathBuf;
use std::time::Duration;

use super::change::{Cost, UnitChange};
use super::drift::{Drift, is_closed};
use super::others::Old;
use super::plan::{Gap, Plan, Request, moved, running};
use super::seen::UnitSeen;
use super::take_over::{kept, stops_itself};
use super::text::UnitText;
use crate::config::list;
use crate::model::{Address, Reach, Service, UnitName};
use crate::plan::{Act, Action, File, Link, OnFailure, Step, prove};
use crate::unit_file::UnitFile;

/// Files and small jobs; the disk or the manager may be busy.
pub(super) const SMALL: Duration = Duration::from_secs(30);

/// What systemd itself gives a unit to stop, and then some.
pub(super) const STOP: Duration = Duration::from_secs(100);

pub(super) fn compose(
    request: &Request<'_>,
    olds: &[Old<'_>],
    gone: &[&UnitSeen],
    plan: &mut Plan,
) {
    let compose = Compose {
        request,
        olds,
        gone,
        units: &plan.units,
    };
    let live = request.seen.place.runtime.is_some();
    let (write, remove) = (compose.write(&plan.restarts), compose.remove());
    let unread = |drift: &Drift| matches!(drift, Drift::NeedsReload { .. });
    let reload = live && (write.is_some() || remove.is_some() || plan.drift.iter().any(unread));
    let has_gone_sockets = gone
        .iter()
        .any(|seen| is_socket(&seen.unit) && seen.is_active());

    let mut steps = Vec::new();
    steps.extend(compose.stop_by_old_commands());
    steps.extend(write);
    // A socket that is open is closed by its unit, not by the loss of its file.
    let late = has_gone_sockets || gone.iter().any(|seen| seen.is_active());
    let mut late_remove = None;
    match late {
        true => late_remove = remove,
        false => steps.extend(remove),
    }
    if reload {
        steps.push(step(STOP, Act::Reload));
    }
    if live {
        steps.extend(compose.set_on_sockets());
        steps.extend(compose.stop_gone(is_socket));
        steps.extend(compose.stop_olds());
        let reopened = compose.reopen();
        steps.extend(reopened.iter().map(|socket| {
            step(
                compose.stop_limit(),
                Act::Reopen {
                    socket: socket.clone(),
                },
            )
        }));
        let restarted: Vec<&Service> = compose
            .services()
            .filter(|service| {
                service
                    .sockets
                    .iter()
                    .any(|socket| reopened.contains(&socket.unit))
            })
            .collect();
        steps.extend(compose.open());
        steps.extend(compose.start(&restarted));
        steps.extend(compose.stop_gone(|unit| !is_socket(unit)));
        plan.restarts
            .retain(|name| !restarted.iter().any(|service| service.name == *name));
        plan.restarts
            .retain(|name| !olds.iter().any(|old| old.service.name == *name));
        plan.gaps = compose.gaps(&reopened);
        if let Some(remove) = late_remove {
            steps.push(remove);
            steps.push(step(STOP, Act::Reload));
        }
    } else {
        steps.extend(late_remove);
    }
    if !olds.is_empty() && live {
        let stops = |step: &Step| {
            matches!(
                &step.action,
                Action::Install(Act::Stop { .. }) | Action::RestartUnit { .. }
            )
        };
        // Until the old process is told to stop, it serves and there is nothing to take back.
        if let Some(first) = steps.iter().position(stops) {
            for step in &mut steps[first..] {
                step.on_failure = OnFailure::RollBack;
            }
            plan.rollback = compose.rollback();
        }
    }
    plan.steps = steps;
}

pub(super) fn step(limit: Duration, act: Act) -> Step {
    Step {
        action: Action::Install(act),
        limit,
        on_failure: OnFailure::LookNow,
    }
}

pub(super) struct Compose<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) olds: &'a [Old<'a>],
    gone: &'a [&'a UnitSeen],
    units: &'a [UnitChange],
}

impl<'a> Compose<'a> {
    fn services(&self) -> impl Iterator<Item = &'a Service> {
        self.request.model.services.iter()
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = (&'a UnitFile, &'a UnitChange)> {
        self.request.wanted.iter().zip(self.units)
    }

    pub(super) fn seen(&self, unit: &UnitName) -> Option<&'a UnitSeen> {
        self.request.seen.unit(unit)
    }

    fn is_active(&self, unit: &UnitName) -> bool {
        self.seen(unit).is_some_and(UnitSeen::is_active)
    }

    /// Every file and link that is not as it is wanted, in one go.
    fn write(&self, restarts: &[crate::model::Name]) -> Option<Step> {
        let place = &self.request.seen.place;
        let mut files = Vec::new();
        let mut links = Vec::new();
        for (wanted, change) in self.wanted() {
            let seen = self.seen(&wanted.name);
            if change.writes() {
                let keep = seen.filter(|seen| seen.is_foreign() && seen.file.is_some());
                files.push(File {
                    path: place.path(wanted.name.as_str()),
                    text: wanted.to_string(),
                    keep: keep.map(|seen| place.path(&kept(&seen.unit))),
                });
            }
            let text = UnitText::read(&wanted.to_string());
            for directory in text.wanted_in() {
                let link = format!("{directory}/{}", wanted.name);
                if !seen.is_some_and(|seen| seen.links.contains(&link)) {
                    links.push(Link {
                        path: place.path(&link),
                        target: place.managed(wanted.name.as_str()),
                    });
                }
            }
        }
        files.extend(self.olds.iter().map(|old| self.record(old)));
        files.extend(self.outdated(restarts));
        (!files.is_empty() || !links.is_empty()).then(|| step(SMALL, Act::Write { files, links }))
    }

    /// Notes which runs have not seen a change, so that a later call knows it.
    fn outdated(&self, restarts: &[crate::model::Name]) -> Vec<File> {
        let Some(runtime) = &self.request.seen.place.runtime else {
            return Vec::new();
        };
        let of_one = |seen: &UnitSeen| {
            let instance = seen.state()?.instance.as_ref()?;
            let stem = seen.unit.as_str().split(['@', '.']).next()?;
            let restarts = restarts.iter().any(|name| name.as_str() == stem);
            (restarts && !seen.is_outdated()).then(|| File {
                path: runtime.join(seen.unit.as_str()),
                text: instance.invocation.clone(),
                keep: None,
            })
        };
        self.request.seen.units.iter().filter_map(of_one).collect()
    }

    pub(super) fn is_ours_to_be(&self, unit: &UnitName) -> bool {
        self.request
            .wanted
            .iter()
            .any(|wanted| wanted.name == *unit)
    }

    /// Files and links of units that are no longer wanted, and links that enable an old service.
    fn remove(&self) -> Option<Step> {
        let place = &self.request.seen.place;
        let gone = self.gone.iter().flat_map(|seen| {
            let file = place.path(seen.unit.as_str());
            seen.links.iter().map(|link| place.path(link)).chain([file])
        });
        let olds = self.olds.iter().flat_map(|old| &old.units);
        let disabled = olds
            .filter(|seen| !self.is_ours_to_be(&seen.unit))
            .flat_map(|seen| self.links(seen))
            .map(|(link, _)| link);
        let paths: Vec<PathBuf> = gone.chain(disabled).collect();
        (!paths.is_empty()).then(|| step(SMALL, Act::Remove { paths }))
    }

    fn set_on_sockets(&self) -> Vec<Step> {
        let set = |(wanted, change): (&UnitFile, &UnitChange)| {
            let options = change.socket_options();
            let text = UnitText::read(&wanted.to_string());
            let addresses = text
                .values("Socket", "ListenStream")
                .iter()
                .filter_map(|listen| Address::parse(listen).ok())
                .collect();
            (!options.is_empty()).then(|| {
                step(
                    SMALL,
                    Act::SetOnSocket {
                        socket: wanted.name.clone(),
                        addresses,
                        options,
                    },
                )
            })
        };
        self.wanted().filter_map(set).collect()
    }

    fn stop_gone(&self, which: impl Fn(&UnitName) -> bool) -> Option<Step> {
        let gone = self.gone.iter().filter(|seen| seen.is_active());
        let units: Vec<UnitName> = gone
            .map(|seen| seen.unit.clone())
            .filter(|unit| which(unit))
            .collect();
        (!units.is_empty()).then(|| step(self.stop_limit(), Act::Stop { units }))
    }

    /// Open sockets that have to be bound anew.
    fn reopen(&self) -> Vec<UnitName> {
        let closes = |(wanted, change): &(&UnitFile, &UnitChange)| {
            let Some(seen) = self.seen(&wanted.name) else {
                return false;
            };
            let mut directives = change.directives.iter();
            let text = UnitText::read(&wanted.to_string());
            directives.any(|change| matches!(change.cost, Cost::Closes(_)))
                || moved(wanted, seen).is_some()
                || (self.request.allow_gap && is_closed(seen, &text))
        };
        let reopen = self.wanted().filter(closes);
        reopen.map(|(wanted, _)| wanted.name.clone()).collect()
    }

    /// Sockets of services that do not run, or whose old process is stopped by now.
    fn open(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for service in self.services() {
            let runs = running(self.request.seen, &service.name).is_some();
            let stopped = self.old_of(service).is_some_and(|old| {
                old.units
                    .iter()
                    .filter(|seen| seen.unit == service.unit())
                    .all(|seen| stops_itself(seen) || !seen.is_active())
            });
            if runs && !stopped {
                continue;
            }
            let closed = service
                .sockets
                .iter()
                .filter(|socket| !self.is_active(&socket.unit));
            steps.extend(
                closed
                    .filter(|socket| self.is_ours_to_be(&socket.unit))
                    .map(|socket| {
                        step(
                            SMALL,
                            Act::Open {
                                socket: socket.unit.clone(),
                            },
                        )
                    }),
            );
        }
        steps
    }

    /// What is enabled and does not run, and services that were stopped on the way.
    fn start(&self, restarted: &[&Service]) -> Vec<Step> {
        let mut steps = Vec::new();
        for (wanted, _) in self.wanted().filter(|(wanted, _)| !is_socket(&wanted.name)) {
            let unit = &wanted.name;
            let service = self.services().find(|service| service.unit() == *unit);
            let again = service.is_some_and(|service| {
                restarted
                    .iter()
                    .any(|restarted| restarted.name == service.name)
            });
            let old = service.and_then(|service| self.old_of(service));
            let before = self
                .seen(unit)
                .and_then(|seen| seen.state()?.instance.clone());
            let enabled = !UnitText::read(&wanted.to_string()).wanted_in().is_empty();
            let replaces = old.is_some() && self.is_active(unit);
            let undeployed =
                service.is_some_and(|service| self.request.seen.undeployed.contains(&service.name));
            if !enabled || undeployed || (self.is_active(unit) && !again && !replaces) {
                continue;
            }
            let unit = unit.clone();
            let (action, limit) = match (service, replaces) {
                // Stops the old process, opens the sockets, and starts the new one in one go.
                (Some(service), true) if !self.seen(&unit).is_some_and(stops_itself) => (
                    Action::RestartUnit { unit },
                    STOP + service.stop_timeout() + service.start_timeout,
                ),
                (Some(service), _) => (Action::StartUnit { unit }, service.start_timeout + SMALL),
                (None, _) => (Action::StartUnit { unit }, STOP),
            };
            steps.push(Step {
                action,
                limit,
                on_failure: OnFailure::LookNow,
            });
            steps.extend(
                service
                    .into_iter()
                    .flat_map(|service| prove(service, before.as_ref())),
            );
        }
        steps
    }

    pub(super) fn stop_limit(&self) -> Duration {
        let limits = self.services().map(Service::stop_timeout);
        SMALL + limits.max().unwrap_or(STOP)
    }

    fn gaps(&self, reopened: &[UnitName]) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for unit in reopened {
            let sockets = self.services().flat_map(|service| &service.sockets);
            let wanted = sockets.filter(|socket| socket.unit == *unit);
            let after: Vec<Reach> = wanted
                .flat_map(|socket| socket.listen.addresses())
                .map(|address| address.reach())
                .collect();
            let loaded = self.seen(unit).and_then(|seen| seen.loaded.as_ref());
            let before = loaded.and_then(|loaded| loaded.values.get("ListenStream"));
            gaps.push(Gap {
                why: format!(
                    "`{unit}` is closed and opened anew; clients are refused from the moment when \
                     the old process stops accepting until systemd listens again"
                ),
                before: before
                    .into_iter()
                    .flatten()
                    .filter_map(|listen| reach(listen))
                    .collect(),
                after,
            });
        }
        gaps.extend(self.olds.iter().filter(|old| !old.holds.is_empty()).map(|old| {
            let units: Vec<&str> = old.units.iter().map(|seen| seen.unit.as_str()).collect();
            let reach: Vec<Reach> = old.holds.iter().map(Address::reach).collect();
            Gap {
                why: format!(
                    "{} listens by itself, and only one can; clients are refused once, from the \
                     moment when its process stops listening until systemd listens",
                    list(&units)
                ),
                before: reach.clone(),
                after: reach,
            }
        }));
        gaps
    }
}

pub(super) fn reach(listen: &str) -> Option<Reach> {
    Some(Address::parse(listen).ok()?.reach())
}

pub(super) fn is_socket(unit: &UnitName) -> bool {
    unit.as_str().ends_with(".socket")
}
