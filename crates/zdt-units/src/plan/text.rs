//! A plan as people read it, with `--dry-run` and while it is carried out.

use std::fmt;

use super::{Action, OnFailure, Plan, Step};
use crate::config::list;
use crate::model::{Strategy, UnitName, span};
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
                let sockets = opened(sockets);
                write!(
                    f,
                    "confirm that `{unit}` runs {new} and that {sockets} stayed open"
                )
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
            Self::AwaitReady {
                unit,
                reach,
                path,
                successes,
                ..
            } => {
                write!(
                    f,
                    "wait until `{reach}{path}` answers 200 from the process of `{unit}`"
                )?;
                match successes {
                    1 => Ok(()),
                    _ => write!(f, " {successes} times in a row"),
                }
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (limit {})", self.action, span(self.limit))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "restart `{}` (strategy `{}`)",
            self.service, self.strategy
        )?;
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

impl Plan {
    /// What happens when a step fails, line by line.
    fn ways_back(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let numbers: Vec<usize> = (1..=self.steps.len()).collect();
        let alike = numbers.chunk_by(|&one, &next| {
            self.steps[one - 1].on_failure == self.steps[next - 1].on_failure
        });
        for alike in alike {
            let (first, last) = (alike[0], alike[alike.len() - 1]);
            if let OnFailure::TakeBack(steps) = &self.steps[first - 1].on_failure {
                let when = match first == last {
                    true => format!("on failure of {first}:"),
                    false => format!("on failure of {first} to {last}:"),
                };
                lines.extend(listed(when, steps));
            }
        }
        let for_some = !lines.is_empty();
        let without = |step: &Step| step.on_failure == OnFailure::LookNow;
        if !self.rollback.is_empty() {
            lines.extend(listed("on failure:".to_owned(), &self.rollback));
        } else if for_some && self.steps.iter().any(without) {
            lines.push(
                "on another failure: nothing is taken back, and who serves goes on".to_owned(),
            );
        } else if !for_some {
            let nothing = "on failure: there is nothing to roll back to; the sockets stay open and connections wait";
            lines.push(nothing.to_owned());
        }
        lines
    }

    /// The ways back as events tell them: all in one list.
    pub fn rollback_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for (number, step) in (1..).zip(&self.steps) {
            if let OnFailure::TakeBack(steps) = &step.on_failure {
                let told = steps
                    .iter()
                    .map(|step| format!("after step {number}: {step}"));
                texts.extend(told);
            }
        }
        texts.extend(self.rollback.iter().map(Step::to_string));
        texts
    }
}

fn listed(when: String, steps: &[Step]) -> Vec<String> {
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
