//! `zdt-units doctor`: gathers facts, has them examined, and shows what was found.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::named::refuse_unknown;
use super::operation::{runtime, stopped};
use super::scope::{self, Scope};
use super::{Failed, config_file, install, print, status};
use crate::cli::DoctorArgs;
use crate::doctor::{Facts, Finding, Rate, Severity, Subject, examine};
use crate::exit_code;
use crate::host::Host as _;
use crate::host::any::AnyHost;
use crate::host::balancer;
use crate::host::facts::{Looking, Records, disk, machine};
use crate::host::look::{Wish, look};
use crate::host::systemd::Systemd;
use crate::host::{Failure, diag};
use crate::install::{Change, Request, TakeOver};
use crate::model::{Service, UnitName};
use crate::render::{Target, render};
use crate::report;

pub(super) fn run(args: &DoctorArgs) -> Result<u8, Failed> {
    let mut units = Vec::new();
    for unit in &args.unit {
        let unit = install::unit_name(unit)?;
        if ![".service", ".socket"]
            .iter()
            .any(|kind| unit.as_str().ends_with(kind))
        {
            let text = format!("`{unit}` is neither a service nor a socket unit");
            return Err(Failed::said(exit_code::USAGE, text));
        }
        units.push(unit);
    }
    let (read, scope) = match units.is_empty() {
        true => {
            let user = args.target.user;
            let (read, scope) = scope::reach(&args.config, user, &args.control)?;
            (Some(read), scope)
        }
        false => (None, Scope::of(args.target.user)?),
    };
    if let Some(read) = &read {
        refuse_unknown(&read.model, &args.services)?;
    }
    let facts = runtime()?.block_on(async {
        let host = scope.connect().await?;
        let gather = Gather {
            args,
            scope: &scope,
            host: &host,
        };
        let gathered = match &read {
            Some(read) => gather.services(read).await,
            None => gather.units(&units).await,
        };
        gathered.map_err(stopped)
    })?;
    let found = examine(&facts);
    show(args, &facts, &found)?;
    let is_bad = |finding: &Finding| finding.severity <= Severity::Warning;
    Ok(match args.strict && found.iter().any(is_bad) {
        true => exit_code::DIFFERS,
        false => exit_code::DONE,
    })
}

pub(super) struct Gather<'a> {
    pub(super) args: &'a DoctorArgs,
    pub(super) scope: &'a Scope,
    pub(super) host: &'a AnyHost,
}

impl Gather<'_> {
    async fn units(&self, units: &[UnitName]) -> Result<Facts, Failure> {
        let looking = Looking::start(self.host).among_others().await?;
        let mut facts = self.of_machine().await;
        for unit in units {
            facts.subjects.push(looking.unit(unit).await?);
        }
        facts.unseen = looking.unseen;
        Ok(facts)
    }

    pub(super) async fn services(&self, read: &config_file::Read) -> Result<Facts, Failure> {
        let looking = Looking::start(self.host).among_others().await?;
        let mut facts = self.of_machine().await;
        let (state, runtime) = (self.scope.state(), self.scope.runtime());
        let records = Records {
            state: &state,
            runtime: &runtime,
        };
        let names = &self.args.services;
        let is_meant = |service: &&Service| {
            names.is_empty() || names.iter().any(|name| name == service.name.as_str())
        };
        let mut roots = BTreeSet::new();
        for service in read.model.services.iter().filter(is_meant) {
            let (mut subject, _) = looking.service(service, records).await?;
            if let (Some(wished), Some(rotation)) = (&mut subject.wished, &service.rotation) {
                wished.rotation = balancer::seen(rotation).await;
            }
            facts.subjects.push(subject);
            roots.extend(
                service
                    .release
                    .as_ref()
                    .map(|release| release.root.to_string()),
            );
        }
        facts.unseen = looking.unseen;
        let roots = roots.iter().map(|root| (PathBuf::from(root), "releases"));
        let places = roots.chain([(state.clone(), "records"), (self.scope.log(), "events")]);
        facts.disks = places
            .filter_map(|(path, holds)| disk(&path, holds))
            .collect();
        if let AnyHost::Systemd(systemd) = self.host {
            self.compare(systemd, read, &mut facts).await?;
        }
        Ok(facts)
    }

    /// Units on disk and in the manager with those that `zdt.toml` gives.
    async fn compare(
        &self,
        systemd: &Systemd,
        read: &config_file::Read,
        facts: &mut Facts,
    ) -> Result<(), Failure> {
        let target = self.args.target.target();
        let wanted = render(&read.model, &read.source, target).units;
        let mut units: Vec<UnitName> = wanted.iter().map(|unit| unit.name.clone()).collect();
        units.extend(install::instances(&wanted));
        let place = self.scope.place();
        let wish = Wish {
            place: &place,
            others: self.scope.others(),
            units: &units,
        };
        // Without the model: with it every socket would be connected to, which starts services.
        let seen = look(wish, None, Some(systemd)).await?;
        let plan = crate::install::plan(&Request {
            model: &read.model,
            wanted: &wanted,
            seen: &seen,
            allow_gap: true,
            take_over: TakeOver::OfOwnNames,
        });
        let names = &self.args.services;
        let of_service = |unit: &UnitName| {
            let mut wanted = wanted.iter().filter(|wanted| wanted.name == *unit);
            names.is_empty()
                || wanted.any(|wanted| names.iter().any(|name| *name == wanted.service.to_string()))
        };
        let differs = plan.units.iter().filter(|unit| {
            !matches!(unit.change, Change::Unchanged | Change::Create) && of_service(&unit.unit)
        });
        facts.outdated = differs.map(|unit| unit.unit.clone()).collect();
        facts.drift = plan.drift;
        if let Some(release) = systemd.release().await {
            let here = Target {
                systemd: release,
                ..target
            };
            facts.too_old = render(&read.model, &read.source, here).notes;
        }
        Ok(())
    }

    /// The kernel's settings, and how many connections are made.
    async fn of_machine(&self) -> Facts {
        let mut machine = machine();
        machine.rate = match self.args.rate {
            Some(per_second) => Some(Rate {
                per_second,
                measured: false,
            }),
            None => measured().await,
        };
        Facts {
            tool: self.host.tool(),
            machine,
            ..Facts::default()
        }
    }
}

const MEASURED: Duration = Duration::from_secs(1);

async fn measured() -> Option<Rate> {
    let started = Instant::now();
    let before = diag::counters()?.passive_opens;
    sleep(MEASURED).await;
    let opened = diag::counters()?.passive_opens.saturating_sub(before);
    let per_second = u32::try_from(opened).ok()?;
    (started.elapsed() < 2 * MEASURED).then_some(Rate {
        per_second,
        measured: true,
    })
}

fn show(args: &DoctorArgs, facts: &Facts, found: &[Finding]) -> Result<(), Failed> {
    let count = |subject: &Subject| subject.services.len() + subject.sockets.len();
    let units = facts.subjects.iter().map(count).sum();
    if !args.json {
        return print(&report::doctor::text(found, units, status::look()));
    }
    #[derive(Serialize)]
    struct Examined<'a> {
        units: usize,
        findings: &'a [Finding],
    }
    let json = serde_json::to_string(&Examined {
        units,
        findings: found,
    });
    print(&(json.expect("a finding has nothing that JSON has not") + "\n"))
}
