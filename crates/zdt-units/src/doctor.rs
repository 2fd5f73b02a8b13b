//! Finds what will lose requests before it does. Pure: facts in, findings out.

mod codes;
mod facts;
mod files;
mod kernel;
mod launcher;
mod service;
mod socket;

use serde::Serialize;

use crate::tool::Tool;

pub use codes::{CODES, Code, Severity, page};
pub use facts::{
    Disk, Facts, Limit, Machine, Process, Rate, ReleaseSeen, RotationSeen, ServiceUnit, SocketUnit,
    Subject, Unseen, Wished,
};

/// One thing that is wrong, or will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub code: &'static str,
    pub severity: Severity,
    /// The unit, file or setting.
    pub about: String,
    pub what: String,
    pub why: &'static str,
    /// A command, or a line of `zdt.toml` or of a drop-in.
    pub fix: String,
}

/// Everything that is wrong with `facts`, the worst first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    for subject in &facts.subjects {
        socket::examine(subject, &mut found);
        service::examine(subject, &mut found);
        service::examine_wished(subject, &mut found);
        kernel::examine_queues(subject, &facts.machine, &mut found);
    }
    kernel::examine(&facts.machine, &mut found);
    files::examine(facts, &mut found);
    let mut found = match facts.tool {
        Tool::Systemctl | Tool::UserSystemctl => found.0,
        Tool::Launcher => launcher::adapted(found.0),
    };
    found.sort_by_key(|finding| finding.severity);
    found
}

/// What a room writes its findings into.
struct Findings(Vec<Finding>);

impl Findings {
    /// `code` is a number of [`CODES`].
    fn add(
        &mut self,
        code: &str,
        about: &(impl ToString + ?Sized),
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let code = CODES.iter().find(|known| known.id == code);
        let code = code.expect("a finding has one of the known codes");
        self.0.push(Finding {
            code: code.id,
            severity: code.severity,
            about: about.to_string(),
            what: what.into(),
            why: code.why,
            fix: fix.into(),
        });
    }
}

/// How a directive is changed without touching the unit's own file.
fn drop_in(unit: &impl ToString, section: &str, line: &str) -> String {
    format!(
        "`systemctl edit {}`, with `{line}` below `[{section}]`",
        unit.to_string()
    )
}

#[cfg(test)]
mod tests;
