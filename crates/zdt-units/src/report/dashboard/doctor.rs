//! How many findings there are, and the command that explains them.

use maud::{Markup, html};

use super::table::Table;
use super::{Doctor, View};
use crate::doctor::Severity;
use crate::report::html::mark;
use crate::report::html::words::{count, printable, prose};
use crate::stamp;

/// The rest is for the command.
const SHOWN: usize = 8;

pub(super) fn doctor(view: &View) -> Markup {
    let (at, findings) = match &view.doctor {
        Doctor::NotYet => return html! { p { "It is looking." } },
        Doctor::Failed(why) => {
            return html! { p { "It could not look: " (prose(why)) } };
        }
        Doctor::Found { at, findings } => (stamp::text(*at), findings),
    };
    let of = |severity: Severity| {
        findings
            .iter()
            .filter(move |found| found.severity == severity)
    };
    let tally = |severity, word: &str| count(of(severity).count() as u64, word);
    html! {
        p {
            @if findings.is_empty() {
                "Nothing found"
            } @else {
                strong { (tally(Severity::Danger, "danger")) } ", "
                strong { (tally(Severity::Warning, "warning")) } ", "
                (tally(Severity::Note, "note"))
            }
            " at " time datetime=(at) { (at.replace('T', " ").replace('Z', "\u{a0}UTC")) } ". "
            "The reason and the remedy of each: " code { "zdt-units doctor" } "."
        }
        @if !findings.is_empty() {
            (Table {
                class: "findings",
                caption: "The worst first.",
                head: &["Finding", "How bad", "About", "What"],
            }.of(findings.iter().take(SHOWN).map(|finding| {
                let (shape, word) = match finding.severity {
                    Severity::Danger => ("lost", "danger"),
                    Severity::Warning => ("caution", "warning"),
                    Severity::Note => ("absent", "note"),
                };
                vec![
                    html! { code { (finding.code) } },
                    html! { span class="fate" { (mark(shape)) " " (word) } },
                    html! { code { (printable(&finding.about)) } },
                    html! { (prose(&finding.what)) },
                ]
            })))
        }
        @if findings.len() > SHOWN {
            p { "And " (findings.len() - SHOWN) " more." }
        }
    }
}
