//! Whether this host can boot a machine.
#![expect(clippy::disallowed_methods, reason = "reads /proc and tries `unshare`")]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Root,
    /// A program, and the package it comes from.
    Program {
        name: &'static str,
        package: &'static str,
    },
    /// A file that `.ci/run` makes.
    File(&'static str),
    /// A file system that this kernel does not have.
    FileSystem(&'static str),
    /// The root that was to be booted has no systemd.
    Systemd(PathBuf),
    /// Root, but without the right to make namespaces: a container.
    Namespaces,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("needs root"),
            Self::Program { name, package } => {
                write!(f, "needs `{name}`, get it with `apt install {package}`")
            }
            Self::File(name) => write!(f, "needs `{name}`, which `.ci/run` makes"),
            Self::FileSystem(name) => write!(
                f,
                "needs the file system `{name}`, get it with `modprobe {name}` or another kernel"
            ),
            Self::Systemd(root) => write!(
                f,
                "needs systemd in `{}`, get it with `apt install systemd`",
                root.display()
            ),
            Self::Namespaces => f.write_str(
                "needs the right to make namespaces, in a container give it with `--privileged`",
            ),
        }
    }
}

pub(super) fn check(root: &Path) -> Result<(), Reason> {
    if !geteuid().is_root() {
        return Err(Reason::Root);
    }
    for (name, package) in [
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("pivot_root", "util-linux"),
        ("ip", "iproute2"),
    ] {
        if !installed(name) {
            return Err(Reason::Program { name, package });
        }
    }
    if !root.join("usr/lib/systemd/systemd").exists() && !root.join("lib/systemd/systemd").exists()
    {
        return Err(Reason::Systemd(root.to_owned()));
    }
    if !may_unshare() {
        return Err(Reason::Namespaces);
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for name in ["overlay", "cgroup2"] {
        // A module that is not loaded yet is not listed; mounting loads it.
        if !known.lines().any(|line| line.ends_with(name)) && !loadable(name) {
            return Err(Reason::FileSystem(name));
        }
    }
    Ok(())
}

fn installed(program: &str) -> bool {
    super::PATH
        .split(':')
        .any(|directory| Path::new(directory).join(program).exists())
}

fn may_unshare() -> bool {
    quiet(Command::new("unshare").args(["--mount", "--pid", "--net", "--fork", "true"]))
}

fn loadable(module: &str) -> bool {
    quiet(Command::new("modprobe").args(["--dry-run", module]))
}

fn quiet(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
