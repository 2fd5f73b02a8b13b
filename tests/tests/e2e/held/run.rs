//! Without systemd: `zdt-units run` keeps the store.

use std::error::Error;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;

use super::{all_kept, hold};

const ADDRESS: &str = "127.0.0.1:8090";

/// Ten SIGHUPs to the supervisor, each a restart of the app.
pub(crate) fn connections_outlive_restarts_without_systemd(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let (supervisor, app) = (env!("CARGO_BIN_EXE_units"), env!("CARGO_BIN_EXE_app"));
    let argv = [supervisor, "run", "--listen", ADDRESS, "--", app];
    let mut supervisor = machine.spawn_in_net(&argv)?;
    // Nobody reads what it says, and it must not wait for a reader.
    for pipe in [
        supervisor.0.stdout.take().map(Into::into),
        supervisor.0.stderr.take().map(Into::into),
    ] {
        discard(pipe);
    }
    let mut pid = next_process(machine, "")?;
    let load = hold(machine, ADDRESS, 200, "50ms")?;
    for _ in 0..10 {
        let target = Pid::from_raw(supervisor.0.id().try_into()?);
        kill(target, Signal::SIGHUP)?;
        pid = next_process(machine, &pid)?;
    }
    all_kept("zdt-units run, 10 restarts", &load.stop()?);
    Ok(())
}

/// Waits until another process than `old` answers.
fn next_process(machine: &Machine, old: &str) -> Result<String, Box<dyn Error>> {
    let mut answer = String::new();
    machine.wait_until(Duration::from_secs(30), "another process", |machine| {
        let asked = Client::tcp(machine, ADDRESS).and_then(|mut client| client.get("/"));
        answer = asked.map_or_else(|_| old.to_owned(), |answer| answer.text());
        answer != old
    })?;
    Ok(answer)
}

fn discard(pipe: Option<std::os::fd::OwnedFd>) {
    if let Some(pipe) = pipe {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::fs::File::from(pipe), &mut std::io::sink());
        });
    }
}
