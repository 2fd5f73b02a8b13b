//! What restarts, deployments and ways back have in common: plans are shown, or carried out in their
//! order.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use super::guard::{Guard, Wait};
use super::operation::{Told, code, interrupts, restart_id};
use super::scope::Scope;
use super::{Failed, operation};
use crate::cli::ChangeArgs;
use crate::event::{Event, EventKind, Outcome};
use crate::execute::{Run, execute, roll_out};
use crate::exit_code;
use crate::host::Host as _;
use crate::host::any::AnyHost;
use crate::model::{Model, Name, Service};
use crate::observe::{Observed, Watched, keeps};
use crate::order::{Order, Part, Schedule};
use crate::plan::{Operation, Options, Plan, Refused, Request, plan, plan_foreign};

/// One call of a command.
pub(super) struct Call<'a> {
    pub(super) model: &'a Model,
    pub(super) scope: &'a Scope,
    pub(super) restart_id: String,
    pub(super) args: &'a ChangeArgs,
    pub(super) parallel: usize,
    told: RefCell<Told>,
}

/// What is to be done with one part, or why nothing is.
pub(super) type Planned = Result<Plan, Refused>;

impl<'a> Call<'a> {
    /// Within the runtime.
    pub(super) fn new(
        model: &'a Model,
        scope: &'a Scope,
        args: &'a ChangeArgs,
    ) -> Result<Self, Failed> {
        let told = match args.dry_run {
            true => Told::here(args.json),
            false => Told::open(args.json, &model.events, scope),
        };
        Ok(Self {
            model,
            scope,
            restart_id: restart_id()?,
            args,
            parallel: 1,
            told: RefCell::new(told),
        })
    }

    /// Waits for those who are still being told.
    pub(super) async fn finish(self) {
        self.told.into_inner().finish().await;
    }

    /// Keeps others away from all services of `order`. Whoever only looks is in nobody's way.
    pub(super) async fn guard(
        &self,
        order: &Order<'_>,
        operation: &Operation,
    ) -> Result<Option<Guard>, Failed> {
        if self.args.dry_run {
            return Ok(None);
        }
        let names: Vec<&Name> = order.parts.iter().map(Part::name).collect();
        let with = order.parts.iter().flat_map(|part| self.companions(*part));
        let with: Vec<&Name> = with.map(|service| &service.name).collect();
        let heads = order.parts.iter().filter_map(|part| match part {
            Part::Own(service) => Some(&service.companion.as_ref()?.of),
            Part::Foreign(_) => None,
        });
        let listed: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let command = format!("{} {}", operation.name(), listed.join(" "));
        let wait = Wait::from(&self.args.wait);
        let all = [&names[..], &with].concat();
        let guard = Guard::take(self.scope, &all, &command, &self.restart_id, wait).await?;
        // Whatever broke off of one of them may have been of all of them.
        for name in all.into_iter().chain(heads) {
            guard.undisturbed(name, operation)?;
        }
        if *operation != Operation::Stop {
            for name in names {
                guard.permit(name, &self.model.breaker, self.args.force)?;
            }
        }
        Ok(Some(guard))
    }

    /// What is replaced together with `part`.
    pub(super) fn companions(&self, part: Part<'_>) -> Vec<&'a Service> {
        match part {
            Part::Own(service) => self.model.companions(&service.name),
            Part::Foreign(_) => Vec::new(),
        }
    }

    /// A launcher reads `zdt.toml` again, unless nothing is to be done. systemd is told by `install`.
    pub(super) async fn catch_up(&self, host: &mut AnyHost) -> Result<(), Failed> {
        let AnyHost::Launcher(launcher) = host else {
            return Ok(());
        };
        if let Some(text) = self.scope.said() {
            self.told.borrow().talk(&format!("{text}\n"));
        }
        if self.args.dry_run {
            return Ok(());
        }
        let services = self.model.services.iter();
        let places: Vec<PathBuf> = services
            .map(|service| keeps(&self.scope.state(), &service.name))
            .collect();
        let mut tell = |kind| self.tell("", kind);
        let caught_up = launcher.catch_up(&places, &mut tell).await;
        caught_up.map_err(operation::stopped)
    }

    /// Reads the state of `part` and changes nothing.
    pub(super) async fn observe(
        &self,
        host: &mut AnyHost,
        part: Part<'_>,
    ) -> Result<Observed, Failed> {
        let keeping = |service: &Service| {
            let watched = Watched::of(service).keeping(&self.scope.state(), &service.name);
            match self.args.keep_in_rotation {
                true => watched,
                false => watched.in_rotation(service),
            }
        };
        let watched = match part {
            Part::Own(service) => Watched {
                companions: self.companions(part).into_iter().map(keeping).collect(),
                ..keeping(service)
            },
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
                    companions: self.companions(part),
                    operation,
                    options: self.options(),
                };
                plan(&request, observed)
            }
            Part::Foreign(foreign) => plan_foreign(foreign, self.args.force, observed),
        }
    }

    fn options(&self) -> Options {
        Options {
            force: self.args.force,
            skip_migrations: self.args.skip_migrations,
            canary: self.args.canary,
            last: self.args.last,
            put_back: false,
        }
    }

    /// Shows the plans, says why there are none, or carries them out, under `guard`.
    pub(super) async fn carry_out(
        &self,
        order: &Order<'_>,
        planned: Vec<Planned>,
        guard: Option<Guard>,
    ) -> Result<u8, Failed> {
        let mut plans = Vec::new();
        for (part, planned) in order.parts.iter().zip(planned) {
            match planned {
                Ok(plan) => plans.push(plan),
                Err(refused) => self.tell(
                    part.name().as_str(),
                    EventKind::refused(&refused, self.scope.tool()),
                ),
            }
        }
        if plans.len() < order.parts.len() {
            return Ok(exit_code::REFUSED);
        }
        match guard {
            None => self.show(&plans),
            Some(guard) => self.execute(order, &plans, &guard).await,
        }
    }

    fn show(&self, plans: &[Plan]) -> Result<u8, Failed> {
        let mut text = Vec::new();
        for plan in plans {
            match self.args.json {
                true => self.tell(
                    plan.service.as_str(),
                    EventKind::planned(plan, true).by(self.scope.tool()),
                ),
                false => text.push(plan.to_string()),
            }
        }
        super::print(&text.join("\n"))?;
        Ok(exit_code::DONE)
    }

    async fn execute(
        &self,
        order: &Order<'_>,
        plans: &[Plan],
        guard: &Guard,
    ) -> Result<u8, Failed> {
        if plans.len() > 1 {
            self.told.borrow_mut().of_many();
        }
        let mut interrupts = interrupts()?;
        let others = interrupts.also();
        let one = async |place: usize| {
            let plan: &Plan = &plans[place];
            let begun = async { Ok((self.scope.connect().await?, guard.begin(plan)?)) };
            let (mut host, mut under_way) = match begun.await {
                Ok(begun) => begun,
                Err(failed) => {
                    Failed::show(&failed);
                    return Outcome::Stopped;
                }
            };
            let mut tell = |event: Event| {
                under_way.take(&event);
                self.told.borrow_mut().tell(event);
            };
            let mut interrupts = others.also();
            let run = Run {
                plan,
                restart_id: &self.restart_id,
                systemctl: self.scope.systemctl(),
                interrupts: &mut interrupts,
            };
            let outcome = execute(run, &mut host, &mut tell).await;
            if plan.operation != Operation::Stop {
                guard.ended(&plan.service, &self.model.breaker, outcome);
            }
            outcome
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
        self.told.borrow_mut().tell(event);
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
