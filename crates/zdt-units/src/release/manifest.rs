//! What a release consists of, and the checksum over it. Pure: it sees paths, not files.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

/// Every directory, file and link below the directory of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        bytes: u64,
        /// In hexadecimal.
        sha256: String,
    },
    Link {
        target: PathBuf,
    },
}

/// The mode of a directory that an archive does not mention.
const UNMENTIONED: u32 = 0o555;

impl Manifest {
    /// Adds `entry`, or says why a release cannot have it there. Returns the directories above it
    /// that nobody has mentioned, the uppermost first; they are added too.
    pub fn add(&mut self, path: &Path, entry: Entry) -> Result<Vec<PathBuf>, String> {
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if path.as_os_str().is_empty() || !path.components().all(plain) {
            return Err("its path leads out of the release".to_owned());
        }
        let mut missing = Vec::new();
        for above in path.ancestors().skip(1) {
            match self.entries.get(above) {
                None if above.as_os_str().is_empty() => {}
                None => missing.push(above.to_owned()),
                Some(Entry::Directory { .. }) => {}
                Some(_) => return Err(format!("`{}` is no directory", above.display())),
            }
        }
        match (self.entries.get(path), &entry) {
            (None, _) | (Some(Entry::Directory { .. }), Entry::Directory { .. }) => {}
            (Some(_), _) => return Err("it is there twice".to_owned()),
        }
        if let Entry::Link { target } = &entry
            && escapes(path, target)
        {
            return Err(format!(
                "it points to `{}`, out of the release",
                target.display()
            ));
        }
        missing.reverse();
        for above in &missing {
            let directory = Entry::Directory { mode: UNMENTIONED };
            self.entries.insert(above.clone(), directory);
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(missing)
    }

    /// What was found out about the file at `path` while it was read.
    pub fn settle(&mut self, path: &Path, bytes: u64, sha256: String) {
        if let Some(Entry::File {
            bytes: known_bytes,
            sha256: known_sha256,
            ..
        }) = self.entries.get_mut(path)
        {
            *known_bytes = bytes;
            *known_sha256 = sha256;
        }
    }

    pub fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// What is above comes before what is below it.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Path, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_path(), entry))
    }

    pub fn files(&self) -> u64 {
        let files = self.sizes().count();
        u64::try_from(files).expect("a count of files fits")
    }

    /// Of all files together.
    pub fn bytes(&self) -> u64 {
        self.sizes().sum()
    }

    /// The size of each file.
    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::File { bytes, .. } => Some(*bytes),
            Entry::Directory { .. } | Entry::Link { .. } => None,
        })
    }

    /// The SHA-256 of two sorted lists, in which each line ends with a NUL. `docs/releases.md` has
    /// the same in shell:
    ///
    /// - `PATH TYPE MODE TARGET` of everything: the type is `d`, `f` or `l`, the mode octal, the target that of a link
    /// - `SHA256  ./PATH` of every file
    pub fn checksum(&self) -> String {
        let mut lines: Vec<Vec<u8>> = self.iter().map(|(path, entry)| line(path, entry)).collect();
        lines.sort();
        let mut files: Vec<(&[u8], &str)> = self
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::File { sha256, .. } => Some((path.as_os_str().as_bytes(), sha256.as_str())),
                Entry::Directory { .. } | Entry::Link { .. } => None,
            })
            .collect();
        files.sort();

        let mut hash = Sha256::new();
        for line in lines {
            hash.update(line);
        }
        for (path, sha256) in files {
            hash.update(sha256);
            hash.update(b"  ./");
            hash.update(path);
            hash.update(b"\0");
        }
        format!("{:x}", hash.finalize())
    }
}

fn line(path: &Path, entry: &Entry) -> Vec<u8> {
    let (kind, mode, target) = match entry {
        Entry::Directory { mode } => ('d', *mode, Path::new("")),
        Entry::File { mode, .. } => ('f', *mode, Path::new("")),
        // The kernel gives every link this mode.
        Entry::Link { target } => ('l', 0o777, target.as_path()),
    };
    let mut line = path.as_os_str().as_bytes().to_vec();
    line.extend(format!(" {kind} {mode:o} ").bytes());
    line.extend(target.as_os_str().as_bytes());
    line.push(0);
    line
}

/// Whether a link at `path` leaves the release by its relative `target`. An absolute one is meant
/// to, and means the same everywhere.
fn escapes(path: &Path, target: &Path) -> bool {
    if target.is_absolute() {
        return false;
    }
    let mut depth = path.components().count() - 1;
    for part in target.components() {
        match part {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> Entry {
        Entry::File {
            mode: 0o444,
            bytes: content.len() as u64,
            sha256: format!("{:x}", Sha256::digest(content)),
        }
    }

    fn link(target: &str) -> Entry {
        Entry::Link {
            target: PathBuf::from(target),
        }
    }

    #[test]
    fn what_leads_out_of_a_release_is_not_added() {
        let mut manifest = Manifest::default();
        let added = manifest.add(Path::new("a/b/c"), link("../../d/../e/./f"));
        assert_eq!(added, Ok(vec![PathBuf::from("a"), PathBuf::from("a/b")]));
        let mut check = |path: &str, entry| manifest.add(Path::new(path), entry).unwrap_err();
        let said = [
            check("../x", file("")),
            check("/x", file("")),
            check("", file("")),
            check("a/b/d", link("../../../x")),
            check("a/d", link("b/../../../a/b")),
            check("a/b/c/x", file("")),
            check("a/b/c", file("")),
            check("a/b", file("")),
        ];
        assert_eq!(
            said,
            [
                "its path leads out of the release",
                "its path leads out of the release",
                "its path leads out of the release",
                "it points to `../../../x`, out of the release",
                "it points to `b/../../../a/b`, out of the release",
                "`a/b/c` is no directory",
                "it is there twice",
                "it is there twice",
            ]
        );
        assert_eq!(manifest.iter().count(), 3);
        assert_eq!(
            manifest.add(Path::new("l"), link("/usr/share/zoneinfo")),
            Ok(vec![])
        );
    }

    #[test]
    fn everything_counts_for_the_checksum() {
        let of = |entries: &[(&str, Entry)]| {
            let mut manifest = Manifest::default();
            for (path, entry) in entries {
                manifest.add(Path::new(path), entry.clone()).unwrap();
            }
            manifest.checksum()
        };
        let one = of(&[("a", file("1")), ("b", link("a"))]);
        assert_eq!(one, of(&[("b", link("a")), ("a", file("1"))]));
        let others = [
            of(&[]),
            of(&[("a", file("2")), ("b", link("a"))]),
            of(&[("a", file("1")), ("b", link("c"))]),
            of(&[("a", file("1")), ("c", link("a"))]),
            of(&[("a", file("1")), ("b", file("1"))]),
            of(&[
                ("a", file("1")),
                ("b", link("a")),
                ("c", Entry::Directory { mode: 0o555 }),
            ]),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(*other, one);
            assert!(!others[..index].contains(other));
        }
    }
}
