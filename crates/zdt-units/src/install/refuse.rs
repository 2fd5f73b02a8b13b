//! What is not done unless it is asked for in so many words, and the command that does it.

use std::fmt;
use std::path::PathBuf;

use super::seen::Holder;
use crate::model::{Address, Name, UnitName};

/// One reason to touch nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    Masked {
        unit: UnitName,
    },
    /// Someone else's unit has the name.
    Foreign {
        unit: UnitName,
        path: PathBuf,
        runs: bool,
        /// Addresses that its process listens on by itself.
        holds: Vec<Address>,
    },
    /// `daemon-reload` alone closes a socket whose address changed, and says nothing.
    Moves {
        socket: UnitName,
        service: Name,
        /// The `name` of the socket in `zdt.toml`.
        name: Name,
        /// A name that is free for another unit.
        free: String,
        old: Vec<String>,
        new: Vec<String>,
    },
    /// A setting that is fixed when a socket is bound.
    Rebinds {
        socket: UnitName,
        keys: Vec<String>,
    },
    /// An open socket is no longer wanted.
    Closes {
        socket: UnitName,
    },
    /// Someone listens there.
    Taken {
        socket: UnitName,
        holder: Holder,
    },
    /// `--take-over UNIT` names nothing.
    NoSuchUnit {
        unit: UnitName,
    },
    /// `--take-over UNIT`, and several services that it could be.
    Unclear {
        unit: UnitName,
        services: Vec<Name>,
    },
}

impl Refusal {
    /// The exact command, and what it does where that is not plain.
    pub fn hint(&self) -> String {
        match self {
            Self::Masked { unit } => format!("allow it again with `systemctl unmask {unit}`"),
            Self::Foreign {
                unit, runs, holds, ..
            } => {
                let kept = "its file is kept, and `zdt-units uninstall` puts it back";
                match (runs, holds.is_empty()) {
                    (true, false) => format!(
                        "`zdt-units install --take-over {unit}` replaces it; {kept}. Clients are \
                         refused once, from the moment when the old process stops listening until \
                         systemd listens; the time is measured and told"
                    ),
                    _ => format!("`zdt-units install --take-over {unit}` replaces it; {kept}"),
                }
            }
            Self::Moves {
                service,
                name,
                free,
                old,
                new,
                ..
            } => {
                let added: Vec<&String> = new.iter().filter(|new| !old.contains(new)).collect();
                let listen = match added.as_slice() {
                    [one] => format!("\"{one}\""),
                    _ => format!("{added:?}"),
                };
                let table = format!(
                    "    [[service.{service}.socket]]\n    name = \"{name}\"\n    unit = \"{free}\"\n    \
                     listen = {listen}\n"
                );
                match added.is_empty() {
                    true => "to close what is no longer wanted: `zdt-units install --allow-gap`, \
                             which closes the whole socket and opens the rest anew"
                        .to_owned(),
                    false => format!(
                        "without a gap: leave this socket as it was, and add one of the same name\n\n{table}\n\
                         then `zdt-units install --restart`. When nobody uses the old address any \
                         more, remove the old socket: `zdt-units install --allow-gap`.\n\
                         With a gap, at once: `zdt-units install --allow-gap`"
                    ),
                }
            }
            Self::Rebinds { .. } => {
                "`zdt-units install --allow-gap` closes the socket and opens it anew; clients are \
                 refused meanwhile, and the time is measured and told"
                    .to_owned()
            }
            Self::Closes { .. } => {
                "`zdt-units install --allow-gap` closes it; clients that still connect there are \
                 refused from then on"
                    .to_owned()
            }
            Self::Taken { holder, .. } => match (&holder.unit, holder.pid) {
                (Some(unit), _) if unit.as_str().ends_with(".service") => format!(
                    "if it is the service that is to be replaced: `zdt-units install --take-over \
                     {unit}`. Otherwise choose another address, or stop it with `systemctl stop {unit}`"
                ),
                (Some(unit), _) => {
                    format!("choose another address, or stop it with `systemctl stop {unit}`")
                }
                (None, Some(pid)) => {
                    format!("choose another address, or end process {pid} yourself")
                }
                (None, None) => {
                    "see who it is with `ss --listening --processes` as root".to_owned()
                }
            },
            Self::NoSuchUnit { unit } => format!("see `systemctl list-units {unit}`"),
            Self::Unclear { services, .. } => {
                let services: Vec<_> = services.iter().map(Name::as_str).collect();
                format!(
                    "start it, so that it is seen where it listens, or leave only one of {} in the file",
                    crate::config::list(&services)
                )
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked { unit } => write!(f, "`{unit}` is masked"),
            Self::Foreign {
                unit,
                path,
                runs,
                holds,
            } => {
                write!(f, "`{}` was not written by zdt-units", path.display())?;
                let holds: Vec<String> = holds.iter().map(Address::to_string).collect();
                let holds: Vec<&str> = holds.iter().map(String::as_str).collect();
                match (runs, holds.is_empty()) {
                    (true, false) => write!(
                        f,
                        "; `{unit}` runs and listens on {} by itself",
                        crate::config::list(&holds)
                    ),
                    (true, true) => write!(f, "; `{unit}` runs"),
                    _ => Ok(()),
                }
            }
            Self::Moves {
                socket, old, new, ..
            } => write!(
                f,
                "`{socket}` listens on {} and is to listen on {}: that closes it",
                old.join(", "),
                new.join(", ")
            ),
            Self::Rebinds { socket, keys } => {
                let keys: Vec<_> = keys.iter().map(String::as_str).collect();
                let keys = crate::config::list(&keys);
                write!(f, "{keys} cannot change while `{socket}` is open")
            }
            Self::Closes { socket } => {
                write!(f, "`{socket}` is open and no longer wanted: that closes it")
            }
            Self::Taken { socket, holder } => {
                write!(f, "`{socket}` cannot listen on `{}`: ", holder.address)?;
                match (&holder.program, holder.pid, &holder.unit) {
                    (_, _, Some(unit)) if unit.as_str().ends_with(".socket") => {
                        write!(f, "`{unit}` does")
                    }
                    (Some(program), Some(pid), Some(unit)) => {
                        write!(f, "process {pid} (`{program}`) of `{unit}` does")
                    }
                    (Some(program), Some(pid), None) => {
                        write!(f, "process {pid} (`{program}`) does")
                    }
                    (_, Some(pid), _) => write!(f, "process {pid} does"),
                    _ => f.write_str("another process does"),
                }
            }
            Self::NoSuchUnit { unit } => write!(f, "there is no unit `{unit}` to take over"),
            Self::Unclear { unit, .. } => {
                write!(f, "it is not clear which service takes over `{unit}`")
            }
        }
    }
}
