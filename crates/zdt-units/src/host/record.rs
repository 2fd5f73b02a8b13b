//! The operation under way, written down before each of its steps.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Failure, state};
use crate::event::{Event, EventKind, Phase};
use crate::model::Name;
use crate::plan::Plan;
use crate::recover::{Reached, Unfinished};

/// The version of the format.
const VERSION: u32 = 1;

/// On disk from before the first step until the last one is done, or until the way back that was interrupted is.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    under_way: Unfinished,
    broken_off: bool,
}

impl Record {
    /// Writes down that `plan` begins. Its failure means that nothing was done.
    pub fn begin(
        state: &Path,
        restart_id: &str,
        plan: &Plan,
        now: SystemTime,
    ) -> Result<Self, Failure> {
        let record = Self {
            path: path(state, &plan.service),
            under_way: Unfinished {
                v: VERSION,
                restart_id: restart_id.to_owned(),
                since: now,
                reached: Reached::default(),
                plan: plan.clone(),
            },
            broken_off: false,
        };
        state::replace(&record.path, &record.under_way)?;
        Ok(record)
    }

    /// Keeps up with the operation; to be told of each event before what it announces is done.
    pub fn take(&mut self, event: &Event) -> Result<(), Failure> {
        let reached = &mut self.under_way.reached;
        match &event.kind {
            EventKind::StepStarted { phase, step, .. } => match phase {
                Phase::Forward => reached.step = *step,
                Phase::Rollback => reached.back = *step,
            },
            EventKind::StepCompleted {
                phase: Phase::Forward,
                step,
            } if *step == self.under_way.plan.steps.len() => reached.done = true,
            EventKind::BrokenOff => {
                self.broken_off = true;
                return Ok(());
            }
            EventKind::Finished { .. } if self.broken_off => return Ok(()),
            EventKind::Finished { .. } => return state::remove(&self.path),
            _ => return Ok(()),
        }
        state::replace(&self.path, &self.under_way)
    }

    /// What an operation on `service` left, or has so far.
    pub fn left(state: &Path, service: &Name) -> Result<Option<Unfinished>, Failure> {
        let path = path(state, service);
        let damaged = |failure: Failure| {
            failure.or_hint(format!(
                "see what runs with `zdt-units explain {service}` and `systemctl status`; \
                 `rm {}` forgets what broke off",
                path.display()
            ))
        };
        let left: Option<Unfinished> = state::read(&path).map_err(damaged)?;
        match left {
            Some(left) if left.v != VERSION => Err(damaged(
                Failure::new(format!(
                    "`{}` was written by another release of zdt-units (version {})",
                    path.display(),
                    left.v
                ))
                .without_effect(),
            )),
            left => Ok(left),
        }
    }

    /// Forgets it.
    pub fn clear(state: &Path, service: &Name) -> Result<(), Failure> {
        state::remove(&path(state, service))
    }
}

fn path(state: &Path, service: &Name) -> PathBuf {
    state.join(service.as_str()).join("running.json")
}

#[cfg(test)]
mod tests;
