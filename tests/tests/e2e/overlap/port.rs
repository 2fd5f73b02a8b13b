//! What closes the port of naive units with two processes on one socket, done to generated ones.

use super::*;

/// A naive second service, with the same socket and systemd's defaults.
const NAIVE: &str = "\
[Service]
Sockets=app.socket
Type=notify
ExecStart=/opt/zdt/bin/app
EnvironmentFile=-/etc/app.env
Restart=always
NonBlocking=yes
";

/// A second process crashes again and again while the first one serves. With
/// systemd's default start limit the socket unit fails, and from then on
/// nothing new can be started on it until the first process is stopped too.
fn a_crashing_second_process_deadlocks_nothing(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let control = crate::builder().boot()?;
    units::naive(&control, &NAIVE.replace("Sockets=app.socket\n", ""))?;
    control.install(&[("app-standby.service", NAIVE)])?;
    let (state, mended) = crashes(&control, "app-standby.service")?;
    println!("naive units: app.socket is {state}; a good release then starts beside it: {mended}");
    assert_eq!((state.as_str(), mended), ("failed", false));

    for (keys, second) in [(STANDBY, "app-standby.service"), (ROLLING, "app@5.service")] {
        let fresh = crate::builder().boot()?;
        let machine = if keys == STANDBY { machine } else { &fresh };
        install(machine, keys)?;
        let load = load(machine, &[])?;
        let (state, mended) = crashes(machine, second)?;
        println!(
            "generated, {second}: app.socket is {state}; a good release then starts beside it: {mended}"
        );
        assert_eq!((state.as_str(), mended), ("active", true));
        lossless("  meanwhile", &load.stop()?);
    }
    Ok(())
}

/// Starts it six times with a broken release, and once with a good one.
fn crashes(machine: &Machine, second: &str) -> Result<(String, bool), Box<dyn Error>> {
    release(machine, BROKEN)?;
    for _ in 0..6 {
        machine.systemctl(&["start", second])?;
    }
    let state = state(machine, "app.socket")?;
    machine.systemctl(&["stop", second])?;
    machine.systemctl(&["reset-failed", second])?;
    release(machine, "")?;
    let mended = machine.systemctl(&["start", second])?.success();
    machine.systemctl(&["stop", second])?;
    Ok((state, mended))
}

/// Six times in a row, of which the sixth closes the port of units with the default start limit.
fn six_quick_restarts_of_each_kind(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let ways: [(&str, &[&[&str]]); 3] = [
        (STANDBY, &[&[UNITS, "restart", "app"]]),
        (ROLLING, &[&[UNITS, "restart", "app"]]),
        (
            ROLLING,
            &[
                &["systemctl", "restart", "app@*"],
                &["systemctl", "restart", "app.target"],
            ],
        ),
    ];
    for (index, (keys, commands)) in ways.into_iter().enumerate() {
        let fresh = crate::builder().boot()?;
        let machine = if index == 0 { machine } else { &fresh };
        install(machine, keys)?;
        let load = load(machine, &[])?;
        for _ in 0..6 {
            for command in commands {
                machine.run(command)?.ok()?;
            }
        }
        assert_eq!(state(machine, "app.socket")?, "active");
        let commands: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
        lossless(
            &format!("6 times `{}`, {keys:?}", commands.join("`, `")),
            &load.stop()?,
        );
    }
    Ok(())
}

/// All instances are stopped: the next connection starts the first one.
///
/// A stop empties the descriptor store. So with hand-over it closes the kept
/// connections without notice, and what that costs is shown beside it.
fn stopping_all_instances_leaves_the_port_open(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let announced = stop_all(machine, "strategy = \"rolling\"\ninstances = 4")?;
    tell("all instances were stopped 6 times", &announced);
    assert!(announced.valid, "{announced}");
    assert_eq!(announced.lost(), 0, "{announced}");

    let report = stop_all(&crate::builder().boot()?, ROLLING)?;
    tell("the same with hand-over", &report);
    assert!(report.valid, "{report}");
    let outcomes = |name| report.stream(name).map(|stream| stream.outcomes.clone());
    let (new, kept) = outcomes("new").zip(outcomes("kept")).ok_or("no streams")?;
    assert_eq!(new.lost(), 0, "{report}");
    // At most one request on each connection that was closed.
    let unanswered = kept.reset_reused + kept.eof_reused;
    assert_eq!(kept.lost(), unanswered, "{report}");
    println!(
        "  the stops closed {} of them, of which {unanswered} had sent",
        kept.stale + unanswered
    );
    assert!(kept.stale + unanswered > 0, "{report}");
    Ok(())
}

/// Stops them six times under load; each time the load starts one again.
fn stop_all(machine: &Machine, keys: &str) -> Result<Report, Box<dyn Error>> {
    install(machine, keys)?;
    let load = load(machine, &["--timeout=60s"])?;
    for _ in 0..6 {
        machine.systemctl(&["stop", "app.target"])?.ok()?;
        await_state(machine, "app@1.service", "active")?;
    }
    assert_eq!(state(machine, "app.socket")?, "active");
    restart(machine)?.ok()?;
    assert!(!pids(machine, &INSTANCES)?.contains(&"0".to_owned()));
    Ok(load.stop()?)
}

pub(super) const TESTS: &[(&str, crate::Test)] = &[
    (
        "overlap::a_crashing_second_process_deadlocks_nothing",
        a_crashing_second_process_deadlocks_nothing,
    ),
    (
        "overlap::six_quick_restarts_of_each_kind",
        six_quick_restarts_of_each_kind,
    ),
    (
        "overlap::stopping_all_instances_leaves_the_port_open",
        stopping_all_instances_leaves_the_port_open,
    ),
];
