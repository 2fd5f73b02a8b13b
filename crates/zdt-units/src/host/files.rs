//! Unit files and links: all of them staged before the first is put in place.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::beside::beside;
use super::{Effect, Failure};
use crate::plan::{self, Link};

/// Writes `files` and makes `links`. Until every file is on disk under
/// another name, a failure leaves everything as it was.
pub(crate) fn write(files: &[plan::File], links: &[Link]) -> Result<(), Failure> {
    let mut staged = Staged::default();
    for file in files {
        staged
            .stage(file)
            .map_err(|error| failed("write", &file.path, &error).without_effect())?;
    }
    for link in links {
        make_parent(&link.path).map_err(|error| {
            failed("make the directory of", &link.path, &error).without_effect()
        })?;
    }
    for (kept, temporary) in staged.kept_files() {
        fs::hard_link(temporary, kept).map_err(|error| {
            let failure = failed("keep the old file as", kept, &error).without_effect();
            match error.kind() {
                ErrorKind::AlreadyExists => {
                    failure.hint(format!("move `{}` away first", kept.display()))
                }
                _ => failure,
            }
        })?;
    }
    staged.put_in_place()?;
    for link in links {
        replace_link(link).map_err(|error| failed("make the link", &link.path, &error))?;
    }
    let paths = files.iter().map(|file| &file.path);
    for path in paths.chain(links.iter().map(|link| &link.path)) {
        sync_parent(path).map_err(|error| failed("sync the directory of", path, &error))?;
    }
    Ok(())
}

/// Removes files and links, and `*.wants` directories that are empty then.
pub(super) fn remove(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", path, &error)),
        }
        if let Some(parent) = path.parent().filter(|parent| is_of_links(parent)) {
            // Others may have links in it.
            let _ = fs::remove_dir(parent);
        }
    }
    Ok(())
}

pub(super) fn put_back(file: &Path, aside: &Path) -> Result<(), Failure> {
    fs::rename(aside, file).map_err(|error| failed("put back", file, &error))?;
    sync_parent(file).map_err(|error| failed("sync the directory of", file, &error))
}

#[derive(Default)]
struct Staged<'a> {
    files: Vec<(NamedTempFile, &'a plan::File)>,
}

impl<'a> Staged<'a> {
    fn stage(&mut self, file: &'a plan::File) -> io::Result<()> {
        make_parent(&file.path)?;
        let mut temporary = beside(&file.path, 0o644)?;
        temporary.write_all(file.text.as_bytes())?;
        temporary.as_file().sync_all()?;
        self.files.push((temporary, file));
        Ok(())
    }

    /// What is kept, and where it is now.
    fn kept_files(&self) -> impl Iterator<Item = (&'a Path, &'a Path)> {
        let files = self.files.iter();
        files.filter_map(|(_, file)| Some((file.keep.as_deref()?, file.path.as_path())))
    }

    fn put_in_place(self) -> Result<(), Failure> {
        for (temporary, file) in self.files {
            temporary
                .persist(&file.path)
                .map_err(|error| failed("write", &file.path, &error.error))?;
        }
        Ok(())
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    }
}

fn replace_link(link: &Link) -> io::Result<()> {
    match fs::remove_file(&link.path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&link.target, &link.path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn is_of_links(directory: &Path) -> bool {
    let suffix = directory.extension().and_then(|suffix| suffix.to_str());
    matches!(suffix, Some("wants" | "requires"))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure {
        effect: Effect::Possible,
        ..Failure::io(what, path, error)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "writes files to be replaced")]
mod tests {
    use super::*;

    #[test]
    fn a_failure_before_the_end_of_staging_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("b.service"), "theirs").unwrap();
        fs::write(path("b.service.before-zdt"), "older").unwrap();
        let file = |name: &str, keep: Option<PathBuf>| plan::File {
            path: path(name),
            text: "ours".to_owned(),
            keep,
        };
        let files = [
            file("a.service", None),
            file("b.service", Some(path("b.service.before-zdt"))),
        ];
        let failure = write(&files, &[]).unwrap_err();
        assert_eq!(failure.effect, Effect::None);
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["b.service", "b.service.before-zdt"]);

        fs::remove_file(path("b.service.before-zdt")).unwrap();
        write(&files, &[]).unwrap();
        assert_eq!(fs::read(path("b.service")).unwrap(), b"ours");
        put_back(&path("b.service"), &path("b.service.before-zdt")).unwrap();
        assert_eq!(fs::read(path("b.service")).unwrap(), b"theirs");
    }
}
