//! `zdt-units` at work: what it has said so far, while it goes on.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;

use zdt_e2e::machine::{Machine, Output, Running};

use super::{LIMIT, UNITS};

pub(crate) struct Call {
    running: Running,
    lines: Receiver<Line>,
    said: Output,
}

enum Line {
    Stdout(String),
    Stderr(String),
}

impl Call {
    pub(crate) fn start(machine: &Machine, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut command = machine.command(&[&[UNITS], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running(command.spawn()?);
        let (to, lines) = mpsc::channel();
        forward(running.0.stdout.take(), to.clone(), Line::Stdout);
        forward(running.0.stderr.take(), to, Line::Stderr);
        let said = Output {
            command: format!("{UNITS} {}", arguments.join(" ")),
            code: None,
            stdout: String::new(),
            stderr: String::new(),
        };
        Ok(Self {
            running,
            lines,
            said,
        })
    }

    /// Waits for a line such as `is_it` is looking for.
    pub(crate) fn until(&mut self, is_it: impl Fn(&str) -> bool) -> Result<(), Box<dyn Error>> {
        loop {
            match self.line()? {
                Some(line) if is_it(line) => return Ok(()),
                Some(_) => {}
                None => {
                    return Err(format!("it ended without a word of it: {:?}", self.said).into());
                }
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Result<Output, Box<dyn Error>> {
        while self.line()?.is_some() {}
        self.said.code = self.running.0.wait()?.code();
        Ok(self.said)
    }

    /// What it says next, `None` once it says nothing any more.
    fn line(&mut self) -> Result<Option<&str>, Box<dyn Error>> {
        let (all, line) = match self.lines.recv_timeout(LIMIT) {
            Ok(Line::Stdout(line)) => (&mut self.said.stdout, line),
            Ok(Line::Stderr(line)) => (&mut self.said.stderr, line),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("nothing more in {LIMIT:?}: {:?}", self.said).into());
            }
        };
        let before = all.len();
        all.push_str(&line);
        all.push('\n');
        Ok(Some(&all[before..]))
    }
}

fn forward(from: Option<impl Read + Send + 'static>, to: Sender<Line>, kind: fn(String) -> Line) {
    let lines = from
        .into_iter()
        .flat_map(|from| BufReader::new(from).lines());
    let mut lines = lines.map_while(Result::ok);
    thread::spawn(move || lines.try_for_each(|line| to.send(kind(line))));
}
