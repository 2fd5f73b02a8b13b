//! A playbook that runs on the controller.

use std::error::Error;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zdt_e2e::machine::{self, Machine, Running};

/// The directory of the playbooks on the controller.
pub(super) const HOME: &str = "/root/fleet";

const LIMIT: Duration = Duration::from_secs(400);

pub(super) struct Play {
    what: String,
    began: Instant,
    process: Running,
    directory: TempDir,
}

/// How it ended, and all that it said.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) said: String,
    pub(super) took: Duration,
}

impl Play {
    pub(super) fn start(
        controller: &Machine,
        arguments: &[String],
    ) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let said = File::create(directory.path().join("said"))?;
        let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let own = ["/opt/zdt/bin/ansible/bin/python3", "-m", "ansible"];
        let argv = [
            &["env", "-C", HOME, "HOME=/root"],
            &own[..],
            &["playbook"],
            &given,
        ]
        .concat();
        let mut command = controller.command(&argv);
        command
            .stderr(Stdio::from(said.try_clone()?))
            .stdout(Stdio::from(said));
        Ok(Self {
            what: arguments.join(" "),
            began: Instant::now(),
            process: Running(command.spawn()?),
            directory,
        })
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
    }

    /// Waits until it has said one of these.
    pub(super) fn await_word(&mut self, words: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut ended = false;
        let what = format!("`{}` says {words:?}", self.what);
        let said = machine::wait_until(LIMIT, &what, || {
            let said = self.said();
            ended = !matches!(self.process.0.try_wait(), Ok(None));
            ended || words.iter().any(|word| said.contains(word))
        });
        match (said, ended) {
            (Ok(()), false) => Ok(()),
            (Ok(()), true) => Err(format!("it ended before that: {what}\n{}", self.said()).into()),
            (Err(error), _) => Err(format!("{error}\n{}", self.said()).into()),
        }
    }

    pub(super) fn end(mut self) -> Result<Ended, Box<dyn Error>> {
        let mut status = Ok(None);
        let what = format!("`{}` ends", self.what);
        let ended = machine::wait_until(LIMIT, &what, || {
            status = self.process.0.try_wait();
            !matches!(status, Ok(None))
        });
        ended.map_err(|error| format!("{error}\n{}", self.said()))?;
        Ok(Ended {
            code: status?.and_then(|status| status.code()),
            said: self.said(),
            took: self.began.elapsed(),
        })
    }
}

impl Ended {
    /// It did all that it was to.
    pub(super) fn ok(self) -> Result<Self, Box<dyn Error>> {
        match self.code {
            Some(0) => Ok(self),
            code => Err(format!("it ended with {code:?}\n{}", self.said).into()),
        }
    }
}
