//! Reads what an installation is planned from: the unit directory, and the manager if there is one.

#![expect(clippy::disallowed_methods, reason = "hosts read files")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::systemd::Systemd;
use super::{Failure, listeners};
use crate::install::{Copied, DropIn, FileSeen, Holder, Place, Seen, TakenOver, UnitSeen, is_ours};
use crate::model::{Model, Name, Service, UnitName};
use crate::observe::{Load, WatchedSocket};

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub place: &'a Place,
    /// Other directories that systemd reads, as the manager sees them.
    pub others: &'a [&'a str],
    pub units: &'a [UnitName],
}

/// Reads the state of the wished units, of every unit of ours in the
/// directory, and of units that belong to them. Changes nothing.
pub async fn look(
    wish: Wish<'_>,
    model: Option<&Model>,
    systemd: Option<&Systemd>,
) -> Result<Seen, Failure> {
    let on_disk = Directory::read(wish.place)?;
    let mut names: BTreeSet<UnitName> = wish.units.iter().cloned().collect();
    names.extend(on_disk.ours.iter().cloned());
    if let Some(systemd) = systemd {
        let mut more = Vec::new();
        for name in &names {
            let stem = name.as_str().split(['@', '.']).next().unwrap_or_default();
            more.extend(systemd.matching(&format!("{stem}@*.service")).await);
            if !is_template(name) {
                more.extend(systemd.look(name, None).await?.triggered_by);
            }
        }
        names.extend(more);
    }
    let mut units = Vec::new();
    for unit in names {
        let mut seen = on_disk.unit(&unit, wish)?;
        if let Some(systemd) = systemd.filter(|_| !is_template(&unit)) {
            let watched = model.and_then(|model| watched(model, &unit));
            let mut loaded = systemd.look(&unit, watched.as_ref()).await?;
            let paths = systemd.drop_ins(&unit).await;
            let own = wish.place.path(&format!("{unit}.d"));
            let read = paths.iter().filter(|path| path.parent() == Some(&own));
            // systemd does not notice a drop-in that is new, or the first one of a unit.
            let there = seen.drop_ins.iter().map(|drop_in| &drop_in.path);
            loaded.state.needs_reload |= loaded.state.load == Load::Loaded && !read.eq(there);
            seen.loaded = Some(loaded);
            let unread = |path: &PathBuf| !seen.drop_ins.iter().any(|there| there.path == *path);
            let more: Vec<PathBuf> = paths.into_iter().filter(unread).collect();
            seen.drop_ins.extend(more.into_iter().filter_map(drop_in));
        }
        units.push(seen);
    }
    let holders = match (model, systemd) {
        (Some(model), Some(systemd)) => holders(model, &units, systemd).await?,
        _ => Vec::new(),
    };
    Ok(Seen {
        place: wish.place.clone(),
        units,
        holders,
        undeployed: model.map_or_else(Vec::new, undeployed),
    })
}

fn undeployed(model: &Model) -> Vec<Name> {
    let services = model.services.iter();
    let missing = services.filter(|service| awaits_release(service));
    missing.map(|service| service.name.clone()).collect()
}

/// It runs from releases, and there is none: `current` leads to it from the first deployment on.
pub(crate) fn awaits_release(service: &Service) -> bool {
    let root = service.releases();
    root.is_some_and(|root| !Path::new(root.as_str()).join("current").exists())
}

/// Has a file and no state; its instances have.
fn is_template(unit: &UnitName) -> bool {
    unit.as_str().contains("@.")
}

/// Who has the addresses of sockets that are not open.
async fn holders(
    model: &Model,
    units: &[UnitSeen],
    systemd: &Systemd,
) -> Result<Vec<Holder>, Failure> {
    let mut found = Vec::new();
    for socket in model.services.iter().flat_map(|service| &service.sockets) {
        let own = units.iter().find(|seen| seen.unit == socket.unit);
        if own.is_some_and(UnitSeen::is_active) {
            continue;
        }
        for address in socket.listen.addresses() {
            let Some(there) = listeners::in_the_way(&socket.listen, &address) else {
                continue;
            };
            let by_manager = there.pid == Some(systemd.manager_pid());
            let unit = match by_manager {
                true => socket_unit(systemd, &address.to_string()).await?,
                false => there.unit,
            };
            found.push(Holder {
                address,
                pid: there.pid,
                program: there.program,
                unit,
            });
        }
    }
    Ok(found)
}

