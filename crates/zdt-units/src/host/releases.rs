//! **Effects**: releases on disk. Copied whole or not at all, switched at once, never changed.
//!
//! A release is made under a hidden name, `.NAME.partial-PID`, and gets its own name when it is on
//! disk with its record; it goes the same way back. So a crash leaves nothing but hidden
//! directories, and the next copy or removal sweeps those that no process holds.

#![expect(
    clippy::disallowed_methods,
    reason = "files are written here, and records bear the time"
)]

mod copy;
mod partial;
mod source;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use self::partial::Partial;
use super::Failure;
use super::beside::beside;
use crate::model::{AbsolutePath, ReleaseName};
use crate::plan::ReleaseAct;
use crate::release::{Found, Kind, Record, Releases};
use crate::release::{Mark, ReleaseLink};

pub use copy::checksum;

/// Does one thing. When the future is dropped, a copy ends soon and leaves nothing.
pub async fn perform(act: &ReleaseAct) -> Result<(), Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    let _end_with_me = SetOnDrop(Arc::clone(&ended));
    let act = act.clone();
    let done = tokio::task::spawn_blocking(move || match &act {
        ReleaseAct::Copy {
            from,
            root,
            release,
        } => copy::copy(from, &Place::new(root), release, &ended),
        ReleaseAct::Point {
            root,
            link,
            release,
        } => point(&Place::new(root), *link, release),
        ReleaseAct::Mark {
            root,
            release,
            mark,
        } => write_mark(&Place::new(root), release, *mark),
        ReleaseAct::Remove { root, releases } => remove(&Place::new(root), releases),
    });
    done.await
        .unwrap_or_else(|panic| Err(Failure::new(format!("it broke off: {panic}"))))
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is below `root`; nothing, where there is no such directory yet.
pub fn look(root: &AbsolutePath) -> Result<Releases, Failure> {
    let place = Place::new(root);
    let mut releases = Releases::default();
    for link in [ReleaseLink::Current, ReleaseLink::Next] {
        let path = place.link(link);
        let named = match fs::read_link(&path) {
            Ok(target) => named_by(&place, &target),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // It is no link.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                releases.blocked.push(link);
                None
            }
            Err(error) => return Err(failed("read", &path, &error)),
        };
        match link {
            ReleaseLink::Current => releases.current = named,
            ReleaseLink::Next => releases.next = named,
        }
    }
    let directory = place.releases();
    let unread = |error: io::Error| failed("read", &directory, &error);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(releases),
        entries => entries.map_err(unread)?,
    };
    for entry in entries {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name();
        let Some(Ok(name)) = name.to_str().map(ReleaseName::parse) else {
            continue;
        };
        if entry.file_type().map_err(unread)?.is_dir() {
            let kind = kind(&place, &name)?;
            releases.all.push(Found { name, kind });
        }
    }
    releases.all.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(releases)
}

fn kind(place: &Place, name: &ReleaseName) -> Result<Kind, Failure> {
    let path = place.record(name);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kind::Foreign),
        text => text.map_err(|error| failed("read", &path, &error))?,
    };
    Ok(match Record::read(name, &text) {
        Ok(record) => Kind::Ours(Box::new(record)),
        Err(why) => Kind::Damaged(format!("`{}` is damaged: {why}", path.display())),
    })
}

/// The release that a link with this target leads to; `None` if it leads elsewhere.
fn named_by(place: &Place, target: &Path) -> Option<ReleaseName> {
    let target = place.root.join(target);
    let name = target.strip_prefix(place.releases()).ok()?;
    ReleaseName::parse(name.to_str()?).ok()
}

fn point(place: &Place, link: ReleaseLink, name: &ReleaseName) -> Result<(), Failure> {
    let directory = place.release(name);
    if !directory.is_dir() {
        return Err(
            Failure::new(format!("there is no release `{}`", directory.display())).without_effect(),
        );
    }
    let path = place.link(link);
    let is_other = fs::symlink_metadata(&path).is_ok_and(|there| !there.is_symlink());
    if is_other {
        return Err(blocked(place, link));
    }
    let temporary = place.root.join(format!(".{link}.zdt"));
    let switched = remove_if_there(&temporary)
        .and_then(|()| symlink(Path::new("releases").join(name.as_str()), &temporary))
        .and_then(|()| fs::rename(&temporary, &path));
    if let Err(error) = switched {
        let _ = remove_if_there(&temporary);
        return Err(failed("switch", &path, &error));
    }
    sync(&place.root).map_err(|error| Failure {
        effect: super::Effect::Possible,
        ..failed("sync", &place.root, &error)
    })
}

