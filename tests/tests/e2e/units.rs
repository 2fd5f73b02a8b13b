//! Units as people copy them: a `ListenStream=`, an `ExecStart=`, and the
//! defaults. The control beside every unit that zdt generates.

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
