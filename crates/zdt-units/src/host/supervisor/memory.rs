//! How much memory the processes of one instance have together, and whether that is too much.

#![expect(clippy::disallowed_methods, reason = "reads /proc")]

use std::collections::BTreeMap;
use std::fs;
use std::io;

use nix::unistd::Pid;

use super::pidfd::Stat;
use super::protocol::Child;
use crate::model::Memory;

/// The kernel walks the page tables for a proportional size: 23 ms for 1 GiB of small pages. A larger
/// group is measured by its resident pages, which are never fewer.
const CHEAP_BYTES: u64 = 4 << 30;
const CHEAP_PROCESSES: usize = 64;

/// The longest command line that is kept.
const LONGEST_COMMAND: usize = 256;

/// All processes by their group, from one pass over `/proc`, which is worth a thread of its own: for as many groups as are to be measured at once.
#[derive(Debug)]
pub(super) struct Groups(BTreeMap<i32, Vec<u32>>);

/// The processes of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) bytes: u64,
    /// Proportional (PSS): shared pages count once for all who share them. Else resident (RSS).
    pub(super) proportional: bool,
    /// The leader of the group first.
    pub(super) processes: Vec<Child>,
}

impl Groups {
    pub(super) fn read() -> Self {
        let mut groups: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (pid, stat) in Stat::all().filter(|(_, stat)| !stat.has_ended()) {
            let group = groups.entry(stat.group.as_raw()).or_default();
            group.push(pid.as_raw().unsigned_abs());
        }
        Self(groups)
    }

    pub(super) fn measure(&self, group: Pid) -> Measured {
        let mut pids = self.0.get(&group.as_raw()).cloned().unwrap_or_default();
        pids.sort_by_key(|pid| (i64::from(*pid) != i64::from(group.as_raw()), *pid));
        let resident = sizes(&pids, resident);
        let is_cheap = resident.iter().map(|(_, bytes)| bytes).sum::<u64>() <= CHEAP_BYTES
            && resident.len() <= CHEAP_PROCESSES;
        let proportional = match is_cheap {
            true => all_proportional(&resident),
            false => None,
        };
        Measured {
            proportional: proportional.is_some(),
            ..total(&proportional.unwrap_or(resident))
        }
    }
}

fn total(sizes: &[(u32, u64)]) -> Measured {
    Measured {
        bytes: sizes.iter().map(|(_, bytes)| bytes).sum(),
        proportional: false,
        processes: sizes
            .iter()
            .map(|&(pid, bytes)| Child {
                pid,
                command: command(pid),
                bytes,
            })
            .collect(),
    }
}

/// Those of `pids` that are still there.
fn sizes(pids: &[u32], size: impl Fn(u32) -> Option<u64>) -> Vec<(u32, u64)> {
    let sized = pids.iter().map(|pid| Some((*pid, size(*pid)?)));
    sized.flatten().collect()
}

/// `None`: not of all of them, and sizes of two kinds make no sum.
fn all_proportional(resident: &[(u32, u64)]) -> Option<Vec<(u32, u64)>> {
    let mut sizes = Vec::new();
    for (pid, _) in resident {
        match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
            Ok(text) => sizes.extend(kilobytes(&text, "Pss:").map(|bytes| (*pid, bytes))),
            // It has no memory any more.
            Err(error) if is_gone(&error) => {}
            Err(_) => return None,
        }
    }
    Some(sizes)
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    kilobytes(&String::from_utf8_lossy(&status), "VmRSS:")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32)
}

fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let words: Vec<&str> = line.split('\0').filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(LONGEST_COMMAND).collect()
}

/// What follows from one measurement after another. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    limit: u64,
    warn: Option<u64>,
    is_warned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Once, until it was a tenth below again.
    Warn,
    /// Above the limit.
    Over,
}

impl Watch {
    pub(super) fn new(memory: &Memory) -> Self {
        Self {
            limit: memory.limit,
            warn: memory.warn,
            is_warned: false,
        }
    }

    pub(super) fn step(&mut self, bytes: u64) -> Step {
        let is_high = self.warn.is_some_and(|warn| bytes > warn);
        let is_news = is_high && !self.is_warned;
        // Around the mark it would be told again and again.
        let is_low = self.warn.is_none_or(|warn| bytes < warn - warn / 10);
        self.is_warned = is_high || self.is_warned && !is_low;
        match bytes > self.limit {
            true => Step::Over,
            false if is_news => Step::Warn,
            false => Step::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
