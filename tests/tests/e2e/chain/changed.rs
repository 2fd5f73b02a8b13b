//! `--only-changed`: whatever a process was started from.

use std::error::Error;

use zdt_e2e::machine::Machine;

use super::{Told, app, install, zdt};
use crate::Test;

pub(super) const TESTS: &[(&str, Test)] = &[(
    "chain::only_what_has_changed_is_restarted",
    only_what_has_changed_is_restarted,
)];

/// A unit of others that only holds others together, as that of Debian's PostgreSQL does, and one
/// with a process.
const FOREIGN: &str = "
[service.held]
unit = \"held.service\"
[service.other]
unit = \"other.service\"
";
const HELD: &str = "[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes\n";
const OTHER: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

const RELEASE: &str = r#"
[service.linked]
exec = ["{{release.path}}/bin/app"]
listen = "127.0.0.1:8084"
release = { root = "/srv/linked" }
"#;

fn only_what_has_changed_is_restarted(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.install(&[("held.service", HELD), ("other.service", OTHER)])?;
    machine.systemctl(&["start", "held", "other"])?.ok()?;
    machine
        .run(&[
            "sh",
            "-ec",
            "mkdir -p /srv/bin && cp /opt/zdt/bin/app /srv/bin/app",
        ])?
        .ok()?;
    let program = app("program", 8080, "").replace("/opt/zdt/bin/app", "/srv/bin/app");
    let config = [
        &program,
        &app("settings", 8081, ""),
        &app("unit", 8082, ""),
        &app(
            "same",
            8083,
            "after = [\"program\", \"settings\", \"unit\", \"linked\"]",
        ),
        RELEASE,
        FOREIGN,
    ];
    let config = config.concat();
    machine.write_file("/etc/settings.env", "A=1\n", 0o644)?;
    machine.write_file("/etc/zdt/zdt.toml", &config, 0o644)?;
    let deploy = [
        "deploy",
        "linked",
        "--from",
        "/opt/zdt/bin/app",
        "--release",
    ];
    install(machine, &config)?;
    zdt(machine, &[&deploy[..], &["v1"]].concat())?.ok()?;
    zdt(machine, &[&deploy[..], &["v2"]].concat())?.ok()?;

    let restart = ["restart", "--all", "--only-changed", "--json"];
    let restarted = |what: &str, shell: &str, wanted: &[&str]| -> Result<(), Box<dyn Error>> {
        machine.run(&["sh", "-ec", shell])?.ok()?;
        let told = Told::read(&zdt(machine, &restart)?.ok()?)?;
        println!("{what}: {:?}", told.services("finished"));
        let mut finished = told.services("finished");
        finished.sort_unstable();
        assert_eq!(finished, wanted, "{what}");
        assert_eq!(told.services("unchanged").len(), 7 - wanted.len(), "{what}");
        Ok(())
    };
    restarted("nothing", "true", &[])?;
    let program = "cp /srv/bin/app /srv/bin/new && mv /srv/bin/new /srv/bin/app";
    restarted("a program", program, &["program"])?;
    restarted("settings", "echo A=2 >/etc/settings.env", &["settings"])?;
    let drop_in = "mkdir -p /etc/systemd/system/unit.service.d
        printf '[Service]\\nEnvironment=A=3\\n' >/etc/systemd/system/unit.service.d/a.conf
        systemctl daemon-reload";
    restarted("a drop-in", drop_in, &["unit"])?;
    restarted(
        "a link",
        "ln -sfn releases/v1 /srv/linked/current",
        &["linked"],
    )?;
    let foreign = "printf '[Service]\\nExecStart=/bin/sleep infinity\\nNice=1\\n' >/etc/systemd/system/other.service
        systemctl daemon-reload";
    restarted("a unit of others", foreign, &["other"])?;
    restarted(
        "all of it",
        &format!("{program}\n{drop_in}"),
        &["program", "unit"],
    )?;
    restarted("nothing again", "true", &[])
}
