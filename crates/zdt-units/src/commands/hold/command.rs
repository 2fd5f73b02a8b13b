//! The command of a hold: it has the terminal, and it does not outlive its time.

#![expect(clippy::disallowed_methods, reason = "starts the command")]

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{Pid, getpgrp, tcsetpgrp};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::super::Failed;
use super::super::held::NOT_FOUND;
use crate::cli::HoldArgs;
use crate::execute::Interrupts;
use crate::exit_code;
use crate::model::{Service, span};

/// From TERM to KILL.
const MERCY: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(20);

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was not begun: the service could not be stopped.
    NotRun,
    NotStarted(io::Error),
    Itself(ExitStatus),
    TooLong(Duration, Option<ExitStatus>),
    Interrupted(Option<ExitStatus>),
}

impl Ended {
    /// As a shell has it; the service is back.
    pub(super) fn code(&self) -> u8 {
        let of = |status: &ExitStatus| {
            let signal = || 128 + status.signal().unwrap_or_default();
            u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(u8::MAX)
        };
        let killed = 128 + 9;
        match self {
            Self::NotRun => exit_code::ROLLED_BACK,
            Self::NotStarted(_) => 126,
            Self::Itself(status) => of(status),
            // Not 0, whatever it made of the signal.
            Self::TooLong(_, status) | Self::Interrupted(status) => {
                let code = status.as_ref().map_or(killed, of);
                if code == 0 { 128 + 15 } else { code }
            }
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun => f.write_str("was not run"),
            Self::NotStarted(error) => write!(f, "could not be run: {error}"),
            Self::Itself(status) => write!(f, "ended with {status}"),
            Self::TooLong(limit, _) => {
                write!(f, "took longer than {} and was terminated", span(*limit))
            }
            Self::Interrupted(_) => f.write_str("was interrupted"),
        }
    }
}

/// Whether there is such a program, before the service is stopped for it.
pub(super) fn look_for(args: &HoldArgs) -> Result<(), Failed> {
    let program = PathBuf::from(args.command.first().cloned().unwrap_or_default());
    let is_there = match program.components().count() {
        1 if program.is_relative() => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|directory| directory.join(&program).is_file())
        }
        _ => program.is_file(),
    };
    match is_there {
        true => Ok(()),
        false => Err(Failed::said(
            NOT_FOUND,
            format!(
                "there is no program `{}`; nothing was touched",
                program.display()
            ),
        )),
    }
}

/// `program` is this one, which becomes the command: so that it does not go on beside the service
/// when this process is killed.
pub(super) async fn run(
    args: &HoldArgs,
    program: &Path,
    service: &Service,
    interrupts: &mut Interrupts,
) -> Ended {
    let mut command = Command::new(program);
    command
        .args(["held", &std::process::id().to_string(), "--"])
        .args(&args.command)
        .env("ZDT_SERVICE", service.name.as_str())
        .process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error),
    };
    let group = child.id().and_then(|pid| i32::try_from(pid).ok());
    let group = Pid::from_raw(group.expect("a child that was not waited for has a number"));
    let _terminal = Terminal::lend(group);
    tokio::select! {
        ended = child.wait() => match ended {
            Ok(status) => Ended::Itself(status),
            Err(error) => Ended::NotStarted(error),
        },
        () = sleep(args.max) => Ended::TooLong(args.max, terminate(&mut child, group, interrupts).await),
        () = interrupts.next() => Ended::Interrupted(terminate(&mut child, group, interrupts).await),
    }
}

/// Ends the command and everything that it started.
async fn terminate(
    child: &mut Child,
    group: Pid,
    interrupts: &mut Interrupts,
) -> Option<ExitStatus> {
    // One that has ended by now has what was wanted.
    let _ = killpg(group, Signal::SIGTERM);
    let _ = killpg(group, Signal::SIGCONT);
    let end = Instant::now() + MERCY;
    let mut status = None;
    let gone = async {
        while Instant::now() < end {
            status = child.try_wait().ok().flatten().or(status);
            if killpg(group, None) == Err(Errno::ESRCH) {
                return;
            }
            sleep(SOON).await;
        }
    };
    tokio::select! {
        () = gone => {}
        () = interrupts.next() => {}
    }
    let _ = killpg(group, Signal::SIGKILL);
    match status {
        Some(status) => Some(status),
        None => child.wait().await.ok(),
    }
}

/// The terminal belongs to the command while it runs, so that it can be typed to.
struct Terminal;

impl Terminal {
    fn lend(to: Pid) -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        give(to).ok()?;
        // It may have been stopped for reading before.
        let _ = killpg(to, Signal::SIGCONT);
        Some(Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = give(getpgrp());
    }
}

/// Who is not in the foreground is stopped for this, unless the signal is blocked.
fn give(to: Pid) -> nix::Result<()> {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTTOU);
    blocked.thread_block()?;
    let given = tcsetpgrp(io::stdin(), to);
    blocked.thread_unblock()?;
    given
}
