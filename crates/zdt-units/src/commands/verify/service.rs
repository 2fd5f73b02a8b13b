//! A service of `zdt.toml`, restarted by systemd as `zdt-units restart` does it.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::super::guard::{Guard, Wait};
use super::super::{Failed, named, operation, restart, scope};
use super::{about, say, tell};
use crate::cli::VerifyArgs;
use crate::event::{Event, EventKind, Outcome};
use crate::execute::{Interrupts, Run, execute};
use crate::exit_code;
use crate::host::any::AnyHost;
use crate::model::Service as Described;
use crate::observe::Active;
use crate::probe::{Address, Target};
use crate::report::human;
use crate::tool::Tool;
use crate::verify::result::{Host, PhaseKind, Subject, Verified};
use crate::verify::{Options, Restarted, Restarts, judge, measure};

/// A service, and who restarts it.
struct Service<'a> {
    described: &'a Described,
    host: AnyHost,
    tool: Tool,
    /// From the first restart on.
    interrupts: Option<Interrupts>,
}

pub(super) async fn verify(
    args: &VerifyArgs,
    name: &str,
    options: &Options,
) -> Result<Verified, Failed> {
    let (read, scope) = scope::reach(&args.config, false, &args.control)?;
    let described = named::find(&read.model, name)?;
    let mut host = scope.connect().await?;
    let restart_id = operation::restart_id()?;
    let names = [&described.name];
    let _guard = Guard::take(&scope, &names, "verify", &restart_id, Wait::No).await?;
    if let Err(reasons) = restart::prepare(&mut host, described).await? {
        let refused = EventKind::refused(&reasons, scope.tool());
        let event = Event::new(&restart_id, name, Duration::ZERO, refused);
        let _ = io::stderr().write_all(human::lines(&event).as_bytes());
        return Err(Failed::said(
            exit_code::REFUSED,
            format!("`{name}` would not be restarted as it is, so nothing was touched"),
        ));
    }
    let target = target(described)?;
    say(&format!("service `{name}` at {}", target.address));
    let mut service = Service {
        described,
        host,
        tool: scope.tool(),
        interrupts: None,
    };
    let mut progress = |progress: crate::verify::Progress<'_>| tell(options, progress);
    let measured = measure(&target, options, &mut service, &mut progress).await;
    let by = match service.tool {
        Tool::Launcher => Host::Supervisor,
        Tool::Systemctl | Tool::UserSystemctl => Host::Systemd,
    };
    let about = about(Subject::Service(name.to_owned()), by);
    Ok(judge(about, options, measured, Vec::new()))
}

/// Where clients of its main socket connect.
fn target(described: &Described) -> Result<Target, Failed> {
    let Some(main) = described.sockets.first() else {
        let what = format!(
            "`{}` has no socket, so there are no requests that it could lose",
            described.name
        );
        return Err(Failed::said(exit_code::USAGE, what).hint("name a service with `listen`"));
    };
    let addresses = main.listen.addresses();
    let reach = addresses[0].reach().to_string();
    let address: Address = reach
        .parse()
        .map_err(|error| Failed::unexpected(format!("`{reach}` cannot be measured: {error}")))?;
    Ok(Target::new(address))
}

impl Restarts for Service<'_> {
    async fn restart(&mut self) -> Restarted {
        let failed = |why: String| Restarted {
            failed: Some(why),
            ..Restarted::default()
        };
        match self.try_restart().await {
            Ok(restarted) => restarted,
            Err(error) => failed(error.message()),
        }
    }
}

impl Service<'_> {
    async fn try_restart(&mut self) -> Result<Restarted, Failed> {
        let began = Instant::now();
        let Ok(plan) = restart::prepare(&mut self.host, self.described).await? else {
            return Err(Failed::unexpected("it is refused by now"));
        };
        if self.interrupts.is_none() {
            self.interrupts = Some(operation::interrupts()?);
        }
        let Some(interrupts) = &mut self.interrupts else {
            return Err(Failed::unexpected("signals cannot be heard"));
        };
        let restart_id = operation::restart_id()?;
        let run = Run {
            plan: &plan,
            restart_id: &restart_id,
            systemctl: self.tool.command(),
            interrupts,
        };
        let executing = began.elapsed();
        let mut events = Vec::new();
        let outcome = execute(run, &mut self.host, &mut |event| events.push(event)).await;
        Ok(Restarted {
            phases: phases(&events, self.described.unit().as_str(), executing),
            killed: outcome == Outcome::Lossy,
            failed: match outcome {
                Outcome::Completed | Outcome::Lossy => None,
                _ => Some(reason(&events)),
            },
            ..Restarted::default()
        })
    }
}

/// What the unit's states say of the restart, which began so long before the events.
fn phases(events: &[Event], unit: &str, before: Duration) -> Vec<(PhaseKind, Duration, Duration)> {
    let at = |wanted: Active| {
        let mut states = events.iter().filter_map(|event| match &event.kind {
            EventKind::UnitState {
                unit: of, active, ..
            } if of == unit && *active == wanted => Some(before + event.elapsed),
            _ => None,
        });
        states.next()
    };
    let end = before + events.last().map_or(Duration::ZERO, |event| event.elapsed);
    let stopping = at(Active::Deactivating).unwrap_or(before);
    let starting = at(Active::Activating).unwrap_or(end);
    let ready = at(Active::Active).unwrap_or(end);
    vec![
        (PhaseKind::Stopping, stopping, starting),
        (PhaseKind::Starting, starting, ready.max(starting)),
        (PhaseKind::Confirming, ready.max(starting), end),
    ]
}

fn reason(events: &[Event]) -> String {
    let failed = events.iter().rev().find_map(|event| match &event.kind {
        EventKind::StepFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    failed.unwrap_or_else(|| "no step failed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(unit: &str, active: Active, at_ms: u64) -> Event {
        let state = EventKind::UnitState {
            unit: unit.to_owned(),
            active,
            sub: String::new(),
        };
        Event::new("", "", Duration::from_millis(at_ms), state)
    }

    #[test]
    fn the_states_of_the_unit_are_the_phases_of_the_restart() {
        let ms = Duration::from_millis;
        let events = [
            state("a.socket", Active::Active, 1),
            state("a.service", Active::Deactivating, 4),
            state("a.service", Active::Inactive, 20),
            state("a.service", Active::Activating, 22),
            state("a.service", Active::Active, 60),
            state("a.socket", Active::Active, 70),
        ];
        assert_eq!(
            phases(&events, "a.service", ms(10)),
            [
                (PhaseKind::Stopping, ms(14), ms(32)),
                (PhaseKind::Starting, ms(32), ms(70)),
                (PhaseKind::Confirming, ms(70), ms(80)),
            ]
        );
        // A manager that tells only the ends.
        assert_eq!(
            phases(&events[5..], "a.service", ms(10)),
            [
                (PhaseKind::Stopping, ms(10), ms(80)),
                (PhaseKind::Starting, ms(80), ms(80)),
                (PhaseKind::Confirming, ms(80), ms(80)),
            ]
        );
    }
}
