//! `zdt-units install`: look, plan, then print the plan or carry it out.

use std::cell::RefCell;
use std::io::{self, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::guard::{Guard, Wait};
use super::operation::Told;
use super::scope::Scope;
use super::{Failed, config_file, operation};
use crate::cli::InstallArgs;
use crate::event::{Event, EventKind, Outcome};
use crate::execute::{Interrupts, Run, carry_out, execute};
use crate::exit_code;
use crate::host::Host;
use crate::host::gap::Watch;
use crate::host::image::Image;
use crate::host::look::{Wish, look};
use crate::host::systemd::Systemd;
use crate::install::{self, Gap, TakeOver, UnitText};
use crate::model::{Model, Name, UnitName};
use crate::observe::Watched;
use crate::plan::{self, Operation, Step};
use crate::render::render;
use crate::unit_file::UnitFile;

pub(super) fn run(args: &InstallArgs) -> Result<u8, Failed> {
    let read = config_file::read_for_systemd(&args.config)?;
    let rendered = render(&read.model, &read.source, args.target.target());
    let scope = match &args.root {
        Some(root) => Scope::Image(root.clone()),
        None => Scope::of(args.target.user)?,
    };
    let named = match &args.take_over {
        Some(Some(unit)) => Some(unit_name(unit)?),
        _ => None,
    };
    let doing = !args.dry_run && !args.check;
    if doing {
        scope.may_write("install")?;
    }
    let _lock = doing.then(|| scope.lock()).transpose()?;
    for note in &rendered.notes {
        talk(&format!("note: {note}\n"));
    }
    operation::runtime()?.block_on(async {
        let told = match doing {
            true => Told::open(args.json, &read.model.events, &scope),
            false => Told::here(args.json),
        };
        let job = Job {
            args,
            scope: &scope,
            model: &read.model,
            wanted: &rendered.units,
            take_over: match (&args.take_over, &named) {
                (None, _) => TakeOver::No,
                (Some(_), None) => TakeOver::OfOwnNames,
                (Some(_), Some(unit)) => TakeOver::Of(unit),
            },
            said: Said::new(told)?,
        };
        let done = job.run().await;
        job.said.finish().await;
        done
    })
}

/// A unit as people type it: without a type it is a service.
pub(super) fn unit_name(text: &str) -> Result<UnitName, Failed> {
    let full = match text.contains('.') {
        true => text.to_owned(),
        false => format!("{text}.service"),
    };
    UnitName::parse(&full).map_err(Failed::usage)
}

/// One call of the command.
struct Job<'a> {
    args: &'a InstallArgs,
    scope: &'a Scope,
    model: &'a Model,
    wanted: &'a [UnitFile],
    take_over: TakeOver<'a>,
    said: Said,
}

