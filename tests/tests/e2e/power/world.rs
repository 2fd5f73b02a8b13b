//! A service with releases and data, and how it has to be when nothing is under way.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Output};

use crate::units;

pub(super) const UNITS: &str = "/opt/zdt/bin/units";
const RECORD: &str = "/var/lib/zdt/app/running.json";

/// `pid` and environment stay when the shell gives way, so the process tells of which release it is.
const APP: &str = "#!/bin/sh\nRELEASE=NAME exec /opt/zdt/bin/app\n";

/// Data are the names of the releases that migrated them, the last one at the end.
const DATA: &str = r#"#!/bin/sh
cd "$STATE_DIRECTORY" && touch log || exit
case $1 in
up) sleep 0.05; grep -qx NAME log || echo NAME >>log ;;
down) sleep 0.05; sed -i '/^NAME$/d' log ;;
backup) cp log log.backup ;;
esac
"#;

/// Installs `app` with a release that serves; `with_all` of what a deployment can have beside a migration.
pub(super) fn install(
    machine: &Machine,
    strategy: &str,
    with_all: bool,
) -> Result<(), Box<dyn Error>> {
    let (keys, backup) = match with_all {
        true => (
            "bake = \"50ms\"\ncheck = { command = [\"{{release.path}}/bin/data\", \"check\"] }",
            ", backup = [\"{{release.path}}/bin/data\", \"backup\"]",
        ),
        false => ("", ""),
    };
    let zdt_toml = format!(
        r#"
[service.app]
exec = ["{{{{release.path}}}}/bin/app"]
listen = "{}"
strategy = "{strategy}"
handover = true
sandbox = {{ state = "app" }}
start_timeout = "10s"
{keys}
release = {{ root = "/srv/app", keep = 3 }}
health = {{ listen = "127.0.0.1:19081", successes = 2, interval = "20ms" }}
migrate = {{ command = ["{{{{release.path}}}}/bin/data", "up"], down = ["{{{{release.path}}}}/bin/data", "down"]{backup} }}
"#,
        units::ADDRESS
    );
    machine.write_file("/etc/zdt/zdt.toml", &zdt_toml, 0o644)?;
    for (name, text) in units::generate(&zdt_toml)? {
        machine.install(&[(&name, &text)])?;
    }
    machine
        .systemctl(&["enable", "--now", "app.socket", "app-health.socket"])?
        .ok()?;
    machine.systemctl(&["enable", "app.service"])?.ok()?;
    let from = make(machine, "r0")?;
    zdt(machine, &["deploy", "app", "--from", &from, "--release=r0"])?.ok()?;
    assert_eq!(serving(machine)?, "r0");
    Ok(())
}

