//! `zdt-units run` with what only a whole machine has: a journal, and users that are in no file.

use std::error::Error;
use std::time::Duration;

use serde_json::Value;
use zdt_e2e::machine::{self, Machine, Reason};

use crate::Test;
use crate::guard::launch;

pub(crate) const TESTS: &[(&str, Test)] = &[(
    "launched::a_user_from_elsewhere_prints_to_the_journal",
    a_user_from_elsewhere_prints_to_the_journal,
)];

/// Known to `getpwnam(3)` through `nss-systemd(8)`, and not in `/etc/passwd`.
const USER: &str =
    r#"{"userName": "visitor", "uid": 65432, "gid": 65432, "disposition": "regular"}"#;
const GROUP: &str = r#"{"groupName": "visitor", "gid": 65432, "disposition": "regular"}"#;

const CONFIG: &str = r#"
[launcher]
output = "journal"

[service.job]
kind = "worker"
ready = "started"
user = "visitor"
exec = ["/bin/sh", "-c", "echo $(id -un) is $(id -u) of $(id -gn); exec sleep 1000"]
"#;

fn a_user_from_elsewhere_prints_to_the_journal(machine: &Machine) -> Result<(), Box<dyn Error>> {
    for (kind, record) in [("user", USER), ("group", GROUP)] {
        machine.write_file(&format!("/etc/userdb/visitor.{kind}"), record, 0o644)?;
        let by_number = format!("/etc/userdb/65432.{kind}");
        machine
            .run(&["ln", "-s", &format!("visitor.{kind}"), &by_number])?
            .ok()?;
    }
    let known = machine.run(&["getent", "passwd", "visitor"])?;
    if known.code != Some(0) {
        let (name, package) = ("libnss_systemd.so.2", "libnss-systemd");
        return Err(machine::Error::Unavailable(Reason::Program { name, package }).into());
    }
    let in_file = machine.run(&["grep", "-c", "visitor", "/etc/passwd"])?;
    assert_eq!(in_file.stdout, "0\n");
    machine.write_file("/etc/zdt/zdt.toml", CONFIG, 0o644)?;
    launch(machine, &["run", "--config", "/etc/zdt/zdt.toml"])?;
    let mut line = Value::Null;
    let limit = Duration::from_secs(30);
    let found = machine.wait_until(limit, "a line in the journal", |machine| {
        let asked = machine.run(&["journalctl", "--output=json", "SYSLOG_IDENTIFIER=job"]);
        line = asked.map_or(Value::Null, |said| {
            serde_json::from_str(said.stdout.lines().next().unwrap_or_default()).unwrap_or_default()
        });
        line != Value::Null
    });
    println!("{line}");
    found?;
    assert_eq!(line["MESSAGE"], "visitor is 65432 of visitor");
    assert_eq!(line["_UID"], "65432");
    assert_eq!(line["_TRANSPORT"], "stdout");
    // It is not passed on a second time.
    let of_launcher = machine.journal("launcher.service")?;
    assert_eq!(
        of_launcher.matches("visitor is 65432").count(),
        1,
        "{of_launcher}"
    );
    Ok(())
}
