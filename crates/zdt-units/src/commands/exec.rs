//! `zdt-units exec`, hidden: the last steps before the process of a service.
//!
//! `LISTEN_PID` is the process's own number, which only the process itself can
//! set. It stays the same when the program replaces this one.

#![expect(
    clippy::disallowed_methods,
    reason = "this process becomes the process of a service"
)]

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use command_fds::{CommandFdExt, FdMapping};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{User, getppid, initgroups, setgid, setuid};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use crate::cli::ExecArgs;
use crate::host::supervisor::{Program, Waiting, enter_cgroup};

/// What a shell returns for a program that it cannot run.
const NOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The first inherited descriptor, fixed by `sd_listen_fds(3)`.
const FIRST_FD: i32 = 3;

const GONE: &str = "who started it has ended meanwhile";

/// This command alone, of which clients wait for the end: all the others take a while to be set up.
#[derive(Debug, Parser)]
struct Only {
    #[command(flatten)]
    args: ExecArgs,
}

/// The arguments, if it is this command and they are right.
pub(super) fn only() -> Option<ExecArgs> {
    let mut words = std::env::args_os().skip(1);
    let is_exec = words.next().is_some_and(|word| word == "exec");
    let words = std::iter::once("exec".into()).chain(words);
    let only = is_exec.then(|| Only::try_parse_from(words));
    Some(only?.ok()?.args)
}

/// Returns only if the program cannot be run.
pub(super) fn run(args: &ExecArgs) -> ExitCode {
    let (code, reason) = match Waiting::at_stdin() {
        Err(error) => (NOT_RUN, format!("nobody says what to run: {error}")),
        Ok(mut waiting) => {
            let (code, reason) = become_program(args, &mut waiting);
            let _ = waiting.tell(&reason);
            (code, reason)
        }
    };
    let _ = writeln!(io::stderr(), "error: {reason}");
    ExitCode::from(code)
}

fn become_program(args: &ExecArgs, waiting: &mut Waiting) -> (u8, String) {
    if let Err(reason) = prepare(args) {
        return (NOT_RUN, reason);
    }
    let told = waiting.program();
    let gone = args
        .parent
        .is_some_and(|parent| getppid().as_raw() != parent);
    let (program, shared) = match told {
        Ok(_) if gone => return (NOT_RUN, GONE.to_owned()),
        Ok(told) => told,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return (NOT_RUN, GONE.to_owned());
        }
        Err(error) => return (NOT_RUN, format!("nobody says what to run: {error}")),
    };
    let error = exec(&program, shared);
    let code = match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_RUN,
    };
    let program = program.program.to_string_lossy();
    (code, format!("failed to run `{program}`: {error}"))
}

/// All that can be done before it is known which program follows.
fn prepare(args: &ExecArgs) -> Result<(), String> {
    if let Some(cgroup) = &args.cgroup {
        // Its process group has to do then.
        let _ = enter_cgroup(cgroup);
    }
    if let Some(wanted) = args.open_files
        && let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
    {
        // Less than wanted shows in what the program reports.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
    if let Some(user) = &args.user {
        become_user(user).map_err(|error| format!("failed to become user `{user}`: {error}"))?;
    }
    if !args.outlives {
        // A supervisor that was killed must not leave a process on sockets that
        // nobody holds any more: the next supervisor could not listen. After the
        // change of user, which the kernel takes for a reason to forget it.
        let _ = set_pdeathsig(Signal::SIGTERM);
    }
    Ok(())
}

fn exec(program: &Program, shared: Vec<OwnedFd>) -> io::Error {
    let mappings = (FIRST_FD..)
        .zip(shared)
        .map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
    let pid = std::process::id().to_string();
    let mut command = Command::new(&program.program);
    command.args(&program.arguments);
    command.env("LISTEN_PID", &pid);
    let environment = program.environment.iter();
    command.envs(environment.map(|(name, value)| (name, value)));
    if program
        .environment
        .iter()
        .any(|(name, _)| name == "WATCHDOG_USEC")
    {
        command.env("WATCHDOG_PID", &pid);
    }
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    // Reading from the terminal would stop it.
    command.stdin(Stdio::null());
    match command.fd_mappings(mappings.collect()) {
        Ok(command) => command.exec(),
        Err(collision) => io::Error::other(collision),
    }
}

fn become_user(name: &str) -> io::Result<()> {
    let user = User::from_name(name)?
        .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "there is no such user"))?;
    // Programs open `/dev/stdout`, which takes the right to open the pipe that it is. The launcher's own can be told
    // by that both ends are open in one.
    for output in [io::stdout().as_fd(), io::stderr().as_fd()] {
        if FileType::from_raw_mode(fstat(output)?.st_mode) == FileType::Fifo
            && fcntl_getfl(output)?.contains(OFlags::RDWR)
        {
            fchown(output, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
    }
    let c_name = std::ffi::CString::new(name)?;
    initgroups(&c_name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    Ok(())
}