/// What a release is copied from: two programs, and as many files as it takes to be interrupted.
pub(super) fn make(machine: &Machine, name: &str) -> Result<String, Box<dyn Error>> {
    let from = format!("/srv/from/{name}");
    let directory = machine.host_path(&from);
    fs::create_dir_all(directory.join("bin"))?;
    for (program, text) in [("app", APP), ("data", DATA)] {
        let path = directory.join("bin").join(program);
        fs::write(&path, text.replace("NAME", name))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    for number in 0..60 {
        fs::write(directory.join(number.to_string()), [b'.'; 8192])?;
    }
    Ok(from)
}

pub(super) fn zdt(machine: &Machine, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    Ok(machine.run(&[&[UNITS], arguments].concat())?)
}

/// The release of the process that serves.
fn serving(machine: &Machine) -> Result<String, Box<dyn Error>> {
    let pid = machine.show("app.service", "MainPID")?;
    let answer = Client::tcp(machine, units::ADDRESS)?.get("/")?.text();
    ensure(answer == format!("pid {pid}\n"), &answer)?;
    let environment = fs::read(machine.host_path(&format!("/proc/{pid}/environ")))?;
    let mut set = environment.split(|byte| *byte == 0);
    let release = set.find_map(|set| set.strip_prefix(b"RELEASE="));
    Ok(String::from_utf8(release.ok_or("no RELEASE")?.to_owned())?)
}

/// Whether something broke off; `doctor` and `recover --dry-run` name it then.
pub(super) fn is_named(machine: &Machine) -> Result<bool, Box<dyn Error>> {
    let left = machine.host_path(RECORD).exists();
    let dry = zdt(machine, &["recover", "--dry-run"])?.ok()?;
    let dry = format!("{}{}", dry.stdout, dry.stderr);
    ensure(dry.contains(" broke off ") == left, &dry)?;
    // Only the record itself was still there, and that is in nobody's way.
    if left && !dry.contains("it was done by then") {
        let doctor = zdt(machine, &["doctor", "app", "--rate=100"])?.ok()?;
        ensure(doctor.stdout.contains("ZDT-D066"), &doctor.stdout)?;
    }
    Ok(left)
}

/// Nothing is under way and nothing half done. Returns the release that serves.
pub(super) fn is_good(machine: &Machine) -> Result<String, Box<dyn Error>> {
    let again = zdt(machine, &["recover"])?.ok()?;
    let well = "`app`: nothing broke off, and all is well\n";
    ensure(again.stderr == well, &again.stderr)?;

    let release = serving(machine)?;
    let path = |path: &str| machine.host_path(path);
    let current = fs::read_link(path("/srv/app/current"))?;
    let wanted = Path::new("releases").join(&release);
    ensure(current == wanted, &current.display().to_string())?;
    let standby = machine.show("app-standby.service", "ActiveState")?;
    ensure(standby == "inactive", &standby)?;
    let data = fs::read_to_string(path("/var/lib/app/log"))?;
    ensure(data.lines().last() == Some(&release), &data)?;

    ensure(!path(RECORD).exists(), RECORD)?;
    let breaker = path("/var/lib/zdt/app/breaker.json");
    ensure(!breaker.exists(), "no operation failed")?;
    for line in fs::read_to_string(path("/var/log/zdt/events.jsonl"))?.lines() {
        let event: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        ensure(event["v"] == 1, line)?;
    }
    for record in names(&path("/srv/app/releases/.zdt"))? {
        if let Some(name) = record.strip_suffix(".json") {
            let text = fs::read(path("/srv/app/releases/.zdt").join(&record))?;
            let read: Value = serde_json::from_slice(&text)?;
            ensure(read["name"] == *name, &record)?;
        }
    }
    Ok(release)
}

/// After a deployment that was not disturbed: each release has its record and is what was deployed, and there is
/// nothing else, there or where units and records are.
pub(super) fn is_tidy(machine: &Machine) -> Result<(), Box<dyn Error>> {
    zdt(machine, &["releases", "app", "--verify"])?.ok()?;
    let root = machine.host_path("/srv/app");
    let there = |directory: &Path, wanted: &[&str]| {
        let names = names(directory)?;
        let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        ensure(names == wanted, &format!("{names:?}, not {wanted:?}"))
    };
    there(&root, &["current", "next", "releases"])?;
    there(&machine.host_path("/var/lib/zdt/app"), &["units"])?;
    let mut releases = names(&root.join("releases"))?;
    releases.remove(".zdt");
    ensure(releases.len() <= 4, &format!("{releases:?}"))?;
    let records: Vec<String> = releases.iter().map(|name| format!("{name}.json")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    there(&root.join("releases/.zdt"), &records)?;
    let units = [
        "/etc/systemd/system",
        "/var/lib/zdt/app/units/etc/systemd/system",
    ];
    for directory in units {
        let names = names(&machine.host_path(directory))?;
        let hidden = names.iter().find(|name| name.starts_with('.'));
        ensure(hidden.is_none(), &format!("{hidden:?} in {directory}"))?;
    }
    Ok(())
}

fn names(directory: &Path) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// An error instead of a panic, so that the caller can say when.
fn ensure(holds: bool, what: &str) -> Result<(), Box<dyn Error>> {
    match holds {
        true => Ok(()),
        false => Err(what.to_owned().into()),
    }
}
