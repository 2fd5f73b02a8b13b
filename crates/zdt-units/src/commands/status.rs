//! `zdt-units status`: looks at services, and shows what it sees.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read files, the environment and the clock"
)]

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tokio::time::Instant;

use super::named::refuse_unknown;
use super::operation::{runtime, stopped};
use super::scope::{self, Scope};
use super::{Failed, print};
use crate::breaker::Permit;
use crate::cli::StatusArgs;
use crate::doctor::Subject;
use crate::event::Event;
use crate::exit_code;
use crate::host::Host as _;
use crate::host::any::AnyHost;
use crate::host::facts::{Looking, Records, ask_health, current_release, memory};
use crate::host::supervisor::protocol::UnitReport;
use crate::host::{Failure, diag, sinks, state};
use crate::model::{Model, Name};
use crate::observe::Active;
use crate::report::metrics;
use crate::report::status::{Look, text};
use crate::sockets::Counters;
use crate::status::{Beside, Moment, ServiceStatus, Status, UnitStatus, recorded_start};

/// Counters are compared over at least so long.
const BETWEEN: Duration = Duration::from_millis(500);

pub(super) fn run(args: &StatusArgs) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    refuse_unknown(&read.model, &args.services)?;
    let command = Command {
        args,
        looker: Looker {
            model: &read.model,
            scope: &scope,
            services: &args.services,
        },
    };
    runtime()?.block_on(command.run())
}

struct Command<'a> {
    args: &'a StatusArgs,
    looker: Looker<'a>,
}

/// Looks at services once.
pub(super) struct Looker<'a> {
    pub(super) model: &'a Model,
    pub(super) scope: &'a Scope,
    /// Only these, or all of them.
    pub(super) services: &'a [String],
}

/// Counters, and when they were read.
pub(super) type Counted = (Instant, Option<Counters>);

impl Command<'_> {
    async fn run(&self) -> Result<u8, Failed> {
        let host = self.looker.scope.connect().await?;
        let mut before = count();
        let Some(pause) = self.args.watch else {
            let status = self
                .looker
                .look(&host, &mut before)
                .await
                .map_err(stopped)?;
            print(&self.shown(&status))?;
            return Ok(exit_code::DONE);
        };
        let redraws = io::stdout().is_terminal() && !self.args.json;
        if redraws {
            print("\x1b[2J")?;
        }
        let mut next = tokio::time::interval(pause.max(BETWEEN));
        loop {
            let status = tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(exit_code::DONE),
                status = async {
                    next.tick().await;
                    self.looker.look(&host, &mut before).await
                } => status.map_err(stopped)?,
            };
            let shown = self.shown(&status);
            print(&match redraws {
                // Each line over the one before, so that nothing flickers.
                true => format!("\x1b[H{}\x1b[J", shown.replace('\n', "\x1b[K\n")),
                false => shown,
            })?;
        }
    }

    fn shown(&self, status: &Status) -> String {
        if self.args.metrics {
            return metrics::now::text(status);
        }
        match self.args.json {
            true => {
                let json = serde_json::to_string(status);
                json.expect("a status has nothing that JSON has not") + "\n"
            }
            false => text(status, look()),
        }
    }
}

