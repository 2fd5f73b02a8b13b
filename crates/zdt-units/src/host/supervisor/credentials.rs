//! The secrets of a process, as files that only its user can read: `$CREDENTIALS_DIRECTORY`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::User as Account;

use crate::model::{CredentialName, PathText, UnitName};

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("failed to read the credential `{name}` from `{path}`: {source}")]
    Read {
        name: CredentialName,
        path: String,
        source: io::Error,
    },
    #[error("failed to write the credentials to `{}`: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Where those of `unit` are.
pub(super) fn directory(runtime: &Path, unit: &UnitName) -> PathBuf {
    runtime.join("credentials").join(unit.to_string())
}

/// Copies them anew; nothing of an earlier process is left.
pub(super) fn provide(
    credentials: &[(CredentialName, PathText)],
    directory: &Path,
    user: Option<&Account>,
) -> Result<(), CredentialError> {
    let written = |source| CredentialError::Write {
        path: directory.to_owned(),
        source,
    };
    let mut contents = Vec::new();
    for (name, path) in credentials {
        let path = path.text().to_string();
        let content = fs::read(&path).map_err(|source| CredentialError::Read {
            name: name.clone(),
            path,
            source,
        })?;
        contents.push((name, content));
    }
    make(directory, user).map_err(written)?;
    for (name, content) in contents {
        write(&directory.join(name.to_string()), &content, user).map_err(written)?;
    }
    Ok(())
}

fn make(directory: &Path, user: Option<&Account>) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(parent) = directory.parent() {
        // The user has to get through it.
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(parent)?;
    }
    DirBuilder::new().mode(0o700).create(directory)?;
    give(&File::open(directory)?, user)
}

fn write(path: &Path, content: &[u8], user: Option<&Account>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path)?;
    io::Write::write_all(&mut &file, content)?;
    give(&file, user)
}

fn give(file: &File, user: Option<&Account>) -> io::Result<()> {
    match user {
        Some(user) => fchown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
        None => Ok(()),
    }
}
