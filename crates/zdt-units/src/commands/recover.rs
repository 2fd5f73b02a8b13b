//! `zdt-units recover`: takes back, or ends, what broke off, by `kill -9` or a power cut.

use std::time::Duration;

use super::Failed;
use super::guard::{Guard, Wait};
use super::named::{find, refuse_unknown};
use super::operation::{Told, code, interrupts, restart_id, runtime, stopped, untouched};
use super::scope::{self, Scope};
use crate::cli::RecoverArgs;
use crate::event::{Event, EventKind, Outcome};
use crate::execute::{Interrupts, Run, execute};
use crate::exit_code;
use crate::host::any::AnyHost;
use crate::host::record::Record;
use crate::host::supervisor::protocol::Question;
use crate::host::{Host, lock};
use crate::model::{Model, Name, Service};
use crate::observe::Watched;
use crate::plan::Plan;
use crate::recover::{self, Settled, Unfinished, WayBack};

pub(super) fn run(args: &RecoverArgs) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    refuse_unknown(&read.model, &args.services)?;
    let services = match args.services.as_slice() {
        [] => read.model.services.iter().collect(),
        names => names
            .iter()
            .map(|name| find(&read.model, name))
            .collect::<Result<Vec<&Service>, Failed>>()?,
    };
    let model = &read.model;
    let restart_id = restart_id()?;
    runtime()?.block_on(async {
        let mut recovery = Recovery {
            args,
            model,
            host: scope.connect().await?,
            scope: &scope,
            restart_id: &restart_id,
            interrupts: interrupts()?,
            told: match args.dry_run {
                true => Told::here(args.json),
                false => Told::open(args.json, &read.model.events, &scope),
            },
        };
        let done = recovery.all(&services).await;
        recovery.told.finish().await;
        done
    })
}

struct Recovery<'a> {
    args: &'a RecoverArgs,
    model: &'a Model,
    scope: &'a Scope,
    host: AnyHost,
    restart_id: &'a str,
    interrupts: Interrupts,
    told: Told,
}

