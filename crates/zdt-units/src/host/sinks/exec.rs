//! Tells a program: the event as a line on its standard input.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::tally::Tally;
use crate::model::{Hook, Wanted, span};

/// Events that may wait; what comes while so many do is not told.
const QUEUE: usize = 64;

/// So much of what a program said is shown when it failed.
const SHOWN: u64 = 500;

#[derive(Debug)]
pub(super) struct ExecHook {
    pub(super) wanted: Vec<Wanted>,
    name: String,
    limit: Duration,
    queue: mpsc::Sender<Told>,
    tally: Tally,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Told {
    line: String,
    fields: Vec<(&'static str, String)>,
}

impl ExecHook {
    pub(super) fn start(hook: &Hook) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Told>(QUEUE);
        let tally = Tally::default();
        let (counted, command, limit) = (tally.clone(), hook.command.clone(), hook.timeout);
        let task = tokio::spawn(async move {
            while let Some(told) = waiting.recv().await {
                counted.ended(run(&command, limit, told).await);
            }
        });
        Self {
            wanted: hook.on.clone(),
            name: format!("`{}`", hook.command[0]),
            limit,
            queue,
            tally,
            task,
        }
    }

    pub(super) fn send(&mut self, line: String, fields: Vec<(&'static str, String)>) {
        self.tally.wanted();
        if self.queue.try_send(Told { line, fields }).is_err() {
            let full = format!("{QUEUE} others were waiting");
            self.tally.ended(Err(full));
        }
    }

    /// Long enough for one that hangs and one more.
    pub(super) async fn close(self) -> Option<String> {
        drop(self.queue);
        let _ = timeout(2 * self.limit, self.task).await;
        self.tally.missing(&self.name)
    }
}

async fn run(command: &[String], limit: Duration, told: Told) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    // Files, so that neither side can block the other.
    let mut input = tempfile::tempfile().map_err(failed)?;
    input.write_all(told.line.as_bytes()).map_err(failed)?;
    input.rewind().map_err(failed)?;
    let output = tempfile::tempfile().map_err(failed)?;
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .envs(told.fields)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone().map_err(failed)?))
        .stderr(Stdio::from(output.try_clone().map_err(failed)?))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let why = match timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            if let Some(group) = group {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = child.wait().await;
            format!("it took longer than {}", span(limit))
        }
    };
    match said(output).map_err(failed)?.as_str() {
        "" => Err(why),
        said => Err(format!("{why}: {said}")),
    }
}

/// The end of its output, on one line.
fn said(mut output: File) -> io::Result<String> {
    let length = output.metadata()?.len();
    output.seek(SeekFrom::Start(length.saturating_sub(SHOWN)))?;
    let mut said = Vec::new();
    output.read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said);
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::unix::pipe::OpenOptions;
    use tokio::time::sleep;

    /// Longer than anything takes, even on a machine that does much else.
    const LIMIT: Duration = Duration::from_secs(60);

    fn hook(script: &str, limit: Duration) -> ExecHook {
        ExecHook::start(&Hook {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            on: vec![Wanted::All],
            timeout: limit,
        })
    }

    async fn told(mut hook: ExecHook) -> Option<String> {
        let fields = vec![("ZDT_KIND", "finished".to_owned())];
        hook.send("{\"kind\":\"finished\"}\n".to_owned(), fields);
        hook.close().await
    }

    #[tokio::test]
    async fn a_program_gets_the_line_and_the_fields() {
        let limit = Duration::from_secs(20);
        let right =
            r#"read line && [ "$line" = '{"kind":"finished"}' ] && [ $ZDT_KIND = finished ]"#;
        assert_eq!(told(hook(right, limit)).await, None);
        assert_eq!(
            told(hook("echo no such channel; exit 3", limit)).await,
            Some("1 of 1 events did not reach `sh`: exit status: 3: no such channel".to_owned())
        );
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        // Open as long as anybody who may write to it lives.
        let pipe = directory.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let mut reader = OpenOptions::new().open_receiver(&pipe).unwrap();
        let writer = File::options().write(true).open(&pipe).unwrap();
        let script = format!("sleep 100 >{} & wait", pipe.display());
        let mut hook = hook(&script, Duration::from_millis(500));
        hook.send(String::new(), Vec::new());
        let tally = hook.tally.clone();
        let ended = async {
            // Whoever closes gives up after a while, so that it has to have ended before.
            let unknown = "1 of 1 events did not reach `sh`: there was no answer in time";
            while tally.missing("`sh`").as_deref() == Some(unknown) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, ended).await.expect("it is killed");
        assert_eq!(
            hook.close().await.as_deref(),
            Some("1 of 1 events did not reach `sh`: it took longer than 500ms")
        );
        drop(writer);
        let closed = timeout(LIMIT, reader.read(&mut [0])).await;
        assert_eq!(closed.expect("it lives on").unwrap(), 0);
    }
}
