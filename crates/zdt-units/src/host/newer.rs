//! Whether files have changed since a process was started.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether the program, or a link on the way to it, has changed since `began`.
pub(super) fn is_newer(program: &Path, began: u64) -> bool {
    let links = program.ancestors().filter(|path| path.is_symlink());
    let changed_after = |at: Option<u64>| at.is_some_and(|at| at > began);
    links.into_iter().any(|link| {
        changed_after(
            fs::symlink_metadata(link)
                .ok()
                .as_ref()
                .and_then(changed_at),
        )
    }) || changed_after(fs::metadata(program).ok().as_ref().and_then(changed_at))
}

/// When the file, or its inode, was last changed, in microseconds since 1970.
pub(super) fn changed(path: &str) -> Option<u64> {
    changed_at(&fs::metadata(path).ok()?)
}

fn changed_at(file: &fs::Metadata) -> Option<u64> {
    let seconds = u64::try_from(file.ctime()).ok()?;
    let nanoseconds = u64::try_from(file.ctime_nsec()).ok()?;
    Some(seconds * 1_000_000 + nanoseconds / 1000)
}
