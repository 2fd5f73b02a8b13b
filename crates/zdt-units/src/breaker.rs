//! Decides when to stop trying: after so many failures in a row within a time, operations of a
//! service are refused for a while, then one is let through. Pure: the wall clock is passed in.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::event::Outcome;
use crate::model::Breaker;
use crate::stamp;

/// How often the pause doubles: up to eight times the first one.
const LONGEST: u32 = 8;

/// What is remembered of a service: its failures since the last success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub failures: Vec<Failed>,
    /// There since so many failures; gone with the next success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
}

/// One operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    #[serde(with = "stamp")]
    pub at: SystemTime,
    pub restart_id: String,
    pub outcome: Outcome,
}

/// Since when nothing is let through, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    #[serde(with = "stamp")]
    pub at: SystemTime,
    pub pause: Duration,
}

/// Whether an operation may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Closed,
    /// One try: its failure begins a longer pause.
    HalfOpen,
    Open {
        until: SystemTime,
    },
}

impl History {
    pub fn permit(&self, breaker: &Breaker, now: SystemTime) -> Permit {
        let Some(opened) = self.opened.filter(|_| breaker.failures > 0) else {
            return Permit::Closed;
        };
        // A clock that was put back must not prolong the pause.
        match now.duration_since(opened.at) {
            Ok(passed) if passed < opened.pause => Permit::Open {
                until: opened.at + opened.pause,
            },
            _ => Permit::HalfOpen,
        }
    }

    /// The history after an operation that ended so.
    pub fn after(
        mut self,
        breaker: &Breaker,
        restart_id: &str,
        outcome: Outcome,
        now: SystemTime,
    ) -> Self {
        match outcome {
            // It says nothing about the release: nothing was touched.
            Outcome::Stopped => return self,
            Outcome::Completed | Outcome::Lossy => return Self::default(),
            Outcome::RolledBack | Outcome::LookNow => {}
        }
        if breaker.failures == 0 {
            return Self::default();
        }
        let permit = self.permit(breaker, now);
        self.failures.push(Failed {
            at: now,
            restart_id: restart_id.to_owned(),
            outcome,
        });
        self.failures
            .retain(|failed| now.duration_since(failed.at).unwrap_or_default() <= breaker.within);
        let most = usize::try_from(breaker.failures).unwrap_or(usize::MAX);
        let surplus = self.failures.len().saturating_sub(most);
        self.failures.drain(..surplus);

        self.opened = match (self.opened, permit) {
            (Some(opened), Permit::HalfOpen) => Some(Opened {
                at: now,
                pause: (opened.pause * 2).min(breaker.pause * LONGEST),
            }),
            // Forced, and failed again.
            (Some(opened), _) => Some(Opened { at: now, ..opened }),
            (None, _) if self.failures.len() >= most => Some(Opened {
                at: now,
                pause: breaker.pause,
            }),
            (None, _) => None,
        };
        self
    }

    /// Why nothing is let through.
    pub fn reason(&self, service: &str, until: SystemTime, now: SystemTime) -> String {
        let times = match self.failures.len() {
            1 => "its last operation failed".to_owned(),
            more => format!("its last {more} operations failed"),
        };
        let failures: String = self
            .failures
            .iter()
            .map(|failed| format!("\n{failed}"))
            .collect();
        let left = until.duration_since(now).unwrap_or_default();
        let left = humantime::format_duration(Duration::from_secs(left.as_secs() + 1));
        format!(
            "{times}, so `{service}` is left alone until {} ({left}){failures}",
            stamp::text(until)
        )
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::RolledBack => "rolled back",
            Outcome::LookNow => "failed without a way back",
            Outcome::Stopped => "stopped",
            Outcome::Completed => "done",
            Outcome::Lossy => "done, with losses",
        };
        let at = stamp::text(self.at);
        write!(f, "  {at}  {outcome}  (id {})", self.restart_id)
    }
}

#[cfg(test)]
mod tests;
