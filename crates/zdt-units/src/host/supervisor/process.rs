//! One process of a unit, with all that it started: signalled, waited for, taken up again by another program.
//!
//! The first process of a group is collected last, when this is dropped: until then the kernel gives its number, which
//! is that of the group too, to nobody else.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid};
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::event::Exit;
use super::gate::{Gate, Program};
use super::pidfd::{Pidfd, Stat, Status};
use super::reap::{Claim, children};

/// A process that was started by [`Start`](super::start::Start), or taken up by its mark.
///
/// Killed with its group when dropped, unless it outlives the launcher.
#[derive(Debug)]
pub struct Process {
    main: Pidfd,
    /// The first process, where another one is the main one now.
    first: Option<Pidfd>,
    group: Pid,
    invocation: String,
    pub(super) cgroup: Option<Cgroup>,
    /// The directory of its secrets.
    pub(super) credentials: Option<PathBuf>,
    pub(super) outlives: bool,
    /// Where its helper waited, or waits: for the end of the process before it, and until somebody has written down
    /// that a process exists which is to outlive its launcher.
    gate: Option<Gate>,
    _claims: Vec<Claim>,
}

/// What another program needs to go on with a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: with the number it means one process and no other.
    pub start_time: u64,
    pub group: i32,
    /// Of the first process of the group, if that is another one.
    #[serde(default)]
    pub first_start_time: Option<u64>,
    /// `INVOCATION_ID`, by which what it started is known.
    pub invocation: String,
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
    #[serde(default)]
    pub credentials: Option<PathBuf>,
}

impl Process {
    /// Of a helper that leads a group of its own, waits at `gate` and was not collected.
    pub(super) fn waiting(child: Pid, invocation: &str, gate: Gate) -> io::Result<Self> {
        Ok(Self {
            main: Pidfd::open(child)?,
            first: None,
            group: child,
            invocation: invocation.to_owned(),
            cgroup: None,
            credentials: None,
            outlives: false,
            gate: Some(gate),
            _claims: vec![Claim::new(child)],
        })
    }

