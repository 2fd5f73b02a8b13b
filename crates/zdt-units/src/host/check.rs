//! Asks whether a unit is well, in whatever way it can be asked.

#![expect(
    clippy::disallowed_methods,
    reason = "a health command is a process, and hosts start those"
)]

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Failure;
use super::ask::{self, Question};
use super::ready::{Answer, Next, Streak, Wanted};
use crate::event::EventKind;
use crate::model::{Health, Probe, Reach, UnitName, span};
use crate::observe::{Active, Instance, UnitState};
use crate::tool::Tool;

/// Several processes accept from one socket. Who asks several times, a little
/// apart, gives each of them its chance: of those who ask at the same moment
/// one process takes all.
const CROWD: u32 = 8;
const APART: Duration = Duration::from_millis(2);

/// So many bad answers show that a unit is not well when it should be.
const MOST_BAD: u32 = 3;

/// What is kept of the output of a command.
const KEPT: usize = 4096;
/// How long the rest of its output is waited for once a command has ended.
const REST: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check<'a> {
    pub(super) unit: &'a UnitName,
    pub(super) health: &'a Health,
    pub(super) patience: Patience<'a>,
}

/// How long bad answers are put up with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience<'a> {
    /// A new process may take its time; what it took the place of may still answer.
    Starting { before: Option<&'a Instance> },
    /// Who runs already is to be well now.
    Running,
}

/// Why a unit is not taken for well, and whose words may tell more.
#[derive(Debug)]
pub(super) struct Unwell {
    pub(super) failure: Failure,
    pub(super) instance: Option<Instance>,
}

/// Waits for what `check` asks for; `look` is what the manager says of the unit, and `tool` is that
/// of whoever looks on.
pub(super) async fn until_well(
    check: Check<'_>,
    tool: Tool,
    look: impl AsyncFn() -> Result<UnitState, Failure>,
    tell: &mut dyn FnMut(EventKind),
) -> Result<(), Unwell> {
    let Check {
        unit,
        health,
        patience,
    } = check;
    let began = Instant::now();
    let end = began + health.timeout;
    let unread = |failure| Unwell {
        failure,
        instance: None,
    };
    let state = look().await.map_err(unread)?;
    if health.probe != Probe::Active && state.is_stopped() {
        return Err(unread(not_running(&state, tool)));
    }
    let instance = state.instance;
    let (good, most_bad, before) = match patience {
        Patience::Starting { before } => {
            sleep(health.start_delay).await;
            (health.successes, None, before)
        }
        Patience::Running => (1, Some(MOST_BAD), None),
    };
    let mut streak = Streak::new(Wanted {
        good,
        most_bad,
        instance: instance.as_ref(),
        before,
        probe: &health.probe,
    });
    let hint = match patience {
        Patience::Starting { .. } => tool.see(unit),
        Patience::Running => format!("{}; `--force` goes on all the same", tool.see(unit)),
    };
    let unwell = |reason: String, output: Vec<String>| Unwell {
        failure: Failure::new(reason).hint(hint.clone()).output(output),
        instance: instance.clone(),
    };

    let mut at_once = 1;
    let mut output = Vec::new();
    loop {
        let asked = Instant::now();
        let limit = health
            .attempt_timeout
            .min(end.saturating_duration_since(asked));
        let answers = match health.probe {
            Probe::Active => vec![by_manager(&look().await.map_err(unread)?, tool)],
            _ => {
                let ask = async |turn| {
                    sleep(APART * turn).await;
                    attempt(&health.probe, limit).await
                };
                let mut answers = Vec::new();
                for (answer, said) in join_all((0..at_once).map(ask)).await {
                    if !said.is_empty() {
                        output = said;
                    }
                    answers.push(answer);
                }
                answers
            }
        };
        let next = streak.take(asked - began, answers, tell);
        if next == Next::Ready {
            break;
        }
        let now = look().await.map_err(unread)?;
        if now.instance != instance {
            return Err(unwell(gone(unit, instance.as_ref(), &now), output));
        }
        if next == Next::Unwell {
            let reason = format!("`{unit}` is not well: {}", streak.attempts);
            return Err(unwell(reason, output));
        }
        let pause = match next {
            Next::Crowded => {
                at_once = CROWD;
                health.interval.min(APART)
            }
            _ => health.interval,
        };
        let then = Instant::now().max(asked + pause);
        if then >= end {
            sleep_until(end).await;
            let within = span(health.timeout);
            let attempts = &streak.attempts;
            let reason = format!("`{unit}` was not well within {within}: {attempts}");
            return Err(unwell(reason, output));
        }
        sleep_until(then).await;
    }
    let now = look().await.map_err(unread)?;
    match now.instance == instance {
        true => Ok(()),
        false => Err(unwell(gone(unit, instance.as_ref(), &now), output)),
    }
}

