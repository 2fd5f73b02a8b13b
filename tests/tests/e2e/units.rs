//! Units as people copy them: a `ListenStream=`, an `ExecStart=`, and the
//! defaults. The control beside every unit that zdt generates.

use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::{Error, Machine};

pub(crate) const ADDRESS: &str = "127.0.0.1:8080";

const SOCKET: &str = "\
[Socket]
ListenStream=127.0.0.1:8080

[Install]
WantedBy=sockets.target
";

const SERVICE: &str = "\
[Service]
ExecStart=/opt/zdt/bin/stock
EnvironmentFile=-/etc/app.env

[Install]
WantedBy=multi-user.target
";

/// Starts the stock recipe, its settings in `/etc/app.env`.
pub(crate) fn stock(machine: &Machine) -> Result<(), Error> {
    machine.install(&[("app.socket", SOCKET), ("app.service", SERVICE)])?;
    // The socket first: a service that is already up keeps it from starting.
    machine.systemctl(&["start", "app.socket"])?.ok()?;
    machine.systemctl(&["start", "app.service"])?.ok()?;
    Ok(())
}

/// Requests to the service, with flags of `zdt-units probe`.
pub(crate) fn load(machine: &Machine, flags: &[&str]) -> Result<Load, Error> {
    let flags = [&[ADDRESS], flags].concat();
    Load::start(machine, env!("CARGO_BIN_EXE_units"), &flags)
}

/// Waits until the main process of `app.service` is the one that answers.
pub(crate) fn await_main(machine: &Machine) -> Result<(), Error> {
    let pid = machine.show("app.service", "MainPID")?;
    let wanted = format!("pid {pid}\n");
    let limit = Duration::from_secs(30);
    machine.wait_until(limit, "the new process answers", |machine| {
        let answer = Client::tcp(machine, ADDRESS).and_then(|mut client| client.get("/"));
        answer.is_ok_and(|answer| answer.text() == wanted)
    })
}
