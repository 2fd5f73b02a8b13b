//! Who may connect, by the rights of the file, and who may ask what, by what the kernel says of the one who asks.

#![expect(
    clippy::disallowed_methods,
    reason = "the groups of a process are read in /proc"
)]

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Group, Uid, User, chown};
use tokio::net::UnixStream;

use crate::host::Failure;
use crate::host::supervisor::protocol::{Question, Refusal};
use crate::model::Launcher;

/// The rights of the file. Accounts are names, or numbers as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::supervisor) struct Access {
    pub(in crate::host::supervisor) mode: u32,
    pub(in crate::host::supervisor) owner: Option<String>,
    pub(in crate::host::supervisor) group: Option<String>,
}

/// Who may ask anything, besides root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    /// The user of the launcher itself.
    own: u32,
    owner: Option<u32>,
    /// `None` too where its members may not write to the socket.
    group: Option<u32>,
}

/// Who asks, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::supervisor) struct Peer {
    /// 0: outside of what this process can see.
    pub(in crate::host::supervisor) pid: u32,
    pub(in crate::host::supervisor) uid: u32,
    groups: Vec<u32>,
}

impl Access {
    pub(in crate::host::supervisor) fn of(launcher: &Launcher) -> Self {
        let text = |name: &Option<_>| name.as_ref().map(ToString::to_string);
        Self {
            mode: launcher.mode,
            owner: text(&launcher.owner),
            group: text(&launcher.group),
        }
    }

    /// Of directories above the socket that are not there yet.
    pub(super) fn directory_mode(&self) -> u32 {
        match self.mode & 0o077 == 0 && self.owner.is_none() {
            true => 0o700,
            false => 0o755,
        }
    }

    /// Makes the rights of the file so.
    pub(super) fn apply(&self, path: &Path) -> Result<Rights, Failure> {
        let owner = self.owner.as_deref().map(user).transpose()?;
        let group = self.group.as_deref().map(self::group).transpose()?;
        if let (Some(name), Some(uid)) = (&self.owner, owner) {
            chown(path, Some(Uid::from_raw(uid)), None).map_err(|error| {
                refused(error, path, "user", name, "only root gives files away: run the launcher as root, or leave out `owner` under `[launcher]`")
            })?;
        }
        if let (Some(name), Some(gid)) = (&self.group, group) {
            chown(path, None, Some(Gid::from_raw(gid))).map_err(|error| {
                let hint =
                    format!("run the launcher as root, or as a member of the group `{name}`");
                refused(error, path, "group", name, &hint)
            })?;
        }
        fs::set_permissions(path, Permissions::from_mode(self.mode))
            .map_err(|error| Failure::io("change the mode of", path, &error))?;
        Ok(Rights {
            own: Uid::effective().as_raw(),
            owner,
            group: group.filter(|_| self.mode & 0o020 != 0),
        })
    }
}

impl Rights {
    /// Whether `peer` may ask that. Who got in by the mode alone may look, and change nothing.
    pub(super) fn check(&self, peer: &Peer, question: &Question) -> Result<(), Refusal> {
        let looks = matches!(
            question,
            Question::Hello | Question::Units { .. } | Question::Logs { .. }
        );
        if looks || self.trusts(peer) {
            return Ok(());
        }
        Err(Refusal {
            reason: format!("{peer} may look at this launcher, and change nothing"),
            hint: Some(format!(
                "ask as root or as user {}; or set `group` under `[launcher]`, `mode = \"0660\"`, and add the user to \
                 that group",
                self.owner.unwrap_or(self.own)
            )),
            untouched: true,
            output: Vec::new(),
        })
    }

    pub(super) fn trusts(&self, peer: &Peer) -> bool {
        let users = [Some(0), Some(self.own), self.owner];
        users.contains(&Some(peer.uid))
            || self.group.is_some_and(|group| peer.groups.contains(&group))
    }
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
        let (pid, uid) = (credentials.pid().unsigned_abs(), credentials.uid());
        let mut groups = vec![credentials.gid()];
        groups.extend(supplementary_groups(pid, uid));
        Ok(Self { pid, uid, groups })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)?;
        match self.pid {
            0 => Ok(()),
            pid => write!(f, " (process {pid})"),
        }
    }
}

/// None where the process is of another user by now, so that it may have become another program, or another process.
fn supplementary_groups(pid: u32, uid: u32) -> Vec<u32> {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => groups_of(&status, uid),
        Err(_) => Vec::new(),
    }
}

fn groups_of(status: &str, uid: u32) -> Vec<u32> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let numbers = line.split_ascii_whitespace();
        numbers.map(|number| number.parse().ok()).collect()
    };
    // Real, effective, saved, of the file system.
    match numbers("Uid:") {
        Some(uids) if uids == [uid; 4] => numbers("Groups:").unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn user(name: &str) -> Result<u32, Failure> {
    account(name, "user", |name| {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    })
}

fn group(name: &str) -> Result<u32, Failure> {
    account(name, "group", |name| {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    })
}

fn account(
    name: &str,
    kind: &str,
    look_up: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match look_up(name) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(Failure::new(format!(
            "there is no {kind} `{name}`, who is to have the control socket"
        ))
        .hint(format!(
            "see `getent {}`",
            match kind {
                "user" => "passwd",
                _ => "group",
            }
        ))
        .without_effect()),
        Err(error) => Err(Failure::new(format!(
            "failed to look up {kind} `{name}`, who is to have the control socket: {error}"
        ))
        .without_effect()),
    }
}

fn refused(error: Errno, path: &Path, kind: &str, name: &str, permitted: &str) -> Failure {
    let what = format!(
        "failed to give the control socket `{}` to {kind} `{name}`: {}",
        path.display(),
        error.desc()
    );
    let failure = Failure::new(what).without_effect();
    match error {
        Errno::EPERM => failure.hint(permitted),
        _ => failure,
    }
}
