//! The releases that are kept, and which of them serves.

use maud::{Markup, html};

use super::View;
use super::table::{Table, or_none};
use crate::model::{AbsolutePath, Name};
use crate::release::Releases;
use crate::report::html::mark;
use crate::report::html::words::{printable, prose};
use crate::report::releases::{Listed, record};

/// The releases of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    service: String,
    /// The one that came to serve last is the first.
    releases: Vec<Release>,
    /// Why they cannot be listed.
    unread: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Release {
    name: String,
    states: Vec<&'static str>,
    created: Option<String>,
    served: Option<String>,
}

impl Kept {
    pub fn of(service: &Name, root: &AbsolutePath, releases: &Releases) -> Self {
        let checksums = vec![None; releases.all.len()];
        let listed = Listed {
            service,
            root,
            releases,
            checksums: &checksums,
        };
        let release = |(found, checksum): (&crate::release::Found, Option<&str>)| Release {
            name: found.name.to_string(),
            states: listed.states(found, checksum),
            created: record(found).map(|record| record.created.seconds()),
            served: record(found).and_then(|record| Some(record.served?.last.seconds())),
        };
        Self {
            service: service.to_string(),
            releases: listed.each().into_iter().map(release).collect(),
            unread: None,
        }
    }

    pub fn unread(service: &Name, why: String) -> Self {
        Self {
            service: service.to_string(),
            releases: Vec::new(),
            unread: Some(why),
        }
    }
}

pub(super) fn releases(view: &View) -> Markup {
    html! {
        @if view.releases.is_empty() {
            p { "No service keeps releases; the key " code { "release" } " of " code { "zdt.toml" }
                " says where." }
        }
        @for kept in &view.releases {
            @if let Some(why) = &kept.unread {
                p class="note" { strong { (printable(&kept.service)) ": " } (prose(why)) }
            } @else if kept.releases.is_empty() {
                p { (printable(&kept.service)) " has no release yet: "
                    code { "zdt-units deploy " (printable(&kept.service)) " --from PATH" } "." }
            } @else {
                (Table {
                    class: "kept",
                    caption: &format!("Kept for {}; back with `zdt-units rollback {}`.",
                        printable(&kept.service), printable(&kept.service)),
                    head: &["Release", "State", "Created", "Served last"],
                }.of(kept.releases.iter().map(row)))
            }
        }
    }
}

fn row(release: &Release) -> Vec<Markup> {
    let is = |word: &str| release.states.contains(&word);
    let shape = match () {
        () if is("failed") || is("damaged record") => "lost",
        () if is("current") || is("serves") => "passed",
        () => "absent",
    };
    let states = match release.states.is_empty() {
        true => "kept".to_owned(),
        false => release.states.join(", "),
    };
    let moment = |text: &Option<String>| {
        let text = text
            .as_ref()
            .map(|text| text.replace('T', " ").replace('Z', "\u{a0}UTC"));
        or_none(text)
    };
    vec![
        html! { strong { (printable(&release.name)) } },
        html! { span class="fate" { (mark(shape)) " " (states) } },
        moment(&release.created),
        moment(&release.served),
    ]
}
