//! Where the lines of processes go, besides those that are kept.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment says whether colours are wanted"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::line::{Piece, escaped};
use super::writer::{Destination, Entry, Writer};
use super::{Line, unit_label};
use crate::model::{Output as Form, UnitName};
use crate::stamp;

const JOURNAL: &str = "/run/systemd/journal/stdout";

/// `LOG_INFO`, of `syslog(3)`.
const INFORMATION: u8 = 6;

/// For all units of a launcher; cheap to clone. It never makes a process wait, nor the launcher.
#[derive(Clone, Debug)]
pub struct Sink {
    to: To,
    speech: Option<Writer>,
}

#[derive(Clone, Debug)]
enum To {
    /// Processes have the output of this one, and nothing of it is seen here.
    Inherited,
    Prefixed {
        writer: Writer,
        style: Style,
    },
    Json(Writer),
    Files(Writer),
    /// Processes write to the journal themselves.
    Journal,
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Control characters are shown, not sent.
    pub escape: bool,
    /// Each unit has a colour.
    pub colour: bool,
}

impl Style {
    fn of(output: &impl IsTerminal) -> Self {
        let terminal = output.is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            escape: terminal,
            colour: terminal && !unwanted,
        }
    }
}

impl Sink {
    /// On the standard error of this process, its standard output, in files, or in the journal.
    pub fn new(form: &Form) -> io::Result<Self> {
        let stderr = io::stderr();
        let style = Style::of(&stderr);
        let speech = Writer::new(Stream(stderr.as_fd().try_clone_to_owned()?), missing_text)?;
        let to = match form {
            Form::Prefixed => To::Prefixed {
                writer: speech.clone(),
                style,
            },
            Form::Json => {
                let stdout = io::stdout().as_fd().try_clone_to_owned()?;
                To::Json(Writer::new(Stream(stdout), missing_json)?)
            }
            Form::Files(directory) => {
                let directory = PathBuf::from(directory.as_str());
                fs::create_dir_all(&directory)?;
                let files = Files {
                    directory,
                    open: BTreeMap::new(),
                    failed: BTreeSet::new(),
                    speech: speech.clone(),
                };
                To::Files(Writer::new(files, missing_text_alone)?)
            }
            Form::Journal => To::Journal,
        };
        Ok(Self {
            to,
            speech: Some(speech),
        })
    }

    pub fn inherited() -> Self {
        Self {
            to: To::Inherited,
            speech: None,
        }
    }

    /// As [`Form::Prefixed`], to somewhere else.
    pub fn prefixed(to: OwnedFd, style: Style) -> io::Result<Self> {
        let writer = Writer::new(Stream(to), missing_text)?;
        Ok(Self {
            speech: Some(writer.clone()),
            to: To::Prefixed { writer, style },
        })
    }

    /// As [`Form::Json`], to somewhere else.
    pub fn json(to: OwnedFd) -> io::Result<Self> {
        let writer = Writer::new(Stream(to), missing_json)?;
        Ok(Self {
            to: To::Json(writer),
            speech: None,
        })
    }

    /// What the launcher itself says on its standard error: one line, which does not wait either.
    pub fn say(&self, text: &str) {
        match &self.speech {
            Some(speech) => speech.push(&Arc::from("zdt-units"), format!("{text}\n").into_bytes()),
            // Nobody is left to hear that standard error is closed.
            None => drop(writeln!(io::stderr(), "{text}")),
        }
    }

    /// Waits until all is written, but not longer; whether it is. Before this process ends or becomes another program.
    pub fn flush(&self, limit: Duration) -> bool {
        let own = match &self.to {
            To::Prefixed { writer, .. } | To::Json(writer) | To::Files(writer) => Some(writer),
            To::Inherited | To::Journal => None,
        };
        let mut writers = own.into_iter().chain(&self.speech);
        writers.all(|writer| writer.flush(limit))
    }

    pub(super) fn is_inherited(&self) -> bool {
        matches!(self.to, To::Inherited)
    }

    pub(super) fn is_journal(&self) -> bool {
        matches!(self.to, To::Journal)
    }

    pub(super) fn take(&self, name: &Arc<str>, line: &Line, piece: &Piece) {
        match &self.to {
            To::Prefixed { writer, style } => writer.push(name, prefixed(name, &line.text, *style)),
            To::Json(writer) => writer.push(name, json(line)),
            To::Files(writer) => {
                let end = if piece.ends { "\n" } else { "" };
                writer.push(name, format!("{}{end}", line.text).into_bytes());
            }
            To::Inherited | To::Journal => {}
        }
    }
}

/// A stream of the journal, `sd_journal_stream_fd(3)`.
pub(super) fn journal(unit: &UnitName) -> io::Result<OwnedFd> {
    let mut stream = UnixStream::connect(JOURNAL)?;
    stream.shutdown(std::net::Shutdown::Read)?;
    stream.write_all(header(&unit_label(unit)).as_bytes())?;
    Ok(stream.into())
}

