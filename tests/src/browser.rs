//! A browser in the machine's network, and what the console of its page says.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::machine::{Error, Machine, Running};

const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --disable-dev-shm-usage --enable-logging=stderr --remote-debugging-port=0";

/// Chromium with one page open.
#[derive(Debug)]
pub struct Browser {
    lines: Receiver<String>,
    _browser: Running,
    _profile: TempDir,
}

impl Browser {
    /// Opens `url`. [`Error::Unavailable`] where there is no Chromium.
    pub fn open(machine: &Machine, url: &str) -> Result<Self, Error> {
        machine.needs("chromium", "chromium")?;
        let start = |source| Error::Start {
            command: "chromium".into(),
            source,
        };
        let profile = TempDir::new().map_err(start)?;
        let mut command = machine.net_command(&["chromium"]);
        command
            .args(FLAGS.split_whitespace())
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .env("HOME", profile.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut browser = Running(command.spawn().map_err(start)?);
        let (to, lines) = mpsc::channel();
        if let Some(stderr) = browser.0.stderr.take() {
            let url = url.to_owned();
            thread::spawn(move || {
                let lines = BufReader::new(stderr).lines().map_while(Result::ok);
                lines
                    .filter_map(|line| said(&line, &url))
                    .try_for_each(|line| to.send(line))
            });
        }
        Ok(Self {
            lines,
            _browser: browser,
            _profile: profile,
        })
    }

    /// The next line of the console.
    pub fn says(&self) -> Result<String, Error> {
        let limit = Duration::from_secs(30);
        self.lines.recv_timeout(limit).map_err(|_| Error::TimedOut {
            what: "a line in the browser's console".into(),
            limit,
        })
    }
}

/// The text of `[...:CONSOLE(12)] "text", source: URL (12)`.
fn said(line: &str, url: &str) -> Option<String> {
    let (_, rest) = line.split_once(":CONSOLE")?;
    let (_, rest) = rest.split_once("] \"")?;
    let (text, source) = rest.rsplit_once("\", source: ")?;
    // The browser talks to itself as well.
    source.starts_with(url).then(|| text.to_owned())
}
