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
use super::unit::{UNIT, invocation};
use crate::host::Failure;
use crate::model::UnitName;
use crate::observe::Instance;

/// A way back must not wait for long.
const LIMIT: Duration = Duration::from_secs(2);
const SYNC_LIMIT: Duration = Duration::from_secs(1);

impl Systemd {
    /// `failure`, with what `unit` said last in the run that `instance` is, or else in its latest one.
    pub(super) async fn heard(
        &self,
        failure: Failure,
        unit: &UnitName,
        instance: Option<&Instance>,
    ) -> Failure {
        let invocation = match instance {
            Some(instance) => instance.invocation.clone(),
            None => self.last_invocation(unit).await.unwrap_or_default(),
        };
        let mut output = failure.output.clone();
        if !invocation.is_empty() {
            output.extend(last_words(&invocation).await);
        }
        failure.output(output)
    }

    async fn last_invocation(&self, unit: &UnitName) -> Option<String> {
        let object = self.object(unit).await.ok()?;
        let general = self.properties(object.as_str(), UNIT).await.ok()?;
        Some(invocation(&general))
    }
}

/// At most ten lines, or why there are none to be had.
async fn last_words(invocation: &str) -> Vec<String> {
    let said = timeout(LIMIT, async {
        // What was written a moment ago may not be in the journal yet. Only root may ask for that.
        let _ = timeout(SYNC_LIMIT, journalctl(&["--sync"])).await;
        // Its own words, and what was worth a notice to its manager, that of the system or of a user.
        let own = format!("_SYSTEMD_INVOCATION_ID={invocation}");
        let about = format!("INVOCATION_ID={invocation}");
        let of_user = format!("USER_INVOCATION_ID={invocation}");
        let notices = (0..=5).map(|priority| format!("PRIORITY={priority}"));
        let notices: Vec<String> = notices.collect();
        let mut matches = vec!["--lines=10", &own];
        for manager in [&about, &of_user] {
            matches.extend(["+", manager]);
            matches.extend(notices.iter().map(String::as_str));
        }
        journalctl(&matches).await
    });
    let none = |why: &str| vec![format!("(there is no journal to read: {why})")];
    match said.await {
        Err(_) => none("`journalctl` takes too long"),
        Ok(Err(why)) => none(&why),
        Ok(Ok(text)) => text.lines().map(str::to_owned).collect(),
    }
}

async fn journalctl(arguments: &[&str]) -> Result<String, String> {
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
