//! Reads the file of events with those that were put aside, also while others write.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whole lines, in the order in which they were written.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    /// The youngest file so far, read to its end.
    open: Option<(u64, File)>,
    /// The one before. A program that puts files aside without our lock, such as logrotate, may do so while somebody
    /// writes.
    before: Option<File>,
    unfinished: Vec<u8>,
}

impl EventReader {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            before: None,
            unfinished: Vec::new(),
        }
    }

    /// What came since the last call; at first all there is.
    pub fn read(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let files = self.files()?;
        if let Some(before) = &self.before {
            let mut late = Vec::new();
            (&*before).read_to_end(&mut late)?;
            lines.extend(told(&String::from_utf8_lossy(&late)));
        }
        let known = self.open.take();
        if let Some((_, file)) = &known {
            (&*file).read_to_end(&mut self.unfinished)?;
            self.take_lines(&mut lines);
        }
        let place = known.as_ref().and_then(|(known, _)| {
            let mut inodes = files.iter().map(|(inode, _)| inode);
            inodes.position(|inode| inode == known)
        });
        let younger = place.map_or(0, |place| place + 1);
        self.open = known;
        for (inode, mut file) in files.into_iter().skip(younger) {
            // Nobody goes on with a line of a file that was put aside.
            if !self.unfinished.is_empty() {
                self.unfinished.push(b'\n');
                self.take_lines(&mut lines);
            }
            file.read_to_end(&mut self.unfinished)?;
            self.take_lines(&mut lines);
            let before = self.open.replace((inode, file));
            self.before = before.map(|(_, file)| file);
        }
        Ok(lines)
    }

    /// Whether the last line has no end: it is being written, or was cut off.
    pub fn is_amid_a_line(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Oldest first. They are opened again if one was put aside meanwhile.
    fn files(&self) -> io::Result<Vec<(u64, File)>> {
        loop {
            let before = self.names()?;
            let opened: io::Result<Vec<_>> = before
                .iter()
                .map(|(_, inode, path)| Ok((*inode, File::open(path)?)))
                .collect();
            let after = self.names()?;
            match opened {
                Ok(opened) if before == after => return Ok(opened),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    /// The number of each, 0 for the one that is written to.
    fn names(&self) -> io::Result<Vec<(u32, u64, PathBuf)>> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let own = self.path.file_name().unwrap_or_default().to_string_lossy();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = match name.strip_prefix(&*own) {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix('.').and_then(|rest| rest.parse().ok()),
                None => None,
            };
            let Some(number) = number else { continue };
            match fs::metadata(&path) {
                Ok(found) => names.push((number, found.ino(), path.clone())),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        names.sort_by_key(|(number, _, _)| std::cmp::Reverse(*number));
        Ok(names)
    }

    fn take_lines(&mut self, lines: &mut Vec<String>) {
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let rest = self.unfinished.split_off(end + 1);
        let whole = std::mem::replace(&mut self.unfinished, rest);
        let whole = String::from_utf8_lossy(&whole);
        lines.extend(told(&whole));
    }
}

fn told(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(str::to_owned)
}
