//! `zdt-units held`, hidden: lasts no longer than a process. The unit that holds a service down
//! runs it, and becomes what is run meanwhile.

#![expect(
    clippy::disallowed_methods,
    reason = "this process becomes the command"
)]

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Failed;
use super::operation::{runtime, stopped};
use crate::cli::HeldArgs;
use crate::exit_code;
use crate::host::launcher::Launcher;
use crate::host::supervisor::protocol::Question;

/// What a shell returns for a program that it cannot run.
const NOT_RUN: u8 = 126;
pub(super) const NOT_FOUND: u8 = 127;

pub(super) fn run(args: &HeldArgs) -> Result<u8, Failed> {
    match args.command.split_first() {
        None => {
            let done = wait(args)?;
            start(args)?;
            Ok(done)
        }
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            Ok(become_command(args.pid, command.args(arguments)))
        }
    }
}

/// Returns only if it cannot be run.
fn become_command(parent: i32, command: &mut Command) -> u8 {
    let _ = set_pdeathsig(Signal::SIGTERM);
    if getppid().as_raw() != parent {
        return NOT_RUN;
    }
    let error = command.exec();
    let program = command.get_program().to_string_lossy();
    let _ = writeln!(io::stderr(), "error: failed to run `{program}`: {error}");
    match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_RUN,
    }
}

/// Whoever was to start them is gone, or has done it: then it is done twice, and changes nothing.
fn start(args: &HeldArgs) -> Result<(), Failed> {
    let Some(control) = &args.control else {
        return Ok(());
    };
    let started = runtime()?.block_on(async {
        let launcher = Launcher::connect(control).await?;
        for unit in args.start.clone() {
            launcher
                .follow(&Question::Start { unit }, &mut |_| ())
                .await?;
        }
        Ok(())
    });
    started.map_err(stopped)
}

fn wait(args: &HeldArgs) -> Result<u8, Failed> {
    let Some(pid) = Pid::from_raw(args.pid) else {
        return Ok(exit_code::DONE);
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(exit_code::DONE),
        Err(error) => {
            return Err(Failed::unexpected(format!(
                "failed to watch process {}: {error}",
                args.pid
            )));
        }
    };
    let mut watched = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => return Ok(exit_code::DONE),
            Err(Errno::EINTR) => {}
            Err(error) => {
                return Err(Failed::unexpected(format!("failed to wait: {error}")));
            }
        }
    }
}