    /// Goes on with a process, a child of this one or not; one that is no child ends as [`Exit::Unknown`].
    ///
    /// Fails with [`ErrorKind::NotFound`] if there is no such process any more.
    pub fn resume(mark: Mark) -> io::Result<Self> {
        let (pid, group) = (Pid::from_raw(mark.pid), Pid::from_raw(mark.group));
        let main = Pidfd::open_same(pid, mark.start_time).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => ErrorKind::NotFound.into(),
                _ => error,
            }
        })?;
        let first = match mark.first_start_time {
            Some(start_time) if group != pid => Pidfd::open_same(group, start_time).ok(),
            _ => None,
        };
        let claims = std::iter::once(pid).chain(first.as_ref().map(|first| first.pid));
        Ok(Self {
            _claims: claims.map(Claim::new).collect(),
            first,
            group,
            invocation: mark.invocation,
            cgroup: mark.cgroup.and_then(|path| Cgroup::of(pid, &path)),
            credentials: mark.credentials,
            outlives: true,
            gate: None,
            main,
        })
    }

    pub fn mark(&self) -> Mark {
        Mark {
            pid: self.main.pid.as_raw(),
            start_time: self.main.start_time,
            group: self.group.as_raw(),
            first_start_time: self.first.as_ref().map(|first| first.start_time),
            invocation: self.invocation.clone(),
            cgroup: self.cgroup.as_ref().map(|group| group.path().to_owned()),
            credentials: self.credentials.clone(),
        }
    }

    /// What it becomes when it is let go; `shared` are its descriptors from 3 on.
    pub(super) fn hold(&mut self, program: &Program, shared: Vec<OwnedFd>) -> io::Result<()> {
        match &mut self.gate {
            Some(gate) => gate.hold(program, shared),
            None => Err(ErrorKind::InvalidInput.into()),
        }
    }

    /// Returns when its helper waits, or has ended. Cancel-safe.
    pub(super) async fn waits(&self) {
        if let Some(gate) = &self.gate {
            gate.waits().await;
        }
    }

    /// It becomes its program now.
    pub(super) fn let_go(&mut self) {
        if let Some(gate) = self.gate.as_mut().filter(|gate| !gate.is_open()) {
            gate.open();
        }
    }

    /// Also of a helper that waits.
    pub fn has_ended(&self) -> bool {
        self.main.has_ended()
    }

    pub fn invocation(&self) -> &str {
        &self.invocation
    }

    pub fn main(&self) -> u32 {
        self.main.pid.as_raw().unsigned_abs()
    }

    pub fn group(&self) -> Pid {
        self.group
    }

    /// Takes `pid` for the main process, if it is one of this unit.
    pub fn set_main(&mut self, pid: u32) -> bool {
        let Ok(pid) = i32::try_from(pid).map(Pid::from_raw) else {
            return false;
        };
        let Ok(main) = Pidfd::open(pid) else {
            return false;
        };
        let of_cgroup = || self.cgroup.as_ref().is_some_and(|it| it.contains(pid));
        let known = getpgid(Some(pid)) == Ok(self.group) || of_cgroup();
        if known {
            self._claims.push(Claim::new(pid));
            let before = std::mem::replace(&mut self.main, main);
            if before.pid == self.group {
                self.first = Some(before);
            }
        }
        known
    }

    /// To the main process. One that has ended meanwhile is reported by [`exited`](Self::exited).
    pub fn signal(&self, signal: Signal) {
        let _ = self.main.signal(signal);
    }

    /// The main process, and all that belongs to it.
    pub fn kill(&self) {
        let _ = self.main.signal(Signal::SIGKILL);
        self.kill_all();
    }

    /// After the end of the main process; whether there was anything to kill.
    pub fn kill_group(&self) -> bool {
        let others = self.has_left_others();
        self.kill_all();
        others
    }

    /// Clients wait for the next process meanwhile, so all of `/proc` is looked through only where nothing else tells.
    fn has_left_others(&self) -> bool {
        // It may be empty because the process could not enter it.
        if self.cgroup.as_ref().is_some_and(Cgroup::is_populated) {
            return true;
        }
        if !self.holds_group() {
            return !self.members().is_empty();
        }
        // Those whose parent has ended are children of this process now.
        let mut stats = children().into_iter().filter_map(|pid| Stat::of(pid).ok());
        stats.any(|stat| stat.group == self.group && !stat.has_ended())
    }

    /// Waits for the end of the main process. Cancel-safe.
    pub async fn exited(&mut self) -> Exit {
        self.main.ended().await;
        match self.main.status() {
            Status::Ended(exit) => exit,
            Status::Running | Status::NoChild => Exit::Unknown,
        }
    }

    /// After its end: why the program was never run, in the words of the helper that was to become it.
    pub fn not_run(&self) -> Option<String> {
        self.gate.as_ref()?.reason()
    }

    fn kill_all(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        if self.holds_group() {
            let _ = killpg(self.group, Signal::SIGKILL);
            return;
        }
        for member in self.members() {
            let _ = member.signal(Signal::SIGKILL);
        }
    }

    /// Whether the number of the group can only mean this one: its first process runs, or was not collected.
    fn holds_group(&self) -> bool {
        let first = match self.main.pid == self.group {
            true => Some(&self.main),
            false => self.first.as_ref(),
        };
        first.is_some_and(|first| match first.status() {
            Status::Running | Status::Ended(_) => true,
            Status::NoChild => !first.has_ended(),
        })
    }

    /// Those of the group that run.
    fn members(&self) -> Vec<Pidfd> {
        let held = self.holds_group();
        let is_member = |stat: &Stat| stat.group == self.group && !stat.has_ended();
        let candidates = Stat::all().filter(|(_, stat)| is_member(stat));
        candidates
            .filter_map(|(pid, stat)| Pidfd::open_same(pid, stat.start_time).ok())
            .filter(|member| held || self.invoked(member.pid))
            .collect()
    }

    /// Whether `pid` was started, by whatever way, with the id of this start.
    fn invoked(&self, pid: Pid) -> bool {
        let wanted = format!("INVOCATION_ID={}", self.invocation);
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == wanted.as_bytes())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.main.has_ended();
        let waits = self.gate.as_ref().is_some_and(|gate| !gate.is_open());
        if !ended && (waits || !self.outlives) {
            self.kill();
        }
        if let Some(directory) = self.credentials.take_if(|_| ended || !self.outlives) {
            let _ = fs::remove_dir_all(directory);
        }
        for process in self.first.iter().chain([&self.main]) {
            process.collect();
        }
    }
}

/// Collects what is left of killed groups, whose orphans are our children.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Vec<Pid>);

impl Leftovers {
    /// `group` is no other one's yet: its process was not dropped.
    pub(super) fn add(&mut self, group: Pid) {
        self.0.push(group);
        self.collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn collect(&mut self) {
        self.0.retain(|group| collect(*group));
    }
}

/// Collects those of a group that have ended and are our children; whether any are left.
fn collect(group: Pid) -> bool {
    let of_group = Pid::from_raw(-group.as_raw());
    loop {
        match waitpid(of_group, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            // A signal without a name.
            Ok(_) | Err(Errno::EINVAL) => {}
            Err(_) => return false,
        }
    }
}
