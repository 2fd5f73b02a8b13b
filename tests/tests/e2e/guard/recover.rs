//! `zdt-units recover`, after `kill -9` at different steps.

use super::*;

const STANDBY: &str = "strategy = \"standby\"\nhandover = true";
const RECORD: &str = "/var/lib/zdt/app/running.json";

/// While the standby starts, and while it stands in: what was begun is taken back, or ended, and
/// nobody is lost.
fn a_killed_restart_is_recovered(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "", STANDBY)?;
    let load = load(machine)?;
    let nothing = zdt(machine, &["recover"])?.ok()?;
    assert_eq!(
        nothing.stderr,
        "`app`: nothing broke off, and all is well\n"
    );

    let before = pid(machine)?;
    let gate = Gate::shut(machine, "app-standby.service")?;
    launch(machine, &["restart", "app"])?;
    await_state(machine, "app-standby.service", "activating")?;
    kill(machine)?;
    assert!(machine.host_path(RECORD).exists());
    let dry = zdt(machine, &["recover", "--dry-run"])?.ok()?;
    assert!(
        dry.stdout.ends_with(
            "\
broke off at step 3: start `app-standby.service` and wait until it is ready
1. stop `app-standby.service` (limit 51s)
on failure: there is nothing to roll back to; the sockets stay open and connections wait
"
        ),
        "{}",
        dry.stdout
    );
    zdt(machine, &["recover", "app"])?.ok()?;
    assert_eq!(
        machine.show("app-standby.service", "ActiveState")?,
        "inactive"
    );
    assert_eq!(pid(machine)?, before);
    assert!(!machine.host_path(RECORD).exists());
    gate.open()?;

    let gate = Gate::shut(machine, "app.service")?;
    launch(machine, &["restart", "app"])?;
    await_state(machine, "app-standby.service", "active")?;
    await_state(machine, "app.service", "activating")?;
    kill(machine)?;
    let mut recovers = Call::start(machine, &["recover"])?;
    recovers.until(|line| line.contains(" broke off at step "))?;
    gate.open()?;
    recovers.end()?.ok()?;
    assert_eq!(
        machine.show("app-standby.service", "ActiveState")?,
        "inactive"
    );
    assert_eq!(machine.show("app.service", "ActiveState")?, "active");
    assert_ne!(pid(machine)?, before);
    assert!(!machine.host_path(RECORD).exists());
    lossless("two killed restarts, each recovered", &load.stop()?);
    Ok(())
}

/// A record from before a power cut that speaks of more than processes stands in the way of a
/// restart; without a place to write a record nothing is begun.
fn what_broke_off_is_not_passed_over(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "", "")?;
    let gate = Gate::shut(machine, "app.service")?;
    launch(machine, &["restart", "app"])?;
    await_state(machine, "app.service", "activating")?;
    kill(machine)?;
    gate.open()?;
    await_state(machine, "app.service", "active")?;
    let before = pid(machine)?;

    let path = machine.host_path(RECORD);
    let written = std::fs::read_to_string(&path)?;
    let restart = r#"{"restart_unit":{"unit":"app.service"}}"#;
    let point = r#"{"release":{"point":{"root":"/srv/app","link":"current","release":"v2"}}}"#;
    assert!(written.contains(restart), "{written}");
    machine.write_file(RECORD, written.replace(restart, point), 0o600)?;
    let refused = zdt(machine, &["restart", "app"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .ends_with("hint: `zdt-units recover app` takes it back\n"),
        "{}",
        refused.stderr
    );
    machine.write_file(RECORD, &written[..written.len() / 2], 0o600)?;
    let damaged = zdt(machine, &["restart", "app"])?;
    assert_eq!(damaged.code, Some(5), "{}", damaged.stderr);
    assert_eq!(pid(machine)?, before);

    machine.write_file(RECORD, written, 0o600)?;
    zdt(machine, &["restart", "app"])?.ok()?;
    assert!(!path.exists());

    let before = pid(machine)?;
    let script = "rm -r /var/lib/zdt/app && mount -t tmpfs -o ro none /var/lib/zdt";
    machine.run(&["sh", "-c", script])?.ok()?;
    let read_only = zdt(machine, &["restart", "app"])?;
    assert_eq!(read_only.code, Some(5), "{}", read_only.stderr);
    assert_eq!(pid(machine)?, before);
    Ok(())
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    (
        "guard::a_killed_restart_is_recovered",
        a_killed_restart_is_recovered,
    ),
    (
        "guard::what_broke_off_is_not_passed_over",
        what_broke_off_is_not_passed_over,
    ),
];
