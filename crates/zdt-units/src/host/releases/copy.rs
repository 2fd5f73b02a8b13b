//! A release is copied: looked over as a whole, then written where nobody sees it, then named.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use indicatif::HumanBytes;
use nix::sys::statvfs::statvfs;
use sha2::{Digest, Sha256};

use super::partial::Partial;
use super::source::{Item, Source, What};
use super::{Place, failed, sweep, sync, write_record};
use crate::host::Failure;
use crate::model::{AbsolutePath, ReleaseName};
use crate::release::{Entry, Manifest, Record};

/// Nobody may write, and no bit makes anybody somebody else.
const KEPT_BITS: u32 = 0o555;

pub(super) fn copy(
    from: &Path,
    place: &Place,
    name: &ReleaseName,
    ended: &AtomicBool,
) -> Result<(), Failure> {
    let source = Source::of(from, &place.releases())?;
    let survey = survey(from, &source)?;
    let release = place.release(name);
    if release.symlink_metadata().is_ok() {
        return is_same(from, &source, place, name, ended);
    }
    place.make()?;
    sweep(place);
    room(&place.releases(), &survey)?;

    let partial = Partial::new(&place.releases(), name).map_err(|error| {
        let failure = failed("make the directory for", &release, &error);
        match error.kind() {
            ErrorKind::AlreadyExists => failure.hint("another copy of it is under way"),
            _ => failure,
        }
    })?;
    let take = Take {
        to: Some(partial.path()),
        kept_bits: KEPT_BITS,
        ended,
    };
    let manifest = take.all(&source)?;
    finish(partial.path(), &manifest).map_err(|error| failed("write", &release, &error))?;
    let record = Record {
        source: from.display().to_string(),
        checksum: manifest.checksum(),
        files: manifest.files(),
        bytes: manifest.bytes(),
        ..Record::new(name.clone(), SystemTime::now())
    };
    write_record(place, &record).map_err(|error| failed("write", &place.record(name), &error))?;
    partial
        .keep_as(&release)
        .and_then(|()| sync(&place.releases()))
        .map_err(|error| failed("write", &release, &error))
}

/// The checksum of what is on disk now; it is that of the record unless somebody changed it.
pub fn checksum(root: &AbsolutePath, name: &ReleaseName) -> Result<String, Failure> {
    let source = Source::Directory {
        path: Place::new(root).release(name),
        releases: None,
    };
    let take = Take {
        to: None,
        kept_bits: 0o7777,
        ended: &AtomicBool::new(false),
    };
    Ok(take.all(&source)?.checksum())
}

/// Sizes and paths of everything, or all that no release can have.
fn survey(from: &Path, source: &Source) -> Result<Manifest, Failure> {
    let mut manifest = Manifest::default();
    let mut mistakes = Vec::new();
    source.walk(&mut |item| {
        let mode = item.mode;
        let entry = match item.what {
            What::Directory => Entry::Directory { mode },
            What::File { bytes, .. } => Entry::File {
                mode,
                bytes,
                sha256: String::new(),
            },
            What::Link(target) => Entry::Link { target },
            What::SameAs(first) => match manifest.get(&first) {
                Some(file @ Entry::File { .. }) => file.clone(),
                _ => {
                    let (path, first) = (item.path.display(), first.display());
                    mistakes.push(format!("`{path}`: it is to be `{first}`, which is no file"));
                    return Ok(());
                }
            },
            What::Impossible(what) => {
                mistakes.push(format!("`{}` is {what}", item.path.display()));
                return Ok(());
            }
        };
        if let Err(why) = manifest.add(&item.path, entry) {
            mistakes.push(format!("`{}`: {why}", item.path.display()));
        }
        Ok(())
    })?;
    if !mistakes.is_empty() {
        return Err(impossible(&mistakes));
    }
    if manifest.files() == 0 {
        let text = format!("`{}` has no file in it", from.display());
        return Err(Failure::new(text).without_effect());
    }
    Ok(manifest)
}

fn impossible(mistakes: &[String]) -> Failure {
    let mut shown = mistakes.iter().take(5).cloned().collect::<Vec<_>>();
    if let Some(more) = mistakes.len().checked_sub(5).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    Failure::new(format!("no release can have that: {}", shown.join(", "))).without_effect()
}

/// Each file takes whole blocks, and each entry about one more.
fn room(releases: &Path, survey: &Manifest) -> Result<(), Failure> {
    let about = statvfs(releases)
        .map_err(|error| failed("ask for the free space of", releases, &error.into()))?;
    let block = about.fragment_size().max(1);
    let blocks: u64 = survey.sizes().map(|size| size.div_ceil(block)).sum();
    let entries = survey.iter().count() as u64;
    let others = entries - survey.files();
    let needed = (blocks + others) * block;
    let free = about.blocks_available() * block;
    let full = |text: String| {
        Err(Failure::new(text)
            .hint("make room, or keep fewer releases: `keep` in `zdt.toml`")
            .without_effect())
    };
    let shown = releases.display();
    if needed > free {
        let (needed, free) = (HumanBytes(needed), HumanBytes(free));
        return full(format!(
            "the release takes {needed}, and `{shown}` has {free} left"
        ));
    }
    // Some file systems do not count them.
    if about.files() > 0 && entries > about.files_available() {
        let free = about.files_available();
        return full(format!(
            "the release has {entries} files and directories, and `{shown}` has room for {free}"
        ));
    }
    Ok(())
}

