//! A booted systemd and the units in it.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, PROGRAMS};
use zdt_units::model::Model;
use zdt_units::render::{Target, render};

use crate::Result;

/// Where systemd and scripts find `zdt-units`.
const LAUNCHER: &str = "/usr/local/bin/zdt-units";

/// Whether this program was started as `zdt-units`, which it is in the machines of [`boot`], or by itself as that: then
/// nothing has to be built beside it, and what is measured is what was built.
pub(crate) fn is_called_as_launcher() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name() == Path::new(LAUNCHER).file_name() || name == "/proc/self/exe"
}

/// A machine that shows this program, as `zdt-units` too.
pub(crate) fn boot() -> Result<Machine> {
    let machine = Machine::builder()
        .program(std::env::current_exe()?)
        .boot()?;
    let link = ["ln", "--symbolic", "--force", &program()?, LAUNCHER];
    machine.run(&link)?.ok()?;
    zdt_units::probe::raise_file_limit()?;
    Ok(machine)
}

/// Runs `work` in the machine's network, with a runtime whose threads are there too.
pub(crate) fn in_net<T: Send>(
    machine: &Machine,
    work: impl AsyncFnOnce() -> Result<T> + Send,
) -> Result<T> {
    machine.in_net(|| tokio::runtime::Runtime::new()?.block_on(work()))?
}

/// Where the machine has this program.
fn program() -> Result<String> {
    let path = std::env::current_exe()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{PROGRAMS}/{name}"))
}

/// How the machine calls this program as a server.
pub(crate) fn server(arguments: &str) -> Result<String> {
    Ok(format!("{} server {arguments}", program()?))
}

/// The `zdt.toml` of a service `name` that runs `command`.
pub(crate) fn zdt_toml(name: &str, command: &str, settings: &str) -> String {
    let words: Vec<String> = command.split(' ').map(|word| format!("{word:?}")).collect();
    let exec = words.join(", ");
    format!("[service.{name}]\nexec = [{exec}]\n{settings}\n")
}

/// The units that `zdt-units generate` writes.
pub(crate) fn generate(zdt_toml: &str) -> Result<Vec<(String, String)>> {
    let model = Model::read("zdt.toml", zdt_toml).map_err(|mistakes| format!("{mistakes:?}"))?;
    let rendered = render(&model, "zdt.toml", Target::default());
    Ok(rendered
        .units
        .iter()
        .map(|unit| (unit.name.to_string(), unit.to_string()))
        .collect())
}

/// Writes units and starts `wanted` of them, in this order.
pub(crate) fn start(
    machine: &Machine,
    units: &[(String, String)],
    wanted: &[String],
) -> Result<()> {
    let units: Vec<(&str, &str)> = units
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    machine.install(&units)?;
    for name in wanted {
        machine.systemctl(&["start", name])?.ok()?;
    }
    Ok(())
}

/// Runs a script in the machine to its end.
pub(crate) async fn script(machine: &Machine, script: &str) -> Result<()> {
    let command = machine.command(&["sh", "-ec", script]);
    let output = Command::from(command).output().await?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "`{script}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into()),
    }
}

/// The processes that answer at `address`.
pub(crate) fn pids(machine: &Machine, address: &str) -> Result<Vec<String>> {
    let mut pids = Vec::new();
    for _ in 0..16 {
        let answer = Client::tcp(machine, address)?.get("/")?;
        if answer.status != 200 {
            return Err(format!("`{address}` answers {}", answer.status).into());
        }
        pids.push(answer.text());
    }
    pids.sort();
    pids.dedup();
    Ok(pids)
}

/// Waits until something answers.
pub(crate) fn await_answer(machine: &Machine, address: &str) -> Result<()> {
    let limit = Duration::from_secs(10);
    let what = format!("an answer of `{address}`");
    Ok(machine.wait_until(limit, &what, |machine| pids(machine, address).is_ok())?)
}

/// From the first `SIGTERM` to the readiness of the new process, by systemd's own clock.
pub(crate) fn restart_time(machine: &Machine, unit: &str) -> Result<Duration> {
    let at = |property| -> Result<u64> { Ok(machine.show(unit, property)?.parse()?) };
    let left = at("ActiveExitTimestampMonotonic")?;
    let entered = at("ActiveEnterTimestampMonotonic")?;
    let time = entered.checked_sub(left).ok_or("it was not restarted")?;
    Ok(Duration::from_micros(time))
}
