//! A service and those that run with its releases, replaced as one. What one of them cannot do takes all of them back:
//! first the link and the data, then the processes, and of those only the ones that were touched by then.

use super::change::{bake_all, warm};
use super::{
    Action, CONFIRM_LIMIT, OnFailure, Options, Request, Step, Undo, Whole, prove_unit, start_old,
    step, stop,
};
use crate::config::list;
use crate::model::{Service, UnitName};
use crate::observe::{Observed, UnitState};

pub(super) fn replace(request: &Request<'_>, observed: &Observed, undo: &Undo) -> Whole {
    let head = super::replace(request, observed, undo);
    let mut all = All {
        undo,
        notes: head.notes,
        steps: Vec::new(),
        touched: Vec::new(),
        back: head.back,
    };
    let others: Vec<(&Service, &Observed)> = request
        .companions
        .iter()
        .copied()
        .zip(&observed.companions)
        .collect();
    if !others.is_empty() {
        all.notes.push(told_with(request));
    }
    let (early, late) = all.head(request.service, head.steps, &others);
    all.take(warm(request.service));
    for (service, observed) in early {
        let proofs = service.instances().into_iter().flat_map(|unit| {
            let state = states(observed).find(|state| state.unit == unit);
            prove_unit(
                service,
                &unit,
                state.and_then(|state| state.instance.as_ref()),
            )
        });
        all.take(proofs);
        all.take(beyond(service, observed));
        all.take(warm(service));
    }
    for (service, observed) in late {
        let own = Request {
            service,
            companions: Vec::new(),
            operation: request.operation.clone(),
            options: Options {
                canary: false,
                ..request.options
            },
        };
        let replaced = super::replace(&own, observed, &Undo::default());
        all.notes.extend(replaced.notes);
        all.touch(service, replaced.back);
        all.take(replaced.steps);
        all.take(warm(service));
    }
    let services: Vec<&Service> = std::iter::once(request.service)
        .chain(request.companions.iter().copied())
        .collect();
    let proved = all.steps.len();
    all.take(bake_all(&services));
    let rollback = all.way_back();
    if !rollback.is_empty() {
        // What can only be done with all of it is the way back of the plan.
        for step in &mut all.steps {
            if step.on_failure == OnFailure::TakeBack(rollback.clone()) {
                step.on_failure = OnFailure::RollBack;
            }
        }
    }
    Whole {
        notes: all.notes,
        steps: all.steps,
        proved,
        rollback,
    }
}

/// What has been planned so far.
struct All<'a> {
    undo: &'a Undo,
    notes: Vec<String>,
    steps: Vec<Step>,
    /// Companions that may run the new release by now.
    touched: Vec<UnitName>,
    /// What starts old processes in the place of all that may run the new release.
    back: Vec<Step>,
}

type Others<'a> = Vec<(&'a Service, &'a Observed)>;

