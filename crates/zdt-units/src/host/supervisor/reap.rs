//! Collects ended children that nobody waits for: those of others, which the kernel gave to us as the first process of
//! a container or as a subreaper.

#![expect(
    clippy::disallowed_methods,
    reason = "hosts are where processes are looked at"
)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions};

use super::pidfd::Stat;

/// Whom somebody in this program waits for, and how many do.
static CLAIMED: LazyLock<Mutex<BTreeMap<Pid, usize>>> = LazyLock::new(Mutex::default);

/// A child that is collected by whoever has this, and by nobody else.
#[derive(Debug)]
pub struct Claim(Pid);

impl Claim {
    /// To be made on the thread that calls [`reap_strangers`], with no `await` since the start of the child.
    pub fn new(pid: Pid) -> Self {
        *claimed().entry(pid).or_default() += 1;
        Self(pid)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = claimed();
        if let Some(count) = claimed.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                claimed.remove(&self.0);
            }
        }
    }
}

fn claimed() -> std::sync::MutexGuard<'static, BTreeMap<Pid, usize>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects all that have ended and are neither claimed nor `known`; returns how many. To be called at `SIGCHLD`.
pub fn reap_strangers(known: impl Fn(Pid) -> bool) -> usize {
    let is_ours = |pid: Pid| {
        let is_claimed = claimed().contains_key(&pid);
        is_claimed || known(pid)
    };
    let mut reaped = 0;
    loop {
        // Looks first: what is collected by mistake cannot be given back.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) if !is_ours(pid) => {
                reaped += usize::from(collect(pid));
            }
            Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return reaped,
            // The kernel shows the first only, which is one of ours, or one whose signal has no name: look behind it.
            _ => return reaped + reap_behind(is_ours),
        }
    }
}

/// Goes through all children once.
fn reap_behind(is_ours: impl Fn(Pid) -> bool) -> usize {
    let strangers = children().into_iter().filter(|pid| !is_ours(*pid));
    strangers.filter(|pid| collect(*pid)).count()
}

fn collect(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    rustix::process::Pid::from_raw(pid.as_raw()).is_some_and(|pid| {
        matches!(
            rustix::process::waitid(WaitId::Pid(pid), options),
            Ok(Some(_))
        )
    })
}

/// Those of each thread; without `CONFIG_PROC_CHILDREN` by the parent of every process.
pub(super) fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")));
    match lists.collect::<Result<Vec<_>, _>>() {
        Ok(lists) if !lists.is_empty() => {
            let numbers = lists.iter().flat_map(|list| list.split_ascii_whitespace());
            numbers
                .filter_map(|pid| pid.parse().ok())
                .map(Pid::from_raw)
                .collect()
        }
        _ => {
            let own = Pid::this();
            let children = Stat::all().filter(|(_, stat)| stat.parent == own);
            children.map(|(pid, _)| pid).collect()
        }
    }
}
