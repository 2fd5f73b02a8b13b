//! Findings for people.

use std::fmt::Write;

use owo_colors::{OwoColorize, Style};

use super::status::Look;
use crate::doctor::{Finding, Severity};

/// The worst first, each with its reason and its remedy.
pub(crate) fn text(findings: &[Finding], looked_at: usize, look: Look) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding {
            code,
            severity,
            what,
            why,
            fix,
            ..
        } = finding;
        let style = match severity {
            Severity::Danger => Style::new().red(),
            Severity::Warning => Style::new().yellow(),
            Severity::Note => Style::new(),
        };
        let word = match look.colour {
            true => severity.style(style).to_string(),
            false => severity.to_string(),
        };
        writeln!(text, "{word} {code}: {what}\n  why: {why}\n  fix: {fix}\n")
            .expect("a string takes all");
    }
    let units = match looked_at {
        1 => "1 unit".to_owned(),
        more => format!("{more} units"),
    };
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let (dangers, warnings, notes) = (
        count(Severity::Danger),
        count(Severity::Warning),
        count(Severity::Note),
    );
    match findings.is_empty() {
        true => writeln!(text, "nothing found in {units}"),
        false => writeln!(
            text,
            "{units}: danger {dangers}, warning {warnings}, note {notes}"
        ),
    }
    .expect("a string takes all");
    text
}