fn is_same(
    from: &Path,
    source: &Source,
    place: &Place,
    name: &ReleaseName,
    ended: &AtomicBool,
) -> Result<(), Failure> {
    let shown = place.release(name);
    let shown = shown.display();
    let other_name = "take another name: a release never changes";
    let record = match super::kind(place, name)? {
        super::Kind::Ours(record) => record,
        super::Kind::Foreign => {
            let text = format!("`{shown}` is there, and was not deployed");
            return Err(Failure::new(text).hint(other_name).without_effect());
        }
        super::Kind::Damaged(why) => {
            return Err(Failure::new(why).hint(other_name).without_effect());
        }
    };
    let take = Take {
        to: None,
        kept_bits: KEPT_BITS,
        ended,
    };
    if take.all(source)?.checksum() == record.checksum {
        return Ok(());
    }
    let text = format!(
        "`{shown}` is there, and is not what is in `{}`",
        from.display()
    );
    Err(Failure::new(text).hint(other_name).without_effect())
}

/// Reads all of a source, and writes it where it is told to.
struct Take<'a> {
    to: Option<&'a Path>,
    /// Of the permissions.
    kept_bits: u32,
    ended: &'a AtomicBool,
}

impl Take<'_> {
    fn all(&self, source: &Source) -> Result<Manifest, Failure> {
        let mut manifest = Manifest::default();
        source.walk(&mut |item| self.item(item, &mut manifest))?;
        Ok(manifest)
    }

    /// What was surveyed may be another thing by now, so [`Manifest::add`] decides again before
    /// anything is written.
    fn item(&self, item: Item<'_>, manifest: &mut Manifest) -> Result<(), Failure> {
        let mode = item.mode & self.kept_bits;
        let path = item.path.as_path();
        let wrong = |why: String| impossible(&[format!("`{}`: {why}", path.display())]);
        let file = |mode| Entry::File {
            mode,
            bytes: 0,
            sha256: String::new(),
        };
        let was_there = manifest.get(path).is_some();
        match item.what {
            What::Directory => {
                let above = manifest
                    .add(path, Entry::Directory { mode })
                    .map_err(wrong)?;
                self.make(&above)?;
                match was_there {
                    true => Ok(()),
                    false => self.make(&[path.to_owned()]),
                }
            }
            What::Link(target) => {
                let entry = Entry::Link {
                    target: target.clone(),
                };
                self.make(&manifest.add(path, entry).map_err(wrong)?)?;
                let Some(to) = self.to else { return Ok(()) };
                symlink(target, to.join(path)).map_err(|error| failed("make", path, &error))
            }
            What::File { content, .. } => {
                self.make(&manifest.add(path, file(mode)).map_err(wrong)?)?;
                let (bytes, sha256) = self.file(path, mode, content)?;
                manifest.settle(path, bytes, sha256);
                Ok(())
            }
            What::SameAs(first) => {
                let Some(Entry::File {
                    mode,
                    bytes,
                    sha256,
                }) = manifest.get(&first).cloned()
                else {
                    return Err(wrong(format!("`{}` is no file", first.display())));
                };
                self.make(&manifest.add(path, file(mode)).map_err(wrong)?)?;
                if let Some(to) = self.to {
                    let mut content = File::open(to.join(&first))
                        .map_err(|error| failed("read", &first, &error))?;
                    self.file(path, mode, &mut content)?;
                }
                manifest.settle(path, bytes, sha256);
                Ok(())
            }
            What::Impossible(what) => Err(wrong(format!("it is {what}"))),
        }
    }

    fn make(&self, directories: &[PathBuf]) -> Result<(), Failure> {
        let Some(to) = self.to else { return Ok(()) };
        for directory in directories {
            DirBuilder::new()
                .mode(0o700)
                .create(to.join(directory))
                .map_err(|error| failed("make", directory, &error))?;
        }
        Ok(())
    }

    /// How long it is, and its checksum.
    fn file(
        &self,
        path: &Path,
        mode: u32,
        content: &mut dyn Read,
    ) -> Result<(u64, String), Failure> {
        let unwritten = |error: io::Error| failed("write", path, &error);
        let mut file = match self.to {
            None => None,
            Some(to) => Some(
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(to.join(path))
                    .map_err(unwritten)?,
            ),
        };
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return Err(Failure::new("it was interrupted").without_effect());
            }
            let read = match content.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(|error| failed("read", path, &error))?,
            };
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
            if let Some(file) = &mut file {
                file.write_all(&buffer[..read]).map_err(unwritten)?;
            }
        }
        if let Some(file) = file {
            let permissions = Permissions::from_mode(mode);
            file.set_permissions(permissions).map_err(unwritten)?;
            file.sync_all().map_err(unwritten)?;
        }
        Ok((bytes, format!("{:x}", hash.finalize())))
    }
}

/// On disk, and closed to writers; what is below first.
fn finish(directory: &Path, manifest: &Manifest) -> io::Result<()> {
    for (path, entry) in manifest.iter().rev() {
        if let Entry::Directory { mode } = entry {
            close(&directory.join(path), *mode)?;
        }
    }
    // Who unpacks in a directory of `mktemp` does not mean it to be closed to the service.
    close(directory, KEPT_BITS)
}

fn close(directory: &Path, mode: u32) -> io::Result<()> {
    let directory = File::open(directory)?;
    directory.set_permissions(Permissions::from_mode(mode))?;
    directory.sync_all()
}
