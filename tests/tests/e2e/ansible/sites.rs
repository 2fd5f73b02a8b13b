//! `sites.yml`: five sites of one program on one host.

use std::error::Error;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::Machine;

use super::play::{Play, disk, example};

const SITES: [&str; 5] = ["bakery", "cinema", "florist", "museum", "tailor"];

/// One binary is replaced once, and each site is restarted alone; one whose settings change, only that.
pub(super) fn five_sites_share_a_program(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let play = Play::new(machine, "")?;
    let copy = "strip -o /root/play/site /opt/zdt/bin/app";
    machine.run(&["sh", "-ec", copy])?.ok()?;
    let book = example("sites.yml");
    let book = book.to_string_lossy();
    // Beside the playbook are the variables of the example, which win over those of an inventory.
    let own = "zdt_units_src=/root/play/zdt-units sites_program=/root/play/site";
    let own = format!("--extra-vars={own}");
    let run = || play.run(&book, &[&own]);

    play.file("vars.json", &variables(|_| 19080, "The Corner Bakery"))?;
    let before = disk(machine)?;
    run()?.failed_with(&["two sites have the same port: 19080, 19080, 19080, 19080, 19080, 8000,"]);
    assert_eq!(disk(machine)?, before);

    let internal = |number| 19080 + number;
    play.file("vars.json", &variables(internal, "The Corner Bakery"))?;
    run()?.ok()?;
    for (number, site) in SITES.iter().enumerate() {
        let (pid, _) = process(machine, site)?;
        let said = Client::tcp(machine, &format!("127.0.0.1:{}", 8000 + number))?.get("/")?;
        assert_eq!(said.text(), format!("pid {pid}\n"), "{site}");
        let ready = Client::tcp(machine, &format!("127.0.0.1:{}", internal(number)))?;
        assert_eq!({ ready }.get("/readyz")?.status, 200, "{site}");
    }
    run()?.changes(&[])?;

    let mut loads = Vec::new();
    for number in 0..SITES.len() {
        let address = format!("127.0.0.1:{}", 8000 + number);
        let flags = [address.as_str(), "--rate=50"];
        loads.push(Load::start(machine, env!("CARGO_BIN_EXE_units"), &flags)?);
    }
    let before = processes(machine)?;
    machine
        .run(&["sh", "-ec", "echo >> /root/play/site"])?
        .ok()?;
    let restart = "Restart those whose program or environment has changed, one after the other";
    run()?.changes(&["Replace the program, once for all of them", restart])?;
    let after = processes(machine)?;
    for ((before, after), site) in before.iter().zip(&after).zip(SITES) {
        assert_ne!(before, after, "{site}");
    }
    alone(machine)?;

    play.file("vars.json", &variables(internal, "The \"New\" Bakery"))?;
    run()?.changes(&["Write the environment file of each site", restart])?;
    let title = "tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID bakery.service)/environ | grep ^SITE_TITLE";
    let title = machine.run(&["sh", "-ec", title])?.ok()?.stdout;
    assert_eq!(title, "SITE_TITLE=The \"New\" Bakery\n");
    let last = processes(machine)?;
    for ((before, after), site) in after.iter().zip(&last).zip(SITES) {
        assert_eq!(before == after, site != "bakery", "{site}");
    }
    for (load, site) in loads.into_iter().zip(SITES) {
        let report = load.stop()?;
        println!("{site}: {}", report.total.outcomes);
        assert_eq!(report.lost(), 0, "{site}: {report}");
    }
    Ok(())
}

fn variables(internal: impl Fn(usize) -> usize, title: &str) -> String {
    let site = |(number, name): (usize, &&str)| {
        let title = match *name {
            "bakery" => title,
            other => other,
        };
        serde_json::json!({
            "name": name,
            "listen": format!("127.0.0.1:{}", 8000 + number),
            "internal": format!("127.0.0.1:{}", internal(number)),
            "environment": { "SITE_TITLE": title },
        })
    };
    let sites: Vec<_> = SITES.iter().enumerate().map(site).collect();
    serde_json::json!({ "sites": sites }).to_string()
}

/// What tells one run of a site from another.
fn process(machine: &Machine, site: &str) -> Result<(String, String), Box<dyn Error>> {
    let unit = format!("{site}.service");
    let show = |property| machine.show(&unit, property);
    Ok((show("MainPID")?, show("InvocationID")?))
}

fn processes(machine: &Machine) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    SITES.iter().map(|site| process(machine, site)).collect()
}

/// No two of them were down at the same time.
fn alone(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let mut down = Vec::new();
    for site in SITES {
        let at = |property| -> Result<u64, Box<dyn Error>> {
            Ok(machine
                .show(&format!("{site}.service"), property)?
                .parse()?)
        };
        let (stopped, ready) = (
            at("ActiveExitTimestampMonotonic")?,
            at("ActiveEnterTimestampMonotonic")?,
        );
        assert!(stopped < ready, "{site}");
        down.push((stopped, ready));
    }
    down.sort_unstable();
    for pair in down.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{down:?}");
    }
    Ok(())
}
