//! What restarts, deployments and ways back have in common: plans are shown, or carried out in their
//! order.

use std::cell::RefCell;
use std::time::Duration;

use super::operation::{code, interrupts, write};
use super::scope::Scope;
use super::{Failed, operation};
use crate::cli::ChangeArgs;
use crate::event::{Event, EventKind, Outcome};
use crate::execute::{Run, execute, roll_out};
use crate::exit_code;
use crate::host::Host as _;
use crate::host::systemd::Systemd;
use crate::observe::{Observed, Watched};
use crate::order::{Order, Part, Schedule};
use crate::plan::{Operation, Options, Plan, Refused, Request, plan, plan_foreign};

/// One call of a command.
pub(super) struct Call<'a> {
    pub(super) scope: &'a Scope,
    pub(super) restart_id: String,
    pub(super) args: &'a ChangeArgs,
    pub(super) parallel: usize,
}

/// What is to be done with one part, or why nothing is.
pub(super) type Planned = Result<Plan, Refused>;

impl Call<'_> {
    /// Reads the state of `part` and changes nothing.
    pub(super) async fn observe(
        &self,
        host: &mut Systemd,
        part: Part<'_>,
    ) -> Result<Observed, Failed> {
        let watched = match part {
            Part::Own(service) => Watched::of(service).keeping(&self.scope.state(), &service.name),
            Part::Foreign(foreign) => Watched::foreign(foreign),
        };
        host.observe(&watched).await.map_err(operation::stopped)
    }

    pub(super) fn plan(
        &self,
        part: Part<'_>,
        operation: Operation,
        observed: &Observed,
    ) -> Planned {
        match part {
            Part::Own(service) => {
                let request = Request {
                    service,
                    operation,
                    options: self.options(),
                };
                plan(&request, observed)
            }
            Part::Foreign(foreign) => plan_foreign(foreign, observed),
        }
    }

    fn options(&self) -> Options {
        Options {
            force: self.args.force,
            skip_migrations: self.args.skip_migrations,
            canary: self.args.canary,
        }
    }

    /// Shows the plans, says why there are none, or carries them out.
    pub(super) async fn carry_out(
        &self,
        order: &Order<'_>,
        planned: Vec<Planned>,
    ) -> Result<u8, Failed> {
        let mut plans = Vec::new();
        for (part, planned) in order.parts.iter().zip(planned) {
            match planned {
                Ok(plan) => plans.push(plan),
                Err(refused) => self.tell(part.name().as_str(), EventKind::refused(&refused)),
            }
        }
        if plans.len() < order.parts.len() {
            return Ok(exit_code::REFUSED);
        }
        if self.args.dry_run {
            return self.show(&plans);
        }
        self.execute(order, &plans).await
    }

    fn show(&self, plans: &[Plan]) -> Result<u8, Failed> {
        let mut text = Vec::new();
        for plan in plans {
            match self.args.json {
                true => self.tell(plan.service.as_str(), EventKind::planned(plan, true)),
                false => text.push(plan.to_string()),
            }
        }
        super::print(&text.join("\n"))?;
        Ok(exit_code::DONE)
    }

    async fn execute(&self, order: &Order<'_>, plans: &[Plan]) -> Result<u8, Failed> {
        let mut interrupts = interrupts()?;
        let others = interrupts.also();
        let sink = RefCell::new(|event: &Event| write(self.args.json, event));
        let one = async |place: usize| {
            let plan: &Plan = &plans[place];
            let mut tell = |event: Event| (sink.borrow_mut())(&event);
            let mut host = match self.scope.connect().await {
                Ok(host) => host,
                Err(failed) => {
                    failed.show();
                    return Outcome::Stopped;
                }
            };
            let mut interrupts = others.also();
            let run = Run {
                plan,
                restart_id: &self.restart_id,
                systemctl: self.scope.systemctl(),
                interrupts: &mut interrupts,
            };
            execute(run, &mut host, &mut tell).await
        };
        let schedule = Schedule::new(&order.after, self.parallel);
        let outcomes = roll_out(schedule, &mut interrupts, one).await;
        for (plan, outcome) in plans.iter().zip(&outcomes) {
            if outcome.is_none() {
                self.tell(plan.service.as_str(), EventKind::Skipped);
            }
        }
        let worst = outcomes.into_iter().flatten().max_by_key(badness);
        Ok(worst.map_or(exit_code::DONE, code))
    }

    /// Says something that no plan says.
    pub(super) fn tell(&self, service: &str, kind: EventKind) {
        let event = Event::new(&self.restart_id, service, Duration::ZERO, kind);
        write(self.args.json, &event);
    }
}

/// Of several services the worst counts.
fn badness(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Completed => 0,
        Outcome::Lossy => 1,
        Outcome::Stopped => 2,
        Outcome::RolledBack => 3,
        Outcome::LookNow => 4,
    }
}
