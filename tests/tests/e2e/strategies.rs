//! The units of each strategy, moved by hand with `systemctl`.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;
use zdt_units::probe::Report;

use crate::units;

const STANDBY: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
strategy = "standby"
"#;

const ROLLING: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
strategy = "rolling"
instances = 3
"#;

const WARM_UP: Duration = Duration::from_millis(800);

/// A second process serves meanwhile, so nobody waits for the start of the
/// next one; a plain restart loses nothing either, and does wait.
pub(crate) fn a_standby_serves_meanwhile(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, STANDBY)?;
    let warm_up = format!("WARMUP_MS={}\n", WARM_UP.as_millis());
    machine.write_file("/etc/app.env", warm_up, 0o644)?;
    let mut longest = Vec::new();
    for dance in [true, false] {
        let load = units::load(machine, &["--rate=500"])?;
        for _ in 0..3 {
            if dance {
                machine.systemctl(&["start", "app-standby.service"])?.ok()?;
            }
            machine.systemctl(&["restart", "app.service"])?.ok()?;
            if dance {
                machine.systemctl(&["stop", "app-standby.service"])?.ok()?;
            }
        }
        let report = load.stop()?;
        let with = if dance { "with" } else { "without" };
        longest.push(lossless(&format!("3 restarts {with} a standby"), &report));
    }
    assert_eq!(
        machine.show("app-standby.service", "ActiveState")?,
        "inactive"
    );
    // Both runs share the machine: without a standby somebody waits for the whole start.
    assert!(longest[1] >= WARM_UP, "{longest:?}");
    assert!(longest[0] < longest[1], "{longest:?}");
    Ok(())
}

/// A standby that crashes is gone, and the process that serves never knew.
pub(crate) fn a_broken_standby_touches_nobody(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, STANDBY)?;
    let before = machine.show("app.service", "MainPID")?;
    let load = units::load(machine, &["--rate=500"])?;
    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    let started = machine.systemctl(&["start", "app-standby.service"])?;
    assert!(!started.success());
    lossless("a standby that crashes", &load.stop()?);
    assert_eq!(machine.show("app.service", "MainPID")?, before);
    assert_eq!(machine.show("app.socket", "ActiveState")?, "active");
    Ok(())
}

/// The start of a second process leaves the shared sockets non-blocking for
/// the one that accepts from them. Without `NonBlocking=` it does not: the next
/// accept from the empty queue blocks, and here not even SIGTERM is heard.
pub(crate) fn a_start_leaves_the_sockets_non_blocking(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let control_machine = crate::builder().boot()?;
    let patient = "strategy = \"standby\"\ndrain = { limit = \"1s\" }";
    let stock = STANDBY.replace("/app\"]", "/stock\"]");
    let stock = stock.replace("strategy = \"standby\"", patient);
    for (name, machine, drop_in, hangs) in [
        ("as generated", machine, "[Service]\nType=exec\n", false),
        (
            "NonBlocking=no",
            &control_machine,
            "[Service]\nType=exec\nNonBlocking=no\n",
            true,
        ),
    ] {
        for unit in ["app", "app-standby"] {
            let path = format!("/etc/systemd/system/{unit}.service.d/type.conf");
            machine.write_file(&path, drop_in, 0o644)?;
        }
        units::zdt(machine, &stock)?;
        units::await_main(machine)?;
        machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
        // It crashes before it has touched its sockets.
        machine.systemctl(&["start", "app-standby.service"])?;
        machine.wait_until(Duration::from_secs(10), "the standby crashed", |machine| {
            let state = machine.show("app-standby.service", "ActiveState");
            state.is_ok_and(|state| state == "failed")
        })?;
        assert_eq!(Client::tcp(machine, units::ADDRESS)?.get("/")?.status, 200);
        machine
            .systemctl(&["stop", "app.socket", "app.service"])?
            .ok()?;
        let result = machine.show("app.service", "Result")?;
        println!("a second process started and crashed, {name}: SIGTERM ended with `{result}`");
        assert_eq!(result, if hangs { "timeout" } else { "success" });
    }
    Ok(())
}

/// One after the other, all at once, and through their target.
pub(crate) fn instances_share_their_socket(machine: &Machine) -> Result<(), Box<dyn Error>> {
    start_rolling(machine)?;
    machine.write_file("/etc/app.env", "WARMUP_MS=300\n", 0o644)?;
    let ways: [(&str, &[&[&str]]); 3] = [
        (
            "one after the other",
            &[
                &["restart", "app@1.service"],
                &["restart", "app@2.service"],
                &["restart", "app@3.service"],
            ],
        ),
        ("all at once", &[&["restart", "app@*"]]),
        ("by the target", &[&["restart", "app.target"]]),
    ];
    for (way, commands) in ways {
        let before = pids(machine)?;
        let load = units::load(machine, &["--rate=500"])?;
        for command in commands {
            machine.systemctl(command)?.ok()?;
        }
        machine.wait_until(Duration::from_secs(30), "all are active", |machine| {
            (1..=3).all(|number| {
                let state = machine.show(&format!("app@{number}.service"), "ActiveState");
                state.is_ok_and(|state| state == "active")
            })
        })?;
        lossless(&format!("3 instances, {way}"), &load.stop()?);
        let after = pids(machine)?;
        assert!(before.iter().all(|pid| !after.contains(pid)), "{way}");
    }
    Ok(())
}

