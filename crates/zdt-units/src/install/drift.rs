//! Where the machine is not what the file says, or where someone else has a say.

use std::fmt;
use std::path::PathBuf;

use super::seen::{FileSeen, Loaded, Place, UnitSeen};
use super::text::{UnitText, canonical};
use crate::model::{Name, Reach, UnitName};
use crate::observe::{Active, Load};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drift {
    Masked {
        unit: UnitName,
    },
    /// systemd reads another file than ours.
    ReadElsewhere {
        unit: UnitName,
        path: PathBuf,
    },
    /// Another file of this name, which ours hides.
    Hidden {
        unit: UnitName,
        path: PathBuf,
    },
    /// A drop-in, and what it changes of ours. That is what drop-ins are for.
    DropIn {
        unit: UnitName,
        path: PathBuf,
        overrides: Vec<String>,
    },
    NeedsReload {
        unit: UnitName,
    },
    NotEnabled {
        unit: UnitName,
    },
    /// systemd goes by another value than its files have.
    LoadedValue {
        unit: UnitName,
        key: String,
        file: String,
        loaded: String,
    },
    /// Active, and connections are refused all the same.
    Closed {
        socket: UnitName,
        refused: Vec<Reach>,
    },
    /// It runs since before a change that counts only for a new process.
    Outdated {
        unit: UnitName,
    },
    /// There is nothing to start yet.
    Undeployed {
        service: Name,
    },
    /// A unit of ours, of a service that this file does not have.
    Orphan {
        unit: UnitName,
        service: String,
    },
}

impl Drift {
    /// Whether the machine is not as the file says. The others are worth knowing.
    pub fn is_wrong(&self) -> bool {
        !matches!(
            self,
            Self::Hidden { .. }
                | Self::DropIn { .. }
                | Self::Orphan { .. }
                | Self::Undeployed { .. }
        )
    }
}

/// What is odd about a unit whose file is to be `wanted`.
pub(super) fn of(seen: &UnitSeen, wanted: &UnitText, place: &Place) -> Vec<Drift> {
    let unit = || seen.unit.clone();
    let mut found = Vec::new();
    let masked = |load: Option<&Load>| load == Some(&Load::Masked);
    if seen.file == Some(FileSeen::Mask) || masked(seen.state().map(|state| &state.load)) {
        found.push(Drift::Masked { unit: unit() });
    }
    if let (Some(loaded), true) = (&seen.loaded, seen.is_ours()) {
        let own = place.managed(seen.unit.as_str());
        if loaded.state.load == Load::Loaded && loaded.fragment != own {
            found.push(Drift::ReadElsewhere {
                unit: unit(),
                path: loaded.fragment.clone(),
            });
        }
    }
    found.extend(hidden(seen).map(|path| Drift::Hidden {
        unit: unit(),
        path: path.clone(),
    }));
    found.extend(seen.drop_ins.iter().map(|drop_in| Drift::DropIn {
        unit: unit(),
        path: drop_in.path.clone(),
        overrides: overrides(wanted, &UnitText::read(&drop_in.text)),
    }));
    let linked = |target: &String| seen.links.contains(&format!("{target}/{}", seen.unit));
    if seen.is_ours() && !wanted.wanted_in().iter().all(linked) {
        found.push(Drift::NotEnabled { unit: unit() });
    }
    let Some(loaded) = &seen.loaded else {
        return found;
    };
    if loaded.state.needs_reload {
        found.push(Drift::NeedsReload { unit: unit() });
    } else if let Some(text) = seen.text().filter(|_| seen.is_ours()) {
        let file = seen.effective(text);
        found.extend(loaded_values(seen, &file));
    }
    if is_closed(seen, wanted) {
        found.push(Drift::Closed {
            socket: unit(),
            refused: loaded.state.refused.clone(),
        });
    }
    if seen.is_outdated() {
        found.push(Drift::Outdated { unit: unit() });
    }
    found
}

/// Active, where it is wanted, and refusing connections all the same.
pub(super) fn is_closed(seen: &UnitSeen, wanted: &UnitText) -> bool {
    let there = |loaded: &&Loaded| {
        let listen = wanted.values("Socket", "ListenStream");
        loaded
            .values
            .get("ListenStream")
            .is_some_and(|own| *own == listen)
    };
    seen.loaded.as_ref().filter(there).is_some_and(|loaded| {
        loaded.state.active == Active::Active && !loaded.state.refused.is_empty()
    })
}

