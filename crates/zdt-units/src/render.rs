//! Writes the units of a model. Pure, and the same for the same input, byte for byte.

mod directive;
mod fit;
mod proxy;
mod sandbox;
mod service;
mod socket;
mod stop;
mod task;

pub use directive::{Directive, Takes};
pub use proxy::{Proxies, ProxyFile, proxy_file};

use std::borrow::Cow;

use crate::model::{Model, Service};
use crate::unit_file::UnitFile;

/// What the units are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The release of systemd; a newer one reads the units as well.
    pub systemd: u32,
    pub manager: Manager,
}

/// Whose units they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    System,
    /// `systemd --user`, which can neither change users nor fence much in.
    User,
}

/// The release that units are written for unless another one is asked for.
pub const DEFAULT_SYSTEMD: u32 = 252;

/// The oldest release that units can be written for.
pub const OLDEST_SYSTEMD: u32 = 239;

impl Default for Target {
    fn default() -> Self {
        Self {
            systemd: DEFAULT_SYSTEMD,
            manager: Manager::System,
        }
    }
}

/// The units, and what could not be written as it was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    pub units: Vec<UnitFile>,
    /// One sentence each.
    pub notes: Vec<String>,
}

/// All units of `model`, which came from the file called `source`: for each
/// service its sockets, then what runs it.
pub fn render(model: &Model, source: &str, target: Target) -> Rendered {
    let mut units = Vec::new();
    let mut notes = Vec::new();
    for service in &model.services {
        let service = &without_handover(service, target, &mut notes);
        for socket in &service.sockets {
            units.push(socket::unit(service, socket, source));
        }
        units.extend(service::units(service, source, target));
        units.extend(task::units(service, source, target));
    }
    notes.extend(fit::fit(&mut units, target));
    Rendered { units, notes }
}

/// The release that keeps a queue whose sender has gone (`FDPOLL=0`); an older one
/// would close every connection in it.
const HANDOVER: u32 = 246;

fn without_handover<'s>(
    service: &'s Service,
    target: Target,
    notes: &mut Vec<String>,
) -> Cow<'s, Service> {
    if !service.handover || target.systemd >= HANDOVER {
        return Cow::Borrowed(service);
    }
    notes.push(format!(
        "no hand-over for `{}`: systemd {} would drop its connections, {HANDOVER} and newer keep them",
        service.name, target.systemd
    ));
    Cow::Owned(Service {
        handover: false,
        ..service.clone()
    })
}

/// How each file of ours begins; files of others are never overwritten or removed.
pub const MARK: &str = "Written by `zdt-units";

fn header(unit: &crate::model::UnitName, source: &str) -> Vec<String> {
    let source: String = source.chars().filter(|char| !char.is_control()).collect();
    vec![
        format!("{MARK} generate` from `{source}`; the next run overwrites this file."),
        format!("Settings of this machine go into a drop-in: `systemctl edit {unit}`."),
    ]
}
