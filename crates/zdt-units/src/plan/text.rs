//! A plan as people read it, with `--dry-run` and while it is carried out.

use std::fmt;

use super::{Action, OnFailure, Operation, Plan, Step};
use crate::config::list;
use crate::model::{Health, Probe, ReleaseName, Strategy, UnitName, span};
use crate::observe::WatchedSocket;

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Standby => "standby",
            Self::Rolling { .. } => "rolling",
            Self::Reload => "reload",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(act) => act.fmt(f),
            Self::Release(act) => act.fmt(f),
            Self::RunTask { unit, .. } => write!(f, "run `{unit}` to its end"),
            Self::KeepUnits { place, files } => match &files[..] {
                [one] => write!(
                    f,
                    "keep `{}`, which works, in `{}`",
                    one.path.display(),
                    place.display()
                ),
                _ => write!(
                    f,
                    "keep the unit files, which work, in `{}`",
                    place.display()
                ),
            },
            Self::RestoreUnits { place, files, .. } => match &files[..] {
                [one] => write!(
                    f,
                    "go back to `{}` as kept in `{}`",
                    one.path.display(),
                    place.display()
                ),
                _ => write!(f, "put the unit files of `{}` back", place.display()),
            },
            Self::StartUnit { unit } => write!(f, "start `{unit}` and wait until it is ready"),
            Self::RestartUnit { unit } => write!(f, "restart `{unit}` and wait until it is ready"),
            Self::RestartUnits { units } => write!(
                f,
                "restart {} at the same time and wait until each is ready",
                names(units)
            ),
            Self::ReloadUnit { unit } => {
                write!(
                    f,
                    "reload `{unit}` and wait until its next process is ready"
                )
            }
            Self::StopUnits { units } => write!(f, "stop {}", names(units)),
            Self::OpenSockets { sockets, .. } => write!(f, "open {}", names(sockets)),
            Self::CloseSockets { units, sockets, .. } => match units.is_empty() {
                true => write!(f, "close {}", names(sockets)),
                false => write!(f, "stop {}, then close {}", names(units), names(sockets)),
            },
            Self::ConfirmInstance {
                unit,
                before,
                sockets,
            } => {
                let new = if before.is_some() {
                    "a new process"
                } else {
                    "a process"
                };
                write!(f, "confirm that `{unit}` runs {new}")?;
                match sockets.is_empty() {
                    true => Ok(()),
                    false => write!(f, " and that {} stayed open", opened(sockets)),
                }
            }
            Self::ConfirmReload {
                unit,
                before,
                sockets,
            } => write!(
                f,
                "confirm that `{unit}` runs another process than {} and that {} stayed open",
                before.pid,
                opened(sockets)
            ),
            Self::StayUp { units, time } => {
                write!(f, "see {} stay up for {}", names(units), span(*time))
            }
            Self::CloseUntaken { unit } => write!(
                f,
                "close connections that the process of `{unit}` was handed and did not take"
            ),
            Self::TakeOut { rotation, .. } => write!(
                f,
                "take `{}` out of rotation at {}",
                rotation.server, rotation.balancer
            ),
            Self::PutBack { rotation, .. } => write!(
                f,
                "put `{}` back into rotation at {}",
                rotation.server, rotation.balancer
            ),
            Self::AwaitReady { unit, health, .. } => {
                write!(f, "wait until {}", seen(unit, health))?;
                match health.successes {
                    1 => {}
                    times => write!(f, " {times} times in a row")?,
                }
                f.write_str(anonymous(&health.probe))
            }
            Self::CheckHealth { unit, health } => write!(
                f,
                "see that `{unit}` is well before anything is touched: {}{}",
                seen(unit, health),
                anonymous(&health.probe)
            ),
        }
    }
}

/// What shows that the unit is well.
fn seen(unit: &UnitName, health: &Health) -> String {
    let probe = &health.probe;
    match probe {
        Probe::Ready { .. } => format!("{probe} from the process of `{unit}`"),
        Probe::Active => format!("the manager of `{unit}` says that it is active"),
        Probe::Http(_) | Probe::Command { .. } | Probe::Tcp { .. } => probe.to_string(),
    }
}

fn anonymous(probe: &Probe) -> &'static str {
    match probe {
        Probe::Command { .. } | Probe::Tcp { .. } => ", which says nothing about which process",
        Probe::Ready { .. } | Probe::Http(_) | Probe::Active => "",
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (limit {})", self.action, span(self.limit))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = headline(
            self.operation.name(),
            self.service.as_str(),
            self.operation.release().map(ReleaseName::as_str),
        );
        match self.strategy {
            Some(strategy) => writeln!(f, "{what} (strategy `{strategy}`)")?,
            None => writeln!(f, "{what} (`{}`)", self.watched.service)?,
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number}. {step}")?;
        }
        for line in self.ways_back() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// What is done, before all that is said of it.
