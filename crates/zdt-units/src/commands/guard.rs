//! What keeps operations apart, and remembers how they went: locks, the circuit breaker, the
//! record of what is under way. Shared by all commands that change a service.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read the wall clock and who runs them"
)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::unistd::{User, geteuid};
use tokio::sync::oneshot;

use super::operation::untouched;
use super::scope::Scope;
use super::{Failed, note};
use crate::breaker::Permit;
use crate::cli::WaitArgs;
use crate::event::{Event, Outcome};
use crate::exit_code;
use crate::host::lock::{Holder, Lock, Taken, start_time};
use crate::host::record::Record;
use crate::host::{Failure, state};
use crate::model::{Breaker, Name};
use crate::plan::{Operation, Plan};
use crate::recover;

/// How long to wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    For(Duration),
    Forever,
}

impl From<&WaitArgs> for Wait {
    fn from(args: &WaitArgs) -> Self {
        match args.wait {
            None => Self::No,
            Some(None) => Self::Forever,
            Some(Some(limit)) => Self::For(limit),
        }
    }
}

/// The only operation on some services, until it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    state: PathBuf,
    restart_id: String,
    _locks: Vec<Lock>,
}

impl Guard {
    /// Takes the locks of all `services`, or none. `command` is what it is for, as it was called.
    pub(super) async fn take(
        scope: &Scope,
        services: &[&Name],
        command: &str,
        restart_id: &str,
        wait: Wait,
    ) -> Result<Self, Failed> {
        let holder = holder(command, restart_id);
        let until = match wait {
            Wait::For(limit) => Some(tokio::time::Instant::now() + limit),
            Wait::No | Wait::Forever => None,
        };
        // Everybody in the same order, so nobody waits for somebody who waits for them.
        let mut names = services.to_vec();
        names.sort();
        names.dedup();
        let mut locks = Vec::new();
        for name in names {
            let lock = match Lock::take(&scope.runtime(), name, &holder) {
                Ok(lock) => lock,
                Err(Taken::Failed(failure)) => return Err(untouched(failure)),
                Err(Taken::By(by)) if wait == Wait::No => return Err(busy(name, by.as_ref())),
                Err(Taken::By(by)) => {
                    note(&[format!("waiting for {}", who(by.as_ref()))]);
                    let others = Others {
                        scope,
                        name,
                        holder: &holder,
                    };
                    others.wait(until).await?
                }
            };
            if let Some(dead) = &lock.left_by {
                note(&[format!("{dead} died while it was at work on `{name}`")]);
            }
            locks.push(lock);
        }
        Ok(Self {
            state: scope.state(),
            restart_id: restart_id.to_owned(),
            _locks: locks,
        })
    }

    /// Refuses what the circuit breaker, or something that broke off, stands in the way of.
    pub(super) fn admit(
        &self,
        service: &Name,
        operation: &Operation,
        breaker: &Breaker,
        force: bool,
    ) -> Result<(), Failed> {
        self.undisturbed(service, operation)?;
        self.permit(service, breaker, force)
    }

    /// Refuses what something that broke off stands in the way of.
    pub(super) fn undisturbed(&self, service: &Name, operation: &Operation) -> Result<(), Failed> {
        let left = Record::left(&self.state, service).map_err(untouched)?;
        if let Some(left) = left.filter(|left| !recover::admits(left, operation)) {
            return Err(Failed::said(
                exit_code::REFUSED,
                format!("{}; nothing was touched", recover::broke_off(&left)),
            )
            .hint(format!("`zdt-units recover {service}` takes it back")));
        }
        Ok(())
    }

    /// Refuses what the circuit breaker stands in the way of.
    pub(super) fn permit(
        &self,
        service: &Name,
        breaker: &Breaker,
        force: bool,
    ) -> Result<(), Failed> {
        let now = SystemTime::now();
        let history = state::history(&self.state, service).map_err(untouched)?;
        match history.permit(breaker, now) {
            Permit::Open { until } if !force => Err(Failed::said(
                exit_code::REFUSED,
                history.reason(service.as_str(), until, now),
            )
            .hint("mend it and wait, or try at once with `--force`")),
            Permit::HalfOpen => {
                note(&[format!(
                    "the last operations on `{service}` failed; this is one more try"
                )]);
                Ok(())
            }
            Permit::Open { .. } | Permit::Closed => Ok(()),
        }
    }

