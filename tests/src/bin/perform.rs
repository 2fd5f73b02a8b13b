//! Carries out single steps on the systemd of the machine that it runs in: `check NAME`, `ready NAME` or
//! `task NAME TASK` of `/etc/zdt/zdt.toml`.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use zdt_units::event::{Event, Outcome};
use zdt_units::execute::{Interrupts, carry_out};
use zdt_units::host::systemd::Systemd;
use zdt_units::model::{Health, Model, Task, UnitName};
use zdt_units::plan::{Action, OnFailure, Step};
use zdt_units::report::human;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    #[expect(clippy::disallowed_methods, reason = "a program of the tests")]
    let text = std::fs::read_to_string("/etc/zdt/zdt.toml")?;
    let model = Model::read("zdt.toml", &text).map_err(|_| "zdt.toml has mistakes")?;
    let action = action(&model, &words).ok_or("check NAME, ready NAME or task NAME TASK")?;

    let mut host = Systemd::connect().await?;
    let started = tokio::time::Instant::now();
    let (_sender, mut interrupts) = Interrupts::channel();
    #[expect(clippy::print_stdout, reason = "a test reads it")]
    let mut tell = |kind| {
        let event = Event::new("", "", started.elapsed(), kind);
        print!("{}", human::lines(&event));
    };
    let step = Step {
        action,
        limit: Duration::from_secs(60),
        on_failure: OnFailure::LookNow,
    };
    let outcome = carry_out(&[step], &[], &mut host, &mut interrupts, &mut tell).await;
    Ok(match outcome {
        Outcome::Completed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn action(model: &Model, words: &[&str]) -> Option<Action> {
    let health = |name: &str| -> Option<(UnitName, Health)> {
        let ours = model.service(name);
        let ours = ours.and_then(|service| Some((service.unit(), service.health.clone()?)));
        ours.or_else(|| {
            let theirs = model
                .foreign
                .iter()
                .find(|unit| unit.name.as_str() == name)?;
            Some((theirs.unit.clone(), theirs.health.clone()?))
        })
    };
    Some(match words {
        ["check", name] => {
            let (unit, health) = health(name)?;
            Action::CheckHealth { unit, health }
        }
        ["ready", name] => {
            let (unit, health) = health(name)?;
            Action::AwaitReady {
                unit,
                before: None,
                health,
            }
        }
        ["task", name, task] => {
            let task = Task::ALL
                .into_iter()
                .find(|known| known.to_string() == *task)?;
            let unit = UnitName::task(&model.service(name)?.name, task);
            Action::RunTask { unit, task }
        }
        _ => return None,
    })
}
