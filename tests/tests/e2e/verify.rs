//! `zdt-units verify` on services of a real systemd.

use std::collections::BTreeSet;
use std::error::Error;

use zdt_e2e::machine::Machine;
use zdt_units::verify::result::{PhaseKind, Status, VerdictKind, Verified};

use crate::units;

const FLAGS: [&str; 4] = [
    "--restarts=3",
    "--slow=/slow?ms=1000",
    "--post=/upload",
    "--json",
];

/// A service on zdt passes, whoever asks; the same units around the usual recipe do not, and
/// the clients that saw it are named.
pub(crate) fn verify_tells_a_lossless_service_from_another(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let (code, verified) = verify(machine, units::ZDT_SILENT)?;
    assert_eq!(code, Some(0), "{}", verified.verdict.says);
    assert_eq!(verified.verdict.kind, VerdictKind::Lossless);
    assert_eq!(verified.restarts.len(), 3);
    let passed = named(&verified, Status::Passed);
    assert_eq!(passed.len(), 8, "{passed:?}");
    for client in &verified.clients {
        if client.sent > 0 {
            assert_eq!(client.met, 3, "{}", client.name);
        }
    }
    for restart in &verified.restarts {
        let kinds: Vec<_> = restart.phases.iter().map(|phase| phase.kind).collect();
        use PhaseKind::{Confirming, Starting, Stopping};
        assert_eq!(kinds, [Stopping, Starting, Confirming]);
        // A slow request was in flight, so the old process took its time.
        let stop = restart.phases[0];
        assert!(stop.to_ms - stop.from_ms >= 100, "{restart:?}");
    }

    let control = crate::builder().boot()?;
    let stock = units::ZDT_SILENT.replace("/bin/app", "/bin/stock");
    let (code, verified) = verify(&control, &stock)?;
    assert_eq!(code, Some(9), "{}", verified.verdict.says);
    let lost = named(&verified, Status::Lost);
    let expected = BTreeSet::from(["silent", "keep-alive", "idle"]);
    assert!(lost.is_superset(&expected), "{lost:?}");
    Ok(())
}

/// Before anything is touched, and without any load.
pub(crate) fn verify_refuses_what_restart_refuses(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, units::ZDT)?;
    machine.systemctl(&["stop", "app.socket"])?;
    let refused = machine.run(&[UNITS, "verify", "app"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("nothing was touched"),
        "{}",
        refused.stderr
    );

    // A release that does not start ends the first restart, and the verdict says so.
    machine.systemctl(&["start", "app.socket"])?;
    machine.systemctl(&["start", "app.service"])?.ok()?;
    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    let failed = machine.run(&[UNITS, "verify", "app", "--only=new", "--json"])?;
    assert_eq!(failed.code, Some(7), "{}", failed.stderr);
    let verified: Verified = serde_json::from_str(&failed.stdout)?;
    assert_eq!(verified.verdict.kind, VerdictKind::Failed);
    assert_eq!(verified.restarts.len(), 1);
    Ok(())
}

const UNITS: &str = "/opt/zdt/bin/units";

fn install(machine: &Machine, zdt_toml: &str) -> Result<(), Box<dyn Error>> {
    machine.run(&["mkdir", "-p", "/etc/zdt"])?.ok()?;
    machine.write_file("/etc/zdt/zdt.toml", zdt_toml, 0o644)?;
    units::zdt(machine, zdt_toml)
}

fn verify(machine: &Machine, zdt_toml: &str) -> Result<(Option<i32>, Verified), Box<dyn Error>> {
    install(machine, zdt_toml)?;
    let output = machine.run(&[&[UNITS, "verify", "app"], &FLAGS[..]].concat())?;
    let verified: Verified = serde_json::from_str(&output.stdout)
        .map_err(|error| format!("{error}: {}", output.stderr))?;
    let lost = verified.clients.iter().filter(|client| client.lost > 0);
    let lost: Vec<_> = lost
        .map(|client| format!("{} {}", client.name, client.lost))
        .collect();
    println!("{}: {}", verified.verdict.says, lost.join(", "));
    Ok((output.code, verified))
}

fn named(verified: &Verified, status: Status) -> BTreeSet<&str> {
    let clients = verified.clients.iter();
    let named = clients.filter(|client| client.status == status);
    named.map(|client| client.name.as_str()).collect()
}
