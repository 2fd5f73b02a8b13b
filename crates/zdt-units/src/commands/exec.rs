//! `zdt-units exec`, hidden: the last step before the process of a service.
//!
//! `LISTEN_PID` is the process's own number, which only the process itself can
//! set. It stays the same when the program replaces this one.

#![expect(
    clippy::disallowed_methods,
    reason = "this process becomes the process of a service"
)]

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::cli::ExecArgs;

/// What a shell returns for a program that it cannot run.
const NOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Returns only if the program cannot be run.
pub(super) fn run(args: &ExecArgs) -> ExitCode {
    let Some((program, arguments)) = args.command.split_first() else {
        return ExitCode::from(NOT_RUN);
    };
    // A supervisor that was killed must not leave a process on sockets that
    // nobody holds any more: the next supervisor could not listen.
    let _ = set_pdeathsig(Signal::SIGTERM);
    if args
        .parent
        .is_some_and(|parent| getppid().as_raw() != parent)
    {
        return ExitCode::from(NOT_RUN);
    }
    if let Some(wanted) = args.open_files
        && let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
    {
        // Less than wanted shows in what the program reports.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }

    let pid = std::process::id().to_string();
    let mut command = Command::new(program);
    command.args(arguments).env("LISTEN_PID", &pid);
    if std::env::var_os("WATCHDOG_USEC").is_some() {
        command.env("WATCHDOG_PID", &pid);
    }
    let error = command.exec();
    let program = program.to_string_lossy();
    let _ = writeln!(io::stderr(), "error: failed to run `{program}`: {error}");
    ExitCode::from(match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_RUN,
    })
}
