//! What a release is made from: a directory, an archive, or one program.

use std::fs::{File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::EntryType;
use walkdir::WalkDir;

use super::failed;
use crate::host::Failure;

pub(super) enum Source {
    Directory {
        path: PathBuf,
        /// What cannot be in it: a release would be copied into itself without end.
        releases: Option<PathBuf>,
    },
    /// Becomes `bin/NAME`.
    Program(PathBuf),
    Archive {
        path: PathBuf,
        gzip: bool,
    },
}

/// One thing in a source.
pub(super) struct Item<'a> {
    /// Below the directory of the release.
    pub(super) path: PathBuf,
    /// Permission bits as they are.
    pub(super) mode: u32,
    pub(super) what: What<'a>,
}

pub(super) enum What<'a> {
    Directory,
    File {
        bytes: u64,
        content: &'a mut dyn Read,
    },
    Link(PathBuf),
    /// The file that the archive has under that path.
    SameAs(PathBuf),
    /// What no release can have.
    Impossible(&'static str),
}

type Visit<'v> = dyn FnMut(Item<'_>) -> Result<(), Failure> + 'v;

impl Source {
    pub(super) fn of(path: &Path, releases: &Path) -> Result<Self, Failure> {
        const SOURCES: &str = "name a directory, an archive (`.tar`, `.tar.gz`) or one program";
        let about = path
            .metadata()
            .map_err(|error| failed("read", path, &error).or_hint(SOURCES))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        let path = path.to_owned();
        if about.is_dir() {
            let releases = Some(releases.to_owned());
            Ok(Self::Directory { path, releases })
        } else if !about.is_file() {
            let text = format!("`{}` is neither a directory nor a file", path.display());
            Err(Failure::new(text).hint(SOURCES).without_effect())
        } else if ends(&[".tar"]) {
            Ok(Self::Archive { path, gzip: false })
        } else if ends(&[".tar.gz", ".tgz"]) {
            Ok(Self::Archive { path, gzip: true })
        } else if ends(&[".tar.zst", ".tar.xz", ".tar.bz2", ".zip"]) {
            let text = format!("`{}` is no archive that is known here", path.display());
            Err(Failure::new(text)
                .hint("unpack it and deploy the directory, or pack it as `.tar.gz`")
                .without_effect())
        } else {
            Ok(Self::Program(path))
        }
    }

    /// Shows everything to `visit`, in any order but what is above before what is below.
    pub(super) fn walk(&self, visit: &mut Visit<'_>) -> Result<(), Failure> {
        match self {
            Self::Directory { path, releases } => directory(path, releases.as_deref(), visit),
            Self::Archive { path, gzip } => {
                let file = File::open(path).map_err(|error| failed("read", path, &error))?;
                let file = BufReader::new(file);
                match gzip {
                    true => archive(path, MultiGzDecoder::new(file), visit),
                    false => archive(path, file, visit),
                }
            }
            Self::Program(path) => {
                let name = path.file_name().unwrap_or_default();
                file(path, Path::new("bin").join(name), visit)
            }
        }
    }
}

fn directory(top: &Path, releases: Option<&Path>, visit: &mut Visit<'_>) -> Result<(), Failure> {
    let place = |about: Metadata| (about.dev(), about.ino());
    let releases = releases.and_then(|releases| releases.metadata().ok().map(place));
    if releases.is_some() && top.metadata().ok().map(place) == releases {
        let text = format!("`{}` is where the releases are kept", top.display());
        return Err(Failure::new(text)
            .hint("name one of those in it")
            .without_effect());
    }
    for entry in WalkDir::new(top).min_depth(1) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(top).to_owned();
            failed("read", &path, &error.into())
        })?;
        let (from, kind) = (entry.path(), entry.file_type());
        let path = from.strip_prefix(top).unwrap_or(from).to_owned();
        if kind.is_file() {
            file(from, path, visit)?;
            continue;
        }
        let unread = |error| failed("read", from, &error);
        let about = from.symlink_metadata().map_err(unread)?;
        let what = if Some((about.dev(), about.ino())) == releases {
            What::Impossible("where the releases are kept")
        } else if kind.is_dir() {
            What::Directory
        } else if kind.is_symlink() {
            What::Link(from.read_link().map_err(unread)?)
        } else if kind.is_socket() {
            What::Impossible("a socket")
        } else if kind.is_fifo() {
            What::Impossible("a named pipe")
        } else {
            What::Impossible("a device")
        };
        visit(Item {
            path,
            mode: about.mode() & 0o7777,
            what,
        })?;
    }
    Ok(())
}

fn file(from: &Path, path: PathBuf, visit: &mut Visit<'_>) -> Result<(), Failure> {
    let unread = |error| failed("read", from, &error);
    let mut content = File::open(from).map_err(unread)?;
    let about = content.metadata().map_err(unread)?;
    visit(Item {
        path,
        mode: about.mode() & 0o7777,
        what: What::File {
            bytes: about.len(),
            content: &mut content,
        },
    })
}

fn archive(from: &Path, content: impl Read, visit: &mut Visit<'_>) -> Result<(), Failure> {
    let unread = |error| failed("read", from, &error);
    let mut archive = tar::Archive::new(content);
    for entry in archive.entries().map_err(unread)? {
        let mut entry = entry.map_err(unread)?;
        let path = entry.path().map_err(unread)?;
        let path = without_dots(&path);
        let kind = entry.header().entry_type();
        if path.as_os_str().is_empty() && kind.is_dir() {
            continue;
        }
        let target = entry.link_name().map_err(unread)?.unwrap_or_default();
        let target = target.into_owned();
        let mode = entry.header().mode().map_err(unread)? & 0o7777;
        let what = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => What::File {
                bytes: entry.size(),
                content: &mut entry,
            },
            EntryType::Directory => What::Directory,
            EntryType::Symlink => What::Link(target),
            EntryType::Link => What::SameAs(without_dots(&target)),
            // What is said about all entries that follow.
            EntryType::XGlobalHeader => continue,
            EntryType::Fifo => What::Impossible("a named pipe"),
            EntryType::Char | EntryType::Block => What::Impossible("a device"),
            _ => What::Impossible("an entry of unknown type"),
        };
        visit(Item { path, mode, what })?;
    }
    Ok(())
}

/// Archives are packed from `.` as often as not.
fn without_dots(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}
