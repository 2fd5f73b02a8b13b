//! zdt, by each of its strategies, in the units that `zdt-units generate` writes.

use std::time::Duration;

use super::servers::{Server, address};
use crate::{Result, units};

/// From `port` on.
pub(super) fn all(port: u16, start_up: Duration) -> Result<Vec<Server>> {
    let start_up = start_up.as_millis();
    let command = units::server(&format!("zdt --start-up {start_up}ms"))?;
    let row = |number, name, unit, how: How, settings: &str| {
        let port = port + number;
        server(name, unit, port, &command, how, settings)
    };
    let instances = ["zdt-rolling.socket", "zdt-rolling.target"].map(str::to_owned);
    Ok(vec![
        row(
            0,
            super::CONTROL,
            "control",
            How::Nothing,
            "handover = true",
        )?,
        row(
            1,
            "zdt, `queue`",
            "zdt-queue",
            How::Systemctl,
            "handover = true",
        )?,
        row(
            2,
            "zdt, `standby`",
            "zdt-twice",
            How::Launcher,
            "strategy = \"standby\"\nhandover = true",
        )?,
        Server {
            start: instances.into(),
            ..row(
                3,
                "zdt, `rolling`, 2 instances",
                "zdt-rolling",
                How::Launcher,
                "strategy = \"rolling\"\ninstances = 2\nhandover = true",
            )?
        },
        row(
            4,
            "zdt, `reload`",
            "zdt-reload",
            How::Launcher,
            "strategy = \"reload\"\nhandover = true",
        )?,
        row(
            5,
            "zdt, `queue`, no hand-over",
            "zdt-plain",
            How::Systemctl,
            "",
        )?,
    ])
}

/// By what a service is restarted.
#[derive(Clone, Copy)]
enum How {
    Nothing,
    Systemctl,
    Launcher,
}

fn server(
    name: &'static str,
    unit: &str,
    port: u16,
    command: &str,
    how: How,
    settings: &str,
) -> Result<Server> {
    let listen = address(port);
    let settings = format!("listen = \"{listen}\"\n{settings}");
    let zdt_toml = units::zdt_toml(unit, command, &settings);
    let path = format!("/etc/bench/{unit}.toml");
    let (in_words, script) = match how {
        How::Nothing => (
            "nothing is restarted: the noise of this run",
            "true".to_owned(),
        ),
        How::Systemctl => (
            "`systemctl restart`",
            format!("systemctl restart {unit}.service"),
        ),
        How::Launcher => (
            "`zdt-units restart`",
            format!("zdt-units restart --config {path} {unit}"),
        ),
    };
    Ok(Server {
        name,
        how: in_words,
        address: listen,
        script,
        units: units::generate(&zdt_toml)?,
        files: vec![(path, zdt_toml)],
        start: vec![format!("{unit}.socket"), format!("{unit}.service")],
        replaces: !matches!(how, How::Nothing),
        needs: None,
    })
}
