//! Where the things of a launcher are: what follows from the path of its `zdt.toml` and from who runs it.

#![expect(
    clippy::disallowed_methods,
    reason = "hosts read the environment at their edge"
)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::Failure;
use crate::model;

/// A longer id is cut, so that a path in it fits into the address of a socket.
const LONGEST: usize = 60;
/// What is left of it.
const KEPT: usize = 40;

/// The directories of one launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What a person calls it, such as `srv-shop-zdt`.
    pub id: String,
    /// What does not outlive a reboot: sockets and locks.
    pub runtime: PathBuf,
    /// What does: `launcher.json`, the records of operations and what the breaker remembers.
    pub state: PathBuf,
    /// Where commands reach it.
    pub control: PathBuf,
}

/// Whose directories they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    runtime: PathBuf,
    state: PathBuf,
}

impl Whose {
    /// Those of the user of this process, by its environment.
    pub fn here() -> Self {
        let uid = geteuid();
        let home = || Some(User::from_uid(uid).ok()??.dir);
        Self::of(uid.as_raw(), |name| std::env::var_os(name), home)
    }

    fn of(
        uid: u32,
        variable: impl Fn(&str) -> Option<OsString>,
        home: impl Fn() -> Option<PathBuf>,
    ) -> Self {
        if uid == 0 {
            return Self {
                runtime: PathBuf::from("/run/zdt"),
                state: PathBuf::from("/var/lib/zdt"),
            };
        }
        // A relative path means another place for everybody who asks.
        let directory = |name| {
            let path = PathBuf::from(variable(name)?);
            path.is_absolute().then_some(path)
        };
        let own = || PathBuf::from(format!("/tmp/zdt-{uid}"));
        let below_home = || Some(directory("HOME").or_else(&home)?.join(".local/state"));
        let runtime = directory("XDG_RUNTIME_DIR").map(|directory| directory.join("zdt"));
        let state = directory("XDG_STATE_HOME").or_else(below_home);
        Self {
            runtime: runtime.unwrap_or_else(own),
            state: state.map_or_else(|| own().join("state"), |directory| directory.join("zdt")),
        }
    }
}

impl Place {
    /// Of the launcher that runs the services of `config`, an absolute path.
    pub fn of(config: &Path, launcher: &model::Launcher, whose: &Whose) -> Self {
        let mut place = Self::named(id(config), whose);
        if let Some(control) = &launcher.control {
            place.control = PathBuf::from(control.as_str());
        }
        if let Some(state) = &launcher.state {
            place.state = PathBuf::from(state.as_str());
        }
        place
    }

    /// Of a launcher without a `zdt.toml`, by its number as a process.
    pub fn of_process(pid: u32, whose: &Whose) -> Self {
        Self::named(format!("run-{pid}"), whose)
    }

    fn named(id: String, whose: &Whose) -> Self {
        let runtime = whose.runtime.join("launcher").join(&id);
        Self {
            control: runtime.join("control.sock"),
            state: whose.state.join("launcher").join(&id),
            runtime,
            id,
        }
    }

    /// Where processes say that they are ready.
    pub fn notify(&self) -> PathBuf {
        self.runtime.join("notify")
    }

    /// Where events are written.
    pub fn log(&self) -> PathBuf {
        log(&self.state)
    }

    /// What the launcher itself says, where it runs in the background.
    pub fn speech(&self) -> PathBuf {
        self.state.join("launcher.log")
    }

    /// Makes its directories, for nobody else.
    pub fn make(&self) -> Result<(), Failure> {
        for directory in [&self.runtime, &self.state] {
            private(directory)?;
        }
        Ok(())
    }
}

/// Where the launcher whose state is there writes events.
pub fn log(state: &Path) -> PathBuf {
    state.join("log")
}

/// Where those who change its services keep each other away. Not in a directory that is another one for each user who
/// may ask.
pub fn locks(state: &Path) -> PathBuf {
    state.join("locks")
}

/// The path of a `zdt.toml` as its launcher is known by it: absolute, and with its links, because `current` leads
/// somewhere else after a deployment.
pub fn known_as(config: &Path) -> io::Result<PathBuf> {
    std::path::absolute(config)
}

/// A directory of this user alone. Those above it have things of others too, such as the records of restarts.
fn private(directory: &Path) -> Result<(), Failure> {
    let above = directory.parent().unwrap_or(Path::new("/"));
    let make = |path: &Path, mode| {
        let made = DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|error| Failure::io("make the directory", path, &error))
    };
    make(above, 0o755)?;
    make(directory, 0o700)?;
    is_ours(directory)?;
    // Anybody may have made a directory in `/tmp`.
    let mut above = directory.ancestors();
    match above.find(|path| path.parent() == Some(Path::new("/tmp"))) {
        Some(first) => is_ours(first),
        None => Ok(()),
    }
}

