//! `zdt-units exec`, hidden: the last steps before the process of a service.
//!
//! `LISTEN_PID` is the process's own number, which only the process itself can
//! set. It stays the same when the program replaces this one.

#![expect(
    clippy::disallowed_methods,
    reason = "this process becomes the process of a service"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::fs::fchown;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Parser;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{User, close, getppid, initgroups, setgid, setuid};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use crate::cli::ExecArgs;
use crate::host::supervisor::enter_cgroup;

/// What a shell returns for a program that it cannot run.
const NOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

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
    let mut tell = args
        .tell
        .and_then(|fd| pipe(fd, OpenOptions::new().write(true)).ok());
    let known = match args.gate.map(wait_at) {
        None | Some(Ok(())) => true,
        Some(Err(_)) => false,
    };
    let (code, reason) = match known {
        true => become_program(args),
        false => (NOT_RUN, "who started it has ended meanwhile".to_owned()),
    };
    let _ = writeln!(io::stderr(), "error: {reason}");
    if let Some(tell) = &mut tell {
        let _ = tell.write_all(reason.as_bytes());
    }
    ExitCode::from(code)
}

/// The same pipe, which the program will not have.
fn pipe(fd: RawFd, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(format!("/proc/self/fd/{fd}"));
    close(fd)?;
    file
}

/// A launcher that is killed before it has written down that this process exists would leave one that nobody knows.
fn wait_at(gate: RawFd) -> io::Result<()> {
    pipe(gate, OpenOptions::new().read(true))?.read_exact(&mut [0])
}

fn become_program(args: &ExecArgs) -> (u8, String) {
    let Some((program, arguments)) = args.command.split_first() else {
        return (NOT_RUN, "there is no program to run".to_owned());
    };
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
    if let Some(user) = &args.user
        && let Err(error) = become_user(user)
    {
        return (NOT_RUN, format!("failed to become user `{user}`: {error}"));
    }
    if !args.outlives {
        // A supervisor that was killed must not leave a process on sockets that
        // nobody holds any more: the next supervisor could not listen. After the
        // change of user, which the kernel takes for a reason to forget it.
        let _ = set_pdeathsig(Signal::SIGTERM);
    }
    if args
        .parent
        .is_some_and(|parent| getppid().as_raw() != parent)
    {
        return (NOT_RUN, "who started it has ended meanwhile".to_owned());
    }

    let pid = std::process::id().to_string();
    let mut command = Command::new(program);
    command.args(arguments).env("LISTEN_PID", &pid);
    if std::env::var_os("WATCHDOG_USEC").is_some() {
        command.env("WATCHDOG_PID", &pid);
    }
    let error = command.exec();
    let program = program.to_string_lossy();
    let code = match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_RUN,
    };
    (code, format!("failed to run `{program}`: {error}"))
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
