//! Programs that balancers need.

#![expect(clippy::disallowed_methods, reason = "starts programs")]

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::host::Failure;
use crate::model::span;

/// So much of what it said is shown when it failed.
const SHOWN: u64 = 4000;

/// Runs it to its end. What it says is shown if it fails.
pub(super) async fn run(
    command: &[String],
    environment: &[(&str, String)],
    limit: Duration,
) -> Result<(), Failure> {
    let named = format!("`{}`", command.join(" "));
    let failed = |error: io::Error| Failure::new(format!("{named} cannot be run: {error}"));
    let output = tempfile::tempfile().map_err(failed)?;
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::from(output.try_clone().map_err(failed)?))
        .stderr(Stdio::from(output.try_clone().map_err(failed)?))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error).without_effect())?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
    let why = match timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => {
            // What it left behind is its own.
            std::mem::forget(group);
            return Ok(());
        }
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took longer than {}", span(limit)),
    };
    drop(group);
    let said = said(output).unwrap_or_default();
    Err(Failure::new(format!("{named} failed: {why}")).output(said))
}

/// What a question was answered with; `None`: it could not be asked, or not in time.
pub(super) async fn output(command: &[String], limit: Duration) -> Option<Output> {
    let mut asked = Command::new(&command[0]);
    asked
        .args(&command[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    timeout(limit, asked.output()).await.ok()?.ok()
}

/// Killed with all that it started, unless it ended well.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

/// The end of its output.
fn said(mut output: File) -> io::Result<Vec<String>> {
    let length = output.metadata()?.len();
    output.seek(SeekFrom::Start(length.saturating_sub(SHOWN)))?;
    let mut said = Vec::new();
    output.read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said);
    let lines = said
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
