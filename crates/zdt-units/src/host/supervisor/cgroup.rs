//! A cgroup for each unit, where this process may make some: what a process starts cannot leave it, whatever sessions
//! and groups it makes. Without one, its process group has to do.

#![expect(
    clippy::disallowed_methods,
    reason = "hosts are where files are written"
)]

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use nix::unistd::Pid;

use crate::model::UnitName;

/// Removed when dropped, if it is empty by then.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Nothing where it is not allowed. Each start has its own: another launcher may have a unit of the same name.
    pub(super) fn make(unit: &UnitName, invocation: &str) -> Option<Self> {
        let start = invocation.get(..8)?;
        let own = own()?;
        sweep(&own, unit);
        let path = own.join(format!("{unit}-{start}"));
        fs::create_dir(&path).ok()?;
        Some(Self { path })
    }

    /// The one that `pid` is in, if that is `path`.
    pub(super) fn of(pid: Pid, path: &Path) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let below = unified(&text)?;
        let path = path.to_owned();
        let same = path.ends_with(below.trim_start_matches('/')) && path.is_dir();
        same.then_some(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn contains(&self, pid: Pid) -> bool {
        let pid = pid.to_string();
        fs::read_to_string(self.path.join("cgroup.procs"))
            .is_ok_and(|pids| pids.lines().any(|line| line == pid))
    }

    pub(super) fn is_populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// All at once, also those that are being forked; Linux 5.14.
    pub(super) fn kill(&self) -> bool {
        fs::write(self.path.join("cgroup.kill"), "1").is_ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel refuses while there are processes in it.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Removes those of earlier starts, whose last processes were still dying when they were dropped. The kernel refuses
/// where anything is in one; who finds that its own is gone goes without.
fn sweep(own: &Path, unit: &UnitName) {
    let prefix = format!("{unit}-");
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Moves this very process.
pub(crate) fn enter(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(path.join("cgroup.procs"))?;
    io::Write::write_all(&mut &file, b"0")
}

/// The cgroup of this process, if it is ours to divide.
fn own() -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let path = place(&mounts, unified(&cgroups)?)?;
    let systemd = Path::new("/run/systemd/system").is_dir();
    (!systemd || is_delegated(&path)).then_some(path)
}

/// systemd marks what it leaves to others, and divides all else by itself.
fn is_delegated(path: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0_u8; 8];
        match rustix::fs::getxattr(path, *name, &mut value) {
            Ok(length) => value.get(..length) == Some(b"1"),
            Err(_) => false,
        }
    })
}

/// The path in the hierarchy of version 2, from `/proc/PID/cgroup`.
fn unified(cgroups: &str) -> Option<&str> {
    cgroups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Where `path` is seen, by `/proc/PID/mountinfo`: `proc_pid_mountinfo(5)`.
fn place(mounts: &str, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        if !file_system.starts_with("cgroup2 ") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let below = match root {
            "/" => path,
            root => path.strip_prefix(root)?,
        };
        Some(Path::new(at).join(below.trim_start_matches('/')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_cgroup_is_told_by_its_mount() {
        let hybrid = "31 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            42 24 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let check = |mounts: &str, path: &str, expected: Option<&str>| {
            assert_eq!(place(mounts, path).as_deref(), expected.map(Path::new));
        };
        check(hybrid, "/", Some("/sys/fs/cgroup/unified/"));
        check(
            hybrid,
            "/user.slice/zdt.service",
            Some("/sys/fs/cgroup/unified/user.slice/zdt.service"),
        );
        // A container that sees a part of the tree.
        let part = "42 24 0:27 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        check(part, "/docker/abc/x", Some("/sys/fs/cgroup/x"));
        check(part, "/elsewhere", None);
        check(
            "31 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
            "/",
            None,
        );
        assert_eq!(unified("5:pids:/a\n0::/b\n"), Some("/b"));
        assert_eq!(unified("5:pids:/a\n"), None);
    }
}