/// Why a link cannot be switched that is none, and the way to mend it.
fn blocked(place: &Place, link: ReleaseLink) -> Failure {
    let path = place.link(link);
    let path = path.display();
    Failure::new(format!("`{path}` is in the way: it is no link"))
        .hint(format!("move it away: `mv {path} {path}.before-zdt`"))
        .without_effect()
}

fn write_mark(place: &Place, name: &ReleaseName, mark: Mark) -> Result<(), Failure> {
    let path = place.record(name);
    let mut record = match kind(place, name)? {
        Kind::Ours(record) => record,
        Kind::Foreign => {
            let text = format!("`{name}` has no record `{}`", path.display());
            return Err(Failure::new(text)
                .hint("deploy it under another name, and it gets one")
                .without_effect());
        }
        Kind::Damaged(why) => {
            return Err(Failure::new(why)
                .hint("deploy the release under another name, and remove this one by hand")
                .without_effect());
        }
    };
    record.mark(mark, SystemTime::now());
    write_record(place, &record).map_err(|error| failed("write", &path, &error))
}

fn write_record(place: &Place, record: &Record) -> io::Result<()> {
    let path = place.record(&record.name);
    let mut temporary = beside(&path, 0o644)?;
    temporary.write_all(record.text().as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync(&place.records())
}

/// Refuses as a whole: what `current` or `next` names may have become needed since it was planned.
fn remove(place: &Place, names: &[ReleaseName]) -> Result<(), Failure> {
    for link in [ReleaseLink::Current, ReleaseLink::Next] {
        let named = fs::read_link(place.link(link)).ok();
        let named = named.and_then(|target| named_by(place, &target));
        if let Some(named) = named.filter(|named| names.contains(named)) {
            let text = format!(
                "`{named}` is needed: `{}` leads to it",
                place.link(link).display()
            );
            return Err(Failure::new(text).without_effect());
        }
    }
    sweep(place);
    for name in names {
        let path = place.release(name);
        let partial = match Partial::from_release(&path, name) {
            Ok(partial) => Some(partial),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed("remove", &path, &error)),
        };
        let record = place.record(name);
        remove_if_there(&record).map_err(|error| failed("remove", &record, &error))?;
        if let Some(partial) = partial {
            partial
                .remove()
                .map_err(|error| failed("remove", &path, &error))?;
        }
    }
    Ok(())
}

/// Removes what processes left that are gone: directories, and the records that no release came to have.
fn sweep(place: &Place) {
    partial::sweep(&place.releases(), |release| {
        if !place.release(release).exists() {
            let _ = fs::remove_file(place.record(release));
        }
    });
}

/// The paths of one service's releases.
struct Place {
    root: PathBuf,
}

impl Place {
    fn new(root: &AbsolutePath) -> Self {
        Self {
            root: PathBuf::from(root.as_str()),
        }
    }

    fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    fn release(&self, name: &ReleaseName) -> PathBuf {
        self.releases().join(name.as_str())
    }

    fn records(&self) -> PathBuf {
        self.releases().join(".zdt")
    }

    fn record(&self, name: &ReleaseName) -> PathBuf {
        self.records().join(format!("{name}.json"))
    }

    fn link(&self, link: ReleaseLink) -> PathBuf {
        self.root.join(link.to_string())
    }

    /// Makes the directories; a service's own user has to get through them.
    fn make(&self) -> Result<(), Failure> {
        if let Some(parent) = self.root.parent() {
            fs::create_dir_all(parent).map_err(|error| failed("make", parent, &error))?;
        }
        for directory in [self.root.clone(), self.releases(), self.records()] {
            let made = match DirBuilder::new().create(&directory) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Ok(()) => fs::set_permissions(&directory, Permissions::from_mode(0o755)),
                Err(error) => Err(error),
            };
            made.map_err(|error| failed("make", &directory, &error))?;
        }
        Ok(())
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Nothing that anybody sees has changed.
fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::io(what, path, error);
    match error.kind() {
        ErrorKind::PermissionDenied => {
            failure.hint("run it as root, or as the owner of these files")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure.hint("make room, or keep fewer releases: `keep` in `zdt.toml`")
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests;
