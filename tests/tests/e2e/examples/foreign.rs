//! `examples/{gunicorn,uvicorn,node,nginx}`: programs of others in the units of their examples.

use std::error::Error;
use std::path::Path;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{self, Machine, Reason};
use zdt_units::probe::Report;

use super::{CONFIG, UNITS};

const ADDRESS: &str = "127.0.0.1:8080";

/// Where `.ci/run` puts gunicorn and uvicorn. The path is in the first line of both, and may be one that a sandbox hides.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/gunicorn");

/// What its README says, and a big file for nginx.
const INSTALL: &str = r#"
cp -r "$1/." "/srv/$2" && chmod -R a+rX "/srv/$2" &&
if [ -e "/srv/$2/app.py" ]; then
  cp -r "$3" "/srv/$2/venv" && ln -sf /usr/bin/python3 "/srv/$2/venv/bin/python3" &&
  sed -i "1s|.*|#!/srv/$2/venv/bin/python3|" "/srv/$2/venv/bin/"*corn
fi &&
mkdir -p "/srv/$2/html/downloads" && head -c 98304 /dev/zero > "/srv/$2/html/downloads/big"
"#;

/// Nobody is refused at three rolling restarts, and three of the whole target. Slow requests and new connections lose
/// nothing either, but for those that uvicorn has accepted and closes unread.
pub(crate) fn programs_of_others_refuse_nobody(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.needs("node", "nodejs")?;
    machine.needs("nginx", "nginx-light")?;
    if !Path::new(PYTHON).join("bin/uvicorn").exists() {
        let missing = Reason::File("target/gunicorn/bin/uvicorn");
        return Err(machine::Error::Unavailable(missing).into());
    }
    for (example, service, slow) in [
        ("gunicorn", "wsgi", "/slow"),
        ("uvicorn", "asgi", "/slow"),
        ("node", "node", "/slow"),
        ("nginx", "pages", "/downloads/big"),
    ] {
        let machine = crate::builder().boot()?;
        install(&machine, example, service)?;
        let target = format!("{service}.target");
        let rolling = [UNITS, "restart", service, "--config", CONFIG];
        let whole = ["systemctl", "restart", &target];
        for (how, restart) in [("rolling", &rolling[..]), ("systemctl", &whole)] {
            let report = restarts(&machine, restart, slow)?;
            let said = crate::restart::summary(&report);
            println!("{example}, 3 restarts, {how}: {said}");
            assert!(report.valid, "{report}");
            let all = &report.total.outcomes;
            let dropped = match example {
                "uvicorn" => all.reset + all.eof,
                _ => 0,
            };
            assert_eq!(report.lost(), dropped, "{report}");
        }
    }
    Ok(())
}

fn install(machine: &Machine, example: &str, service: &str) -> Result<(), Box<dyn Error>> {
    let from = super::directory(example);
    let from = from.to_str().ok_or("no text")?;
    let install = ["sh", "-ec", INSTALL, "sh", from, service, PYTHON];
    machine.run(&install)?.ok()?;
    let zdt_toml = std::fs::read_to_string(super::directory(example).join("zdt.toml"))?;
    machine.write_file(CONFIG, zdt_toml, 0o644)?;
    let command = [UNITS, "install", "--config", CONFIG];
    machine.run(&command)?.ok()?;
    Ok(())
}

fn restarts(machine: &Machine, restart: &[&str], slow: &str) -> Result<Report, Box<dyn Error>> {
    let slow = format!("--stream=name=slow,rate=5,path={slow}");
    let load = super::load(
        machine,
        ADDRESS,
        &[
            "--stream=name=new,rate=200",
            "--stream=name=silent,rate=100,think=20ms",
            &slow,
        ],
    )?;
    for _ in 0..3 {
        machine.run(restart)?.ok()?;
        for _ in 0..200 {
            Client::tcp(machine, ADDRESS)?.get("/")?;
        }
    }
    Ok(load.stop()?)
}
