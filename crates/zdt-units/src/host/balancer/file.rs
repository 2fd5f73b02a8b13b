//! A file of a balancer: read, edited, and replaced at once, if it still is what was read.

#![expect(
    clippy::disallowed_methods,
    reason = "reads and writes files of balancers"
)]

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{CALL_LIMIT, troubled};
use crate::balancer::{Pool, Trouble, nginx, traefik};
use crate::host::Failure;
use crate::host::beside::beside;
use crate::model::Member;

/// Whose file it is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Nginx,
    Traefik,
}

impl Kind {
    fn pool(self, text: &str, backend: &str) -> Result<Pool, Trouble> {
        match self {
            Self::Nginx => nginx::pool(text, backend),
            Self::Traefik => traefik::pool(text, backend),
        }
    }

    fn edited(self, text: &str, server: &Member, out: bool) -> Result<String, Trouble> {
        let Member { backend, server } = server;
        match self {
            Self::Nginx => nginx::edited(text, backend, server, out),
            Self::Traefik => traefik::edited(text, backend, server, out),
        }
    }
}

pub(super) fn look(path: &Path, kind: Kind, backend: &str) -> Result<Pool, Failure> {
    let text = read(path)?;
    kind.pool(&text, backend)
        .map_err(|trouble| in_file(path, &trouble))
}

fn in_file(path: &Path, trouble: &Trouble) -> Failure {
    troubled(&format!("`{}`", path.display()), trouble)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))
}

/// A file that nobody else of this program changes meanwhile.
pub(super) struct Locked {
    path: PathBuf,
    /// As it is on disk, as far as is known.
    text: String,
    metadata: Metadata,
    /// Its directory: a lock on the file would be on what is replaced.
    _lock: File,
}

/// An edit that can be taken back.
pub(super) struct Edited {
    pub(super) locked: Locked,
    old: String,
}

impl Locked {
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        // What a link leads to is what is replaced, and the link stays.
        let path = fs::canonicalize(path).map_err(|error| Failure::io("read", path, &error))?;
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        let failed = |error: io::Error| Failure::io("lock", &directory, &error);
        let lock = File::open(&directory).map_err(failed)?;
        let end = Instant::now() + CALL_LIMIT;
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::WouldBlock if Instant::now() < end => {
                    sleep(Duration::from_millis(20)).await;
                }
                TryLockError::WouldBlock => {
                    return Err(Failure::new(format!(
                        "`{}` is being changed by somebody else",
                        path.display()
                    ))
                    .without_effect());
                }
                TryLockError::Error(error) => return Err(failed(error)),
            }
        }
        let metadata = fs::metadata(&path).map_err(|error| Failure::io("read", &path, &error))?;
        Ok(Self {
            text: read(&path)?,
            path,
            metadata,
            _lock: lock,
        })
    }

    /// `None`: it is so already.
    pub(super) fn edit(
        mut self,
        kind: Kind,
        server: &Member,
        out: bool,
    ) -> Result<Option<Edited>, Failure> {
        let edited = kind.edited(&self.text, server, out);
        let edited = edited.map_err(|trouble| in_file(&self.path, &trouble))?;
        if edited == self.text {
            return Ok(None);
        }
        let old = self.text.clone();
        self.replace(edited)?;
        Ok(Some(Edited { locked: self, old }))
    }

    /// At once, and only what is known.
    fn replace(&mut self, text: String) -> Result<(), Failure> {
        let path = &self.path;
        let failed = |error: &io::Error| Failure::io("write", path, error);
        let mode = self.metadata.permissions().mode() & 0o7777;
        let staged = || -> io::Result<_> {
            let mut file = beside(path, mode)?;
            file.write_all(text.as_bytes())?;
            let owner = (Some(self.metadata.uid()), Some(self.metadata.gid()));
            std::os::unix::fs::fchown(file.as_file(), owner.0, owner.1)?;
            // After the owner, whose change takes bits away.
            file.as_file()
                .set_permissions(self.metadata.permissions())?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let staged = staged().map_err(|error| failed(&error))?;
        if fs::read(path).ok().as_deref() != Some(self.text.as_bytes()) {
            return Err(Failure::new(format!(
                "`{}` was changed by somebody else meanwhile",
                path.display()
            ))
            .hint("nothing was written; do it again")
            .without_effect());
        }
        staged.persist(path).map_err(|error| failed(&error.error))?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| Failure::io("sync", directory, &error))?;
        self.text = text;
        Ok(())
    }
}

impl Edited {
    /// As it was, unless somebody else changed it since.
    fn take_back(mut self) -> Result<(), Failure> {
        let old = std::mem::take(&mut self.old);
        self.locked.replace(old)
    }
}

/// The edit is gone, unless somebody changed the file since.
pub(super) fn taken_back(edited: Edited, failure: Failure) -> Failure {
    match edited.take_back() {
        Ok(()) => failure.without_effect(),
        Err(stays) => Failure::new(format!("{failure}; {stays}")).output(failure.output),
    }
}