/// The socket unit that the manager listens for.
async fn socket_unit(systemd: &Systemd, address: &str) -> Result<Option<UnitName>, Failure> {
    let port = |address: &str| address.rsplit_once(':').map(|(_, port)| port.to_owned());
    for unit in systemd.matching("*.socket").await {
        let loaded = systemd.look(&unit, None).await?;
        let listens = loaded.values.get("ListenStream").into_iter().flatten();
        let mut same = listens.filter(|there| {
            *there == address || (port(there).is_some() && port(there) == port(address))
        });
        if same.next().is_some() {
            return Ok(Some(unit));
        }
    }
    Ok(None)
}

fn watched(model: &Model, unit: &UnitName) -> Option<WatchedSocket> {
    let mut sockets = model.services.iter().flat_map(|service| &service.sockets);
    let socket = sockets.find(|socket| socket.unit == *unit)?;
    let addresses = socket.listen.addresses();
    Some(WatchedSocket {
        unit: unit.clone(),
        reach: addresses.iter().map(crate::model::Address::reach).collect(),
    })
}

fn drop_in(path: PathBuf) -> Option<DropIn> {
    let text = fs::read_to_string(&path).ok()?;
    Some(DropIn { path, text })
}

/// The unit directory: files of ours, and links that enable units.
struct Directory {
    ours: Vec<UnitName>,
    links: Vec<String>,
}

impl Directory {
    fn read(place: &Place) -> Result<Self, Failure> {
        let directory = place.path("");
        let unreadable = |error: io::Error| {
            Failure::new(format!("failed to read `{}`: {error}", directory.display()))
                .without_effect()
        };
        let mut found = Self {
            ours: Vec::new(),
            links: Vec::new(),
        };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".wants") || name.ends_with(".requires") {
                let links = fs::read_dir(entry.path()).into_iter().flatten().flatten();
                found.links.extend(
                    links.map(|link| format!("{name}/{}", link.file_name().to_string_lossy())),
                );
            } else if let Ok(unit) = UnitName::parse(&name) {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                if is_ours(&text) {
                    found.ours.push(unit);
                }
            }
        }
        found.links.sort();
        Ok(found)
    }

    fn unit(&self, unit: &UnitName, wish: Wish<'_>) -> Result<UnitSeen, Failure> {
        let place = wish.place;
        let name = unit.as_str();
        let own = |link: &&String| link.rsplit('/').next() == Some(name);
        let record = place.path(&format!("{name}.taken-over.json"));
        let outdated = place.runtime.as_ref().map(|runtime| runtime.join(name));
        Ok(UnitSeen {
            unit: unit.clone(),
            file: file(&place.path(name))?,
            links: self.links.iter().filter(own).cloned().collect(),
            copies: copies(unit, wish),
            drop_ins: local_drop_ins(&place.path(&format!("{name}.d"))),
            loaded: None,
            outdated_run: outdated.and_then(|path| fs::read_to_string(path).ok()),
            taken_over: taken_over(&record)?,
        })
    }
}

fn file(path: &Path) -> Result<Option<FileSeen>, Failure> {
    if fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Ok(Some(FileSeen::Mask));
    }
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok(Some(FileSeen::Text(text)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(
            Failure::new(format!("failed to read `{}`: {error}", path.display())).without_effect(),
        ),
    }
}

fn copies(unit: &UnitName, wish: Wish<'_>) -> Vec<Copied> {
    let mut found: Vec<Copied> = Vec::new();
    let mut same = BTreeSet::new();
    for directory in wish.others {
        let inside = directory.trim_start_matches('/');
        let path = wish.place.root.join(inside).join(unit.as_str());
        // `/lib` is `/usr/lib` on most machines.
        let Ok(real) = fs::canonicalize(&path) else {
            continue;
        };
        if same.insert(real) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            found.push(Copied {
                path: Path::new(directory).join(unit.as_str()),
                is_ours: is_ours(&text),
            });
        }
    }
    found
}

fn local_drop_ins(directory: &Path) -> Vec<DropIn> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "conf"))
        // A link to `/dev/null` hides a drop-in of the same name.
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.into_iter().filter_map(drop_in).collect()
}

fn taken_over(path: &Path) -> Result<Option<TakenOver>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(
                Failure::new(format!("failed to read `{}`: {error}", path.display()))
                    .without_effect(),
            );
        }
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::new(format!("`{}` is damaged: {error}", path.display()))
            .hint("it says what to put back; move it away to go on without")
            .without_effect()
    })
}
