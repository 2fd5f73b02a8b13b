//! `zdt-units run --watch`: builds and restarts when files change, while the launcher serves.

#![expect(
    clippy::disallowed_methods,
    reason = "builds, restarts and the launcher are processes"
)]

mod rounds;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::rounds::{Rounds, is_ignored};
use super::detach::{self, Own};
use super::{Failed, operation};
use crate::cli::RunArgs;
use crate::exit_code;

pub(super) fn run(args: &RunArgs) -> Result<u8, Failed> {
    let own = Own::of(args)?;
    operation::runtime()?.block_on(async {
        let (sender, changes) = mpsc::unbounded_channel();
        // Watched first: what changes during the first build is seen.
        let _watcher = watch(&args.watch, sender)?;
        let mut dev = Dev {
            args,
            own,
            launcher: Launched::Not,
        };
        let done = dev.rounds(changes).await;
        match &mut dev.launcher {
            Launched::Here(child) => ended(child.wait().await).and(done),
            Launched::Not | Launched::Elsewhere => done,
        }
    })
}

/// Tells of each path that changes below `roots`.
fn watch(
    roots: &[PathBuf],
    sender: mpsc::UnboundedSender<PathBuf>,
) -> Result<RecommendedWatcher, Failed> {
    let failed = |what: String, error: &notify::Error| {
        let failed = Failed::said(
            exit_code::REFUSED,
            format!("failed to watch {what}: {error}"),
        );
        match &error.kind {
            notify::ErrorKind::MaxFilesWatch => failed.hint(
                "watch less, or allow more with `sysctl -w fs.inotify.max_user_watches=524288`",
            ),
            _ => failed,
        }
    };
    // What the watcher tells of is absolute where it was asked so.
    let absolute: Vec<PathBuf> = roots
        .iter()
        .map(|root| root.canonicalize())
        .collect::<io::Result<_>>()
        .map_err(|error| failed("all of the paths".to_owned(), &notify::Error::io(error)))?;
    let below = absolute.clone();
    let told = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else {
            return;
        };
        let paths = event.paths.into_iter();
        for path in paths.filter(|_| counts(event.kind)) {
            let root = below.iter().find(|root| path.starts_with(root));
            let inside = root.and_then(|root| path.strip_prefix(root).ok());
            if !inside.is_some_and(is_ignored) {
                let _ = sender.send(path);
            }
        }
    };
    let mut watcher =
        notify::recommended_watcher(told).map_err(|error| failed("anything".to_owned(), &error))?;
    for root in &absolute {
        watcher
            .watch(root, RecursiveMode::Recursive)
            .map_err(|error| failed(format!("`{}`", root.display()), &error))?;
    }
    Ok(watcher)
}

/// Whether the content may be another one: to read a file changes nothing.
fn counts(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    }
}

/// Who runs the services.
enum Launched {
    /// The first build has not succeeded yet.
    Not,
    Here(Child),
    /// It was there before, and stays.
    Elsewhere,
}

struct Dev<'a> {
    args: &'a RunArgs,
    own: Own,
    launcher: Launched,
}

