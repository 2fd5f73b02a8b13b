//! A service out of rotation at its balancer while its processes are replaced, and in it again once who serves is
//! proved. Its steps go around all others: before the first one that changes anything, and on each way back.

use std::time::Duration;

use super::change::check_health;
use super::{Action, OnFailure, Operation, Request, Step, Whole, step};
use crate::model::{Rotation, Service};
use crate::observe::{Observed, Standing};

/// What a balancer is asked besides waiting: to look, to change, and to look again.
const TALK_LIMIT: Duration = Duration::from_secs(90);

/// One server of the request.
struct Server<'a> {
    service: &'a Service,
    rotation: &'a Rotation,
    standing: Standing,
}

pub(super) fn around(request: &Request<'_>, observed: &Observed, whole: Whole) -> Whole {
    let services = std::iter::once(request.service).chain(request.companions.iter().copied());
    let seen = std::iter::once(observed).chain(&observed.companions);
    services.zip(seen).fold(whole, |whole, (service, seen)| {
        match (&service.rotation, seen.rotation) {
            (Some(rotation), Some(standing)) => {
                let server = Server {
                    service,
                    rotation,
                    standing,
                };
                server.around(request, seen, whole)
            }
            _ => whole,
        }
    })
}

impl Server<'_> {
    fn around(&self, request: &Request<'_>, seen: &Observed, mut whole: Whole) -> Whole {
        let is_out = self.standing == Standing::Out;
        match request.operation {
            Operation::Stop => self.before_a_stop(request, &mut whole),
            Operation::Start => self.after_a_start(seen, &mut whole),
            _ if whole.steps.is_empty() => {}
            // Whoever took it out has a reason, unless it was what broke off.
            _ if is_out && !request.options.put_back => whole.notes.push(format!(
                "`{}` is out of rotation already, and stays so: `zdt-units balancer restore {}` puts it back",
                self.rotation.server, self.service.name
            )),
            Operation::RollBack { .. } if self.standing == Standing::LastUp => whole.notes.push(
                format!(
                    "`{}` is the last server that is up in `{}`, and stays in rotation",
                    self.rotation.server, self.rotation.server.backend
                ),
            ),
            _ => self.around_a_change(request, &mut whole),
        }
        whole
    }

    fn before_a_stop(&self, request: &Request<'_>, whole: &mut Whole) {
        if self.standing != Standing::Out && !whole.steps.is_empty() {
            whole.steps.insert(0, self.take_out(request.options.last));
            whole.proved += 1;
        }
    }

    fn after_a_start(&self, seen: &Observed, whole: &mut Whole) {
        let started = !whole.steps.is_empty();
        let to_put_back = match self.standing {
            Standing::Out => true,
            Standing::Untold => started,
            Standing::In | Standing::LastUp => false,
        };
        if !to_put_back {
            return;
        }
        if let (false, Some(health)) = (started, &self.service.health) {
            whole.notes.clear();
            whole.steps.push(check_health(&seen.service.unit, health));
        }
        whole.steps.push(self.put_back());
    }

    fn around_a_change(&self, request: &Request<'_>, whole: &mut Whole) {
        let changes = |step: &Step| step.action.changes();
        let first = whole.steps.iter().position(changes);
        let first = first.unwrap_or(whole.proved).min(whole.proved);
        for step in &mut whole.steps[first..whole.proved] {
            match &mut step.on_failure {
                OnFailure::Stop => step.on_failure = OnFailure::TakeBack(vec![self.put_back()]),
                OnFailure::TakeBack(back) => back.push(self.put_back()),
                OnFailure::RollBack
                | OnFailure::GoOn
                | OnFailure::LookAfter
                | OnFailure::LookNow => {}
            }
        }
        // It is in rotation by then, with a release that does not do.
        for step in &mut whole.steps[whole.proved..] {
            if let OnFailure::TakeBack(back) = &mut step.on_failure {
                self.around_a_way_back(back);
            }
        }
        if !whole.rollback.is_empty() {
            self.around_a_way_back(&mut whole.rollback);
        }
        whole.steps.insert(whole.proved, self.put_back());
        whole
            .steps
            .insert(first, self.take_out(request.options.last));
        whole.proved += 2;
    }

    fn around_a_way_back(&self, back: &mut Vec<Step>) {
        let action = Action::TakeOut {
            service: self.service.name.clone(),
            rotation: Rotation {
                // Nobody waits for what a bad release still does.
                timeout: Duration::ZERO,
                ..self.rotation.clone()
            },
            last: false,
        };
        back.insert(
            0,
            Step {
                on_failure: OnFailure::GoOn,
                ..step(TALK_LIMIT + self.rotation.settle, action)
            },
        );
        back.push(self.put_back());
    }

    fn take_out(&self, last: bool) -> Step {
        let action = Action::TakeOut {
            service: self.service.name.clone(),
            rotation: self.rotation.clone(),
            last,
        };
        Step {
            on_failure: OnFailure::TakeBack(vec![self.put_back()]),
            ..step(self.limit(), action)
        }
    }

    /// Who serves is known to be well: whatever follows is done all the same, and then a person has to look.
    fn put_back(&self) -> Step {
        let action = Action::PutBack {
            service: self.service.name.clone(),
            rotation: self.rotation.clone(),
        };
        Step {
            on_failure: OnFailure::LookAfter,
            ..step(self.limit(), action)
        }
    }

    fn limit(&self) -> Duration {
        TALK_LIMIT + self.rotation.timeout + self.rotation.settle
    }
}