pub(crate) fn headline(operation: &str, service: &str, release: Option<&str>) -> String {
    match (operation, release) {
        ("deploy", Some(release)) => format!("deploy `{release}` of `{service}`"),
        ("roll_back", Some(release)) => format!("roll `{service}` back to `{release}`"),
        ("stop", _) => format!("stop `{service}`"),
        ("start", _) => format!("start `{service}`"),
        ("recover", _) => format!("take back what broke off of `{service}`"),
        _ => format!("restart `{service}`"),
    }
}

const NOWHERE: &str =
    "there is nothing to roll back to; the sockets stay open and connections wait";
/// Where there are no sockets, or they are those of others.
const THEIRS: &str = "there is nothing to roll back to";
const STOPPED: &str = "what is stopped by then stays so";
const NOTHING: &str = "nothing is taken back, and who serves goes on";

impl Plan {
    /// Steps in a row whose failures mean the same, by their numbers.
    fn alike(&self) -> Vec<(String, &OnFailure)> {
        let numbers: Vec<usize> = (1..=self.steps.len()).collect();
        let way = |number: usize| &self.steps[number - 1].on_failure;
        let alike = numbers.chunk_by(|&one, &next| way(one) == way(next));
        alike
            .map(|alike| {
                let (first, last) = (alike[0], alike[alike.len() - 1]);
                let which = match first == last {
                    true => first.to_string(),
                    false => format!("{first} to {last}"),
                };
                (which, way(first))
            })
            .collect()
    }

    /// What happens when a step fails, line by line.
    fn ways_back(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let (mut others, mut none, mut taken_back) = (false, false, false);
        for (which, way) in self.alike() {
            let when = format!("on failure of {which}:");
            match way {
                OnFailure::Stop => lines.push(format!("{when} it ends there, nothing was touched")),
                OnFailure::GoOn => lines.push(format!("{when} that is told, and it goes on")),
                OnFailure::LookAfter => lines.push(format!(
                    "{when} that is told, it goes on, and a person has to look"
                )),
                OnFailure::TakeBack(steps) => {
                    let puts_back = |step: &Step| matches!(step.action, Action::PutBack { .. });
                    taken_back |= !steps.iter().all(puts_back);
                    lines.extend(listed(when, steps));
                }
                OnFailure::RollBack => others = true,
                OnFailure::LookNow => none = true,
            }
        }
        let when = |lines: &[String]| match lines.is_empty() {
            true => "on failure:",
            false => "on another failure:",
        };
        if others {
            lines.extend(listed(when(&lines).to_owned(), &self.rollback));
        } else if none {
            let when = when(&lines);
            let what = match taken_back {
                true => NOTHING,
                false if self.operation == Operation::Stop => STOPPED,
                false if self.strategy.is_none() || self.watched.sockets.is_empty() => THEIRS,
                false => NOWHERE,
            };
            let out = self.steps.iter().find_map(|step| match &step.action {
                Action::TakeOut { rotation, .. } => Some(&rotation.server),
                _ => None,
            });
            let out = out.map_or_else(String::new, |out| {
                format!("; `{out}` stays out of rotation")
            });
            lines.push(format!("{when} {what}{out}"));
        }
        lines
    }

    /// The ways back as events tell them: all in one list.
    pub fn rollback_texts(&self) -> Vec<String> {
        let alike = self.alike().into_iter();
        let own = alike.filter_map(|(which, way)| match way {
            OnFailure::TakeBack(steps) => Some((which, steps)),
            _ => None,
        });
        let own = own.flat_map(|(which, steps)| {
            let told = steps.iter();
            told.map(move |step| format!("on failure of {which}: {step}"))
        });
        own.chain(self.rollback.iter().map(Step::to_string))
            .collect()
    }
}

fn listed(when: String, steps: &[Step]) -> Vec<String> {
    if steps.is_empty() {
        return vec![format!("{when} {NOTHING}")];
    }
    let numbered = (1..).zip(steps);
    let steps = numbered.map(|(number, step): (u32, _)| format!("   {number}. {step}"));
    std::iter::once(when).chain(steps).collect()
}

fn names(units: &[UnitName]) -> String {
    let units: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    list(&units)
}

fn opened(sockets: &[WatchedSocket]) -> String {
    let sockets: Vec<&str> = sockets.iter().map(|socket| socket.unit.as_str()).collect();
    list(&sockets)
}
