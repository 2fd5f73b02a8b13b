//! Writes the units of a model. Pure, and the same for the same input, byte for byte.

mod sandbox;
mod service;
mod since;
mod socket;

pub use since::{OLDEST_SYSTEMD, since};

use crate::model::Model;
use crate::unit_file::UnitFile;

/// All units of `model`, which came from the file called `source`: for each
/// service its sockets, then the service itself.
pub fn render(model: &Model, source: &str) -> Vec<UnitFile> {
    let mut units = Vec::new();
    for service in &model.services {
        for socket in &service.sockets {
            units.push(socket::unit(service, socket, source));
        }
        units.push(service::unit(service, source));
    }
    units
}

fn header(unit: &crate::model::UnitName, source: &str) -> Vec<String> {
    let source: String = source.chars().filter(|char| !char.is_control()).collect();
    vec![
        format!(
            "Written by `zdt-units generate` from `{source}`; the next run overwrites this file."
        ),
        format!("Settings of this machine go into a drop-in: `systemctl edit {unit}`."),
    ]
}

const MANUAL: &str = "man:zdt-units(1)";
