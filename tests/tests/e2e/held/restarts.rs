//! Plain `systemctl restart`, under requests on connections that are held.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::Machine;

use super::{all_kept, app, held, hold, last_drain, setting, summary};
use crate::units;

/// A thousand clients, each with a request every 50 ms or as often as this machine
/// can; twenty restarts. Without hand-over, and with the recipe that everybody
/// copies, the first restart ends every connection.
pub(crate) fn connections_outlive_twenty_restarts(machine: &Machine) -> Result<(), Box<dyn Error>> {
    app(machine, "")?;
    let often = fastest(machine)?;
    let load = hold(machine, units::ADDRESS, 1000, often)?;
    for _ in 0..20 {
        units::restart(machine)?;
    }
    let report = load.stop()?;
    let each = format!("1,000 connections, each every {often}");
    all_kept(&format!("zdt, {each}, 20 restarts"), &report);
    println!(
        "the last process but one: {}",
        last_drain(machine, "app.service")?
    );

    // The controls, each with one restart.
    setting(machine, "ZDT_HANDOVER=0\n")?;
    units::restart(machine)?;
    let stock = crate::builder().boot()?;
    units::stock(&stock)?;
    for (name, machine) in [("zdt, ZDT_HANDOVER=0", machine), ("stock", &stock)] {
        let load = hold(machine, units::ADDRESS, 1000, often)?;
        units::restart(machine)?;
        let report = load.stop()?;
        println!("{name}, {each}, 1 restart: {}", summary(&report));
        assert!(report.valid, "{report}");
        assert_eq!(held(&report).kept, 0, "{report}");
    }
    Ok(())
}

/// How often a thousand connections can send, so that the app keeps up while nobody
/// restarts it.
fn fastest(machine: &Machine) -> Result<&'static str, Box<dyn Error>> {
    for (often, period) in [("50ms", 50), ("100ms", 100), ("200ms", 200), ("400ms", 400)] {
        let flags = ["--hold=1000", "--for=3s", "--every", often];
        let report = units::load(machine, &flags)?.finish()?;
        println!("no restart, each every {often}: {}", summary(&report));
        assert_eq!(report.lost() + report.lost_connections(), 0, "{report}");
        if report.total.latency.p99_us < period * 1000 {
            return Ok(often);
        }
    }
    Err("this machine cannot serve 2,500 requests a second".into())
}

const THREE_SOCKETS: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
environment_files = ["-/etc/app.env"]
handover = true

[[service.app.socket]]
name = "http"
listen = "127.0.0.1:8080"

[[service.app.socket]]
name = "local"
listen = "/run/app.sock"
mode = "0666"

[[service.app.socket]]
name = "admin"
listen = "127.0.0.1:8081"
"#;

/// TCP, a Unix socket, and a listener that serves another app: a path that the
/// other one does not know would be a loss.
pub(crate) fn each_listener_keeps_its_connections(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, THREE_SOCKETS)?;
    let path = machine.host_path("/run/app.sock");
    let local = format!("unix:{}", path.display());
    let admin = "http://127.0.0.1:8081/admin";
    let addresses = [units::ADDRESS, local.as_str(), admin];
    let mut loads = Vec::new();
    for address in addresses {
        loads.push((address, hold(machine, address, 100, "50ms")?));
    }
    for _ in 0..5 {
        units::restart(machine)?;
    }
    for (address, load) in loads {
        all_kept(&format!("{address}, 5 restarts"), &load.stop()?);
    }
    // The control: the other app does not know that path.
    let strange = Client::tcp(machine, units::ADDRESS)?.get("/admin")?;
    assert_eq!(strange.status, 404);
    Ok(())
}

/// The kernel hands over connections that have sent nothing.
const SILENT: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
environment_files = ["-/etc/app.env"]
handover = true

[[service.app.socket]]
name = "http"
listen = "127.0.0.1:8080"
defer_accept = false
"#;

/// Silent connections, and heads and bodies that are half sent when the process
/// ends: the next one reads on where it stopped.
pub(crate) fn a_half_said_word_is_not_lost(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, SILENT)?;
    let begun = |said: &'static str| -> Result<_, Box<dyn Error>> {
        let mut client = Client::tcp(machine, units::ADDRESS)?;
        client.set_limit(Duration::from_secs(20))?;
        client.send(said)?;
        Ok(client)
    };
    let whole = "GET / HTTP/1.1\r\nhost: app\r\n\r\n";
    for round in 1..=3 {
        let mut clients = Vec::new();
        for at in [0, 1, 5, 16, whole.len() - 3, whole.len() - 1] {
            let (said, unsaid) = whole.split_at(at);
            clients.push((format!("{at} bytes of a head"), begun(said)?, unsaid));
        }
        // One answer, and then half of the next request, in one piece.
        let mut second = begun(whole)?;
        assert_eq!(second.answer()?.status, 200);
        second.send("GET / HT")?;
        clients.push(("half of a second head".to_owned(), second, &whole[8..]));

        let old = machine.show("app.service", "MainPID")?;
        units::restart(machine)?;
        let new = machine.show("app.service", "MainPID")?;
        assert_ne!(old, new);
        for (what, mut client, unsaid) in clients {
            let answer = client.send(unsaid).and_then(|()| client.answer());
            let answer = answer.map_err(|error| format!("{what}, round {round}: {error}"))?;
            assert_eq!(answer.text(), format!("pid {new}\n"), "{what}");
            // And the connection goes on.
            assert_eq!(client.get("/")?.text(), format!("pid {new}\n"), "{what}");
        }
    }
    let load = Load::start(
        machine,
        env!("CARGO_BIN_EXE_units"),
        &[
            units::ADDRESS,
            "--hold=50",
            "--rate=50",
            "--head-pause=300ms",
        ],
    )?;
    for _ in 0..3 {
        units::restart(machine)?;
    }
    all_kept(
        "heads with a pause in the middle, 3 restarts",
        &load.stop()?,
    );
    Ok(())
}