impl Job<'_> {
    /// Units with directives that the manager does not know would mean something else.
    async fn refuse_older(&self, systemd: &Systemd) -> Result<(), Failed> {
        let wanted = self.args.target.target_systemd;
        match systemd.release().await {
            Some(runs) if runs < wanted => Err(Failed::said(
                exit_code::REFUSED,
                format!("systemd {runs} runs here, and these units are for {wanted}"),
            )
            .hint(format!("write them for it with `--target-systemd {runs}`"))),
            _ => Ok(()),
        }
    }

    async fn run(&self) -> Result<u8, Failed> {
        let mut systemd = match self.scope {
            Scope::Image(_) => None,
            Scope::User { .. } => Some(self.scope.connect_systemd().await?),
            Scope::System | Scope::Launcher(_) => Some(self.scope.connect_systemd().await.map_err(|failed| {
                failed.hint(
                    "this needs a machine that runs systemd, and root where there is no system bus. \
                     In an image: `zdt-units install --root /`",
                )
            })?),
        };
        if let Some(systemd) = &systemd {
            self.refuse_older(systemd).await?;
        }
        let plan = self.plan(systemd.as_ref()).await?;
        if self.args.check {
            if plan.is_settled() {
                return Ok(exit_code::DONE);
            }
            self.show(&plan)?;
            return Ok(exit_code::DIFFERS);
        }
        if self.args.dry_run {
            self.show(&plan)?;
            return Ok(match plan.refused.is_empty() {
                true => exit_code::DONE,
                false => exit_code::REFUSED,
            });
        }
        let planned = EventKind::install_planned(&plan, false);
        match plan.steps.is_empty() && plan.refused.is_empty() {
            // Nothing happens that would be worth writing down.
            true => self.said.show(planned),
            false => self.said.tell(planned),
        }
        if !plan.refused.is_empty() {
            self.said
                .talk(&format!("{}\nnothing was touched\n", plan.changes()));
            return Ok(exit_code::REFUSED);
        }
        let guard = self.guard(&plan).await?;
        let mut interrupts = operation::interrupts()?;
        if !plan.steps.is_empty() {
            self.said.talk(&format!("{}\n", plan.changes()));
            let outcome = match &mut systemd {
                Some(systemd) => self.said.carry_out(&plan, systemd, &mut interrupts).await,
                None => {
                    self.said
                        .carry_out(&plan, &mut Image, &mut interrupts)
                        .await
                }
            };
            if outcome != Outcome::Completed {
                return Ok(operation::code(outcome));
            }
        } else {
            for drift in &plan.drift {
                self.said.talk(&format!("note: {drift}\n"));
            }
            let units = self.wanted.len();
            self.said.talk(&format!(
                "nothing to do: all {units} units are installed as wanted\n"
            ));
        }
        match &mut systemd {
            Some(systemd) => {
                let guard = guard.as_ref();
                self.restarts(&plan, guard, systemd, &mut interrupts).await
            }
            None => Ok(exit_code::DONE),
        }
    }

    async fn plan(&self, systemd: Option<&Systemd>) -> Result<install::Plan, Failed> {
        let mut units: Vec<UnitName> = self.wanted.iter().map(|unit| unit.name.clone()).collect();
        units.extend(instances(self.wanted));
        if let TakeOver::Of(unit) = self.take_over {
            units.push(unit.clone());
        }
        let place = self.scope.place();
        let wish = Wish {
            place: &place,
            others: self.scope.others(),
            units: &units,
        };
        let seen = look(wish, Some(self.model), systemd).await;
        Ok(install::plan(&install::Request {
            model: self.model,
            wanted: self.wanted,
            seen: &seen.map_err(operation::stopped)?,
            allow_gap: self.args.allow_gap,
            take_over: self.take_over,
        }))
    }

    fn show(&self, plan: &install::Plan) -> Result<(), Failed> {
        if self.args.json {
            self.said.tell(EventKind::install_planned(plan, true));
            return Ok(());
        }
        super::print(&plan.to_string())?;
        super::print(&self.needed(&plan.restarts))
    }

    fn needed(&self, restarts: &[Name]) -> String {
        let user = match self.args.target.user {
            true => " --user",
            false => "",
        };
        let line = |name: &Name| {
            format!(
                "`{name}` runs on as it was started; all of it counts after `zdt-units restart{user} {name}`\n"
            )
        };
        let lines: String = restarts.iter().map(line).collect();
        match lines.is_empty() {
            true => lines,
            false => format!("\n{lines}"),
        }
    }

    /// Before anything is written: nobody else is at work on what is restarted in the end.
    async fn guard(&self, plan: &install::Plan) -> Result<Option<Guard>, Failed> {
        if !self.args.restart || plan.restarts.is_empty() {
            return Ok(None);
        }
        let names: Vec<&Name> = plan.restarts.iter().collect();
        let command = "install --restart";
        let guard = Guard::take(self.scope, &names, command, &self.said.id, Wait::No).await?;
        for name in names {
            guard.admit(name, &Operation::Restart, &self.model.breaker, false)?;
        }
        Ok(Some(guard))
    }

    async fn restarts(
        &self,
        plan: &install::Plan,
        guard: Option<&Guard>,
        systemd: &mut Systemd,
        interrupts: &mut Interrupts,
    ) -> Result<u8, Failed> {
        let Some(guard) = guard else {
            self.said.talk(&self.needed(&plan.restarts));
            return Ok(exit_code::DONE);
        };
        for name in &plan.restarts {
            let service = self.model.service(name.as_str());
            let service = service.expect("only services of the model are restarted");
            let observed = systemd.observe(&Watched::of(service)).await;
            let observed = observed.map_err(operation::stopped)?;
            let planned = match plan::plan(&plan::Request::restart(service), &observed) {
                Ok(planned) => planned,
                Err(refused) => {
                    self.said
                        .tell(EventKind::refused(&refused, self.scope.tool()));
                    // Of the restart nothing was touched, of the units something was.
                    return Ok(match plan.steps.is_empty() {
                        true => exit_code::REFUSED,
                        false => exit_code::LOOK_NOW,
                    });
                }
            };
            let run = Run {
                plan: &planned,
                restart_id: &self.said.id,
                systemctl: self.scope.systemctl(),
                interrupts,
            };
            let mut under_way = guard.begin(&planned)?;
            let mut sink = |event: Event| {
                under_way.take(&event);
                self.said.told.borrow_mut().tell(event);
            };
            let outcome = execute(run, systemd, &mut sink).await;
            guard.ended(name, &self.model.breaker, outcome);
            if outcome != Outcome::Completed {
                return Ok(operation::code(outcome));
            }
        }
        Ok(exit_code::DONE)
    }
}

