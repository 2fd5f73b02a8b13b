//! What the processes of a unit print: read as it comes, cut into lines, kept for those who ask, and passed on.
//!
//! A process writes into pipes of which it has both ends: when the launcher is killed nothing breaks, and the next one
//! opens them again. Nothing that the launcher does with the lines makes the process wait.

#![expect(
    clippy::disallowed_methods,
    reason = "a line has the time at which it came"
)]

mod line;
mod sink;
mod writer;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use nix::libc;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::broadcast;

use self::line::{Piece, Splitter};
pub use self::sink::{Sink, Style};
use super::descriptors::inherit;
pub use super::protocol::Line;
use crate::model::UnitName;

/// What a process may print while nobody reads, as far as the kernel allows it.
const PIPE: usize = 1 << 20;

/// So much is read at once, and then it is another one's turn.
const TURN: usize = 64 * 1024;

/// So many lines may be ahead of one who follows; one who is slower misses some.
const AHEAD: usize = 1024;

/// Of one unit, whichever of its processes printed it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Output(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    unit: UnitName,
    /// `shop@2`.
    name: Arc<str>,
    most: usize,
    kept: Mutex<VecDeque<Line>>,
    followers: broadcast::Sender<Line>,
    sources: Mutex<Vec<Arc<Source>>>,
    sink: Sink,
}

/// A pipe that is read.
#[derive(Debug)]
struct Source {
    pid: u32,
    error: bool,
    /// Before each line: that of a hook.
    label: Option<String>,
    pipe: Receiver,
    splitter: Mutex<Splitter>,
}

/// For a process that is about to be started.
#[derive(Debug)]
pub(super) struct Pipes {
    /// `None`: those of this process.
    pub(super) stdio: Option<(Stdio, Stdio)>,
    pub(super) ends: Vec<(OwnedFd, bool)>,
}

/// What another program needs to go on reading a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeMark {
    pub pid: u32,
    /// Its standard error.
    pub error: bool,
    #[serde(default)]
    pub label: Option<String>,
    /// By which the pipe is known.
    pub inode: u64,
    /// The reading end, after [`Output::hand_on`].
    #[serde(default)]
    pub fd: Option<RawFd>,
    /// What is not a whole line yet.
    #[serde(default)]
    pub rest: String,
}

/// What there was to read.
enum Took {
    /// There may be more.
    Some,
    Nothing,
    /// And there will be nothing more.
    End,
}

impl Output {
    /// Keeps the last `lines`.
    pub fn new(unit: UnitName, lines: usize, sink: Sink) -> Self {
        let (followers, _) = broadcast::channel(AHEAD);
        Self(Arc::new(Shared {
            name: unit_label(&unit).into(),
            unit,
            most: lines,
            kept: Mutex::default(),
            followers,
            sources: Mutex::default(),
            sink,
        }))
    }

    /// Processes have the standard output and error of this one, and nothing is kept.
    pub fn inherited(unit: UnitName) -> Self {
        Self::new(unit, 0, Sink::inherited())
    }

    pub fn unit(&self) -> &UnitName {
        &self.0.unit
    }

    /// The last `most` lines, the oldest first.
    pub fn tail(&self, most: usize) -> Vec<Line> {
        let kept = locked(&self.0.kept);
        let left_out = kept.len().saturating_sub(most);
        kept.iter().skip(left_out).cloned().collect()
    }

    /// What was printed before all that is kept.
    pub(super) fn remember(&self, lines: Vec<Line>) {
        let mut kept = locked(&self.0.kept);
        for line in lines.into_iter().rev() {
            if kept.len() < self.0.most {
                kept.push_front(line);
            }
        }
    }

    /// What comes from now on.
    pub fn follow(&self) -> broadcast::Receiver<Line> {
        self.0.followers.subscribe()
    }

    /// Takes what was printed up to now, also a line without an end. After the end of a process, whose last words it is
    /// about.
    pub fn catch_up(&self) {
        let sources = locked(&self.0.sources).clone();
        for source in sources {
            // More than fits into the pipe was printed since.
            for _ in 0..=PIPE / TURN {
                if !matches!(source.take(&self.0, read_now), Took::Some) {
                    break;
                }
            }
            source.flush(&self.0);
        }
    }

    /// For a launcher that is to come.
    pub fn marks(&self) -> Vec<PipeMark> {
        let sources = locked(&self.0.sources);
        sources.iter().filter_map(|source| source.mark()).collect()
    }

    /// For a program that this process is about to become: the pipes stay open.
    pub fn hand_on(&self) -> io::Result<Vec<PipeMark>> {
        let sources = locked(&self.0.sources);
        let marks = sources.iter().filter_map(|source| {
            let mark = source.mark()?;
            Some((source, mark))
        });
        marks
            .map(|(source, mark)| {
                inherit(&source.pipe, true)?;
                Ok(PipeMark {
                    fd: Some(source.pipe.as_raw_fd()),
                    ..mark
                })
            })
            .collect()
    }

    /// This process did not become another program after all.
    pub fn keep(&self) -> io::Result<()> {
        let sources = locked(&self.0.sources);
        sources
            .iter()
            .try_for_each(|source| inherit(&source.pipe, false))
    }

    /// Goes on reading: the pipe that was handed on, or that of a process which this one did not start.
    ///
    /// Fails where the process has no such pipe any more, or belongs to somebody else.
    pub fn resume(&self, mark: PipeMark) -> io::Result<()> {
        let pipe = match mark.fd {
            Some(fd) => {
                let pipe = open_pipe(format!("/proc/self/fd/{fd}").into(), mark.inode)?;
                nix::unistd::close(fd)?;
                pipe
            }
            None => open_of_process(mark.pid, mark.inode)?,
        };
        let splitter = Splitter::of(&mark.rest);
        self.begin(mark.pid, pipe, mark.error, mark.label, splitter);
        Ok(())
    }

