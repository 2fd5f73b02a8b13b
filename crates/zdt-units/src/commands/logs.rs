//! `zdt-units logs`: what services printed.

#![expect(
    clippy::disallowed_methods,
    reason = "the journal is read by `journalctl`"
)]

use std::io::{self, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::named::unknown_name;
use super::operation::{runtime, stopped};
use super::scope::{self, Scope};
use super::{Failed, look_now};
use crate::cli::LogsArgs;
use crate::exit_code;
use crate::host::launcher::Launcher;
use crate::host::supervisor::protocol::{Answer, Line, Question};
use crate::model::{Model, UnitName};

pub(super) fn run(args: &LogsArgs) -> Result<u8, Failed> {
    let (read, scope) = scope::reach(&args.config, args.user, &args.control)?;
    refuse_unknown(&read.model, &args.of)?;
    match scope {
        Scope::Launcher(reached) => runtime()?.block_on(async {
            let launcher = Launcher::connect(&reached.control).await.map_err(stopped)?;
            tokio::select! {
                shown = show(args, &launcher) => shown,
                _ = tokio::signal::ctrl_c() => Ok(exit_code::DONE),
            }
        }),
        Scope::System | Scope::User { .. } | Scope::Image(_) => {
            let error = journal(args, &read.model).exec();
            Err(Failed::said(
                exit_code::STOPPED,
                format!("failed to run `journalctl`: {error}"),
            ))
        }
    }
}

async fn show(args: &LogsArgs, launcher: &Launcher) -> Result<u8, Failed> {
    let question = Question::Logs {
        of: args.of.clone(),
        lines: args.lines,
        follow: args.follow,
    };
    let mut answers = launcher.ask(&question).await.map_err(stopped)?;
    while let Some(answer) = answers.next().await {
        match answer {
            Answer::Line(line) if write(&text(&line))? => {}
            Answer::Failed(refusal) => return Err(look_now(refusal.failure())),
            Answer::Line(_) => break,
            _ => {}
        }
    }
    Ok(exit_code::DONE)
}

/// `2026-11-21T20:00:00.123Z shop@2[17]: text`.
fn text(line: &Line) -> String {
    let unit = line.unit.as_str();
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    format!(
        "{} {name}[{}]: {}\n",
        humantime::format_rfc3339_millis(line.time),
        line.pid,
        line.text
    )
}

/// Whether anybody still reads.
fn write(text: &str) -> Result<bool, Failed> {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failed::unexpected(format!(
            "failed to write to standard output: {error}"
        ))),
    }
}

fn journal(args: &LogsArgs, model: &Model) -> Command {
    let mut command = Command::new("journalctl");
    command.arg(format!("--lines={}", args.lines));
    command.args(args.follow.then_some("--follow"));
    let unit = match args.user {
        true => "--user-unit",
        false => "--unit",
    };
    for pattern in patterns(model, &args.of) {
        command.args([unit, &pattern]);
    }
    command
}

/// All units of the services that are named, with those that stand in and those that do one thing.
fn patterns(model: &Model, of: &[String]) -> Vec<String> {
    let all: Vec<String>;
    let wanted = match of.is_empty() {
        false => of,
        true => {
            let services = model.services.iter();
            all = services.map(|service| service.name.to_string()).collect();
            &all
        }
    };
    let mut patterns = Vec::new();
    for name in wanted {
        match model.service(name) {
            None => {
                let mut foreign = model.foreign.iter();
                let foreign = foreign.find(|foreign| foreign.name.as_str() == name);
                patterns.push(foreign.map_or_else(|| name.clone(), |unit| unit.unit.to_string()));
            }
            Some(service) => {
                patterns.extend([
                    format!("{name}.service"),
                    format!("{name}-standby.service"),
                    format!("{name}@*.service"),
                ]);
                let tasks = service.tasks().into_iter();
                patterns
                    .extend(tasks.map(|(task, _)| UnitName::task(&service.name, task).to_string()));
            }
        }
    }
    patterns
}

/// A unit has a suffix, and a service has none.
fn refuse_unknown(model: &Model, of: &[String]) -> Result<(), Failed> {
    let own = model.services.iter().map(|service| service.name.as_str());
    let foreign = model.foreign.iter().map(|unit| unit.name.as_str());
    let known: Vec<&str> = own.chain(foreign).collect();
    let mut names = of.iter().map(String::as_str);
    match names.find(|name| !name.contains('.') && !known.contains(name)) {
        Some(name) => Err(unknown_name(name, &known)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_line_says_when_who_and_what() {
        let line = Line {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            unit: UnitName::parse("shop@2.service").unwrap(),
            pid: 17,
            error: true,
            text: "it failed".to_owned(),
        };
        assert_eq!(
            text(&line),
            "2023-11-14T22:13:20.123Z shop@2[17]: it failed\n"
        );
    }

    #[test]
    fn a_service_of_systemd_is_all_of_its_units() {
        let text = "[service.shop]\nexec = [\"/usr/bin/shop\"]\nlisten = [\"127.0.0.1:8080\"]\n";
        let model = Model::read("zdt.toml", text).unwrap();
        let wanted = ["shop.service", "shop-standby.service", "shop@*.service"];
        assert_eq!(patterns(&model, &[]), wanted);
        assert_eq!(patterns(&model, &["shop".to_owned()]), wanted);
        let unit = ["shop@2.service".to_owned()];
        assert_eq!(patterns(&model, &unit), unit);
    }
}
