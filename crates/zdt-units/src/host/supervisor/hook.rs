//! A program that runs while a process stops: it tells it to be quiet, waits for its work, or ends it.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::timeout;

use super::event::Exit;
use super::gate::Program;
use super::launch::Launch;
use super::output::Output;
use super::process::Process;
use super::start::{Spawn, StartError, Told, account, own_environment};
use crate::model::span;

/// How long killed processes may take to vanish.
const VANISH: Duration = Duration::from_secs(1);

/// One run of it.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// What it is there for, such as `stop.quiet`.
    pub name: &'a str,
    /// A program and its arguments.
    pub exec: &'a [OsString],
    pub launch: &'a Launch,
    /// As the process was told.
    pub told: Told<'a>,
    /// `ZDT_PID`: the main process.
    pub pid: u32,
    /// Then it is killed, with all that it started.
    pub limit: Duration,
    /// What it prints goes here, with its name before it.
    pub output: &'a Output,
}

/// What became of it instead of an end that is clean.
#[derive(Debug, thiserror::Error)]
pub enum HookFailed {
    #[error("`{name}` has no program")]
    Empty { name: String },
    #[error("`{name}` was not run: {source}")]
    NotStarted { name: String, source: StartError },
    #[error("`{name}` was not run: {reason}")]
    NotRun { name: String, reason: String },
    #[error("`{name}` {exit}")]
    Ended { name: String, exit: Exit },
    #[error("`{name}` did not end within {}, and was killed", span(*limit))]
    Killed { name: String, limit: Duration },
}

impl Hook<'_> {
    /// Dropped, it is killed.
    pub async fn run(self) -> Result<(), HookFailed> {
        let name = self.name.to_owned();
        let Some(mut process) = self.start()? else {
            return Err(HookFailed::Empty { name });
        };
        let ended = timeout(self.limit, process.exited()).await;
        if ended.is_err() {
            process.kill();
            let _ = timeout(VANISH, process.exited()).await;
        }
        // What it left behind would hold on to what it was given.
        process.kill_group();
        self.output.catch_up();
        match ended {
            Ok(Exit::Code(0)) => Ok(()),
            Ok(exit) => Err(match process.not_run() {
                Some(reason) => HookFailed::NotRun { name, reason },
                None => HookFailed::Ended { name, exit },
            }),
            Err(_) => Err(HookFailed::Killed {
                name,
                limit: self.limit,
            }),
        }
    }

    fn start(self) -> Result<Option<Process>, HookFailed> {
        let Some((program, arguments)) = self.exec.split_first() else {
            return Ok(None);
        };
        let failed = |source| HookFailed::NotStarted {
            name: self.name.to_owned(),
            source,
        };
        let user = account(self.launch).map_err(failed)?;
        let mut environment =
            own_environment(self.launch, self.told, self.output.unit()).map_err(failed)?;
        environment.push(("ZDT_PID".into(), self.pid.to_string().into()));
        let program = Program {
            program: program.clone(),
            arguments: arguments.to_vec(),
            environment,
            directory: self.launch.working_directory.clone().map(Into::into),
        };
        let spawn = Spawn {
            launch: self.launch,
            user: user.as_ref(),
            invocation: self.told.invocation,
            // Not that of the unit, where the end of all is the end of the process.
            cgroup: None,
            output: self.output,
            label: Some(self.name),
            outlives: false,
        };
        let mut process = spawn.run().map_err(failed)?;
        let held = process.hold(&program, Vec::new());
        held.map_err(StartError::Share).map_err(failed)?;
        process.let_go();
        Ok(Some(process))
    }
}
