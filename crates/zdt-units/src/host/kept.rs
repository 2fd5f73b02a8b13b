//! Copies of unit files with which a process is known to start, each below one directory at the
//! path that it has below the root.

#![expect(
    clippy::disallowed_methods,
    reason = "what a host keeps and puts back are files"
)]

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::{Failure, files};
use crate::observe::UnitCopy;
use crate::plan;

/// Keeps `copies` in `place`, and no others.
pub(super) fn keep(place: &Path, copies: &[UnitCopy]) -> Result<(), Failure> {
    let there = read(place)?.unwrap_or_default();
    write(copies.iter().map(|copy| (inside(place, &copy.path), copy)))?;
    let gone = |old: &&UnitCopy| !copies.iter().any(|copy| copy.path == old.path);
    let gone: Vec<PathBuf> = there
        .iter()
        .filter(gone)
        .map(|old| inside(place, &old.path))
        .collect();
    files::remove(&gone)
}

/// Puts `copies` back to where they came from.
pub(super) fn restore(copies: &[UnitCopy], added: &[PathBuf]) -> Result<(), Failure> {
    write(copies.iter().map(|copy| (copy.path.clone(), copy)))?;
    files::remove(added)
}

/// What is kept in `place`; `None` where nothing ever was.
pub(super) fn read(place: &Path) -> Result<Option<Vec<UnitCopy>>, Failure> {
    let failed = |path: &Path, error: &io::Error| Failure::io("read", path, error);
    let mut copies = Vec::new();
    let mut directories = vec![place.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && directory == place => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&directory, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| failed(&directory, &error))?.path();
            let is_part = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
            if path.is_dir() {
                directories.push(path);
            } else if !is_part {
                let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
                let below = path.strip_prefix(place).unwrap_or(&path);
                copies.push(UnitCopy {
                    path: Path::new("/").join(below),
                    text,
                });
            }
        }
    }
    copies.sort();
    Ok(Some(copies))
}

/// The file at `path`, if there is one that can be read.
pub(super) fn copy(path: &Path) -> Option<UnitCopy> {
    let text = fs::read_to_string(path).ok()?;
    Some(UnitCopy {
        path: path.to_owned(),
        text,
    })
}

fn write<'a>(copies: impl Iterator<Item = (PathBuf, &'a UnitCopy)>) -> Result<(), Failure> {
    let copies: Vec<plan::File> = copies
        .map(|(path, copy)| plan::File {
            path,
            text: copy.text.clone(),
            keep: None,
        })
        .collect();
    files::write(&copies, &[])
}

fn inside(place: &Path, path: &Path) -> PathBuf {
    let below = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    place.join(below.collect::<PathBuf>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let (units, place) = (directory.path().join("etc"), directory.path().join("kept"));
        let copy = |name: &str, text: &str| UnitCopy {
            path: units.join(name),
            text: text.to_owned(),
        };
        assert_eq!(read(&place).unwrap(), None);
        let first = [copy("a.service", "1"), copy("a.service.d/b.conf", "2")];
        keep(&place, &first).unwrap();
        assert_eq!(read(&place).unwrap().unwrap(), first);
        let second = [copy("a.service", "3")];
        keep(&place, &second).unwrap();
        assert_eq!(read(&place).unwrap().unwrap(), second);

        fs::create_dir_all(&units).unwrap();
        fs::write(units.join("a.service"), "broken").unwrap();
        fs::write(units.join("added.conf"), "broken").unwrap();
        restore(&second, &[units.join("added.conf")]).unwrap();
        assert_eq!(fs::read(units.join("a.service")).unwrap(), b"3");
        assert!(!units.join("added.conf").exists());
    }
}
