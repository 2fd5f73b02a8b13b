//! nginx: its file, its test, its reload, and the workers of before.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::file::{Kind, Locked, taken_back};
use super::run::{output, run};
use crate::balancer::nginx::{closes_connections, keeps_connections, version};
use crate::host::{Effect, Failure, lock};
use crate::model::{Rotation, span};

/// How it is called.
pub(super) struct Nginx<'a> {
    pub(super) test: &'a [String],
    pub(super) reload: &'a [String],
}

/// A test resolves names.
const TEST_LIMIT: Duration = Duration::from_secs(20);
const RELOAD_LIMIT: Duration = Duration::from_secs(20);
/// Nothing depends on what it says to these.
const ASK_LIMIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// What became of a change.
#[derive(Default)]
pub(super) struct Changed {
    /// Of a server that is taken out: how many workers of before are left, which may have requests of it; `None` where
    /// they cannot be seen.
    pub(super) left: Option<u64>,
    /// What its reload may have cost.
    pub(super) warning: Option<String>,
}

impl Nginx<'_> {
    /// Changes the server's line and lets nginx read it.
    pub(super) async fn change(
        &self,
        path: &Path,
        rotation: &Rotation,
        out: bool,
    ) -> Result<Changed, Failure> {
        let locked = Locked::open(path).await?;
        // A file that does not do was so before.
        self.tested().await.map_err(Failure::without_effect)?;
        let before = workers();
        let Some(edited) = locked.edit(Kind::Nginx, &rotation.server, out)? else {
            return Ok(Changed::default());
        };
        if let Err(failure) = self.tested().await {
            return Err(taken_back(edited, failure));
        }
        if let Err(failure) = self.reloaded(&before, rotation.timeout).await {
            let failure = taken_back(edited, failure);
            // Nobody knows how far the first one came.
            return Err(match run(self.reload, &[], RELOAD_LIMIT).await {
                Ok(()) => failure,
                Err(_) => Failure {
                    effect: Effect::Possible,
                    ..failure
                },
            });
        }
        let left = match out {
            true => ended(&before, rotation.timeout).await,
            false => None,
        };
        let warning = self.warning().await;
        Ok(Changed { left, warning })
    }

    /// That its reload closes connections of clients. Where its test is a program of the operator's, nobody knows.
    async fn warning(&self) -> Option<String> {
        let printed = output(&self.instead_of_test("-T")?, ASK_LIMIT).await?;
        let keeps = keeps_connections(&String::from_utf8_lossy(&printed.stdout));
        if !printed.status.success() || keeps.unwrap_or(true) {
            return None;
        }
        let said = output(&self.instead_of_test("-v")?, ASK_LIMIT).await;
        let said = said.map(|said| String::from_utf8_lossy(&said.stderr).into_owned());
        Some(closes_connections(said.as_deref().and_then(version)))
    }

    /// The same nginx with the same files, and another question than `-t`.
    fn instead_of_test(&self, flag: &str) -> Option<Vec<String>> {
        let place = self.test.iter().rposition(|word| word == "-t")?;
        let mut command = self.test.to_vec();
        flag.clone_into(&mut command[place]);
        Some(command)
    }

    async fn tested(&self) -> Result<(), Failure> {
        let tested = run(self.test, &[], TEST_LIMIT).await;
        tested.map_err(|failure| failure.or_hint("mend what nginx does not take, and do it again"))
    }

    /// Workers that know the new text are there, as far as that can be seen.
    async fn reloaded(&self, before: &BTreeSet<Worker>, limit: Duration) -> Result<(), Failure> {
        run(self.reload, &[], RELOAD_LIMIT).await?;
        let end = Instant::now() + limit;
        while !before.is_empty() && left(before, &workers()).is_none() {
            if Instant::now() >= end {
                return Err(Failure::new(format!(
                    "nginx has no new workers {} after `{}`",
                    span(limit),
                    self.reload.join(" ")
                ))
                .hint("nginx says why in its `error_log`"));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Waits until the workers of before are gone: how many are left, `None` where none was ever seen.
async fn ended(before: &BTreeSet<Worker>, limit: Duration) -> Option<u64> {
    if before.is_empty() {
        return None;
    }
    let end = Instant::now() + limit;
    loop {
        let left = left(before, &workers()).unwrap_or_default();
        if left == 0 || Instant::now() >= end {
            return Some(left);
        }
        sleep(LOOK).await;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worker {
    master: u32,
    pid: u32,
    /// In clock ticks since boot: numbers come again.
    start_time: u64,
}

/// Workers of before that live on below a master that has new ones; `None`: no master has any.
fn left(before: &BTreeSet<Worker>, now: &BTreeSet<Worker>) -> Option<u64> {
    let known: BTreeSet<u32> = before.iter().map(|worker| worker.master).collect();
    let new = now.difference(before).map(|worker| worker.master);
    let reloaded: BTreeSet<u32> = new.filter(|master| known.contains(master)).collect();
    let old = before.intersection(now);
    let old = old
        .filter(|worker| reloaded.contains(&worker.master))
        .count();
    (!reloaded.is_empty()).then(|| u64::try_from(old).unwrap_or(u64::MAX))
}

/// Of every nginx that can be seen from here.
fn workers() -> BTreeSet<Worker> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| worker(name.parse().ok()?))
        .collect()
}

fn worker(pid: u32) -> Option<Worker> {
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if !title.starts_with(b"nginx: worker process") {
        return None;
    }
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, after_name) = stat.rsplit_once(')')?;
    Some(Worker {
        master: after_name.split_ascii_whitespace().nth(1)?.parse().ok()?,
        pid,
        start_time: lock::start_time(pid)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(workers: &[(u32, u32)]) -> BTreeSet<Worker> {
        let workers = workers.iter();
        workers
            .map(|(master, pid)| Worker {
                master: *master,
                pid: *pid,
                start_time: 7,
            })
            .collect()
    }

    #[test]
    fn only_workers_of_a_master_that_was_reloaded_count() {
        let before = workers(&[(1, 10), (1, 11), (2, 20)]);
        assert_eq!(left(&before, &before), None);
        assert_eq!(left(&before, &workers(&[(1, 10), (2, 20)])), None);
        assert_eq!(
            left(&before, &workers(&[(1, 10), (1, 11), (1, 12), (2, 20)])),
            Some(2)
        );
        assert_eq!(
            left(&before, &workers(&[(1, 12), (1, 13), (2, 20)])),
            Some(0)
        );
        // Another nginx that is started meanwhile.
        assert_eq!(
            left(&before, &workers(&[(1, 10), (1, 11), (2, 20), (3, 30)])),
            None
        );
    }
}
