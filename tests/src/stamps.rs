//! What processes did and when, each on a line of a file that all of them write to.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: reads the environment, and writes a file"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};

/// The file that `STAMPS` names, if there is one.
#[derive(Clone, Debug)]
pub struct Stamps {
    name: String,
    file: Option<Arc<File>>,
}

/// One line: `TIME NAME PID WHAT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of a clock that all processes share and that is never set.
    pub at: u64,
    pub name: String,
    pub pid: u32,
    pub what: String,
}

impl Stamps {
    pub fn here(name: &str) -> io::Result<Self> {
        let file = match std::env::var_os("STAMPS") {
            None => None,
            Some(path) => Some(Arc::new(
                OpenOptions::new().append(true).create(true).open(path)?,
            )),
        };
        Ok(Self {
            name: name.to_owned(),
            file,
        })
    }

    /// In one write, so that lines of several processes do not mix.
    pub fn write(&self, what: &str) -> io::Result<()> {
        let Some(mut file) = self.file.as_deref() else {
            return Ok(());
        };
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let nanoseconds = now.tv_sec() * 1_000_000_000 + now.tv_nsec();
        let line = format!(
            "{nanoseconds} {} {} {what}\n",
            self.name,
            std::process::id()
        );
        file.write_all(line.as_bytes())
    }
}

impl Stamp {
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        Some(Self {
            at: words.next()?.parse().ok()?,
            name: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            what: words.next()?.to_owned(),
        })
    }
}
