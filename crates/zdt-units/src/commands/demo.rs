//! `zdt-units demo`: restarts under load, shown.
//!
//! Standard output carries the results; what goes on is told on standard error.

#![expect(
    clippy::disallowed_methods,
    reason = "whether colour is wanted is told by the environment"
)]

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Failed, print};
use crate::cli::DemoArgs;
use crate::config::Colour;
use crate::demo::{self, Compared, DemoError, Measured, Program, Progress, Schedule};
use crate::exit_code;

pub(super) fn run(args: &DemoArgs) -> Result<u8, Failed> {
    let schedule = match args.quick {
        true => Schedule::quick(),
        false => Schedule::full(),
    };
    // A limit that cannot be raised shows as faults of the client, if it is ever reached.
    let _ = crate::probe::raise_file_limit();
    say(&demo::introduction(schedule));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::unexpected(format!("failed to start the runtime: {error}")))?;
    let compared = runtime.block_on(async {
        tokio::select! {
            compared = compare(schedule) => compared.map_err(|error| Failed::unexpected(error.to_string())),
            _ = tokio::signal::ctrl_c() => Err(Failed::unexpected("interrupted")),
        }
    })?;

    match args.json {
        true => print(&json(&compared)?)?,
        false => print(&demo::results(&compared, colour()))?,
    }
    Ok(match compared.lost() {
        _ if !compared.is_valid() => exit_code::UNEXPECTED,
        0 => exit_code::DONE,
        _ => exit_code::LOST,
    })
}

async fn compare(schedule: Schedule) -> Result<Compared, DemoError> {
    let zdt = measure("zdt", Program::Zdt, schedule).await?;
    let stock = measure("stock", Program::Stock, schedule).await?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Compared::new(zdt, stock, cpus))
}

async fn measure(name: &str, program: Program, schedule: Schedule) -> Result<Measured, DemoError> {
    let bar = Bar::new(name, schedule);
    demo::measure(program, schedule, |progress| bar.show(progress)).await
}

/// A bar for a person who watches, a line for each restart otherwise.
struct Bar {
    name: String,
    restarts: u32,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new(name: &str, schedule: Schedule) -> Self {
        let style = ProgressStyle::with_template("  {prefix:<8}{bar:30.cyan/dim} {msg}")
            .expect("the template is well-formed")
            .progress_chars("━━╌");
        let length = u64::try_from(schedule.length().as_millis()).unwrap_or(u64::MAX);
        Self {
            name: name.to_owned(),
            restarts: schedule.restarts(),
            bar: io::stderr().is_terminal().then(|| {
                ProgressBar::new(length)
                    .with_style(style)
                    .with_prefix(name.to_owned())
            }),
        }
    }

    fn show(&self, progress: Progress) {
        match (progress, &self.bar) {
            (Progress::Running { elapsed, ok, lost }, Some(bar)) => {
                bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
                bar.set_message(format!("{ok} answered, {lost} lost"));
            }
            (Progress::Restarted { nth, took }, None) => {
                let Self { name, restarts, .. } = self;
                let took = seconds(took);
                say(&format!(
                    "  {name}: restart {nth} of {restarts} took {took}\n"
                ));
            }
            _ => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn json(compared: &Compared) -> Result<String, Failed> {
    serde_json::to_string(compared)
        .map(|text| text + "\n")
        .map_err(|error| Failed::unexpected(format!("failed to write the results: {error}")))
}

fn colour() -> Colour {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match wanted && io::stdout().is_terminal() {
        true => Colour::Always,
        false => Colour::Never,
    }
}

/// Nobody is left to hear that standard error is closed.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
