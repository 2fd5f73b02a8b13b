//! Directories on the way to becoming a release, or from having been one.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::model::ReleaseName;

/// Removed when it is dropped. Locked for as long as its process lives: a directory without a
/// lock is litter.
pub(super) struct Partial {
    path: PathBuf,
    kept: bool,
    _lock: File,
}

impl Partial {
    /// An empty one that nobody else can read.
    pub(super) fn new(releases: &Path, name: &ReleaseName) -> io::Result<Self> {
        let path = releases.join(file_name(name));
        DirBuilder::new().mode(0o700).create(&path)?;
        Self::locked(path)
    }

    /// Takes its name from a release.
    pub(super) fn from_release(release: &Path, name: &ReleaseName) -> io::Result<Self> {
        let path = release.with_file_name(file_name(name));
        fs::rename(release, &path)?;
        Self::locked(path)
    }

    fn locked(path: PathBuf) -> io::Result<Self> {
        let lock = File::open(&path)?;
        lock.try_lock()?;
        Ok(Self {
            path,
            kept: false,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, under which nothing may be there but an empty directory.
    pub(super) fn keep_as(mut self, release: &Path) -> io::Result<()> {
        fs::rename(&self.path, release)?;
        self.kept = true;
        Ok(())
    }

    pub(super) fn remove(mut self) -> io::Result<()> {
        self.kept = true;
        remove_tree(&self.path)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            let _ = remove_tree(&self.path);
        }
    }
}

/// Removes what processes left that are gone, after `first` was called with the name that it was, or was to be. What
/// cannot be removed is in nobody's way.
pub(super) fn sweep(releases: &Path, first: impl Fn(&ReleaseName)) {
    let Ok(entries) = fs::read_dir(releases) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(release) = name.to_str().and_then(release) else {
            continue;
        };
        let path = entry.path();
        let unlocked = File::open(&path).is_ok_and(|held| held.try_lock().is_ok());
        if unlocked {
            first(&release);
            let _ = remove_tree(&path);
        }
    }
}

/// The name of no release has it: those begin with a letter or a digit.
const INFIX: &str = ".partial-";

fn file_name(name: &ReleaseName) -> String {
    format!(".{name}{INFIX}{}", std::process::id())
}

/// What [`file_name`] was made from.
fn release(file_name: &str) -> Option<ReleaseName> {
    let (release, _) = file_name.strip_prefix('.')?.rsplit_once(INFIX)?;
    ReleaseName::parse(release).ok()
}

/// Also if nobody may write to its directories, which stops everybody but root.
fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in WalkDir::new(path) {
        let entry = entry.map_err(io::Error::from)?;
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
        }
    }
    fs::remove_dir_all(path)
}