impl Dev<'_> {
    async fn rounds(
        &mut self,
        mut changes: mpsc::UnboundedReceiver<PathBuf>,
    ) -> Result<u8, Failed> {
        let failed =
            |error: io::Error| Failed::unexpected(format!("failed to listen for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let began = Instant::now();
        let mut rounds = Rounds::default();
        let mut work = Work::first(self.args);
        loop {
            let due = rounds.due().map(|due| began + due);
            tokio::select! {
                Some(path) = changes.recv() => {
                    if rounds.changed(began.elapsed()) {
                        say(&format!("`{}` has changed", shown(&path)));
                    }
                }
                () = until(due) => {
                    rounds.begin();
                    work = Work::first(self.args);
                }
                step = work.ended() => {
                    work = self.next(step).await?;
                    if matches!(work, Work::Nothing) {
                        rounds.ended(began.elapsed());
                    }
                }
                status = self.launcher.ended() => return ended(status),
                _ = interrupt.recv() => return Ok(exit_code::DONE),
                _ = terminate.recv() => {
                    self.launcher.terminate();
                    return Ok(exit_code::DONE);
                }
            }
        }
    }

    async fn next(&mut self, step: Step) -> Result<Work, Failed> {
        match step {
            Step::Apply => self.apply().await,
            Step::Built(status) if is_success(&status) => self.apply().await,
            Step::Built(status) => {
                let who = match self.launcher {
                    Launched::Not => "nothing was started",
                    Launched::Here(_) | Launched::Elsewhere => "what was there goes on serving",
                };
                say(&format!("the build failed ({}); {who}", told(status)));
                Ok(Work::Nothing)
            }
            Step::Restarted(status) => {
                if !is_success(&status) {
                    say(&format!("the restart failed ({})", told(status)));
                }
                Ok(Work::Nothing)
            }
        }
    }

    /// The first time the launcher, and then a restart of what it runs.
    async fn apply(&mut self) -> Result<Work, Failed> {
        if !matches!(self.launcher, Launched::Not) {
            return spawn(self.own.restart()?).map(Work::Restart);
        }
        self.launcher = match self.own.runs().await? {
            Some(pid) => {
                say(&format!("the launcher runs already (process {pid})"));
                return spawn(self.own.restart()?)
                    .map(Work::Restart)
                    .inspect(|_| self.launcher = Launched::Elsewhere);
            }
            None => Launched::Here(spawn(self.own.launcher(detach::without_watch)?)?),
        };
        Ok(Work::Nothing)
    }
}

impl Launched {
    /// Never, where it is not ours.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Here(child) => child.wait().await,
            Self::Not | Self::Elsewhere => std::future::pending().await,
        }
    }

    fn terminate(&self) {
        if let Self::Here(child) = self {
            detach::terminate(child);
        }
    }
}

/// What is going on.
enum Work {
    Nothing,
    /// It begins with the build, if there is one.
    Apply,
    Build(Child),
    Restart(Child),
}

impl Work {
    fn first(args: &RunArgs) -> Self {
        let Some(build) = &args.build else {
            return Self::Apply;
        };
        say(&format!("building: {}", build.to_string_lossy()));
        match spawn(shell(build)) {
            Ok(child) => Self::Build(child),
            Err(failed) => {
                failed.show();
                Self::Nothing
            }
        }
    }

    /// When what goes on has ended. Cancel-safe: a child is waited for again.
    async fn ended(&mut self) -> Step {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Apply => Step::Apply,
            Self::Build(child) => Step::Built(child.wait().await),
            Self::Restart(child) => Step::Restarted(child.wait().await),
        }
    }
}

/// What has ended, and how.
enum Step {
    Apply,
    Built(io::Result<ExitStatus>),
    Restarted(io::Result<ExitStatus>),
}

fn is_success(status: &io::Result<ExitStatus>) -> bool {
    status.as_ref().is_ok_and(ExitStatus::success)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn shell(build: &OsString) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(build);
    command
}

fn spawn(mut command: Command) -> Result<Child, Failed> {
    let command = command.stdin(Stdio::null());
    command.spawn().map_err(|error| {
        let program = command.as_std().get_program().to_string_lossy();
        Failed::unexpected(format!("failed to run `{program}`: {error}"))
    })
}

fn told(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// As the launcher ended, so does this.
fn ended(status: io::Result<ExitStatus>) -> Result<u8, Failed> {
    let code = status
        .ok()
        .and_then(|status| u8::try_from(status.code()?).ok());
    Ok(code.unwrap_or(exit_code::UNEXPECTED))
}

/// As a person in this directory calls it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below
        .unwrap_or_else(|| path.to_owned())
        .display()
        .to_string()
}

/// Nobody is left to hear that standard error is closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "watch: {text}");
}

/// How long nothing has to change before it counts as done, and the longest that is waited for that.
const QUIET: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);
