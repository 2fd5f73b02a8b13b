//! `examples/sites`: one program, five sites.

use std::error::Error;
use std::fs;

use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;

const SITES: [(&str, &str, &str); 5] = [
    ("bakery", "127.0.0.1:8001", "The Corner Bakery"),
    ("cinema", "127.0.0.1:8002", "The Old Cinema"),
    ("florist", "127.0.0.1:8003", "Florist at the Station"),
    ("museum", "127.0.0.1:8004", "Museum of Clocks"),
    ("tailor", "127.0.0.1:8005", "Tailor & Daughters"),
];

/// Each site is restarted alone under load on all of them: the four others keep their process and their connections,
/// and nobody loses anything.
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
        "--stream=name=new,rate=100,think=20ms",
        "--stream=name=held,hold=8,every=100ms",
    ];
    let mut loads = Vec::new();
    let mut kept = Vec::new();
    for (_, address, _) in SITES {
        loads.push(super::load(machine, address, &flags)?);
        let mut client = Client::tcp(machine, address)?;
        assert_eq!(client.get("/nowhere")?.status, 404);
        kept.push(client);
    }
    for (restarted, address, _) in SITES {
        let before = processes(machine)?;
        super::restart(machine, restarted, address, 1)?;
        let after = processes(machine)?;
        for ((site, ..), (before, after)) in SITES.into_iter().zip(before.iter().zip(&after)) {
            let said = format!("{site}, when {restarted} was restarted");
            assert_eq!(before == after, site != restarted, "{said}");
        }
        // On the connections of before, which the restarted one took over.
        for client in &mut kept {
            assert_eq!(client.get("/nowhere")?.status, 404);
        }
    }
    for (load, (site, address, title)) in loads.into_iter().zip(SITES) {
        let report = load.stop()?;
        super::assert_lossless(&format!("{site}, each of five restarted once"), &report);
        let held = report.total.held.as_ref().ok_or("nothing was held")?;
        assert_eq!((held.connections, held.lost()), (8, 0), "{report}");
        // The count outlives the process: it is in the site's own directory.
        let visitors = report.total.outcomes.ok + 1;
        let said = Client::tcp(machine, address)?.get("/")?.text();
        assert_eq!(said, format!("{title}: visitor {visitors}\n"));
    }
    super::control("one site", "--stream=rate=200,think=20ms", 5)
}

/// What tells one run of each site from another.
fn processes(machine: &Machine) -> Result<Vec<[String; 2]>, Box<dyn Error>> {
    let run = |(site, ..): (&str, &str, &str)| {
        let unit = format!("{site}.service");
        let show = |property| machine.show(&unit, property);
        Ok([show("MainPID")?, show("InvocationID")?])
    };
    SITES.into_iter().map(run).collect()
}
