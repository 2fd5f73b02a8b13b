//! `zdt-units run --detach`: a launcher in the background, and what `run` itself starts.

#![expect(
    clippy::disallowed_methods,
    reason = "starts a process, and opens the file that it speaks to"
)]

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::config_file::{self, Read as Config};
use super::named::refuse_unknown;
use super::operation::stopped;
use super::scope::place_of;
use super::{Failed, operation};
use crate::cli::RunArgs;
use crate::exit_code;
use crate::host::launcher::Launcher;
use crate::host::launcher::place::Place;
use crate::host::look::awaits_release;
use crate::host::supervisor::protocol::UnitReport;
use crate::model::{Service, UnitName};
use crate::observe::Active;

/// Between two looks whether it is there, and ready.
const SOON: Duration = Duration::from_millis(50);
/// It binds its sockets and begins to listen for commands.
const BEGINS: Duration = Duration::from_secs(30);
/// Besides what each of its services may take to be ready.
const SLACK: Duration = Duration::from_secs(10);
/// Of its last words.
const LAST: u64 = 4096;

pub(super) fn run(args: &RunArgs) -> Result<u8, Failed> {
    let own = Own::of(args)?;
    operation::runtime()?.block_on(async {
        match own.runs().await? {
            Some(pid) => say(&format!("the launcher runs already (process {pid})")),
            None => own.start().await?,
        }
        own.await_ready().await
    })
}

/// The launcher of one `zdt.toml`.
pub(super) struct Own {
    config: Config,
    place: Place,
    /// Only these.
    services: Vec<String>,
}

impl Own {
    pub(super) fn of(args: &RunArgs) -> Result<Self, Failed> {
        let config = config_file::read(&args.config)?;
        let services: Vec<String> = args.services.clone();
        refuse_unknown(&config.model, &services)?;
        Ok(Self {
            place: place_of(&config)?,
            config,
            services,
        })
    }

    /// Its process, if one answers.
    pub(super) async fn runs(&self) -> Result<Option<u32>, Failed> {
        let launcher = Launcher::find(&self.place.control).await;
        let launcher = launcher.map_err(stopped)?;
        Ok(launcher.map(|launcher| launcher.about().pid))
    }

    /// What this program was called with, as far as `kept` leaves it.
    pub(super) fn launcher(
        &self,
        kept: fn(Vec<OsString>) -> Vec<OsString>,
    ) -> Result<Command, Failed> {
        let mut command = Command::new(own_program()?);
        command.args(kept(std::env::args_os().skip(1).collect()));
        Ok(command)
    }

    /// As a person restarts all that this launcher runs.
    pub(super) fn restart(&self) -> Result<Command, Failed> {
        let mut command = Command::new(own_program()?);
        command.arg("restart");
        match self.services.is_empty() {
            true => command.arg("--all"),
            false => command.args(&self.services),
        };
        command.arg("--config").arg(&self.config.path);
        command.arg("--control").arg(&self.place.control);
        Ok(command)
    }

    /// Until it answers.
    async fn start(&self) -> Result<(), Failed> {
        self.place.make().map_err(stopped)?;
        let speech = self.place.speech();
        let failed = |what: &str, error: &io::Error| {
            let path = speech.display();
            Failed::said(
                exit_code::REFUSED,
                format!("failed to {what} `{path}`: {error}"),
            )
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&speech)
            .map_err(|error| failed("open", &error))?;
        let before = file
            .metadata()
            .map_err(|error| failed("look at", &error))?
            .len();
        let other = file.try_clone().map_err(|error| failed("open", &error))?;
        let mut child = self
            .launcher(in_background)?
            .stdin(Stdio::null())
            .stdout(other)
            .stderr(file)
            .spawn()
            .map_err(|error| failed("start a launcher that writes to", &error))?;
        let end = Instant::now() + BEGINS;
        while Instant::now() < end {
            if let Ok(Some(status)) = child.try_wait() {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                let what = format!(
                    "the launcher ended ({status}):\n{}",
                    last_words(&speech, before)
                );
                let code = code.filter(|code| *code != exit_code::DONE);
                return Err(Failed::said(code.unwrap_or(exit_code::REFUSED), what));
            }
            if let Some(pid) = self.runs().await? {
                say(&format!(
                    "the launcher runs (process {pid}); what it says is in `{}`",
                    speech.display()
                ));
                return Ok(());
            }
            sleep(SOON).await;
        }
        terminate(&child);
        let what = format!(
            "the launcher does not answer at `{}`:\n{}",
            self.place.control.display(),
            last_words(&speech, before)
        );
        Err(Failed::said(exit_code::REFUSED, what))
    }

