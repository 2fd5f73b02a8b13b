//! `examples/sites`: one program, three sites.

use std::error::Error;
use std::fs;

use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;

const SITES: [(&str, &str, &str); 3] = [
    ("bakery", "127.0.0.1:8001", "The Corner Bakery"),
    ("cinema", "127.0.0.1:8002", "The Old Cinema"),
    ("florist", "127.0.0.1:8003", "Florist at the Station"),
];

/// Six restarts of one site under load on all of them: the others keep their
/// process and their connections, and nobody loses anything.
pub(crate) fn a_site_restarts_and_the_others_do_not_notice(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    for (site, ..) in SITES {
        let file = super::directory("sites").join(format!("{site}.env"));
        let settings = fs::read_to_string(file)?;
        machine.write_file(&format!("/etc/sites/{site}.env"), settings, 0o644)?;
    }
    super::install(machine, "sites")?;

    let flags = [
        "--stream=name=new,rate=200,think=20ms",
        "--stream=name=keep-alive,rate=100,keep-alive=8",
    ];
    let mut loads = Vec::new();
    let mut kept = Vec::new();
    for (site, address, _) in SITES {
        loads.push(super::load(machine, address, &flags)?);
        if site != "bakery" {
            let mut client = Client::tcp(machine, address)?;
            assert_eq!(client.get("/nowhere")?.status, 404);
            kept.push(client);
        }
    }
    let before = SITES.map(|(site, ..)| process(machine, site));
    super::restart(machine, "bakery", SITES[0].1, 6)?;
    let after = SITES.map(|(site, ..)| process(machine, site));

    for (load, (site, ..)) in loads.into_iter().zip(SITES) {
        let report = load.stop()?;
        super::assert_lossless(&format!("{site}, 6 restarts of the bakery"), &report);
        // The count outlives the process: it is in the site's own directory.
        let (_, address, title) = SITES[0];
        if site == "bakery" {
            let visitors = report.total.outcomes.ok + 1;
            let said = Client::tcp(machine, address)?.get("/")?.text();
            assert_eq!(said, format!("{title}: visitor {visitors}\n"));
        }
    }
    for ((before, after), (site, ..)) in before.into_iter().zip(after).zip(SITES) {
        assert_eq!(before? == after?, site != "bakery", "{site}");
    }
    for mut client in kept {
        assert_eq!(client.get("/nowhere")?.status, 404);
    }
    super::control("one site", "--stream=rate=200,think=20ms", 6)
}

/// What tells one run of a site from another.
fn process(machine: &Machine, site: &str) -> Result<[String; 2], String> {
    let unit = format!("{site}.service");
    let show = |property| machine.show(&unit, property).map_err(|e| e.to_string());
    Ok([show("MainPID")?, show("InvocationID")?])
}