/// What one question says; `state` is what the manager says of the unit.
pub(super) async fn once(probe: &Probe, limit: Duration, state: &UnitState, tool: Tool) -> Answer {
    match probe {
        Probe::Active => by_manager(state, tool),
        _ => attempt(probe, limit).await.0,
    }
}

pub(super) fn not_running(state: &UnitState, tool: Tool) -> Failure {
    let unit = &state.unit;
    Failure::new(format!(
        "`{unit}` is {} ({}) and has no main process",
        state.active, state.sub
    ))
    .hint(tool.see(unit))
}

fn gone(unit: &UnitName, was: Option<&Instance>, now: &UnitState) -> String {
    let was = was.map_or_else(
        || format!("`{unit}` did not stay as it was"),
        |was| format!("process {} of `{unit}` did not live on", was.pid),
    );
    match &now.instance {
        Some(now) => format!("{was}; now it is {}", now.pid),
        None => format!("{was}; now it is {} ({})", now.active, now.sub),
    }
}

fn by_manager(state: &UnitState, tool: Tool) -> Answer {
    match state.active {
        Active::Active | Active::Reloading => Answer::default(),
        other => Answer::wrong(format!("{} says {other} ({})", tool.manager(), state.sub)),
    }
}

/// One question, and what a command said.
async fn attempt(probe: &Probe, limit: Duration) -> (Answer, Vec<String>) {
    // What is left until the end of all has more digits than anybody wants to read.
    let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1));
    let late = |_| Answer::wrong(format!("no answer within {}", span(limit)));
    match probe {
        Probe::Command { command } => run(command, limit).await,
        Probe::Tcp { reach } => {
            let connected = timeout(limit, connect(reach)).await;
            (connected.unwrap_or_else(late), Vec::new())
        }
        Probe::Ready { .. } | Probe::Http(_) => {
            let answered = timeout(limit, get(probe)).await;
            (answered.unwrap_or_else(late), Vec::new())
        }
        Probe::Active => unreachable!("the manager is asked by who knows it"),
    }
}

async fn connect(reach: &Reach) -> Answer {
    match ask::connect(reach).await {
        Ok(()) => Answer::default(),
        Err(error) => Answer::wrong(format!("no connection: {error}")),
    }
}

async fn get(probe: &Probe) -> Answer {
    let (reach, question) = match probe {
        Probe::Http(http) => (
            &http.reach,
            Question {
                path: &http.path,
                headers: &http.headers,
                wants_body: http.body.is_some() || http.json.is_some(),
            },
        ),
        Probe::Ready { reach, path } => (
            reach,
            Question {
                path,
                headers: &[],
                wants_body: false,
            },
        ),
        _ => unreachable!("only these two speak HTTP"),
    };
    match ask::get(reach, question).await {
        Ok(reply) => Answer::of_reply(probe, reply),
        Err(why) => Answer::wrong(why),
    }
}

/// A command in a process group of its own, which ends with it.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody may be left in it.
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