impl Recovery<'_> {
    async fn all(&mut self, services: &[&Service]) -> Result<u8, Failed> {
        let mut worst = exit_code::DONE;
        for service in services {
            worst = worst.max(self.of(service).await?);
        }
        self.orphans().await?;
        Ok(worst)
    }

    /// Of a launcher that was killed: told, and ended where that is asked for.
    async fn orphans(&mut self) -> Result<(), Failed> {
        let AnyHost::Launcher(launcher) = &self.host else {
            return match self.args.stop_orphans {
                false => Ok(()),
                true => Err(Failed::said(
                    exit_code::REFUSED,
                    "systemd leaves no process behind, so there is none to stop",
                )),
            };
        };
        let orphans = launcher.orphans().await.map_err(stopped)?;
        let stops = self.args.stop_orphans && !self.args.dry_run;
        for orphan in &orphans {
            let what = format!(
                "process {} of `{}` has no launcher: {}",
                orphan.pid, orphan.unit, orphan.why
            );
            let text = match self.args.stop_orphans {
                true => what,
                false => format!("{what}; `zdt-units recover --stop-orphans` ends it"),
            };
            match self.args.json {
                true => {
                    let kind = EventKind::Note { text };
                    let event = Event::new(self.restart_id, "", Duration::ZERO, kind);
                    self.told.show(event);
                }
                false => self.told.talk(&format!("{text}\n")),
            }
        }
        if !stops || orphans.is_empty() {
            return Ok(());
        }
        let told = &mut self.told;
        let mut tell = |kind| told.show(Event::new(self.restart_id, "", Duration::ZERO, kind));
        let ended = launcher.follow(&Question::StopOrphans, &mut tell).await;
        ended.map_err(super::look_now)
    }

    async fn of(&mut self, service: &Service) -> Result<u8, Failed> {
        let name = &service.name;
        if let Some(holder) = lock::holder(&self.scope.runtime(), name) {
            self.say(service, format!("{holder} is at work on it"));
            return Ok(exit_code::DONE);
        }
        let _guard = match self.args.dry_run {
            true => None,
            false => {
                let command = format!("recover {name}");
                let with = self.model.companions(name).into_iter();
                let names: Vec<&Name> = std::iter::once(name)
                    .chain(with.map(|service| &service.name))
                    .collect();
                Some(Guard::take(self.scope, &names, &command, self.restart_id, Wait::No).await?)
            }
        };
        let left = Record::left(&self.scope.state(), name).map_err(untouched)?;
        let Some(left) = left else {
            return self.look(service).await;
        };
        let watched = Watched::of(service);
        let observed = self.host.observe(&watched).await.map_err(stopped)?;
        let running = observed.service.instance.as_ref();
        match recover::way_back_from(&left, running) {
            WayBack::Nothing(why) => {
                let why = match why {
                    Settled::Untouched => "nothing was touched by then",
                    Settled::Finished => "it was done by then",
                    Settled::Enough => "what was done by then stays as it is",
                };
                self.say(service, format!("{}; {why}", recover::broke_off(&left)));
                self.forget(service)?;
                Ok(exit_code::DONE)
            }
            WayBack::Steps(steps) => {
                let plan = recover::plan_back(&left, steps);
                self.carry_out(service, &plan).await
            }
            WayBack::Anew => self.anew(service, &left).await,
        }
    }

    /// Nothing broke off. What is off all the same is told, and left to people.
    async fn look(&mut self, service: &Service) -> Result<u8, Failed> {
        let watched = Watched::of(service).keeping(&self.scope.state(), &service.name);
        let observed = self.host.observe(&watched).await;
        let off = recover::off(service, &observed.map_err(stopped)?, self.scope.tool());
        if off.is_empty() {
            self.say(service, "nothing broke off, and all is well".to_owned());
        }
        for off in off {
            self.say(
                service,
                format!("nothing broke off, but {}; {}", off.what, off.command),
            );
        }
        Ok(exit_code::DONE)
    }

    async fn anew(&mut self, service: &Service, left: &Unfinished) -> Result<u8, Failed> {
        let keeping = |service: &Service| {
            let watched = Watched::of(service).keeping(&self.scope.state(), &service.name);
            watched.in_rotation(service)
        };
        let companions = self.model.companions(&service.name);
        let watched = Watched {
            companions: companions.iter().map(|service| keeping(service)).collect(),
            ..keeping(service)
        };
        let observed = self.host.observe(&watched).await;
        match recover::plan_anew(left, service, companions, &observed.map_err(stopped)?) {
            Ok(plan) => self.carry_out(service, &plan).await,
            Err(refused) => {
                self.tell(service, EventKind::refused(&refused, self.scope.tool()));
                Ok(exit_code::REFUSED)
            }
        }
    }

    /// The record stays until all of it is done: a recovery that breaks off is begun again.
    async fn carry_out(&mut self, service: &Service, plan: &Plan) -> Result<u8, Failed> {
        if self.args.dry_run {
            match self.args.json {
                true => self.tell(
                    service,
                    EventKind::planned(plan, true).by(self.scope.tool()),
                ),
                false => super::print(&plan.to_string())?,
            }
            return Ok(exit_code::DONE);
        }
        let run = Run {
            plan,
            restart_id: self.restart_id,
            systemctl: self.scope.systemctl(),
            interrupts: &mut self.interrupts,
        };
        let told = &mut self.told;
        let mut sink = |event: Event| told.tell(event);
        let outcome = execute(run, &mut self.host, &mut sink).await;
        match outcome {
            // A migration that fails has no way back but to say so.
            Outcome::Completed | Outcome::Lossy | Outcome::RolledBack => self.forget(service)?,
            Outcome::Stopped | Outcome::LookNow => {}
        }
        Ok(code(outcome))
    }

    fn forget(&self, service: &Service) -> Result<(), Failed> {
        match self.args.dry_run {
            true => Ok(()),
            false => Record::clear(&self.scope.state(), &service.name).map_err(stopped),
        }
    }

    fn say(&mut self, service: &Service, text: String) {
        match self.args.json {
            true => self.tell(service, EventKind::Note { text }),
            false => self.told.talk(&format!("`{}`: {text}\n", service.name)),
        }
    }

    /// Only to the one who asked.
    fn tell(&mut self, service: &Service, kind: EventKind) {
        let event = Event::new(self.restart_id, service.name.as_str(), Duration::ZERO, kind);
        self.told.show(event);
    }
}
