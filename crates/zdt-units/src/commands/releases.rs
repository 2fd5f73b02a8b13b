//! `zdt-units releases`: what is below the root of a service, as a table or as JSON.

use super::named::find;
use super::{Failed, note, operation, print, scope};
use crate::cli::ReleasesArgs;
use crate::exit_code;
use crate::host::releases::{checksum, look};
use crate::model::Name;
use crate::release::Kind;
use crate::report::releases::{Listed, json, notes, table};

/// The service knows no releases.
pub(super) fn none_kept(service: &Name) -> Failed {
    let what = format!("`zdt.toml` does not say where the releases of `{service}` are kept");
    Failed::said(exit_code::USAGE, what)
        .hint("add `release = { root = \"/srv/NAME\" }`, and `{{release.path}}` to `exec`")
}

pub(super) fn run(args: &ReleasesArgs) -> Result<u8, Failed> {
    let (read, _) = scope::reach(&args.config, false, &args.control)?;
    let service = find(&read.model, &args.service)?;
    let name = &service.name;
    let Some(release) = &service.release else {
        return Err(none_kept(name));
    };
    let releases = look(&release.root).map_err(operation::stopped)?;
    let mut checksums = Vec::new();
    for found in &releases.all {
        // Nobody knows what the others should be.
        let asked = args.verify && matches!(found.kind, Kind::Ours(_));
        let checksum = asked.then(|| checksum(&release.root, &found.name));
        checksums.push(checksum.transpose().map_err(operation::stopped)?);
    }
    let listed = Listed {
        service: name,
        root: &release.root,
        releases: &releases,
        checksums: &checksums,
    };
    match args.json {
        true => print(&json(&listed))?,
        false => print(&table(&listed))?,
    }
    note(&notes(&listed));
    let unproved = args.verify && listed.damaged().next().is_some();
    Ok(match listed.changed().next() {
        None if !unproved => exit_code::DONE,
        _ => exit_code::DIFFERS,
    })
}
