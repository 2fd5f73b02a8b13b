//! Leaves out what the wanted release of systemd does not know, and says so.

use super::{Directive, Target};
use crate::unit_file::{Line, UnitFile};

/// Only for directives without which the others mean the same; a value that an
/// older release would misread has its own spelling where it is written.
pub(super) fn fit(units: &mut [UnitFile], target: Target) -> Vec<String> {
    let mut left_out: Vec<&'static Directive> = Vec::new();
    for section in units.iter_mut().flat_map(|unit| &mut unit.sections) {
        let mut kept: Vec<Line> = Vec::with_capacity(section.lines.len());
        for line in section.lines.drain(..) {
            match unknown(&line, target) {
                None => kept.push(line),
                Some(directive) => {
                    // What stood above it was about it.
                    kept.pop_if(|above| matches!(above, Line::Comment(_)));
                    if !left_out.contains(&directive) {
                        left_out.push(directive);
                    }
                }
            }
        }
        section.lines = kept;
    }
    left_out
        .into_iter()
        .map(|directive| {
            format!(
                "left out `{}=` ({}): systemd {} does not know it, {} and newer do",
                directive.name, directive.why, target.systemd, directive.since
            )
        })
        .collect()
}

fn unknown(line: &Line, target: Target) -> Option<&'static Directive> {
    let Line::Directive { key, .. } = line else {
        return None;
    };
    Directive::named(key).filter(|directive| directive.since > target.systemd)
}