    /// With `to_stderr` what is inherited goes to the standard error of this process.
    pub(super) fn pipes(&self, to_stderr: bool) -> io::Result<Pipes> {
        let mut ends = Vec::new();
        let stdio = if self.0.sink.is_inherited() {
            let stdout = match to_stderr {
                true => io::stderr().as_fd().try_clone_to_owned()?.into(),
                false => Stdio::inherit(),
            };
            Some((stdout, Stdio::inherit()))
        } else if self.0.sink.is_journal() {
            let stream = || sink::journal(&self.0.unit);
            Some((stream()?.into(), stream()?.into()))
        } else {
            let mut child_side = |error: bool| {
                let (read, write) = pipe()?;
                ends.push((read, error));
                io::Result::Ok(Stdio::from(write))
            };
            Some((child_side(false)?, child_side(true)?))
        };
        Ok(Pipes { stdio, ends })
    }

    /// Reads what `pid` prints, to its end.
    pub(super) fn read(&self, pid: u32, ends: Vec<(OwnedFd, bool)>, label: Option<&str>) {
        for (pipe, error) in ends {
            self.begin(
                pid,
                pipe,
                error,
                label.map(str::to_owned),
                Splitter::default(),
            );
        }
    }

    fn begin(
        &self,
        pid: u32,
        pipe: OwnedFd,
        error: bool,
        label: Option<String>,
        splitter: Splitter,
    ) {
        let Ok(pipe) = Receiver::from_owned_fd(pipe) else {
            return;
        };
        let source = Arc::new(Source {
            pid,
            error,
            label,
            pipe,
            splitter: Mutex::new(splitter),
        });
        locked(&self.0.sources).push(source.clone());
        tokio::spawn(read(source, self.0.clone()));
    }
}

async fn read(source: Arc<Source>, shared: Arc<Shared>) {
    while source.pipe.readable().await.is_ok() {
        match source.take(&shared, Receiver::try_read) {
            // A process that prints all the time is one of many.
            Took::Some => tokio::task::yield_now().await,
            Took::Nothing => {}
            Took::End => break,
        }
    }
    source.flush(&shared);
    locked(&shared.sources).retain(|other| !Arc::ptr_eq(other, &source));
}

/// Also what the runtime does not know of yet.
fn read_now(pipe: &Receiver, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(pipe, buffer)?)
}

impl Source {
    fn take(
        &self,
        shared: &Shared,
        read: impl FnOnce(&Receiver, &mut [u8]) -> io::Result<usize>,
    ) -> Took {
        let mut buffer = [0; TURN];
        let mut splitter = locked(&self.splitter);
        match read(&self.pipe, &mut buffer) {
            Ok(0) => Took::End,
            Ok(length) => {
                let time = SystemTime::now();
                let bytes = buffer.get(..length).unwrap_or_default();
                splitter.feed(bytes, |piece| shared.take(self, time, piece));
                Took::Some
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Took::Some,
                ErrorKind::WouldBlock => Took::Nothing,
                _ => Took::End,
            },
        }
    }

    fn flush(&self, shared: &Shared) {
        if let Some(piece) = locked(&self.splitter).flush() {
            shared.take(self, SystemTime::now(), piece);
        }
    }

    fn mark(&self) -> Option<PipeMark> {
        let stat = rustix::fs::fstat(&self.pipe).ok()?;
        Some(PipeMark {
            pid: self.pid,
            error: self.error,
            label: self.label.clone(),
            inode: stat.st_ino,
            fd: None,
            rest: locked(&self.splitter).rest(),
        })
    }
}

impl Shared {
    fn take(&self, source: &Source, time: SystemTime, mut piece: Piece) {
        let text = std::mem::take(&mut piece.text);
        let line = Line {
            time,
            unit: self.unit.clone(),
            pid: source.pid,
            error: source.error,
            text: match &source.label {
                Some(label) => format!("{label}: {text}"),
                None => text,
            },
        };
        self.sink.take(&self.name, &line, &piece);
        if self.followers.receiver_count() > 0 {
            // The last one may have gone this moment.
            let _ = self.followers.send(line.clone());
        }
        let mut kept = locked(&self.kept);
        kept.push_back(line);
        while kept.len() > self.most {
            kept.pop_front();
        }
    }
}

/// How a unit is called where all are services: `shop@2`.
pub(super) fn unit_label(unit: &UnitName) -> String {
    let name = unit.to_string();
    match name.strip_suffix(".service") {
        Some(name) => name.to_owned(),
        None => name,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reading end, which does not block, and one that reads and writes: whoever has it never writes to nobody.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // A user may have so much of it, and then the usual size has to do.
    let _ = fcntl_setpipe_size(&read, PIPE);
    // Opened anew it blocks, as programs expect.
    let both = OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", write.as_raw_fd()))?;
    Ok((read, both.into()))
}

fn open_pipe(path: PathBuf, inode: u64) -> io::Result<OwnedFd> {
    let options = &mut OpenOptions::new();
    let file: File = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let found = file.metadata()?;
    match found.file_type().is_fifo() && found.ino() == inode {
        true => Ok(file.into()),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// Wherever the process has it.
fn open_of_process(pid: u32, inode: u64) -> io::Result<OwnedFd> {
    let wanted = PathBuf::from(format!("pipe:[{inode}]"));
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        // Opened only if it is the pipe: to open something else may do something.
        if fs::read_link(&path).is_ok_and(|target| target == wanted) {
            return open_pipe(path, inode);
        }
    }
    Err(ErrorKind::NotFound.into())
}