impl Looker<'_> {
    /// `before` is when the last look was, for what is counted in between.
    pub(super) async fn look(
        &self,
        host: &AnyHost,
        before: &mut Counted,
    ) -> Result<Status, Failure> {
        let looking = Looking::start(host);
        let (state, runtime) = (self.scope.state(), self.scope.runtime());
        let records = Records {
            state: &state,
            runtime: &runtime,
        };
        let events = sinks::file(&self.model.events, &self.scope.log());
        let recorded = events.as_deref().map(recorded).transpose();
        let unread = recorded.as_ref().err().map(Failure::to_string);
        let recorded = recorded.ok().flatten().unwrap_or_default();
        let wanted = |name: &str| {
            self.services.is_empty() || self.services.iter().any(|known| known == name)
        };
        let reports = match host {
            AnyHost::Launcher(launcher) => launcher.units(&[]).await?,
            AnyHost::Systemd(_) => Vec::new(),
        };
        let mut seen: Vec<(Subject, Beside)> = Vec::new();
        for service in &self.model.services {
            if wanted(service.name.as_str()) {
                let (subject, answered) = looking.service(service, records).await?;
                let link = service.release.as_ref();
                let mut beside = Beside {
                    records_unread: unread.is_some(),
                    tool: host.tool(),
                    units: units_of(&reports, &service.name),
                    release: link.and_then(|release| current_release(&release.root)),
                    memory_warn_bytes: service
                        .memory
                        .map(|memory| memory.warn.unwrap_or(memory.limit)),
                    breaker_open: self.breaker_is_open(&service.name),
                    ..Beside::default()
                };
                beside.memory_bytes = memory_of(&subject, &beside.units);
                if let Some(answered) = answered {
                    beside.release = answered.claim.release.or(beside.release);
                    beside.generation = answered.claim.generation;
                    beside.health = Some(answered.text);
                }
                let runs = subject
                    .services
                    .iter()
                    .find_map(|unit| unit.state.instance.as_ref());
                beside.started_by = runs.and_then(|run| recorded_start(&recorded, &run.invocation));
                seen.push((subject, beside));
            }
        }
        for foreign in &self.model.foreign {
            if wanted(foreign.name.as_str()) {
                let unit = looking.service_unit(&foreign.unit).await?;
                let health = match &foreign.health {
                    Some(health) => Some(ask_health(health, &unit.state, host.tool()).await.text),
                    None => None,
                };
                let subject = Subject {
                    name: foreign.name.to_string(),
                    services: vec![unit],
                    ..Subject::default()
                };
                seen.push((
                    subject,
                    Beside {
                        health,
                        ..Beside::default()
                    },
                ));
            }
        }
        let rate = rate(before).await;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let moment = Moment {
            now: u64::try_from(now.as_micros()).unwrap_or_default(),
            rate,
        };
        Ok(Status {
            manager: self.manager(&looking).await,
            new_connections: rate.map(|rate| (rate * 10.0).round() / 10.0),
            services: seen
                .into_iter()
                .map(|(subject, beside)| ServiceStatus::of(&subject, beside, moment))
                .collect(),
            notes: looking
                .unseen
                .iter()
                .map(|unseen| {
                    format!(
                        "{} could not be looked at: {}; {}",
                        unseen.what, unseen.why, unseen.fix
                    )
                })
                .chain(unread)
                .collect(),
        })
    }

    /// What cannot be read stands in nobody's way here; an operation says so.
    fn breaker_is_open(&self, service: &Name) -> bool {
        let history = state::history(&self.scope.state(), service).unwrap_or_default();
        matches!(
            history.permit(&self.model.breaker, SystemTime::now()),
            Permit::Open { .. }
        )
    }

    async fn manager(&self, looking: &Looking<'_>) -> String {
        let whose = match self.scope {
            Scope::User { .. } => "services of this user",
            Scope::System | Scope::Image(_) => "services of this machine",
            Scope::Launcher(_) => "services of a launcher",
        };
        format!("{whose}: {}", looking.manager().await)
    }
}

/// By the launcher's own count, else by the kernel's.
fn memory_of(subject: &Subject, units: &[UnitStatus]) -> Option<u64> {
    let counted = units
        .iter()
        .filter_map(|unit| Some(unit.memory.as_ref()?.bytes));
    let runs = subject
        .services
        .iter()
        .filter_map(|unit| unit.state.instance.as_ref());
    let all: Vec<u64> = match units {
        [] => runs.filter_map(|run| memory(run.pid)).collect(),
        _ => counted.collect(),
    };
    (!all.is_empty()).then(|| all.iter().sum())
}

/// Those of a service, without its sockets and without what rests.
fn units_of(reports: &[UnitReport], service: &Name) -> Vec<UnitStatus> {
    let own = reports.iter().filter(|report| {
        let is_socket = report.state.unit.as_str().ends_with(".socket");
        report.service == *service && !is_socket && report.state.active != Active::Inactive
    });
    own.map(UnitStatus::of).collect()
}

pub(super) fn count() -> Counted {
    (Instant::now(), diag::counters())
}

/// New connections a second since `before`, which becomes now.
pub(super) async fn rate(before: &mut Counted) -> Option<f64> {
    tokio::time::sleep_until(before.0 + BETWEEN).await;
    let now = count();
    let opened = now.1?.passive_opens.saturating_sub(before.1?.passive_opens);
    let seconds = (now.0 - before.0).as_secs_f64();
    *before = now;
    u32::try_from(opened)
        .ok()
        .map(|opened| f64::from(opened) / seconds)
}

/// The last of the records, oldest first.
fn recorded(path: &Path) -> Result<Vec<(String, Event)>, Failure> {
    #[derive(Deserialize)]
    struct Stamped {
        time: String,
        #[serde(flatten)]
        event: Event,
    }
    const LAST: u64 = 1 << 20;
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST)))?;
        let mut bytes = Vec::new();
        file.take(LAST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| Failure::io("read", path, &error))?,
    };
    // A kind that is not known, and the half of a line at the beginning, are skipped.
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str::<Stamped>(line).ok())
        .map(|stamped| (stamped.time, stamped.event))
        .collect())
}

/// Of the terminal that is written to.
pub(super) fn look() -> Look {
    let stdout = io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok();
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let width = size
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 0);
    Look {
        width: width.or(columns).unwrap_or(100),
        colour: stdout.is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}
