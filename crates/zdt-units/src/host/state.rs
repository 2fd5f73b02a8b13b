//! What is remembered of a service: small files, read whole and replaced at once.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use super::beside::beside;
use crate::breaker::History;
use crate::model::Name;

/// What the circuit breaker remembers; nothing where there is no file yet.
pub fn history(state: &Path, service: &Name) -> Result<History, Failure> {
    let path = breaker(state, service);
    let read = read(&path).map_err(|failure| {
        failure.or_hint(format!("`rm {}` forgets those failures", path.display()))
    })?;
    Ok(read.unwrap_or_default())
}

pub fn keep_history(state: &Path, service: &Name, history: &History) -> Result<(), Failure> {
    let path = breaker(state, service);
    match *history == History::default() {
        true => remove(&path),
        false => replace(&path, history),
    }
}

fn breaker(state: &Path, service: &Name) -> PathBuf {
    state.join(service.as_str()).join("breaker.json")
}

/// The value in a file, if there is one.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::io("read", path, &error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        Failure::new(format!("`{}` is damaged: {error}", path.display())).without_effect()
    })
}

/// The whole value or the one before, also after a power cut.
pub(crate) fn replace<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    write(path, value, Lasts::PowerCut)
}

/// The same for what means nothing after a power cut, and is to be there at once.
pub(crate) fn replace_until_reboot<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    write(path, value, Lasts::UntilReboot)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasts {
    PowerCut,
    UntilReboot,
}

fn write<T: Serialize>(path: &Path, value: &T, lasts: Lasts) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let text = serde_json::to_vec(value)
        .map_err(|error| Failure::new(format!("failed to write `{}`: {error}", path.display())))?;
    let written = (|| {
        fs::create_dir_all(parent)?;
        let mut file = beside(path, 0o600)?;
        file.write_all(&text)?;
        if lasts == Lasts::UntilReboot {
            file.persist(path).map_err(|error| error.error)?;
            return Ok(());
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(parent)?.sync_all()
    })();
    written.map_err(|error| Failure::io("write", path, &error))
}

/// No file any more; one that is not there is no failure.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed,
    };
    let synced = removed.and_then(|()| match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    });
    synced.map_err(|error| Failure::io("remove", path, &error))
}
