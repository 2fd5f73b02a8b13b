//! What runs beside a release, and fails; and data that a release has changed.

use super::*;

const TASKS: &str = r#"
sandbox = { state = "app" }
check = { command = ["/bin/sh", "{{release.path}}/bin/check"] }
warm = { command = ["/bin/sh", "{{release.path}}/bin/warm"] }
"#;
const UP: &str = r#"migrate = { command = ["/bin/sh", "{{release.path}}/bin/up"] }"#;
const UP_AND_DOWN: &str = r#"migrate = { command = ["/bin/sh", "{{release.path}}/bin/up"], down = ["/bin/sh", "{{release.path}}/bin/down"] }"#;

/// Files of a release whose tasks write down that they ran, and do what `faulty` says.
fn release(app: &App<'_>, name: &str, faulty: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
    let good = ["check", "warm", "up", "down"].map(|task| {
        let script = format!("echo {task} {name} >>/var/lib/app/log\n");
        let fault = faulty.iter().find(|(faulty, _)| *faulty == task);
        (task, script + fault.map_or("", |(_, script)| script))
    });
    let mut files: Vec<(&str, &str)> = good
        .iter()
        .map(|(task, script)| (*task, script.as_str()))
        .collect();
    files.extend(faulty.iter().filter(|(name, _)| *name == "fault"));
    app.make(name, &files)
}

/// What has run since this was asked last.
fn ran(app: &App<'_>) -> Result<Vec<String>, Box<dyn Error>> {
    let shell = "cat /var/lib/app/log && rm /var/lib/private/app/log";
    let log = app.machine.run(&["sh", "-c", shell])?.stdout;
    Ok(log.lines().map(str::to_owned).collect())
}

/// A check stops before anything is touched. A migration does too, as far as processes go. What warms up
/// runs against a process that is taken back.
fn that_fail(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let app = App::install(machine, TASKS, &["app.service"])?;
    app.configure(&format!("{TASKS}{UP_AND_DOWN}"))?;
    let load = app.load()?;
    ran(&app)?;
    let before = machine.show("app.service", "MainPID")?;

    release(
        &app,
        "unchecked",
        &[("check", "echo no such upstream; exit 3")],
    )?;
    let stopped = app.deploy("unchecked")?;
    println!("check: {}", why(&stopped));
    assert_eq!(stopped.code, Some(5), "{}", stopped.stderr);
    assert!(
        stopped.stderr.contains("| no such upstream"),
        "{}",
        stopped.stderr
    );
    assert_eq!(ran(&app)?, ["check unchecked"]);
    assert_eq!(app.failures()?, 0);
    app.serves("v1")?;

    release(&app, "locked", &[("up", "test ! -e /etc/locked")])?;
    machine.write_file("/etc/locked", "", 0o644)?;
    let failed = app.deploy("locked")?;
    println!("migrate: {}", why(&failed));
    assert_eq!(failed.code, Some(6), "{}", failed.stderr);
    assert_eq!(ran(&app)?, ["check locked", "up locked"]);
    assert_eq!(app.states("locked")?, ["next", "failed", "migrated"]);
    assert_eq!(app.failures()?, 1);
    app.serves("v1")?;
    assert_eq!(machine.show("app.service", "MainPID")?, before);

    release(&app, "cold", &[("warm", "exit 1")])?;
    let failed = app.deploy("cold")?;
    println!("warm: {}", why(&failed));
    assert_eq!(failed.code, Some(6), "{}", failed.stderr);
    let all = ["check cold", "up cold", "warm cold", "down cold"];
    assert_eq!(ran(&app)?, all);
    assert_eq!(app.states("cold")?, ["next", "failed"]);
    app.serves("v1")?;

    let skipped = app.deploy_with("locked", &["--skip-migrations"])?.ok()?;
    assert!(
        skipped.stderr.contains("note: migrations are skipped"),
        "{}",
        skipped.stderr
    );
    assert_eq!(ran(&app)?, ["check locked", "warm locked"]);
    app.serves("locked")?;
    lossless("tasks that fail", &load.stop()?);
    Ok(())
}

/// A migration that failed is run again. A way back over one is refused unless somebody says that the old
/// release knows the new data, or the newer release takes it back.
fn that_change_data(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let app = App::install(machine, TASKS, &["app.service"])?;
    app.configure(&format!("{TASKS}{UP}"))?;
    let load = app.load()?;
    ran(&app)?;

    release(&app, "v2", &[("up", "test ! -e /etc/locked")])?;
    machine.write_file("/etc/locked", "", 0o644)?;
    assert_eq!(app.deploy("v2")?.code, Some(6));
    machine.run(&["rm", "/etc/locked"])?.ok()?;
    app.deploy("v2")?.ok()?;
    let twice = ["check v2", "up v2", "check v2", "up v2", "warm v2"];
    assert_eq!(ran(&app)?, twice);
    let refused = app.zdt(&["rollback", "app"])?;
    println!("{}", refused.stderr);
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    app.serves("v2")?;
    app.zdt(&["rollback", "app", "--force"])?.ok()?;
    app.serves("v1")?;

    app.configure(&format!("{TASKS}{UP_AND_DOWN}"))?;
    app.deploy("v2")?.ok()?;
    ran(&app)?;
    release(&app, "v3", &[])?;
    app.deploy("v3")?.ok()?;
    release(&app, "v4", &[("fault", "exit")])?;
    assert_eq!(app.deploy("v4")?.code, Some(6));
    app.serves("v3")?;
    let up = [
        "check v3", "up v3", "warm v3", "check v4", "up v4", "down v4",
    ];
    assert_eq!(ran(&app)?, up);
    let back = app.zdt(&["rollback", "app", "v2"])?.ok()?;
    println!("{}", back.stderr);
    app.serves("v2")?;
    assert!(ran(&app)?.contains(&"down v3".to_owned()));
    assert_eq!(app.failures()?, 0);
    lossless("data there and back", &load.stop()?);
    Ok(())
}

pub(super) const TESTS: &[(&str, Test)] = &[
    ("bad::tasks_that_fail", that_fail),
    ("bad::tasks_that_change_data", that_change_data),
];
