//! Files that are not what they should be, disks, and what could not be seen.

use super::{Disk, Facts, Findings};
use crate::install::Drift;

/// Below that nothing can be deployed, or recorded.
const LEAST_BYTES: u64 = 100 << 20;
const LEAST_PERCENT: u64 = 5;

pub(super) fn examine(facts: &Facts, found: &mut Findings) {
    for drift in &facts.drift {
        match drift {
            Drift::NeedsReload { unit } => found.add(
                "ZDT-D050",
                unit,
                drift.to_string(),
                "`systemctl daemon-reload`",
            ),
            // Findings of their own.
            Drift::Masked { .. } | Drift::Closed { .. } => {}
            _ if drift.is_wrong() => found.add(
                "ZDT-D051",
                "units",
                drift.to_string(),
                "`zdt-units install` shows and mends it; `--dry-run` only shows it",
            ),
            _ => {}
        }
    }
    for unit in &facts.outdated {
        found.add(
            "ZDT-D051",
            unit,
            format!("the file of `{unit}` is not what `zdt.toml` gives"),
            "`zdt-units install`; `--dry-run` shows each directive and what it costs",
        );
    }
    // Where there is no `zdt.toml`, the manager alone knows.
    for state in facts.subjects.iter().flat_map(|subject| {
        let services = subject.services.iter().map(|service| &service.state);
        services.chain(subject.sockets.iter().map(|socket| &socket.state))
    }) {
        let told =
            |drift: &Drift| matches!(drift, Drift::NeedsReload { unit } if *unit == state.unit);
        if state.needs_reload && !facts.drift.iter().any(told) {
            found.add(
                "ZDT-D050",
                &state.unit,
                format!(
                    "systemd has not read the files of `{}` as they are",
                    state.unit
                ),
                "`systemctl daemon-reload`",
            );
        }
    }
    for note in &facts.too_old {
        found.add(
            "ZDT-D052",
            "systemd",
            note.as_str(),
            "nothing, or a newer systemd",
        );
    }
    for disk in &facts.disks {
        disk_of(disk, found);
    }
    for unseen in &facts.unseen {
        found.add(
            "ZDT-D080",
            &unseen.what,
            format!("{} could not be looked at: {}", unseen.what, unseen.why),
            unseen.fix.as_str(),
        );
    }
}

fn disk_of(disk: &Disk, found: &mut Findings) {
    let path = disk.path.display();
    let inodes = disk
        .free_inodes_percent
        .filter(|free| *free < LEAST_PERCENT);
    let what = match inodes {
        _ if disk.free_bytes < LEAST_BYTES || disk.free_percent < LEAST_PERCENT => format!(
            "{} MB ({} %) are free in `{path}`, where {} are kept",
            disk.free_bytes >> 20,
            disk.free_percent,
            disk.holds
        ),
        Some(free) => format!(
            "{free} % of the inodes are free in `{path}`, where {} are kept",
            disk.holds
        ),
        None => return,
    };
    found.add(
        "ZDT-D070",
        &path,
        what,
        format!("`df -h {path}; df -i {path}`, and make room"),
    );
}