/// Instances that a wanted target starts.
pub(super) fn instances(wanted: &[UnitFile]) -> Vec<UnitName> {
    let targets = wanted
        .iter()
        .filter(|unit| unit.name.as_str().ends_with(".target"));
    targets
        .flat_map(|unit| {
            let text = UnitText::read(&unit.to_string());
            let names: Vec<UnitName> = text
                .values("Unit", "Wants")
                .iter()
                .flat_map(|value| value.split_ascii_whitespace())
                .filter_map(|name| UnitName::parse(name).ok())
                .collect();
            names
        })
        .collect()
}

/// What people and programs are told.
pub(super) struct Said {
    told: RefCell<Told>,
    id: String,
    started: Instant,
}

impl Said {
    pub(super) fn new(told: Told) -> Result<Self, Failed> {
        Ok(Self {
            told: RefCell::new(told),
            id: operation::restart_id()?,
            started: Instant::now(),
        })
    }

    pub(super) async fn finish(self) {
        self.told.into_inner().finish().await;
    }

    /// For people only.
    pub(super) fn talk(&self, text: &str) {
        self.told.borrow().talk(text);
    }

    /// Only to the one who asked.
    fn show(&self, kind: EventKind) {
        let event = Event::new(&self.id, "", self.started.elapsed(), kind);
        self.told.borrow_mut().show(event);
    }

    pub(super) fn tell(&self, kind: EventKind) {
        self.tell_at(self.started.elapsed(), kind);
    }

    fn tell_at(&self, elapsed: Duration, kind: EventKind) {
        let event = Event::new(&self.id, "", elapsed, kind);
        self.told.borrow_mut().tell(event);
    }

    async fn carry_out<H: Host>(
        &self,
        plan: &install::Plan,
        host: &mut H,
        interrupts: &mut Interrupts,
    ) -> Outcome {
        self.steps(&plan.steps, &plan.rollback, &plan.gaps, host, interrupts)
            .await
    }

    /// Carries out the steps, with the gaps measured from outside meanwhile.
    pub(super) async fn steps<H: Host>(
        &self,
        steps: &[Step],
        rollback: &[Step],
        gaps: &[Gap],
        host: &mut H,
        interrupts: &mut Interrupts,
    ) -> Outcome {
        let started = Instant::now();
        let watches: Vec<Watch> = gaps.iter().map(|gap| Watch::start(gap.reach())).collect();
        let mut emit = |kind| self.tell_at(started.elapsed(), kind);
        let outcome = carry_out(steps, rollback, host, interrupts, &mut emit).await;
        for watch in watches {
            self.tell_at(started.elapsed(), watch.finish());
        }
        self.tell_at(started.elapsed(), EventKind::Finished { outcome });
        outcome
    }
}

fn talk(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
