//! Looks at services and has them examined, by what `status`, `releases` and `doctor` use.

#![expect(
    clippy::disallowed_methods,
    reason = "commands read files and the wall clock"
)]

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::super::doctor::Gather;
use super::super::super::scope::Scope;
use super::super::super::status::{Counted, Looker, count};
use super::super::super::{Failed, scope};
use super::{EXAMINE, LOOK, Reached, Reader};
use crate::cli::{DoctorArgs, TargetArgs};
use crate::doctor::{Finding, examine};
use crate::host::Failure;
use crate::host::any::AnyHost;
use crate::host::releases;
use crate::render::DEFAULT_SYSTEMD;
use crate::report::dashboard::{Doctor, Kept};
use crate::status::Status;

/// When a file was changed, and how long it is.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// A manager that does not answer for so long is no longer waited for.
const LIMIT: Duration = Duration::from_secs(8);

pub(super) fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

impl Reader {
    pub(super) async fn looks(&self) {
        let mut before = count();
        loop {
            self.wanted().await;
            let last = self.seen.borrow().looked;
            if let Some(last) = last {
                sleep_until(last + LOOK).await;
            }
            // An average over a rest would say nothing about now.
            if before.0.elapsed() > 4 * LOOK {
                before = count();
            }
            let began = Instant::now();
            let changed = self.reach_again().await;
            let looked = timeout(LIMIT, self.look(&mut before)).await;
            let looked = looked.unwrap_or_else(|_| {
                Err(Failure::new(format!(
                    "who runs the services does not answer for {LIMIT:?}"
                )))
            });
            if looked.is_err() {
                self.systemd.borrow_mut().take();
            }
            let reached = self.reached.borrow().clone();
            let mut seen = self.seen.borrow_mut();
            seen.looked = Some(began);
            seen.at = SystemTime::now();
            seen.status = looked.map_err(said);
            seen.releases = kept(&reached);
            seen.notes = changed.err().into_iter().collect();
            drop(seen);
            self.publish();
        }
    }

    /// What `zdt.toml` says now. One with mistakes changes nothing until they are mended.
    async fn reach_again(&self) -> Result<(), String> {
        let before = self.reached.borrow().clone();
        let now = stamp(&before.read.path);
        let has_failed = {
            let seen = self.seen.borrow();
            seen.looked.is_some() && (seen.status.is_err() || !seen.notes.is_empty())
        };
        if now.is_none() || now == before.stamp && !has_failed {
            return Ok(());
        }
        let args = self.args.clone();
        let reach = move || {
            let reached = scope::reach(&args.config, args.user, &args.control);
            reached.map_err(Failed::message)
        };
        let (read, scope) = match spawn_blocking(reach).await {
            Ok(reached) => reached.map_err(|why| {
                format!(
                    "this is by `{}` as it was before: {}",
                    before.read.path.display(),
                    why.trim()
                )
            })?,
            Err(_) => return Ok(()),
        };
        // A launcher that has ended leaves its services to nobody, and not to systemd.
        let is_launcher = |scope: &Scope| matches!(scope, Scope::Launcher(_));
        if is_launcher(&scope) != is_launcher(&before.scope) {
            return Ok(());
        }
        self.follow.borrow_mut().services(&read.model, &scope);
        *self.reached.borrow_mut() = Rc::new(Reached::new(read, scope));
        Ok(())
    }

    async fn host(&self, scope: &Scope) -> Result<Rc<AnyHost>, Failure> {
        if let Some(host) = self.systemd.borrow().as_ref() {
            return Ok(host.clone());
        }
        let host = scope
            .connect()
            .await
            .map_err(|failed| Failure::new(failed.message()))?;
        let host = Rc::new(host);
        if let AnyHost::Systemd(_) = *host {
            *self.systemd.borrow_mut() = Some(host.clone());
        }
        Ok(host)
    }

    async fn look(&self, before: &mut Counted) -> Result<Status, Failure> {
        let reached = self.reached.borrow().clone();
        let host = self.host(&reached.scope).await?;
        let looker = Looker {
            model: &reached.read.model,
            scope: &reached.scope,
            services: &[],
        };
        looker.look(&host, before).await
    }

    pub(super) async fn examines(&self) {
        loop {
            self.wanted().await;
            // A page waits for the services, and not for this.
            let mut frames = self.watched.frames();
            let _ = frames.wait_for(|frame| frame.has_looked()).await;
            let examined = self.examine().await;
            self.seen.borrow_mut().doctor = match examined {
                Ok(findings) => Doctor::Found {
                    at: SystemTime::now(),
                    findings,
                },
                Err(failure) => Doctor::Failed(said(failure)),
            };
            self.publish();
            sleep(EXAMINE).await;
        }
    }

    async fn examine(&self) -> Result<Vec<Finding>, Failure> {
        let reached = self.reached.borrow().clone();
        let host = self.host(&reached.scope).await?;
        let args = DoctorArgs {
            services: Vec::new(),
            config: self.args.config.clone(),
            control: self.args.control.clone(),
            target: TargetArgs {
                target_systemd: DEFAULT_SYSTEMD,
                user: self.args.user,
            },
            unit: Vec::new(),
            rate: None,
            strict: false,
            json: false,
        };
        let gather = Gather {
            args: &args,
            scope: &reached.scope,
            host: &host,
        };
        Ok(examine(&gather.services(&reached.read).await?))
    }
}

fn said(failure: Failure) -> String {
    match failure.hint {
        Some(hint) => format!("{}; {hint}", failure.reason),
        None => failure.reason,
    }
}

fn kept(reached: &Reached) -> Vec<Kept> {
    let services = reached.read.model.services.iter();
    let kept = services.filter_map(|service| {
        let root = &service.release.as_ref()?.root;
        Some(match releases::look(root) {
            Ok(releases) => Kept::of(&service.name, root, &releases),
            Err(failure) => Kept::unread(&service.name, said(failure)),
        })
    });
    kept.collect()
}