    /// Writes down what begins. Its failure means that nothing was done.
    pub(super) fn begin(&self, plan: &Plan) -> Result<UnderWay, Failed> {
        let record = Record::begin(&self.state, &self.restart_id, plan, SystemTime::now());
        Ok(UnderWay {
            record: record.map_err(untouched)?,
            failed: false,
        })
    }

    /// Lets the circuit breaker know how it ended.
    pub(super) fn ended(&self, service: &Name, breaker: &Breaker, outcome: Outcome) {
        let now = SystemTime::now();
        let kept = state::history(&self.state, service).and_then(|history| {
            let after = history
                .clone()
                .after(breaker, &self.restart_id, outcome, now);
            match after == history {
                true => Ok(()),
                false => state::keep_history(&self.state, service, &after),
            }
        });
        // What was done is done; the next one begins without this memory.
        if let Err(failure) = kept {
            note(&[failure.to_string()]);
        }
    }
}

/// The record of one plan that is being carried out.
#[derive(Debug)]
pub(super) struct UnderWay {
    record: Record,
    failed: bool,
}

impl UnderWay {
    /// To be told of each event, first of all. What cannot be written down any more, on a full
    /// disk, does not stop half-way what has begun.
    pub(super) fn take(&mut self, event: &Event) {
        match self.record.take(event) {
            Ok(()) => {}
            Err(failure) if !self.failed => {
                self.failed = true;
                note(&[failure.to_string()]);
            }
            Err(_) => {}
        }
    }
}

/// Somebody else's operation.
struct Others<'a> {
    scope: &'a Scope,
    name: &'a Name,
    holder: &'a Holder,
}

impl Others<'_> {
    /// On a thread of its own that nobody joins: a lock cannot be waited for otherwise, and Ctrl-C
    /// or the limit leaves it behind.
    async fn wait(&self, until: Option<tokio::time::Instant>) -> Result<Lock, Failed> {
        let (runtime, name, holder) =
            (self.scope.runtime(), self.name.clone(), self.holder.clone());
        let (done, taken) = oneshot::channel();
        std::thread::spawn(move || {
            let _ = done.send(Lock::wait(&runtime, &name, &holder));
        });
        let limit = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            taken = taken => match taken {
                Ok(Ok(lock)) => Ok(lock),
                Ok(Err(Taken::Failed(failure))) => Err(untouched(failure)),
                Ok(Err(Taken::By(_))) | Err(_) => Err(busy(self.name, None)),
            },
            () = limit => {
                let by = crate::host::lock::holder(&self.scope.runtime(), self.name);
                Err(busy(self.name, by.as_ref()))
            }
            _ = tokio::signal::ctrl_c() => {
                Err(untouched(Failure::new("interrupted while waiting")))
            }
        }
    }
}

fn busy(name: &Name, by: Option<&Holder>) -> Failed {
    Failed::said(
        exit_code::REFUSED,
        format!("{} is at work on `{name}`; nothing was touched", who(by)),
    )
    .hint("wait for its end with `--wait`, or for so long with `--wait=30s`")
}

fn who(by: Option<&Holder>) -> String {
    by.map_or_else(|| "another `zdt-units`".to_owned(), Holder::to_string)
}

fn holder(command: &str, restart_id: &str) -> Holder {
    let pid = std::process::id();
    let uid = geteuid();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    // Who became root for it is more to the point.
    let became = std::env::var("SUDO_USER").ok().filter(|_| uid.is_root());
    Holder {
        pid,
        start_time: start_time(pid).unwrap_or_default(),
        command: command.to_owned(),
        restart_id: restart_id.to_owned(),
        since: SystemTime::now(),
        user: became.or(name).unwrap_or_else(|| uid.to_string()),
    }
}
