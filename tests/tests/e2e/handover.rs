//! Connections that one process hands to the next one, when the next one does not know of it.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use zdt_e2e::machine::Machine;

use crate::units;

const CONNECTIONS: usize = 300;

const UNITS: &str = "/opt/zdt/bin/units";

/// The program is a link, so that another release is a matter of the link.
const SERVICE: &str = r#"
[service.app]
exec = ["/srv/app"]
listen = "127.0.0.1:8080"
handover = true
sandbox = { network = "none" }
"#;

/// The control first: where nobody closes what the older release cannot answer, clients wait.
pub(crate) fn a_release_without_hand_over_leaves_nobody_hanging(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    point(machine, "giver")?;
    units::zdt(machine, SERVICE)?;
    machine.write_file("/etc/zdt/zdt.toml", SERVICE, 0o644)?;
    let restart = ["restart", "app.service"];
    let roll_back = |by: &str, command: &[&str]| -> Result<(usize, String), Box<dyn Error>> {
        point(machine, "giver")?;
        machine.systemctl(&restart)?.ok()?;
        let clients = connect(machine)?;
        point(machine, "stock")?;
        let said = machine.run(command)?.ok()?.stdout;
        let hanging = clients.iter().filter(|client| hangs(client)).count();
        println!("{by}: {hanging} of {CONNECTIONS} clients hang");
        Ok((hanging, said))
    };

    // No `zdt-units` is where the manager looks for it.
    let plain = [["systemctl"].as_slice(), &restart].concat();
    let (hanging, _) = roll_back("systemctl, and no `zdt-units` there", &plain)?;
    assert_eq!(hanging, CONNECTIONS);

    let (hanging, said) = roll_back("zdt-units restart", &[UNITS, "restart", "app", "--json"])?;
    assert_eq!(hanging, 0);
    let events = said.lines().map(serde_json::from_str::<Value>);
    let events = events.collect::<Result<Vec<_>, _>>()?;
    let untaken = events.iter().find(|event| event["kind"] == "untaken");
    let untaken = untaken.map(|event| &event["connections"]);
    // Those of before are still with the manager.
    assert_eq!(untaken, Some(&Value::from(2 * CONNECTIONS)), "{said}");

    let link = ["ln", "-s", UNITS, "/usr/local/bin/zdt-units"];
    machine.run(&link)?.ok()?;
    let (hanging, _) = roll_back("systemctl", &plain)?;
    assert_eq!(hanging, 0);
    let pid = machine.show("app.service", "MainPID")?;
    let journal = machine.journal("app.service")?;
    let told = format!("closed {CONNECTIONS} connections that process {pid} was handed");
    assert!(journal.contains(&told), "{journal}");
    Ok(())
}

/// A sandboxed service and its standby, each under a user that is made for it, have their sockets in one directory. It
/// outlives both, and none that ended leaves a socket there.
pub(crate) fn processes_that_overlap_share_a_directory(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let toml = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
strategy = "standby"
handover = true
"#;
    units::zdt(machine, toml)?;
    machine.systemctl(&["start", "app-standby.service"])?.ok()?;
    let socket = |unit: &str| -> Result<String, Box<dyn Error>> {
        Ok(format!("{}.sock", machine.show(unit, "MainPID")?))
    };
    let there = |machine: &Machine| -> Result<Vec<String>, Box<dyn Error>> {
        let list = machine.run(&["ls", "/run/app-handover/"])?.ok()?;
        Ok(list.stdout.lines().map(str::to_owned).collect())
    };
    let mut both = [socket("app.service")?, socket("app-standby.service")?];
    both.sort();
    assert_eq!(there(machine)?, both);
    let mode = machine.run(&["stat", "-Lc", "%a", "/run/app-handover"])?;
    assert_eq!(mode.ok()?.stdout, "700\n");
    machine.systemctl(&["restart", "app.service"])?.ok()?;
    machine.systemctl(&["stop", "app-standby.service"])?.ok()?;
    assert_eq!(there(machine)?, [socket("app.service")?]);
    Ok(())
}

/// Makes `program` the release that the next start runs.
fn point(machine: &Machine, program: &str) -> Result<(), Box<dyn Error>> {
    let program = format!("/opt/zdt/bin/{program}");
    machine.run(&["ln", "-sfn", &program, "/srv/app"])?.ok()?;
    Ok(())
}

/// Clients that were answered once, and wait.
fn connect(machine: &Machine) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    let connect = || -> std::io::Result<Vec<TcpStream>> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = TcpStream::connect(units::ADDRESS)?;
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            client.write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")?;
            let mut answer = [0; 43];
            client.read_exact(&mut answer)?;
            assert!(answer.ends_with(b"giver"));
            clients.push(client);
        }
        Ok(clients)
    };
    Ok(machine.in_net(connect)??)
}

/// Whether it is neither answered nor closed. Whoever is to close it has done so: the restart is over.
fn hangs(mut client: &TcpStream) -> bool {
    let _ = client.set_nonblocking(true);
    match client.read(&mut [0]) {
        Ok(0) => false,
        Ok(_) => panic!("nobody asked, and it was answered"),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    (
        "handover::a_release_without_hand_over_leaves_nobody_hanging",
        a_release_without_hand_over_leaves_nobody_hanging,
    ),
    (
        "handover::processes_that_overlap_share_a_directory",
        processes_that_overlap_share_a_directory,
    ),
];
