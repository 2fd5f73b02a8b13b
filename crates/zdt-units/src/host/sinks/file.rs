//! The file of events: one line each, by any number of processes at once, put aside when it is large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Appends lines to `events.jsonl`. Older ones are in `events.jsonl.1`, `.2` and on.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    open: Option<File>,
}

impl EventLog {
    /// Nothing is made before the first line.
    pub fn new(path: PathBuf, max_bytes: u64, keep: u32) -> Self {
        Self {
            path,
            max_bytes,
            keep,
            open: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, which ends in a line break, by one `write(2)`.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        let directory = self.directory()?;
        let mut held = Held::by_writer(&directory);
        let mut file = self.current()?;
        let length = file.metadata()?.len();
        if length > 0 && length + line.len() as u64 > self.max_bytes {
            drop(held);
            self.rotate(&directory)?;
            held = Held::by_writer(&directory);
            file = self.current()?;
        }
        // What a power cut left unfinished stays a line of its own.
        let line = match ends_in_a_line(&file)? {
            true => line.to_owned(),
            false => format!("\n{line}"),
        };
        let written = (&file).write(line.as_bytes())?;
        drop(held);
        match written == line.len() {
            true => Ok(()),
            false => Err(ErrorKind::StorageFull.into()),
        }
    }

    /// On disk, with all before it.
    pub fn sync(&self) -> io::Result<()> {
        match &self.open {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }

    /// The file that has the name now: another process may have put ours aside.
    fn current(&mut self) -> io::Result<File> {
        let named = match fs::metadata(&self.path) {
            Ok(named) => Some((named.dev(), named.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let (Some(named), Some(open)) = (named, &self.open) {
            let open_now = open.metadata()?;
            if named == (open_now.dev(), open_now.ino()) {
                return open.try_clone();
            }
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            // What a program said when it failed is in there too.
            .mode(0o640)
            .open(&self.path)?;
        self.open = Some(file.try_clone()?);
        Ok(file)
    }

    fn directory(&self) -> io::Result<File> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        File::open(directory)
    }

    /// Puts the file aside, unless another process is at it or has done it. A file that
    /// somebody writes to at this moment grows a little more.
    fn rotate(&self, directory: &File) -> io::Result<()> {
        let Some(_held) = Held::by_mover(directory) else {
            return Ok(());
        };
        if fs::metadata(&self.path)?.len() < self.max_bytes / 2 {
            return Ok(());
        }
        for number in (1..self.keep).rev() {
            match fs::rename(aside(&self.path, number), aside(&self.path, number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, aside(&self.path, 1))
    }
}

/// A lock on the directory. Who writes shares it, so that a file that was put aside is complete.
struct Held<'d>(Option<&'d File>);

impl<'d> Held<'d> {
    /// Files are put aside in no time, so whoever takes longer hangs, and is not waited for.
    fn by_writer(directory: &'d File) -> Self {
        for _ in 0..TRIES {
            if directory.try_lock_shared().is_ok() {
                return Self(Some(directory));
            }
            std::thread::sleep(PAUSE);
        }
        Self(None)
    }

    /// Whoever else writes finds the file too large as well, and lets go.
    fn by_mover(directory: &'d File) -> Option<Self> {
        for _ in 0..TRIES {
            if directory.try_lock().is_ok() {
                return Some(Self(Some(directory)));
            }
            std::thread::sleep(PAUSE);
        }
        None
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(directory) = self.0 {
            let _ = directory.unlock();
        }
    }
}

const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// `events.jsonl.1` is the youngest.
fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn ends_in_a_line(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(end) = file.metadata()?.len().checked_sub(1) {
        // Nothing is read where somebody has emptied the file meanwhile, as `copytruncate` of logrotate does.
        file.read_at(&mut last, end)?;
    }
    Ok(last == [b'\n'])
}