impl All<'_> {
    fn way_back(&self) -> Vec<Step> {
        if self.undo.is_empty() {
            return Vec::new();
        }
        // Those have no clients, and nothing of the new release may be at work while its data are taken back.
        let spared = self.undo.takes_data_back() && !self.touched.is_empty();
        let stopped = spared.then(|| self.stop_touched());
        self.undo.after_stopping(stopped.as_slice(), &self.back)
    }

    fn stop_touched(&self) -> Step {
        let units = self.touched.clone();
        let limits = self.back.iter().map(|step| step.limit);
        let limit = limits.max().unwrap_or(CONFIRM_LIMIT);
        step(limit, Action::StopUnits { units })
    }

    /// Steps whose failure takes back all that was touched by now, unless nothing can be.
    fn take(&mut self, steps: impl IntoIterator<Item = Step>) {
        let back = self.way_back();
        self.steps
            .extend(steps.into_iter().map(|step| match step.on_failure {
                OnFailure::GoOn | OnFailure::LookAfter | OnFailure::Stop => step,
                _ if back.is_empty() => step,
                _ => Step {
                    on_failure: OnFailure::TakeBack(back.clone()),
                    ..step
                },
            }));
    }

    fn touch(&mut self, service: &Service, back: Vec<Step>) {
        self.touched.extend(service.instances());
        self.back.extend(back);
    }

    /// The steps of the one that serves, together with the companions that drain while it does. Returns those, and the
    /// others.
    fn head<'o>(
        &mut self,
        service: &Service,
        mut steps: Vec<Step>,
        others: &[(&'o Service, &'o Observed)],
    ) -> (Others<'o>, Others<'o>) {
        let wanted = service.instances();
        let (early, mut late): (Others<'_>, Others<'_>) = others
            .iter()
            .copied()
            .partition(|(service, _)| drains_early(service));
        let restarts = |step: &Step| {
            restarted(&step.action)
                .iter()
                .any(|unit| wanted.contains(unit))
        };
        let place = steps
            .iter()
            .position(restarts)
            .filter(|_| !early.is_empty());
        let Some(place) = place.filter(|place| self.is_mended(&steps[*place])) else {
            if let (Some(_), false) = (place, early.is_empty()) {
                let names: Vec<&str> = early
                    .iter()
                    .map(|(service, _)| service.name.as_str())
                    .collect();
                self.notes.push(format!(
                    "{} drains after `{}`, not with it: if it failed, all of its processes would be taken back",
                    list(&names),
                    service.name
                ));
            }
            self.whole(steps);
            late = others.to_vec();
            return (Vec::new(), late);
        };
        let rest = steps.split_off(place + 1);
        let together = steps.pop().expect("it is at `place`");
        self.whole(steps);
        let mut units = restarted(&together.action).to_vec();
        let mut limit = together.limit;
        for (service, _) in &early {
            let own = service.instances();
            let back = own
                .iter()
                .flat_map(|unit| start_old(service, unit))
                .collect();
            units.extend(own);
            limit = limit.max(service.stop_timeout() + service.start_timeout + CONFIRM_LIMIT);
            self.touch(service, back);
        }
        let together = Step {
            action: Action::RestartUnits { units },
            limit,
            ..together
        };
        self.take(std::iter::once(together).chain(rest));
        (early, late)
    }

    /// As the strategy has them, which knows what can be mended by less than all of it.
    fn whole(&mut self, steps: Vec<Step>) {
        for step in steps {
            match &step.on_failure {
                OnFailure::LookNow => self.take([step]),
                _ => self.steps.push(step),
            }
        }
    }

    /// Whether what is restarted together with it is taken back where it fails, or nothing is.
    fn is_mended(&self, step: &Step) -> bool {
        !self.undo.is_empty() || step.on_failure == OnFailure::LookNow
    }
}

fn restarted(action: &Action) -> &[UnitName] {
    match action {
        Action::RestartUnit { unit } => std::slice::from_ref(unit),
        Action::RestartUnits { units } => units,
        _ => &[],
    }
}

fn drains_early(service: &Service) -> bool {
    let companion = service.companion.as_ref();
    companion.is_some_and(|companion| companion.drain_early)
}

fn states(observed: &Observed) -> impl Iterator<Item = &UnitState> {
    std::iter::once(&observed.service).chain(&observed.beside)
}

/// Instances that are no longer wanted.
fn beyond(service: &Service, observed: &Observed) -> Option<Step> {
    let wanted = service.instances();
    let beyond: Vec<UnitName> = states(observed)
        .filter(|state| !wanted.contains(&state.unit) && !state.is_stopped())
        .map(|state| state.unit.clone())
        .collect();
    (!beyond.is_empty()).then(|| stop(service, &beyond))
}

fn told_with(request: &Request<'_>) -> String {
    let names: Vec<&str> = request
        .companions
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let run = if names.len() == 1 { "runs" } else { "run" };
    format!(
        "{} {run} with the releases of `{}`, and {} replaced together with it",
        list(&names),
        request.service.name,
        if names.len() == 1 { "is" } else { "are" },
    )
}