async fn run(command: &[String], limit: Duration) -> (Answer, Vec<String>) {
    let program = &command[0];
    let failed = |error: std::io::Error| {
        let why = format!("`{program}` could not be run: {error}");
        (Answer::wrong(why), Vec::new())
    };
    let (child, receiver) = match spawn(command) {
        Ok(started) => started,
        Err(error) => return failed(error),
    };
    let mut child = child;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let group = pid.map(|pid| Group(Pid::from_raw(pid)));
    let mut output = Output::new(receiver);
    let ended = {
        let reading = output.read();
        let mut reading = std::pin::pin!(reading);
        let ended = async {
            tokio::select! {
                status = child.wait() => status,
                // It may close its output and go on.
                () = &mut reading => child.wait().await,
            }
        };
        timeout(limit, ended).await
    };
    drop(group);
    let _ = timeout(REST, output.read()).await;
    let answer = match ended {
        Err(_) => Answer::wrong(format!("`{program}` did not end within {}", span(limit))),
        Ok(Err(error)) => return failed(error),
        Ok(Ok(status)) if status.success() => Answer::default(),
        Ok(Ok(status)) => Answer::wrong(format!("`{program}` ended with {status}")),
    };
    match answer.wrong {
        None => (answer, Vec::new()),
        Some(_) => (answer, output.lines()),
    }
}

fn spawn(command: &[String]) -> std::io::Result<(tokio::process::Child, pipe::Receiver)> {
    let (reader, writer) = std::io::pipe()?;
    let child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let receiver = pipe::Receiver::from_owned_fd(reader.into())?;
    Ok((child, receiver))
}

/// The end of what a command says.
struct Output {
    from: pipe::Receiver,
    kept: Vec<u8>,
    ended: bool,
}

impl Output {
    fn new(from: pipe::Receiver) -> Self {
        Self {
            from,
            kept: Vec::new(),
            ended: false,
        }
    }

    async fn read(&mut self) {
        let mut part = [0; KEPT];
        while !self.ended {
            match self.from.read(&mut part).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(read) => {
                    self.kept.extend(&part[..read]);
                    let more = self.kept.len().saturating_sub(KEPT);
                    self.kept.drain(..more);
                }
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.kept);
        text.lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::File;

    async fn ran(script: &str, limit: Duration) -> (Answer, Vec<String>) {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&command, limit).await
    }

    #[tokio::test]
    async fn a_command_answers_by_its_status_and_says_why_only_if_it_fails() {
        let limit = Duration::from_secs(10);
        assert_eq!(
            ran("echo fine", limit).await,
            (Answer::default(), Vec::new())
        );
        let failed = ran("echo no; echo connection >&2; exit 2", limit).await;
        let said = ["no", "connection"].map(str::to_owned).to_vec();
        let why = Answer::wrong("`sh` ended with exit status: 2");
        assert_eq!(failed, (why, said));
        let missing = run(&["/no/such/program".to_owned()], limit).await;
        let why = "`/no/such/program` could not be run: No such file or directory (os error 2)";
        assert_eq!(missing, (Answer::wrong(why), Vec::new()));
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_output_is_kept() {
        let (_, said) = ran(
            "yes no | head -n 100000; echo end; exit 1",
            Duration::from_secs(10),
        )
        .await;
        let length: usize = said.iter().map(|line| line.len() + 1).sum();
        assert_eq!((length, said.last().unwrap().as_str()), (KEPT, "end"));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        // Open as long as anybody who may write to it lives.
        let path = directory.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut reader = pipe::OpenOptions::new().open_receiver(&path).unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        let script = format!("sleep 1000 >{} & wait", path.display());
        let (answer, said) = ran(&script, Duration::from_millis(300)).await;
        assert_eq!(answer, Answer::wrong("`sh` did not end within 300ms"));
        assert_eq!(said, Vec::<String>::new());
        drop(writer);
        let closed = timeout(Duration::from_secs(60), reader.read(&mut [0])).await;
        assert_eq!(closed.expect("it lives on").unwrap(), 0);
    }
}