/// A broken release in one instance: the others serve, the socket stays open,
/// and the instance can be started again.
pub(crate) fn a_broken_instance_leaves_the_socket_open(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    start_rolling(machine)?;
    let load = units::load(machine, &["--rate=500"])?;
    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    machine
        .systemctl(&["--no-block", "restart", "app@1.service"])?
        .ok()?;
    machine.wait_until(
        Duration::from_secs(30),
        "it has crashed three times",
        |machine| {
            let restarts = machine.show("app@1.service", "NRestarts");
            restarts.is_ok_and(|count| count.parse::<u32>().is_ok_and(|count| count >= 3))
        },
    )?;
    assert_eq!(machine.show("app.socket", "ActiveState")?, "active");
    machine.write_file("/etc/app.env", "", 0o644)?;
    machine.systemctl(&["restart", "app@1.service"])?.ok()?;
    lossless("one of 3 instances crashed 3 times", &load.stop()?);
    Ok(())
}

/// `SIGHUP`, on a machine with no `kill` but the shell's.
pub(crate) fn a_reload_reaches_the_main_process(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let script = "trap 'echo told > /run/app.told' HUP; systemd-notify --ready; \
                  while :; do sleep 0.05; done";
    let toml = format!(
        "[service.app]\nexec = [\"/bin/sh\", \"-c\", \"{script}\"]\nlisten = \"127.0.0.1:8080\"\n\
         strategy = \"reload\"\nsandbox = \"none\"\n"
    );
    units::zdt(machine, &toml)?;
    let before = machine.show("app.service", "MainPID")?;
    machine.systemctl(&["reload", "app.service"])?.ok()?;
    machine.wait_until(Duration::from_secs(10), "it was told", |machine| {
        machine
            .run(&["cat", "/run/app.told"])
            .is_ok_and(|cat| cat.stdout == "told\n")
    })?;
    assert_eq!(machine.show("app.service", "MainPID")?, before);
    Ok(())
}

/// A file that only root can read, in a process that has no rights at all.
pub(crate) fn a_credential_arrives(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let secret = "s3cret % $HOME \"quoted\"\n";
    let path = "/etc/#keys:of=$app/100%,'*'\u{a0}é";
    machine.write_file(path, secret, 0o600)?;
    let script =
        "cat $CREDENTIALS_DIRECTORY/cookie.key > $STATE_DIRECTORY/seen; cat /etc/?keys*/100*";
    let toml = format!(
        "[service.app]\nexec = [\"/bin/sh\", \"-c\", \"{script}\"]\nlisten = \"127.0.0.1:8080\"\n\
         sandbox = {{ state = \"app\" }}\n[service.app.credentials]\n\"cookie.key\" = \"{path}\"\n"
    );
    // It says nothing and ends, so it does not count as started.
    assert!(units::zdt(machine, &toml).is_err());
    machine
        .systemctl(&["stop", "app.socket", "app.service"])?
        .ok()?;
    let seen = machine.run(&["cat", "/var/lib/private/app/seen"])?.ok()?;
    assert_eq!(seen.stdout, secret);
    let journal = machine.journal("app.service")?;
    assert!(journal.contains("Permission denied"), "{journal}");
    Ok(())
}

fn start_rolling(machine: &Machine) -> Result<(), Box<dyn Error>> {
    for (name, text) in units::generate(ROLLING)? {
        machine.install(&[(&name, &text)])?;
    }
    machine
        .systemctl(&["enable", "--now", "app.target"])?
        .ok()?;
    assert_eq!(machine.show("app.socket", "UnitFileState")?, "enabled");
    let mut client = Client::tcp(machine, units::ADDRESS)?;
    assert_eq!(client.get("/")?.status, 200);
    Ok(())
}

fn pids(machine: &Machine) -> Result<Vec<String>, Box<dyn Error>> {
    let mut pids = Vec::new();
    for number in 1..=3 {
        let pid = machine.show(&format!("app@{number}.service"), "MainPID")?;
        assert_ne!(pid, "0", "instance {number} does not run");
        pids.push(pid);
    }
    Ok(pids)
}

/// Says what was measured, and how long anybody waited.
fn lossless(what: &str, report: &Report) -> Duration {
    println!("{what}: {}", crate::restart::summary(report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert!(report.total.outcomes.ok > 0, "{report}");
    Duration::from_micros(report.total.latency.max_us)
}

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    (
        "strategies::a_standby_serves_meanwhile",
        a_standby_serves_meanwhile,
    ),
    (
        "strategies::a_broken_standby_touches_nobody",
        a_broken_standby_touches_nobody,
    ),
    (
        "strategies::a_start_leaves_the_sockets_non_blocking",
        a_start_leaves_the_sockets_non_blocking,
    ),
    (
        "strategies::instances_share_their_socket",
        instances_share_their_socket,
    ),
    (
        "strategies::a_broken_instance_leaves_the_socket_open",
        a_broken_instance_leaves_the_socket_open,
    ),
    (
        "strategies::a_reload_reaches_the_main_process",
        a_reload_reaches_the_main_process,
    ),
    ("strategies::a_credential_arrives", a_credential_arrives),
];
