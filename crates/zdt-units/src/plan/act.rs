//! What an installation does besides starting and restarting: files, links, and open sockets.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::list;
use crate::model::{Address, UnitName};

/// The closed set of such things; a step of a plan like any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Act {
    /// All files are written and synced beside their places before the first one is put there.
    Write {
        files: Vec<File>,
        links: Vec<Link>,
    },
    /// Moves a file back that was kept when it was overwritten.
    PutBack {
        file: PathBuf,
        aside: PathBuf,
    },
    /// Files and links; what is not there is no failure.
    Remove {
        paths: Vec<PathBuf>,
    },
    Reload,
    /// Settings that systemd sets when it opens a socket, set on the open one.
    SetOnSocket {
        socket: UnitName,
        addresses: Vec<Address>,
        options: Vec<SocketOption>,
    },
    Open {
        socket: UnitName,
    },
    /// Closes the socket and opens it anew, with its service stopped meanwhile.
    Reopen {
        socket: UnitName,
    },
    /// Asked for together, so that traffic on one does not start what another one stops.
    Stop {
        units: Vec<UnitName>,
    },
}

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub path: PathBuf,
    pub text: String,
    /// Where the file that is there is kept.
    pub keep: Option<PathBuf>,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub path: PathBuf,
    pub target: PathBuf,
}

/// A setting of a listening socket or of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketOption {
    Backlog(u32),
    NoDelay(bool),
    /// Seconds; 0 is off.
    DeferAccept(u32),
    Mode(u32),
    User(String),
    Group(String),
}

impl Act {
    /// Its name in events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write_files",
            Self::PutBack { .. } => "put_back",
            Self::Remove { .. } => "remove_files",
            Self::Reload => "reload_manager",
            Self::SetOnSocket { .. } => "set_on_socket",
            Self::Open { .. } => "open_socket",
            Self::Reopen { .. } => "reopen_socket",
            Self::Stop { .. } => "stop_units",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { files, links } => {
                let mut parts: Vec<String> = files
                    .iter()
                    .filter_map(|file| {
                        let keep = file_name(file.keep.as_ref()?);
                        Some(format!("keep `{}` as `{keep}`", file_name(&file.path)))
                    })
                    .collect();
                let written: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
                parts.extend(by_directory("write", &written));
                if !links.is_empty() {
                    let units: Vec<String> =
                        links.iter().map(|link| file_name(&link.path)).collect();
                    parts.push(format!("enable {}", names(&units)));
                }
                f.write_str(&parts.join(", "))
            }
            Self::PutBack { file, aside } => {
                let (aside, file) = (file_name(aside), file.display());
                write!(f, "put `{aside}` back as `{file}`")
            }
            Self::Remove { paths } => {
                let is_link = |path: &&Path| {
                    let directory = path.parent().and_then(Path::extension);
                    directory.is_some_and(|kind| kind == "wants" || kind == "requires")
                };
                let (links, files): (Vec<&Path>, Vec<&Path>) =
                    paths.iter().map(PathBuf::as_path).partition(is_link);
                let mut parts = Vec::new();
                if !links.is_empty() {
                    let units: Vec<String> = links.iter().map(|link| file_name(link)).collect();
                    parts.push(format!("disable {}", names(&units)));
                }
                parts.extend(by_directory("remove", &files));
                f.write_str(&parts.join(", "))
            }
            Self::Reload => f.write_str("let systemd read the units again"),
            Self::SetOnSocket {
                socket, options, ..
            } => {
                let options: Vec<String> = options.iter().map(SocketOption::to_string).collect();
                write!(f, "set {} on the open `{socket}`", options.join(", "))
            }
            Self::Open { socket } => write!(f, "open `{socket}`"),
            Self::Reopen { socket } => write!(f, "close `{socket}` and open it anew"),
            Self::Stop { units } => {
                let units: Vec<String> = units.iter().map(UnitName::to_string).collect();
                write!(f, "stop {}", names(&units))
            }
        }
    }
}

impl fmt::Display for SocketOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backlog(length) => write!(f, "Backlog={length}"),
            Self::NoDelay(true) => f.write_str("NoDelay=yes"),
            Self::NoDelay(false) => f.write_str("NoDelay=no"),
            Self::DeferAccept(seconds) => write!(f, "DeferAcceptSec={seconds}"),
            Self::Mode(mode) => write!(f, "SocketMode={mode:04o}"),
            Self::User(user) => write!(f, "SocketUser={user}"),
            Self::Group(group) => write!(f, "SocketGroup={group}"),
        }
    }
}

/// `write a and b in /x`, for each directory.
fn by_directory(verb: &str, paths: &[&Path]) -> Vec<String> {
    let mut directories: Vec<&Path> = Vec::new();
    for directory in paths.iter().filter_map(|path| path.parent()) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories
        .iter()
        .map(|directory| {
            let inside = paths.iter().filter(|path| path.parent() == Some(directory));
            let files: Vec<String> = inside.map(|path| file_name(path)).collect();
            format!("{verb} {} in `{}`", names(&files), directory.display())
        })
        .collect()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn names(names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    list(&names)
}
