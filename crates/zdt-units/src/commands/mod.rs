//! The edge: reads arguments and files, calls the deciding code, does, reports.

mod balancer;
mod carry_out;
mod config_file;
mod dashboard;
mod demo;
mod demo_app;
mod deploy;
mod detach;
mod doctor;
mod events;
mod exec;
mod explain;
mod generate;
mod guard;
mod held;
mod hold;
mod install;
mod launcher;
mod listen;
mod logs;
mod named;
mod operation;
mod package;
mod probe;
mod recover;
mod releases;
mod restart;
mod rollback;
mod run;
mod scope;
mod status;
mod stop;
mod sweep;
mod uninstall;
mod verify;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit_code;
use crate::host::Failure;
use crate::model::Mistake;

/// Runs the command line of this process and says how to exit.
pub fn main() -> ExitCode {
    if let Some(args) = exec::only() {
        return exec::run(&args);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => {
            // Help and version come this way too, and are no failure. A closed
            // terminal is no reason for another status.
            let _ = shown.print();
            return match shown.use_stderr() {
                true => ExitCode::from(exit_code::USAGE),
                false => ExitCode::from(exit_code::DONE),
            };
        }
    };
    let done = match &cli.command {
        Command::Generate(args) => generate::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Schema => package::schema(),
        Command::Completions(args) => package::completions(args),
        Command::Man(args) => package::man(args),
        Command::Install(args) => install::run(args),
        Command::Uninstall(args) => uninstall::run(args),
        Command::Probe(args) => return probe::run(args),
        Command::Restart(args) => restart::run(args),
        Command::Stop(args) => stop::stop(args),
        Command::Start(args) => stop::start(args),
        Command::Deploy(args) => deploy::run(args),
        Command::Rollback(args) => rollback::run(args),
        Command::Releases(args) => releases::run(args),
        Command::Recover(args) => recover::run(args),
        Command::Balancer(args) => balancer::run(args),
        Command::Hold(args) => hold::run(args),
        Command::Held(args) => held::run(args),
        Command::Status(args) => status::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Events(args) => events::run(args),
        Command::History(args) => events::history(args),
        Command::Dashboard(args) => dashboard::run(args),
        Command::Run(args) => run::run(args),
        Command::Resume(args) => run::resume(args),
        Command::Exec(args) => return exec::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Logs(args) => logs::run(args),
        Command::Shutdown(args) => launcher::shutdown(args),
        Command::Upgrade(args) => launcher::upgrade(args),
        Command::Unit(args) => launcher::unit(args),
        Command::Verify(args) => verify::run(args),
        Command::Demo(args) => demo::run(args),
        Command::DemoApp(args) => demo_app::run(args),
    };
    ExitCode::from(match done {
        Ok(code) => code,
        Err(failed) => {
            failed.show();
            failed.code()
        }
    })
}

/// Data goes to standard output, and a reader that went away is a failure.
fn print(text: &str) -> Result<(), Failed> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|source| {
            Failed::unexpected(format!("failed to write to standard output: {source}"))
        })
}

/// What could not be done as it was meant; a closed terminal is no reason to stop.
fn note(notes: &[String]) {
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    let _ = std::io::stderr().write_all(notes.as_bytes());
}

/// It ends before anything was changed.
fn stopped(failure: Failure) -> Failed {
    let failed = Failed::said(exit_code::STOPPED, failure.reason);
    match failure.hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Something was changed, and a person has to look.
fn look_now(failure: Failure) -> Failed {
    said(exit_code::LOOK_NOW, failure)
}

fn said(code: u8, failure: Failure) -> Failed {
    let mut text = failure.reason;
    for line in failure.output {
        text.push_str(&format!("\n  {line}"));
    }
    let failed = Failed::said(code, text);
    match failure.hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Why a command could not be carried out.
#[derive(Debug)]
enum Failed {
    /// Already rendered, with places in the text.
    Mistakes(String),
    /// None of them hides the others.
    Several(Box<Failed>, Box<Failed>),
    Said {
        code: u8,
        message: String,
        hint: Option<String>,
    },
}

impl Failed {
    fn config(message: impl Into<String>) -> Self {
        Self::said(exit_code::CONFIG, message)
    }

    /// A word of the command line that is not what it has to be.
    fn usage(mistake: Mistake) -> Self {
        let failed = Self::said(exit_code::USAGE, mistake.message);
        match mistake.hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }

    /// What a `zdt.toml` that is right by itself does not do for.
    fn mistakes(mistakes: Vec<Mistake>) -> Self {
        let each = mistakes.into_iter().map(|mistake| Self::Said {
            code: exit_code::CONFIG,
            message: mistake.message,
            hint: mistake.hint,
        });
        let all = each.reduce(|one, other| Self::Several(Box::new(one), Box::new(other)));
        all.unwrap_or_else(|| Self::config("something is wrong, and nobody said what"))
    }

    fn unexpected(message: impl Into<String>) -> Self {
        Self::said(exit_code::UNEXPECTED, message)
    }

    fn said(code: u8, message: impl Into<String>) -> Self {
        Self::Said {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// Both, or all that is wrong with them.
    fn all<A, B>(one: Result<A, Self>, other: Result<B, Self>) -> Result<(A, B), Self> {
        match (one, other) {
            (Ok(one), Ok(other)) => Ok((one, other)),
            (Err(one), Err(other)) => Err(Self::Several(Box::new(one), Box::new(other))),
            (Err(failed), Ok(_)) | (Ok(_), Err(failed)) => Err(failed),
        }
    }

    fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Said { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// Without the hint.
    fn message(self) -> String {
        match self {
            Self::Mistakes(message) | Self::Said { message, .. } => message,
            Self::Several(one, other) => format!("{}; {}", one.message(), other.message()),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Mistakes(_) => exit_code::CONFIG,
            Self::Several(one, _) => one.code(),
            Self::Said { code, .. } => *code,
        }
    }

    /// A closed terminal is no reason to stop.
    fn show(&self) {
        let _ = std::io::stderr().write_all(self.text().as_bytes());
    }

    fn text(&self) -> String {
        match self {
            Self::Mistakes(text) => text.clone(),
            Self::Several(one, other) => format!("{}\n{}", one.text(), other.text()),
            Self::Said { message, hint, .. } => match hint {
                Some(hint) => format!("error: {message}\n\nhint: {hint}\n"),
                None => format!("error: {message}\n"),
            },
        }
    }
}
