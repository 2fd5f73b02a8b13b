//! What the kernel says of processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What a process holds that it could lose count of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// By what they are: `socket`, `pipe`, `anon_inode:[eventpoll]`.
    pub(super) descriptors: BTreeMap<String, usize>,
    pub(super) threads: u64,
    pub(super) children: usize,
    /// Those of them that have ended and were not collected.
    pub(super) zombies: usize,
    /// Cgroups in its own.
    pub(super) cgroups: usize,
}

impl Cost {
    /// `mark` is in the names of all units of that launcher, and of no other.
    pub(super) fn of(pid: u32, mark: &str) -> Self {
        let children = children(pid);
        let zombies = children.iter().filter(|&&pid| state(pid) == Some('Z'));
        Self {
            descriptors: descriptors(pid),
            threads: status(pid, "Threads"),
            zombies: zombies.count(),
            children: children.len(),
            cgroups: cgroups(pid, mark),
        }
    }
}

fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        // One may be closed meanwhile.
        if let Ok(target) = fs::read_link(entry.unwrap().path()) {
            let target = target.to_string_lossy().into_owned();
            let kind = match target.split_once(":[") {
                Some((kind @ ("socket" | "pipe"), _)) => kind.to_owned(),
                _ => target,
            };
            *kinds.entry(kind).or_default() += 1;
        }
    }
    kinds
}

/// Of all its threads.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let of = |thread: &u32| fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
    let threads = threads(pid);
    let lists: Vec<String> = threads
        .iter()
        .filter_map(|thread| of(thread).ok())
        .collect();
    let all = lists.iter().flat_map(|list| list.split_whitespace());
    all.map(|pid| pid.parse().unwrap()).collect()
}

pub(super) fn threads(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let names = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.parse().unwrap()).collect()
}

/// `R`, `S`, `Z` and the like.
pub(super) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether it runs; one that only waits to be collected does not.
pub(super) fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// A number of `/proc/PID/status`; kilobytes where it counts bytes.
pub(super) fn status(pid: u32, key: &str) -> u64 {
    number(
        &fs::read_to_string(format!("/proc/{pid}/status")).unwrap(),
        key,
    )
}

fn number(status: &str, key: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no `{key}` in `{status}`"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How often each thread went to sleep by itself, which is how often it had been woken up.
pub(super) fn sleeps(pid: u32) -> BTreeMap<u32, u64> {
    let of = |thread| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap();
        (thread, number(&status, "voluntary_ctxt_switches"))
    };
    threads(pid).into_iter().map(of).collect()
}

fn cgroups(pid: u32, mark: &str) -> usize {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let (cgroup, mounts) = (read("cgroup"), read("mountinfo"));
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/"));
    // Before the dash: where it is mounted is the fifth field; after it: what it is.
    let mounted = mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ")
            .then(|| fields.split(' ').nth(4))?
    });
    let (Some(own), Some(mounted)) = (own, mounted) else {
        return 0;
    };
    let entries = fs::read_dir(Path::new(mounted).join(own)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(mark)).count()
}

/// The apps of the launcher of `directory`, and the service of each, as their environment has it.
pub(super) fn alive_with(directory: &Path) -> Vec<(u32, String)> {
    let told = format!("ZDT_SOAK_IN={}", directory.display());
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let mut words = environment.split('\0');
        let is_own = words.clone().any(|word| word == told);
        let service = words.find_map(|word| word.strip_prefix("ZDT_SERVICE="))?;
        // Not yet the app: what becomes one ends if its launcher does.
        let is_app =
            read("cmdline").ends_with(b"demo-app\0") && !read("cmdline").starts_with(b"/proc");
        (is_own && is_app && is_alive(pid)).then(|| (pid, service.to_owned()))
    })
    .collect()
}

/// Ends them.
pub(super) fn kill_those_with(directory: &Path) {
    for (pid, _) in alive_with(directory) {
        let _ = kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
    }
}