/// Files that are not read, because ours is there.
fn hidden(seen: &UnitSeen) -> impl Iterator<Item = &PathBuf> {
    let read = seen.loaded.as_ref().map(|loaded| &loaded.fragment);
    let copies = seen.copies.iter().filter(|_| seen.is_ours());
    copies
        .map(|copy| &copy.path)
        .filter(move |path| Some(*path) != read)
}

fn overrides(ours: &UnitText, drop_in: &UnitText) -> Vec<String> {
    let ours = ours.keys();
    let theirs = drop_in.keys().into_iter().filter(|key| ours.contains(key));
    theirs.map(|(_, key)| key.to_owned()).collect()
}

fn loaded_values<'a>(
    seen: &'a UnitSeen,
    file: &'a UnitText,
) -> impl Iterator<Item = Drift> + use<'a> {
    let loaded = seen.loaded.iter().flat_map(|loaded| &loaded.values);
    loaded.filter_map(move |(key, loaded)| {
        let section = ["Unit", "Service", "Socket"]
            .into_iter()
            .find(|section| !file.values(section, key).is_empty())?;
        let mut values: Vec<String> = file
            .values(section, key)
            .iter()
            .map(|value| canonical(key, value))
            .collect();
        if key != "ListenStream" {
            // Of these the last one counts.
            values.drain(..values.len() - 1);
        }
        (values != *loaded).then(|| Drift::LoadedValue {
            unit: seen.unit.clone(),
            key: key.clone(),
            file: spelled(key, &values),
            loaded: spelled(key, loaded),
        })
    })
}

/// For people: spans as they are written.
fn spelled(key: &str, values: &[String]) -> String {
    let spelled = values.iter().map(|value| match value.parse() {
        Ok(u64::MAX) if key.ends_with("Sec") => "infinity".to_owned(),
        Ok(micros) if key.ends_with("Sec") => {
            crate::model::span(std::time::Duration::from_micros(micros))
        }
        _ => value.clone(),
    });
    spelled.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked { unit } => write!(f, "`{unit}` is masked"),
            Self::ReadElsewhere { unit, path } => write!(
                f,
                "systemd reads `{unit}` from `{}`, which comes before our file",
                path.display()
            ),
            Self::Hidden { unit, path } => write!(
                f,
                "`{}` is not read: our file of `{unit}` comes before it",
                path.display()
            ),
            Self::DropIn {
                unit,
                path,
                overrides,
            } => {
                let path = path.display();
                let overrides: Vec<_> = overrides.iter().map(String::as_str).collect();
                match overrides.is_empty() {
                    true => write!(f, "`{path}` adds to `{unit}`"),
                    false => write!(
                        f,
                        "`{path}` has a say in {} of `{unit}`",
                        crate::config::list(&overrides)
                    ),
                }
            }
            Self::NeedsReload { unit } => {
                write!(f, "systemd has not read the files of `{unit}` as they are")
            }
            Self::NotEnabled { unit } => write!(f, "`{unit}` is not enabled"),
            Self::LoadedValue {
                unit,
                key,
                file,
                loaded,
            } => write!(f, "`{unit}` has {key}={file}, and systemd goes by {loaded}"),
            Self::Closed { socket, refused } => {
                let refused: Vec<_> = refused.iter().map(Reach::to_string).collect();
                let refused: Vec<_> = refused.iter().map(String::as_str).collect();
                let refused = crate::config::list(&refused);
                write!(
                    f,
                    "`{socket}` is active, but connections to {refused} are refused; \
                     `zdt-units install --allow-gap` opens it anew"
                )
            }
            Self::Outdated { unit } => {
                write!(
                    f,
                    "`{unit}` runs since before the last change that counts for it"
                )
            }
            Self::Undeployed { service } => write!(
                f,
                "`{service}` is not started before it has a release: \
                 `zdt-units deploy {service} --from PATH` brings one, and starts it"
            ),
            Self::Orphan { unit, service } => write!(
                f,
                "`{unit}` is of a service that this file does not have; \
                 `zdt-units uninstall {service}` removes it"
            ),
        }
    }
}
