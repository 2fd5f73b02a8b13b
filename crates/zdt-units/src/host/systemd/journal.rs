//! What a unit said last, from the journal.

#![expect(
    clippy::disallowed_methods,
    reason = "`journalctl` reads the journal, whatever its format, compression and place"
)]

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::Systemd;
use super::unit::{SERVICE, UNIT, invocation, value};
use crate::host::Failure;
use crate::model::UnitName;
use crate::observe::Instance;

/// A way back must not wait for long.
const LIMIT: Duration = Duration::from_secs(2);
const SYNC_LIMIT: Duration = Duration::from_secs(1);

/// Of a line, in characters.
const LONGEST: usize = 400;

/// Which lines are wanted.
struct Run {
    invocation: String,
    /// Where it is the latest run of this unit: since when, in microseconds. Of a process that ended at once the journal
    /// may know the unit and not the run.
    since: Option<u64>,
}

impl Systemd {
    /// `failure`, with what `unit` said last in the run that `instance` is, or else in its latest one.
    pub(super) async fn last_words(
        &self,
        failure: Failure,
        unit: &UnitName,
        instance: Option<&Instance>,
    ) -> Failure {
        let run = match instance {
            Some(instance) => Some(Run {
                invocation: instance.invocation.clone(),
                since: None,
            }),
            None => self.latest_run(unit).await,
        };
        let mut output = failure.output.clone();
        if let Some(run) = run.filter(|run| !run.invocation.is_empty()) {
            output.extend(said(unit, &run).await);
        }
        failure.output(output)
    }

    async fn latest_run(&self, unit: &UnitName) -> Option<Run> {
        let object = self.object(unit).await.ok()?;
        let general = self.properties(object.as_str(), UNIT).await.ok()?;
        // Not when the unit left its rest: it does so again to wait for the next start.
        let own = self.properties(object.as_str(), SERVICE).await.ok();
        let since = own.and_then(|own| value::<u64>(&own, "ExecMainStartTimestamp"));
        Some(Run {
            invocation: invocation(&general),
            since: since.filter(|since| *since != 0),
        })
    }
}

/// At most ten lines, or why there are none to be had.
async fn said(unit: &UnitName, run: &Run) -> Vec<String> {
    let matches = matches(unit, run);
    let said = timeout(LIMIT, async {
        // What was written a moment ago may not be in the journal yet. Only root may ask for that.
        let _ = timeout(SYNC_LIMIT, journalctl(&["--sync".to_owned()])).await;
        journalctl(&matches).await
    });
    let none = |why: &str| vec![format!("(there is no journal to read: {why})")];
    match said.await {
        Err(_) => none("`journalctl` takes too long"),
        Ok(Err(why)) => none(&why),
        Ok(Ok(text)) => text.lines().map(short).collect(),
    }
}

/// The beginning of a line: some programs write megabytes into one.
fn short(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Its own words, and what was worth a notice to its manager, that of the system or of a user.
fn matches(unit: &UnitName, run: &Run) -> Vec<String> {
    let id = &run.invocation;
    let mut matches = vec![
        "--lines=10".to_owned(),
        format!("_SYSTEMD_INVOCATION_ID={id}"),
    ];
    if let Some(since) = run.since {
        let (seconds, rest) = (since / 1_000_000, since % 1_000_000);
        matches.insert(0, format!("--since=@{seconds}.{rest:06}"));
        for field in ["_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT"] {
            matches.extend(["+".to_owned(), format!("{field}={unit}")]);
        }
    }
    for field in ["INVOCATION_ID", "USER_INVOCATION_ID"] {
        matches.extend(["+".to_owned(), format!("{field}={id}")]);
        matches.extend((0..=5).map(|priority| format!("PRIORITY={priority}")));
    }
    matches
}

async fn journalctl(arguments: &[String]) -> Result<String, String> {
    let output = Command::new("journalctl")
        .args(["--no-pager", "--quiet", "--output=cat"])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("`journalctl` could not be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("`journalctl` failed");
        return Err(said.trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(short("it failed"), "it failed");
        let whole = "ä".repeat(LONGEST);
        assert_eq!(short(&whole), whole);
        assert_eq!(short(&"ä".repeat(10_000)), format!("{whole}…"));
    }
}
