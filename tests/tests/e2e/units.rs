//! Units of the tests: those that zdt generates, and beside them, as the
//! control, those that people copy.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::{self, Machine};

pub(crate) const ADDRESS: &str = "127.0.0.1:8080";

const STOCK_SOCKET: &str = "\
[Socket]
ListenStream=127.0.0.1:8080

[Install]
WantedBy=sockets.target
";

pub(crate) const STOCK_SERVICE: &str = "\
[Service]
ExecStart=/opt/zdt/bin/stock
EnvironmentFile=-/etc/app.env

[Install]
WantedBy=multi-user.target
";

/// The smallest service on zdt.
pub(crate) const ZDT: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
"#;

/// The same, and the kernel hands over connections that have sent nothing.
pub(crate) const ZDT_SILENT: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
environment_files = ["-/etc/app.env"]

[[service.app.socket]]
name = "http"
listen = "127.0.0.1:8080"
defer_accept = false
"#;

/// Starts the stock recipe, its settings in `/etc/app.env`.
pub(crate) fn stock(machine: &Machine) -> Result<(), machine::Error> {
    let units = [("app.socket", STOCK_SOCKET), ("app.service", STOCK_SERVICE)];
    start(machine, &units)
}

/// Starts `service` beside the stock socket.
pub(crate) fn naive(machine: &Machine, service: &str) -> Result<(), machine::Error> {
    start(
        machine,
        &[("app.socket", STOCK_SOCKET), ("app.service", service)],
    )
}

/// Generates the units of `zdt_toml` and starts its service `app`.
pub(crate) fn zdt(machine: &Machine, zdt_toml: &str) -> Result<(), Box<dyn Error>> {
    let units = generate(zdt_toml)?;
    let units: Vec<(&str, &str)> = units
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    Ok(start(machine, &units)?)
}

/// The units that `zdt-units generate` prints, by name.
pub(crate) fn generate(zdt_toml: &str) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("zdt.toml");
    std::fs::write(&config, zdt_toml)?;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_units"))
        .arg("generate")
        .arg("--config")
        .arg(&config)
        .arg("--out")
        .arg(dir.path().join("units"))
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let mut units = Vec::new();
    for entry in std::fs::read_dir(dir.path().join("units"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let text = std::fs::read_to_string(&path)?;
        units.push((name.to_string_lossy().into_owned(), text));
    }
    Ok(units)
}

fn start(machine: &Machine, units: &[(&str, &str)]) -> Result<(), machine::Error> {
    machine.install(units)?;
    // The sockets first: a service that is already up keeps them from starting.
    for (name, _) in units.iter().filter(|(name, _)| name.ends_with(".socket")) {
        machine.systemctl(&["start", name])?.ok()?;
    }
    machine.systemctl(&["start", "app.service"])?.ok()?;
    Ok(())
}

/// Requests to the service, with flags of `zdt-units probe`.
pub(crate) fn load(machine: &Machine, flags: &[&str]) -> Result<Load, machine::Error> {
    let flags = [&[ADDRESS], flags].concat();
    Load::start(machine, env!("CARGO_BIN_EXE_units"), &flags)
}

/// Plain `systemctl restart`, and then some traffic on the new process.
pub(crate) fn restart(machine: &Machine) -> Result<(), machine::Error> {
    machine.systemctl(&["restart", "app.service"])?.ok()?;
    await_main(machine)?;
    // Each restart meets clients that were served for a while.
    let _ = Client::tcp(machine, ADDRESS).and_then(|mut client| client.get("/slow?ms=200"));
    // By default systemd refuses the sixth restart in ten seconds.
    machine.systemctl(&["reset-failed", "app.service"])?.ok()?;
    Ok(())
}

/// Waits until the main process of `app.service` is the one that answers.
pub(crate) fn await_main(machine: &Machine) -> Result<(), machine::Error> {
    let pid = machine.show("app.service", "MainPID")?;
    let wanted = format!("pid {pid}\n");
    let limit = Duration::from_secs(30);
    machine.wait_until(limit, "the new process answers", |machine| {
        let answer = Client::tcp(machine, ADDRESS).and_then(|mut client| client.get("/"));
        answer.is_ok_and(|answer| answer.text() == wanted)
    })
}
