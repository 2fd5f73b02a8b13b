//! **Effects**: what is to take the place of a file, on its way there.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// An empty `.NAME.zdt` in the directory of `path`. A killed process leaves it, and the next one that writes `path`
/// takes it away; so there is never more than one. Whoever writes `path` has to be the only one.
pub(super) fn beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".zdt");
    match fs::remove_file(parent.join(&name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    tempfile::Builder::new()
        .prefix(&name)
        .rand_bytes(0)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.service");
        let names = || -> Vec<_> {
            let entries = fs::read_dir(directory.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        let killed = beside(&path, 0o600).unwrap().keep().unwrap();
        assert_eq!(killed.1, directory.path().join(".a.service.zdt"));
        assert_eq!(names(), [".a.service.zdt"]);
        let next = beside(&path, 0o644).unwrap();
        assert_eq!(next.as_file().metadata().unwrap().len(), 0);
        next.persist(&path).unwrap();
        assert_eq!(names(), ["a.service"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}
