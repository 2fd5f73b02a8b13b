//! How long anybody waits while a service is replaced.

use super::*;

/// With somebody serving meanwhile nobody waits for the start of the next
/// process; with `queue`, the control, somebody waits for all of it.
///
/// To start a process costs others time on a machine of two cores, whatever it
/// serves. So beside a run without any restart there is one in which as many
/// processes start that have nothing to do with the service.
fn nobody_waits_for_the_start(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let warm_up = Duration::from_millis(800);
    let with_surge = format!("{ROLLING}\nrolling = {{ surge = 1 }}");
    let cases = [
        ("standby", STANDBY, 2),
        ("rolling, 4 instances", ROLLING, 4),
        ("rolling, 4 instances and a surge", &with_surge, 5),
        ("queue", "strategy = \"queue\"\nhandover = true", 1),
    ];
    for (index, (name, keys, starts)) in cases.into_iter().enumerate() {
        let fresh;
        let machine = match index {
            0 => machine,
            _ => {
                fresh = crate::builder().boot()?;
                &fresh
            }
        };
        install(machine, &format!("{keys}\n{OTHER}"))?;
        release(machine, GOOD)?;
        let undisturbed = load(machine, &["--for=6s"])?.finish()?;
        lossless(&format!("{name}, no restart"), &undisturbed);

        let load = |what: &str, command: &[&str], times| {
            let load = load(machine, &[])?;
            for _ in 0..times {
                machine.run(command)?.ok()?;
            }
            let report = load.stop()?;
            lossless(&format!("{name}, {what}"), &report);
            Ok::<_, Box<dyn Error>>(report)
        };
        let elsewhere = format!("{} starts elsewhere", 2 * starts);
        let other = ["systemctl", "restart", "other.service"];
        let elsewhere = load(&elsewhere, &other, 2 * starts)?;
        let report = load("2 restarts", &[UNITS, "restart", "app"], 2)?;
        let times = |of: &Report| longest(&report).as_secs_f64() / longest(of).as_secs_f64();
        println!(
            "  longest wait: {:.1} times that without a restart, {:.1} times that with as many starts elsewhere",
            times(&undisturbed),
            times(&elsewhere)
        );
        match name {
            "queue" => assert!(longest(&report) >= warm_up, "{report}"),
            // Whatever starts cost others, and not the start-up on top of it.
            _ => assert!(
                longest(&report) < warm_up + longest(&undisturbed).max(longest(&elsewhere)),
                "{report}"
            ),
        }
    }
    Ok(())
}

/// The same program, for nobody.
const OTHER: &str = "
[service.other]
exec = [\"/opt/zdt/bin/app\"]
listen = \"127.0.0.1:8090\"
environment_files = [\"-/etc/app.env\"]";

/// Instances that are no longer wanted are stopped when the others have been replaced.
fn fewer_instances_lose_nothing(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, ROLLING)?;
    let load = load(machine, &[])?;
    install(
        machine,
        "strategy = \"rolling\"\ninstances = 2\nhandover = true",
    )?;
    let restarted = restart(machine)?.ok()?;
    assert!(
        restarted
            .stderr
            .contains("stop `app@3.service` and `app@4.service`"),
        "{}",
        restarted.stderr
    );
    for (unit, wanted) in INSTANCES
        .into_iter()
        .zip(["active", "active", "inactive", "inactive"])
    {
        assert_eq!(state(machine, unit)?, wanted, "{unit}");
    }
    lossless("2 instances instead of 4", &load.stop()?);
    Ok(())
}

/// Two at a time, with a canary and a pause: every instance is another one afterwards.
fn batches_and_a_canary(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let pace = "rolling = { batch = 2, pause = \"300ms\", canary = true }\nbake = \"1s\"";
    install(machine, &format!("{ROLLING}\n{pace}"))?;
    release(machine, GOOD)?;
    let before = pids(machine, &INSTANCES)?;
    let load = load(machine, &[])?;
    let restarted = restart(machine)?.ok()?;
    let report = load.stop()?;
    let after = pids(machine, &INSTANCES)?;
    assert!(before.iter().all(|pid| !after.contains(pid)), "{after:?}");
    assert!(!after.contains(&"0".to_owned()), "{after:?}");
    assert!(
        restarted.stderr.contains("stay up for 1s"),
        "{}",
        restarted.stderr
    );
    lossless("a canary, then 2 of 4 at a time", &report);
    Ok(())
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    (
        "overlap::nobody_waits_for_the_start",
        nobody_waits_for_the_start,
    ),
    (
        "overlap::fewer_instances_lose_nothing",
        fewer_instances_lose_nothing,
    ),
    ("overlap::batches_and_a_canary", batches_and_a_canary),
];
