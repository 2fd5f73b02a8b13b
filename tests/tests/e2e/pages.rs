//! Pages whose commands are run as they stand there.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use zdt_e2e::machine::Machine;

use crate::Test;
use crate::examples::{assert_lossless, directory, install, load, programs};

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "pages::ten_minutes_are_as_the_page_says",
        ten_minutes_are_as_the_page_says,
    ),
    (
        "pages::sqlite_is_backed_up_and_put_back",
        sqlite_is_backed_up_and_put_back,
    ),
    ("pages::the_checklist_is_content", the_checklist_is_content),
];

const SITE: &str = "127.0.0.1:8080";

/// From nothing to a site with TLS, a bad release and a roll back. Clients ask from the first deployment on.
fn ten_minutes_are_as_the_page_says(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.needs("caddy", "caddy")?;
    machine.needs("curl", "curl")?;
    let blocks = commands("ten-minutes.md")?;
    assert_eq!(blocks.len(), 5, "{blocks:?}");
    copied_from_home(machine)?;
    machine
        .run(&["sh", "-c", "echo 127.0.0.1 shop.example >>/etc/hosts"])?
        .ok()?;

    let begun = Instant::now();
    run(machine, &blocks[0])?;
    let said = run(machine, &blocks[1])?;
    assert!(said.ends_with("hello from the shop\n"), "{said}");
    let flags = [
        "--stream=name=new,rate=200",
        "--stream=name=held,hold=20,every=100ms",
    ];
    let clients = load(machine, SITE, &flags)?;
    // No authority of the world knows this machine: Caddy is its own.
    let own = "{\n    local_certs\n    skip_install_trust\n}\nshop.example {";
    let tls = blocks[2].replace("shop.example {", own);
    assert_ne!(tls, blocks[2]);
    let said = run(machine, &tls)?;
    assert!(said.ends_with("hello from the shop\n"), "{said}");
    let said = run(machine, &blocks[3])?;
    assert!(said.contains("nothing was lost"), "{said}");
    let said = run(machine, &blocks[4])?;
    assert!(said.contains("serving"), "{said}");
    let took = begun.elapsed();

    let report = clients.stop()?;
    println!("the commands took {:.1} s", took.as_secs_f64());
    assert_lossless("ten minutes", &report);
    let held = report.total.held.as_ref().ok_or("nothing was held")?;
    assert_eq!((held.connections, held.lost()), (20, 0), "{report}");
    let current = machine.run(&["readlink", "/srv/shop/current"])?.ok()?;
    assert_eq!(current.stdout, "releases/v1\n");
    Ok(())
}

/// Each command of it ends well on a machine that is well. One of them does not where a drop-in spoils the service.
fn the_checklist_is_content(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.needs("curl", "curl")?;
    copied_from_home(machine)?;
    let first = commands("ten-minutes.md")?;
    for block in &first[..2] {
        run(machine, block)?;
    }
    run(machine, "zdt-units deploy shop --from build --release v2")?;
    let blocks = commands("checklist.md")?;
    assert!(blocks.len() > 10, "{blocks:?}");
    for block in &blocks {
        run(machine, block)?;
    }
    let spoiled = "[Service]\nTimeoutStopSec=2s\n";
    machine.install(&[("shop.service.d/short.conf", spoiled)])?;
    let strict = blocks.iter().find(|block| block.contains("--strict"));
    let noticed = run(machine, strict.ok_or("nobody looks for what is spoiled")?);
    assert!(noticed.is_err(), "a drop-in is not noticed");
    println!("{} blocks of commands", blocks.len());
    Ok(())
}

/// A backup is made while visitors sign; what is put back later is the book of then.
fn sqlite_is_backed_up_and_put_back(machine: &Machine) -> Result<(), Box<dyn Error>> {
    const BOOK: &str = "127.0.0.1:80";
    machine.needs("sqlite3", "sqlite3")?;
    install(machine, "sqlite")?;
    run(
        machine,
        "cp /opt/zdt/bin/units /usr/local/bin/zdt-units; mkdir -p /var/backups",
    )?;
    let blocks = commands("sqlite.md")?;
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    let entries = || -> Result<u64, Box<dyn Error>> {
        let count = "sqlite3 /var/lib/guestbook/guestbook.db 'SELECT count(*) FROM entry'";
        Ok(run(machine, count)?.trim().parse()?)
    };

    let flags = [
        "--method=POST",
        "--body-bytes=64",
        "--expect=201",
        "--rate=200",
    ];
    let visitors = load(machine, BOOK, &flags)?;
    run(machine, &blocks[0])?;
    let (vacuum, restore) = blocks[1].split_once('\n').ok_or("two commands")?;
    run(machine, vacuum)?;
    let signed = visitors.stop()?;
    assert_lossless("signing beside a backup and a VACUUM", &signed);
    assert_eq!(entries()?, signed.total.outcomes.ok);

    let readers = load(machine, BOOK, &["--rate=200"])?;
    run(machine, restore)?;
    assert_lossless("reading while the backup is put back", &readers.stop()?);
    let kept = entries()?;
    println!(
        "{} entries, {kept} of them in the backup",
        signed.total.outcomes.ok
    );
    assert!(kept > 0 && kept < signed.total.outcomes.ok, "{kept}");
    // And it can be signed again.
    let visitors = load(machine, BOOK, &[&flags[..], &["--requests=20"]].concat())?;
    assert_lossless("signing afterwards", &visitors.finish()?);
    assert_eq!(entries()?, kept + 20);
    Ok(())
}

/// What `scp` of the page brings.
fn copied_from_home(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let shop = programs(&directory("shop"))?;
    let shop = shop.first().ok_or("the example builds no program")?;
    machine.write_file("/root/shop", fs::read(shop)?, 0o755)?;
    machine
        .run(&["cp", "/opt/zdt/bin/units", "/root/zdt-units"])?
        .ok()?;
    Ok(())
}

/// The blocks of a page for a shell, in their order.
fn commands(page: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).join(page);
    let text = fs::read_to_string(path)?;
    let blocks = text.split("```sh\n").skip(1);
    let block = |rest: &str| rest.split("```").next().unwrap_or_default().to_owned();
    Ok(blocks.map(block).collect())
}

/// In root's own directory, and to the end or to the first command that fails. What was said on both outputs.
fn run(machine: &Machine, block: &str) -> Result<String, Box<dyn Error>> {
    let script = format!(
        "exec 2>&1\nset -e\ncd /root\n\
         export CURL_CA_BUNDLE=/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt\n{block}"
    );
    let output = machine.run(&["timeout", "120", "bash", "-c", &script])?;
    match output.success() {
        true => Ok(output.stdout),
        false => Err(format!("{block}\nended with {:?}:\n{}", output.code, output.stdout).into()),
    }
}