/// Refuses a directory of another user, or one that others may write to. What is not there is nobody's.
pub fn is_ours(directory: &Path) -> Result<(), Failure> {
    let found = match fs::symlink_metadata(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::io("look at", directory, &error)),
    };
    let shown = directory.display();
    let wrong = |what: String| Err(Failure::new(what).without_effect());
    if found.uid() != geteuid().as_raw() {
        return wrong(format!("`{shown}` belongs to another user")).map_err(|failure| {
            failure.hint(format!(
                "see who made it with `ls -ld {shown}`, and remove it"
            ))
        });
    }
    if !found.is_dir() || found.mode() & 0o022 != 0 {
        return wrong(format!(
            "`{shown}` is not a directory that only its user writes to"
        ))
        .map_err(|failure| failure.hint(format!("`chmod 0700 {shown}`, or remove it")));
    }
    Ok(())
}

/// `srv-shop-zdt` for `/srv/shop/zdt.toml`. Where another path would be called the same, or where it is long, with eight
/// digits that it shares with no other.
fn id(config: &Path) -> String {
    let whole = config.as_os_str().as_encoded_bytes();
    let path = whole.strip_prefix(b"/").unwrap_or(whole);
    let (path, mut is_own) = match path.strip_suffix(b".toml") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let mut id = String::new();
    for &byte in path {
        let fits = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        is_own &= fits || byte == b'/';
        id.push(if fits { char::from(byte) } else { '-' });
    }
    if id.len() > LONGEST {
        id.drain(..id.len() - KEPT);
        is_own = false;
    }
    match is_own {
        true => id,
        false => {
            let digest: String = Sha256::digest(whole)[..4]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("{id}-{digest}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn id_of(path: &str) -> String {
        id(Path::new(path))
    }

    #[test]
    fn an_id_can_be_read_and_is_shared_by_no_two_paths() {
        assert_eq!(id_of("/srv/shop/zdt.toml"), "srv-shop-zdt");
        assert_eq!(id_of("/srv/shop_2/a.b.toml"), "srv-shop_2-a.b");
        assert_eq!(id_of("/srv-shop/zdt.toml"), "srv-shop-zdt-7e7a0d32");
        assert_eq!(id_of("/srv/shop/zdt"), "srv-shop-zdt-2c8bb6c1");
        assert_eq!(id_of("/srv/ä/zdt.toml"), "srv----zdt-38a21cc9");
        let fits = format!("/{}/zdt.toml", "a".repeat(56));
        assert_eq!(id_of(&fits), format!("{}-zdt", "a".repeat(56)));
        let long = format!("/{}/zdt.toml", "a".repeat(57));
        assert_eq!(id_of(&long), format!("{}-zdt-f242e398", "a".repeat(36)));
    }

    #[test]
    fn the_places_follow_from_who_runs_it() {
        let of = |uid, set: &[(&str, &str)], home: Option<&str>| {
            let variable = |name: &str| {
                let found = set.iter().find(|(set, _)| *set == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let whose = Whose::of(uid, variable, || home.map(PathBuf::from));
            let launcher = model::Launcher::default();
            let place = Place::of(Path::new("/srv/shop/zdt.toml"), &launcher, &whose);
            let shown = |path: PathBuf| path.display().to_string();
            [shown(place.control), shown(place.state)]
        };
        let names = |runtime: &str, state: &str| {
            let id = "launcher/srv-shop-zdt";
            [
                format!("{runtime}/{id}/control.sock"),
                format!("{state}/{id}"),
            ]
        };
        let set = [("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/home/anna")];
        assert_eq!(of(0, &set, None), names("/run/zdt", "/var/lib/zdt"));
        let anna = "/home/anna/.local/state/zdt";
        assert_eq!(of(7, &set, None), names("/run/user/7/zdt", anna));
        assert_eq!(of(7, &[], Some("/home/anna")), names("/tmp/zdt-7", anna));
        assert_eq!(of(7, &[], None), names("/tmp/zdt-7", "/tmp/zdt-7/state"));
        let set = [("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "/s")];
        assert_eq!(of(7, &set, None), names("/tmp/zdt-7", "/s/zdt"));
    }

    #[test]
    fn what_the_file_says_comes_first() {
        let path = |path: &str| Some(model::AbsolutePath::parse(path).unwrap());
        let launcher = model::Launcher {
            control: path("/srv/shop/sock"),
            state: path("/srv/shop/state"),
            ..model::Launcher::default()
        };
        let whose = Whose::of(0, |_| None, || None);
        let place = Place::of(Path::new("/srv/shop/zdt.toml"), &launcher, &whose);
        assert_eq!(place.control, Path::new("/srv/shop/sock"));
        assert_eq!(place.log(), Path::new("/srv/shop/state/log"));
        assert_eq!(
            place.notify(),
            Path::new("/run/zdt/launcher/srv-shop-zdt/notify")
        );
    }

    #[test]
    fn its_directories_are_nobody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let whose = Whose {
            runtime: directory.path().join("run"),
            state: directory.path().join("state"),
        };
        let place = Place::of_process(7, &whose);
        place.make().unwrap();
        let mode = fs::metadata(&place.runtime).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700);
        place.make().unwrap();
        fs::set_permissions(&place.runtime, fs::Permissions::from_mode(0o777)).unwrap();
        let failure = place.make().unwrap_err();
        assert!(
            failure.reason.contains("only its user writes to"),
            "{failure}"
        );
    }
}