    async fn await_ready(&self) -> Result<u8, Failed> {
        let services = self.config.model.services.iter().filter(|service| {
            let mut names = self.services.iter();
            self.services.is_empty() || names.any(|name| name == service.name.as_str())
        });
        // Their sockets are open, and there is nothing yet that could be ready.
        let (waiting, services): (Vec<&Service>, Vec<_>) =
            services.partition(|service| awaits_release(service));
        let longest = services.iter().map(|service| service.start_timeout).max();
        let end = Instant::now() + longest.unwrap_or_default() + SLACK;
        let launcher = Launcher::connect(&self.place.control).await;
        let launcher = launcher.map_err(stopped)?;
        loop {
            let reports = launcher.units(&[]).await.map_err(stopped)?;
            let states = services.iter().flat_map(|service| service.instances());
            let states: Vec<(UnitName, Readiness)> = states
                .map(|unit| {
                    let readiness = Readiness::of(&unit, &reports);
                    (unit, readiness)
                })
                .collect();
            let late = Instant::now() >= end;
            let failed = |readiness: &Readiness| match readiness {
                Readiness::Ready => false,
                Readiness::Starting => late,
                Readiness::Failed => true,
            };
            let failed: Vec<&UnitName> = states
                .iter()
                .filter(|(_, readiness)| failed(readiness))
                .map(|(unit, _)| unit)
                .collect();
            if !failed.is_empty() {
                return Err(not_ready(&failed, &reports));
            }
            if states.iter().all(|(_, state)| *state == Readiness::Ready) {
                waiting
                    .iter()
                    .for_each(|service| say_what_is_missing(service));
                match (waiting.is_empty(), services.is_empty()) {
                    (true, _) => say("all services are ready"),
                    (false, true) => {}
                    (false, false) => say("all other services are ready"),
                }
                return Ok(exit_code::DONE);
            }
            sleep(SOON).await;
        }
    }
}

fn say_what_is_missing(service: &Service) {
    let name = &service.name;
    let of = service.companion.as_ref().map_or(name, |head| &head.of);
    say(&format!(
        "`{name}` has no release yet: `zdt-units deploy {of} --from PATH` starts it"
    ));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    Starting,
    Failed,
}

impl Readiness {
    fn of(unit: &UnitName, reports: &[UnitReport]) -> Self {
        let report = reports.iter().find(|report| report.state.unit == *unit);
        match report.map(|report| &report.state) {
            Some(state) if state.serves() => Self::Ready,
            Some(state) if state.active == Active::Failed => Self::Failed,
            // One that ended before it was ever ready is started again, which rarely helps; it may yet.
            _ => Self::Starting,
        }
    }
}

fn not_ready(units: &[&UnitName], reports: &[UnitReport]) -> Failed {
    let mut text = Vec::new();
    for unit in units {
        let report = reports.iter().find(|report| report.state.unit == **unit);
        text.push(match report.map(|report| &report.state) {
            Some(state) => format!(
                "`{unit}` is not ready: it is {} ({})",
                state.active, state.sub
            ),
            None => format!("`{unit}` is not ready: the launcher does not have it"),
        });
        let output = report.into_iter().flat_map(|report| &report.output);
        text.extend(output.map(|line| format!("  {line}")));
    }
    let hint = format!("`zdt-units logs {}` has more", units[0]);
    Failed::said(exit_code::LOOK_NOW, text.join("\n")).hint(hint)
}

/// The arguments without those of the background.
fn in_background(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut arguments = without(arguments, &["--detach"], &[]);
    arguments.push("--detached".into());
    arguments
}

/// The arguments without those of the development mode.
pub(super) fn without_watch(arguments: Vec<OsString>) -> Vec<OsString> {
    without(arguments, &[], &["--watch", "--build"])
}

/// Flags, and those that take a value, up to `--`.
fn without(arguments: Vec<OsString>, flags: &[&str], valued: &[&str]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--" {
            kept.push(argument);
            kept.extend(arguments.by_ref());
        } else if valued.contains(&text.as_ref()) {
            arguments.next();
        } else {
            let name = text.split('=').next().unwrap_or_default();
            if !flags.contains(&name) && !valued.contains(&name) {
                kept.push(argument);
            }
        }
    }
    kept
}

/// This program; where its file was replaced, the one that has its name now.
fn own_program() -> Result<PathBuf, Failed> {
    let own = std::env::current_exe()
        .map_err(|error| Failed::unexpected(format!("failed to find this program: {error}")))?;
    let text = own.to_string_lossy();
    Ok(match text.strip_suffix(" (deleted)") {
        Some(path) if Path::new(path).exists() => PathBuf::from(path),
        _ => own,
    })
}

pub(super) fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// What was written to `path` after it had so many bytes.
fn last_words(path: &Path, before: u64) -> String {
    let read = || {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(before.max(length.saturating_sub(LAST))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(its words cannot be read: {error})"))
}

/// Nobody is left to hear that standard error is closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Vec<OsString> {
        words.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_launcher_is_called_as_this_program_was() {
        let words = of("run --detach --config a.toml shop");
        assert_eq!(
            in_background(words),
            of("run --config a.toml shop --detached")
        );
        let words = of("run --watch src --config=a.toml --build=make --watch=web --build x shop");
        assert_eq!(without_watch(words), of("run --config=a.toml shop"));
        let words = of("run --listen :80 -- app --watch x --detach");
        assert_eq!(without_watch(words.clone()), words);
    }
}
