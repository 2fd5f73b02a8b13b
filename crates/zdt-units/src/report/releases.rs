//! The releases of a service, for people and for programs. Pure.

use indicatif::HumanBytes;
use serde::Serialize;

use crate::model::{AbsolutePath, Name, ReleaseName};
use crate::probe::write_table;
use crate::release::{Found, Kind, Record, Releases};

/// What is listed.
pub(crate) struct Listed<'a> {
    pub(crate) service: &'a Name,
    pub(crate) root: &'a AbsolutePath,
    pub(crate) releases: &'a Releases,
    /// What was computed for each of them; `None` where nobody asked.
    pub(crate) checksums: &'a [Option<String>],
}

impl Listed<'_> {
    /// As they came to serve, the last one first; what is not ours comes last.
    pub(super) fn each(&self) -> Vec<(&Found, Option<&str>)> {
        let checksums = self.checksums.iter().map(Option::as_deref);
        let mut each: Vec<_> = self.releases.all.iter().zip(checksums).collect();
        each.sort_by_key(|(found, _)| std::cmp::Reverse(record(found).map(Record::last_use)));
        each
    }

    /// Releases that are not what was deployed.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &ReleaseName> {
        let checksums = self.checksums.iter().map(Option::as_deref);
        let each = self.releases.all.iter().zip(checksums);
        each.filter(|(found, checksum)| is_intact(found, *checksum) == Some(false))
            .map(|(found, _)| &found.name)
    }

    /// Releases that nobody knows what they should be, as their records are damaged.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = &ReleaseName> {
        let damaged = |found: &&Found| matches!(found.kind, Kind::Damaged(_));
        self.releases
            .all
            .iter()
            .filter(damaged)
            .map(|found| &found.name)
    }

    pub(super) fn states(&self, found: &Found, checksum: Option<&str>) -> Vec<&'static str> {
        let releases = self.releases;
        let is = |name: Option<&ReleaseName>| name == Some(&found.name);
        let current = is(releases.current.as_ref());
        let record = record(found);
        let states = [
            (current, "current"),
            (is(releases.serving()) && !current, "serves"),
            (is(releases.previous()) && !current, "previous"),
            (is(releases.next.as_ref()) && !current, "next"),
            (
                record.is_some_and(|record| record.failed.is_some()),
                "failed",
            ),
            (
                record.is_some_and(|record| record.migrated.is_some()),
                "migrated",
            ),
            (matches!(found.kind, Kind::Foreign), "not deployed"),
            (matches!(found.kind, Kind::Damaged(_)), "damaged record"),
            (is_intact(found, checksum) == Some(true), "intact"),
            (is_intact(found, checksum) == Some(false), "changed"),
        ];
        states
            .into_iter()
            .filter_map(|(is, word)| is.then_some(word))
            .collect()
    }
}

pub(super) fn record(found: &Found) -> Option<&Record> {
    match &found.kind {
        Kind::Ours(record) => Some(record),
        Kind::Foreign | Kind::Damaged(_) => None,
    }
}

fn is_intact(found: &Found, checksum: Option<&str>) -> Option<bool> {
    Some(record(found)?.checksum == checksum?)
}

/// One line for each release.
pub(crate) fn table(listed: &Listed<'_>) -> String {
    let each = listed.each();
    if each.is_empty() {
        return String::new();
    }
    let head = ["release", "created", "size", "served"].map(str::to_owned);
    let rows = each.iter().map(|(found, _)| {
        let record = record(found);
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        [
            found.name.to_string(),
            or_dash(record.map(|record| record.created.seconds())),
            or_dash(record.map(|record| HumanBytes(record.bytes).to_string())),
            or_dash(record.and_then(|record| Some(record.served?.last.seconds()))),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let mut columns = String::new();
    write_table(&mut columns, &rows).expect("a string takes everything");
    let states = each
        .iter()
        .map(|(found, checksum)| listed.states(found, *checksum).join(", "));
    let states = std::iter::once("state".to_owned()).chain(states);
    columns
        .lines()
        .zip(states)
        .map(|(line, states)| format!("{}\n", format!("{line}  {states}").trim_end()))
        .collect()
}

/// What a person should know beside the table.
pub(crate) fn notes(listed: &Listed<'_>) -> Vec<String> {
    let releases = listed.releases;
    let mut notes = Vec::new();
    if releases.all.is_empty() {
        let (service, root) = (listed.service, listed.root);
        notes.push(format!(
            "there is no release in `{root}/releases`; `zdt-units deploy {service} --from PATH` brings the first one"
        ));
    }
    let gone = releases.current.as_ref().filter(|name| !releases.has(name));
    notes.extend(gone.map(|name| format!("`current` leads to `{name}`, which is not there")));
    let moved = releases.serving().zip(releases.current.as_ref());
    let moved = moved.filter(|(serving, current)| serving != current);
    notes.extend(moved.map(|(serving, current)| {
        format!("`current` leads to `{current}`, and what proved itself last is `{serving}`")
    }));
    notes.extend(releases.all.iter().filter_map(|found| match &found.kind {
        Kind::Damaged(why) => Some(format!(
            "{why}; deploy the release under another name, and remove this one by hand"
        )),
        Kind::Ours(_) | Kind::Foreign => None,
    }));
    notes.extend(
        listed
            .changed()
            .map(|name| format!("`{name}` is not what was deployed")),
    );
    notes
}

/// All of it, as one object and a line break.
pub(crate) fn json(listed: &Listed<'_>) -> String {
    #[derive(Serialize)]
    struct Object<'a> {
        v: u32,
        service: &'a str,
        root: &'a str,
        current: Option<String>,
        next: Option<String>,
        serving: Option<String>,
        previous: Option<String>,
        releases: Vec<Release<'a>>,
    }
    #[derive(Serialize)]
    struct Release<'a> {
        name: &'a str,
        state: Vec<&'static str>,
        /// `null` where there is none, or none that can be read.
        record: Option<&'a Record>,
    }
    let releases = listed.releases;
    let name = |name: Option<&ReleaseName>| name.map(ToString::to_string);
    let object = Object {
        v: 1,
        service: listed.service.as_str(),
        root: listed.root.as_str(),
        current: name(releases.current.as_ref()),
        next: name(releases.next.as_ref()),
        serving: name(releases.serving()),
        previous: name(releases.previous()),
        releases: listed
            .each()
            .into_iter()
            .map(|(found, checksum)| Release {
                name: found.name.as_str(),
                state: listed.states(found, checksum),
                record: record(found),
            })
            .collect(),
    };
    let mut text = serde_json::to_string(&object).expect("releases are plain JSON");
    text.push('\n');
    text
}
