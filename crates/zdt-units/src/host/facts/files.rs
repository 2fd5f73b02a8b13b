//! What lies around a service: locks, records, release links, disks, and settings of the kernel.

#![expect(clippy::disallowed_methods, reason = "hosts read files")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::diag;
use super::super::record::Record;
use crate::doctor::{Disk, Machine, ReleaseSeen};
use crate::model::{AbsolutePath, Name};
use crate::stamp;

/// Whether somebody holds the lock, without taking it even for a moment.
pub(super) fn is_locked(path: &Path) -> bool {
    let (Ok(file), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else {
        return false;
    };
    let (major, minor) = (
        nix::sys::stat::major(file.dev()),
        nix::sys::stat::minor(file.dev()),
    );
    let id = format!("{major:02x}:{minor:02x}:{}", file.ino());
    locks
        .lines()
        .any(|line| line.split_ascii_whitespace().any(|word| word == id))
}

/// What an operation that nobody carries on was; a record that cannot be read stands for one.
pub(super) fn broken_off(state: &Path, service: &Name) -> Option<String> {
    match Record::left(state, service) {
        Ok(None) => None,
        Ok(Some(left)) if left.reached.done => None,
        Ok(Some(left)) => {
            let what = left.plan.operation.name().replace('_', " ");
            Some(format!("{what}, since {}", stamp::text(left.since)))
        }
        Err(failure) => Some(failure.reason),
    }
}

pub(super) fn release_seen(root: &AbsolutePath) -> ReleaseSeen {
    let root = Path::new(root.as_str());
    let link = root.join("current");
    let target = fs::read_link(&link).ok();
    let whole = fs::canonicalize(&link).ok();
    let releases = fs::canonicalize(root.join("releases")).ok();
    ReleaseSeen {
        exists: whole.is_some(),
        is_release: match (&whole, &releases) {
            (Some(whole), Some(releases)) => whole.parent() == Some(releases),
            _ => false,
        },
        link,
        target,
    }
}

/// The name of the release that `current` points to.
pub fn current_release(root: &AbsolutePath) -> Option<String> {
    let target = fs::read_link(Path::new(root.as_str()).join("current")).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

/// Settings of the kernel; counters are read twice by the caller.
pub fn machine() -> Machine {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    Machine {
        somaxconn: number("/proc/sys/net/core/somaxconn"),
        abort_on_overflow: number("/proc/sys/net/ipv4/tcp_abort_on_overflow")
            .map(|value| value == 1),
        overflows: diag::counters().map(|counters| counters.overflows),
        rate: None,
    }
}

/// The room in `path`, or in the directory that it will be made in.
pub fn disk(path: &Path, holds: &'static str) -> Option<Disk> {
    let there = path.ancestors().find(|path| path.exists())?;
    let seen = rustix::fs::statvfs(there).ok()?;
    let percent = |part: u64, whole: u64| (part * 100).checked_div(whole);
    Some(Disk {
        path: path.to_owned(),
        holds,
        free_bytes: seen.f_bavail * seen.f_frsize,
        free_percent: percent(seen.f_bavail, seen.f_blocks).unwrap_or(100),
        free_inodes_percent: percent(seen.f_favail, seen.f_files),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_and_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.lock");
        let lock = fs::File::create(&path).unwrap();
        assert!(!is_locked(&path));
        lock.lock().unwrap();
        assert!(is_locked(&path));
        lock.unlock().unwrap();
        assert!(!is_locked(&path));
    }

    #[test]
    fn a_link_to_a_release_is_told_from_another() {
        let directory = tempfile::tempdir().unwrap();
        let root = AbsolutePath::parse(directory.path().to_str().unwrap()).unwrap();
        let path = |name: &str| directory.path().join(name);
        let seen = |target: &str| {
            let _ = fs::remove_file(path("current"));
            std::os::unix::fs::symlink(target, path("current")).unwrap();
            let seen = release_seen(&root);
            (seen.exists, seen.is_release)
        };
        assert_eq!(release_seen(&root).target, None);
        fs::create_dir_all(path("releases/v1")).unwrap();
        assert_eq!(seen("releases/v1"), (true, true));
        assert_eq!(current_release(&root).as_deref(), Some("v1"));
        assert_eq!(seen("releases/v2"), (false, false));
        assert_eq!(seen("/tmp"), (true, false));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_no_peace() {
        let directory = tempfile::tempdir().unwrap();
        let name = Name::parse("shop").unwrap();
        assert_eq!(broken_off(directory.path(), &name), None);
        fs::create_dir(directory.path().join("shop")).unwrap();
        fs::write(directory.path().join("shop/running.json"), "{").unwrap();
        assert!(
            broken_off(directory.path(), &name)
                .unwrap()
                .contains("running.json")
        );
    }
}