/// The identifier, the unit (which is this process's), the level, whether lines begin with theirs, and whether they
/// go to syslog, the kernel's log and the console too.
fn header(identifier: &str) -> String {
    format!("{identifier}\n\n{INFORMATION}\n1\n0\n0\n0\n")
}

fn prefixed(name: &str, text: &str, style: Style) -> Vec<u8> {
    let text = match style.escape {
        true => &escaped(text),
        false => text,
    };
    match style.colour {
        true => format!("\x1b[{}m{name} |\x1b[0m {text}\n", colour(name)),
        false => format!("{name} | {text}\n"),
    }
    .into_bytes()
}

/// The same for a unit each time: one of six that can be read on light and dark.
fn colour(name: &str) -> u32 {
    31 + name.bytes().map(u32::from).sum::<u32>() % 6
}

fn missing_text(name: &str, lines: u64) -> Vec<u8> {
    format!("{name} | {}", missed(lines)).into_bytes()
}

fn missing_text_alone(_: &str, lines: u64) -> Vec<u8> {
    missed(lines).into_bytes()
}

fn missed(lines: u64) -> String {
    let lines = match lines {
        1 => "1 line is",
        _ => &format!("{lines} lines are"),
    };
    format!("({lines} missing here: nothing could be written meanwhile)\n")
}

/// A line as JSON.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(with = "stamp")]
    time: std::time::SystemTime,
    unit: String,
    pid: u32,
    stream: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct Missed<'a> {
    unit: &'a str,
    missing: u64,
}

fn json(line: &Line) -> Vec<u8> {
    as_line(&Printed {
        time: line.time,
        unit: line.unit.to_string(),
        pid: line.pid,
        stream: match line.error {
            true => "stderr",
            false => "stdout",
        },
        text: &line.text,
    })
}

fn missing_json(name: &str, missing: u64) -> Vec<u8> {
    let unit = &format!("{name}.service");
    as_line(&Missed { unit, missing })
}

fn as_line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("it is plain data");
    bytes.push(b'\n');
    bytes
}

/// A descriptor that blocks as long as nobody reads.
#[derive(Debug)]
struct Stream(OwnedFd);

impl Destination for Stream {
    fn write(&mut self, entries: &[Entry]) -> BTreeSet<Arc<str>> {
        let bytes: Vec<&[u8]> = entries.iter().map(|entry| entry.bytes.as_slice()).collect();
        match self.write_all(&bytes.concat()) {
            Ok(()) => BTreeSet::new(),
            Err(_) => entries.iter().map(|entry| entry.name.clone()).collect(),
        }
    }
}

impl Stream {
    fn write_all(&self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match rustix::io::write(&self.0, rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                // Whoever gave it to us had it non-blocking.
                Err(rustix::io::Errno::AGAIN) => wait_writable(&self.0)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn wait_writable(fd: &OwnedFd) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut watched = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut watched, PollTimeout::NONE) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `NAME.log` of each unit, in a directory.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    open: BTreeMap<Arc<str>, File>,
    /// Told already.
    failed: BTreeSet<Arc<str>>,
    speech: Writer,
}

impl Destination for Files {
    fn write(&mut self, entries: &[Entry]) -> BTreeSet<Arc<str>> {
        let mut texts: BTreeMap<&Arc<str>, Vec<u8>> = BTreeMap::new();
        for entry in entries {
            let text = texts.entry(&entry.name).or_default();
            text.extend_from_slice(&entry.bytes);
        }
        for (name, text) in texts {
            let path = self.directory.join(format!("{name}.log"));
            let written = self
                .file(name, &path)
                .and_then(|mut file| file.write_all(&text));
            match written {
                Ok(()) => {
                    self.failed.remove(name);
                }
                Err(error) => self.told(name, &path, &error),
            }
        }
        self.failed.clone()
    }
}

impl Files {
    /// The one that has this name now: it may have been rotated away.
    fn file(&mut self, name: &Arc<str>, path: &Path) -> io::Result<&File> {
        let is_there = |file: &File| -> io::Result<bool> {
            let (open, there) = (file.metadata()?, fs::metadata(path)?);
            Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
        };
        let same = self
            .open
            .get(name)
            .is_some_and(|file| is_there(file).unwrap_or(false));
        if !same {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            self.open.insert(name.clone(), file);
        }
        self.open
            .get(name)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn told(&mut self, name: &Arc<str>, path: &Path, error: &io::Error) {
        if self.failed.insert(name.clone()) {
            let text = format!("failed to write to `{}`: {error}\n", path.display());
            self.speech.push(&Arc::from("zdt-units"), text.into_bytes());
        }
    }
}
