//! What closes the port of a naive unit, done to a generated one under load: it stays open, and everybody who came
//! meanwhile is answered. Each test runs its control, the units that people copy, at the same time.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use zdt_e2e::client::Client;
use zdt_e2e::machine::{self, Machine};
use zdt_units::probe::Report;

use crate::units;

type Act = fn(&Machine) -> Result<(), machine::Error>;

/// Something that goes wrong with a service.
#[derive(Clone, Copy)]
struct Trouble {
    name: &'static str,
    /// Lines of `[service.app]`.
    zdt: &'static str,
    /// Lines of the control's `app.service`.
    control: &'static str,
    prepare: Act,
    start: Act,
    /// How long it goes on until it is mended.
    lasts: Duration,
    mend: Act,
    /// What the process holds when it is killed is lost; nothing else may be.
    held: bool,
    closes_control: bool,
}

const TROUBLE: Trouble = Trouble {
    name: "",
    zdt: r#"exec = ["/opt/zdt/bin/app"]"#,
    control: "[Service]\nExecStart=/opt/zdt/bin/stock\n",
    prepare: nothing,
    start: nothing,
    lasts: Duration::from_secs(2),
    mend: nothing,
    held: false,
    closes_control: true,
};

pub(crate) fn six_quick_restarts(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "six restarts in a row",
        start: |machine| six_times(machine, &["restart", "app.service"]),
        ..TROUBLE
    };
    compare(machine, trouble)
}

/// With `Requires=` the service would not start, and traffic would try until systemd gives up.
pub(crate) fn a_failing_dependency(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "a dependency fails",
        zdt: "exec = [\"/opt/zdt/bin/app\"]\nafter = [\"bad.service\"]",
        control: "\
[Unit]
Requires=bad.service
After=bad.service
[Service]
ExecStart=/opt/zdt/bin/stock
",
        prepare: |machine| {
            let bad = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'test ! -e /run/bad'\n";
            machine.install(&[("bad.service", bad)])
        },
        start: |machine| {
            machine.write_file("/run/bad", "", 0o644)?;
            restart(machine)
        },
        mend: |machine| machine.run(&["rm", "/run/bad"])?.ok().map(drop),
        ..TROUBLE
    };
    compare(machine, trouble)
}

pub(crate) fn a_missing_program(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "the program is not there",
        zdt: r#"exec = ["/opt/release/app"]"#,
        control: "[Service]\nExecStart=/opt/release/stock\n",
        prepare: |machine| {
            machine
                .run(&["ln", "-s", "/opt/zdt/bin", "/opt/release"])?
                .ok()
                .map(drop)
        },
        start: |machine| {
            machine.run(&["mv", "/opt/release", "/opt/away"])?.ok()?;
            restart(machine)
        },
        mend: |machine| {
            machine
                .run(&["mv", "/opt/away", "/opt/release"])?
                .ok()
                .map(drop)
        },
        ..TROUBLE
    };
    compare(machine, trouble)
}

pub(crate) fn an_unknown_user(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "the user is not known",
        zdt: "exec = [\"/opt/zdt/bin/app\"]\nuser = \"shop\"",
        control: "[Service]\nExecStart=/opt/zdt/bin/stock\nUser=shop\n",
        prepare: |machine| {
            machine
                .run(&["systemd-sysusers", "--inline", "u shop"])?
                .ok()
                .map(drop)
        },
        start: |machine| {
            machine
                .run(&["sed", "-i.kept", "/^shop:/d", "/etc/passwd"])?
                .ok()?;
            restart(machine)
        },
        mend: |machine| {
            machine
                .run(&["mv", "/etc/passwd.kept", "/etc/passwd"])?
                .ok()
                .map(drop)
        },
        ..TROUBLE
    };
    compare(machine, trouble)
}

pub(crate) fn a_start_that_hangs(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "no start gets ready",
        zdt: "exec = [\"/opt/zdt/bin/app\"]\nenvironment_files = [\"-/etc/app.env\"]\n\
              start_timeout = \"1s\"",
        control: "\
[Service]
Type=notify
ExecStart=/opt/zdt/bin/stock
EnvironmentFile=-/etc/app.env
TimeoutStartSec=300ms
",
        start: |machine| {
            machine.write_file("/etc/app.env", "WARMUP_MS=600000\n", 0o644)?;
            restart(machine)
        },
        lasts: Duration::from_secs(4),
        mend: |machine| machine.write_file("/etc/app.env", "", 0o644),
        ..TROUBLE
    };
    compare(machine, trouble)
}

pub(crate) fn stopping_the_service(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "the service is stopped six times",
        start: |machine| six_times(machine, &["stop", "app.service"]),
        ..TROUBLE
    };
    compare(machine, trouble)
}

pub(crate) fn killing_the_process(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "the process is killed six times",
        start: |machine| six_times(machine, &["kill", "--signal=KILL", "app.service"]),
        held: true,
        ..TROUBLE
    };
    compare(machine, trouble)
}

/// The control is what a naive unit does with a program that never heard of the watchdog.
pub(crate) fn the_watchdog(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "the watchdog kills a hanging process",
        zdt: "exec = [\"/opt/zdt/bin/app\"]\nwatchdog = \"1s\"",
        control: "[Service]\nType=notify\nExecStart=/opt/zdt/bin/stock\nWatchdogSec=300ms\n",
        start: |machine| {
            machine.systemctl(&["kill", "--kill-whom=main", "--signal=STOP", "app.service"])?;
            Ok(())
        },
        lasts: Duration::from_secs(4),
        held: true,
        ..TROUBLE
    };
    compare(machine, trouble)
}

/// Neither loses the port; the control loses requests as in any restart.
pub(crate) fn the_manager_reloads_during_a_restart(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble {
        name: "daemon-reload and daemon-reexec during a restart",
        zdt: "exec = [\"/opt/zdt/bin/app\"]\nenvironment = { WARMUP_MS = \"500\" }",
        control: "[Service]\nExecStart=/opt/zdt/bin/stock\nEnvironment=WARMUP_MS=500\n",
        start: |machine| {
            for command in ["daemon-reload", "daemon-reexec", "daemon-reload"] {
                let before = machine.show("app.service", "MainPID")?;
                machine
                    .systemctl(&["restart", "--no-block", "app.service"])?
                    .ok()?;
                let limit = Duration::from_secs(10);
                machine.wait_until(limit, "the restart is under way", |machine| {
                    let pid = machine.show("app.service", "MainPID");
                    pid.is_ok_and(|pid| pid != before)
                })?;
                machine.systemctl(&[command])?.ok()?;
                await_active(machine)?;
            }
            Ok(())
        },
        closes_control: false,
        ..TROUBLE
    };
    compare(machine, trouble)
}

/// What an administrator does on purpose is not prevented: without its unit nothing can start. A generated unit lies
/// where `systemctl mask` refuses it, and `zdt-units restart` refuses before anything happens.
pub(crate) fn a_masked_service_is_refused(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, units::ZDT)?;
    machine.write_file("/etc/zdt/zdt.toml", units::ZDT, 0o644)?;
    let unit = "/etc/systemd/system/app.service";
    let masked = machine.systemctl(&["mask", "app.service"])?;
    println!(
        "`systemctl mask` of a generated unit: {}",
        masked.stderr.trim_end()
    );
    assert!(!masked.success(), "{masked:?}");

    machine.run(&["ln", "-sf", "/dev/null", unit])?.ok()?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    assert_eq!(machine.show("app.service", "LoadState")?, "masked");
    let pid = machine.show("app.service", "MainPID")?;
    let refused = machine.run(&["/opt/zdt/bin/units", "restart", "app"])?;
    println!(
        "`zdt-units restart` of a masked one: {}",
        refused.stderr.trim_end()
    );
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(
        refused.stderr.contains("systemctl unmask app.service"),
        "{refused:?}"
    );
    assert_eq!(
        Client::tcp(machine, units::ADDRESS)?.get("/")?.text(),
        format!("pid {pid}\n")
    );

    // The process once gone, the first client finds nothing that could start.
    machine
        .systemctl(&["kill", "--signal=KILL", "app.service"])?
        .ok()?;
    let closed = machine.wait_until(Duration::from_secs(10), "the port is closed", |machine| {
        let _ = Client::tcp(machine, units::ADDRESS).and_then(|mut client| client.send_get("/"));
        machine
            .show("app.socket", "ActiveState")
            .is_ok_and(|state| state == "failed")
    });
    println!(
        "then killed: app.socket is {}, {}",
        machine.show("app.socket", "ActiveState")?,
        machine.show("app.socket", "Result")?
    );
    Ok(closed?)
}

fn nothing(_: &Machine) -> Result<(), machine::Error> {
    Ok(())
}

/// Fails where the release is broken, which is what the test is about.
fn restart(machine: &Machine) -> Result<(), machine::Error> {
    machine.systemctl(&["restart", "app.service"])?;
    Ok(())
}

/// A command of `systemctl`, each time when the service is up again.
fn six_times(machine: &Machine, command: &[&str]) -> Result<(), machine::Error> {
    for _ in 0..6 {
        machine.systemctl(command)?;
        await_active(machine)?;
    }
    Ok(())
}

/// Or until it never will be.
fn await_active(machine: &Machine) -> Result<(), machine::Error> {
    let is = |unit, wanted| {
        let state = machine.show(unit, "ActiveState");
        state.is_ok_and(|state| state == wanted)
    };
    let limit = Duration::from_secs(10);
    machine.wait_until(limit, "the service is active", |_| {
        is("app.service", "active") || is("app.socket", "failed")
    })
}

/// How units came through.
struct Passed {
    report: Report,
    /// The socket unit's, at the end of the trouble.
    state: String,
    result: String,
    refuses: bool,
}

fn compare(machine: &Machine, trouble: Trouble) -> Result<(), Box<dyn Error>> {
    let control = crate::builder().boot()?;
    let text = |error: Box<dyn Error>| error.to_string();
    let (zdt, control) = thread::scope(|scope| {
        let zdt = scope.spawn(|| {
            let zdt_toml = format!(
                "[service.app]\nlisten = \"{}\"\n{}\n",
                units::ADDRESS,
                trouble.zdt
            );
            let start = || units::zdt(machine, &zdt_toml);
            pass(machine, trouble, false, start).map_err(text)
        });
        let control = &control;
        let control = scope.spawn(move || {
            let start = || Ok(units::naive(control, trouble.control)?);
            pass(control, trouble, trouble.closes_control, start).map_err(text)
        });
        (zdt.join(), control.join())
    });
    let joined =
        |passed: thread::Result<_>| passed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let (zdt, control): (Passed, Passed) = (joined(zdt)?, joined(control)?);

    println!("{}", trouble.name);
    for (name, passed) in [("zdt", &zdt), ("control", &control)] {
        println!(
            "  {name:8} socket {} ({}); {}; longest wait {} ms",
            passed.state,
            passed.result,
            passed.report.total.outcomes,
            passed.report.total.latency.max_us / 1000
        );
    }
    assert!(zdt.report.valid, "{}", zdt.report);
    assert_eq!(zdt.state, "active");
    assert_eq!(zdt.report.total.outcomes.refused, 0, "{}", zdt.report);
    if !trouble.held {
        assert_eq!(zdt.report.lost(), 0, "{}", zdt.report);
    }
    if trouble.closes_control {
        assert_eq!(control.state, "failed");
        assert!(control.refuses, "the control's port is open");
    }
    Ok(())
}

/// Starts the service, and brings it through the trouble under load; where that `closes` the port, until it has.
fn pass(
    machine: &Machine,
    trouble: Trouble,
    closes: bool,
    start: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<Passed, Box<dyn Error>> {
    (trouble.prepare)(machine)?;
    start()?;
    let load = units::load(machine, &["--rate=100", "--timeout=60s"])?;
    (trouble.start)(machine)?;
    let started = Instant::now();
    let lasts = match closes {
        true => Duration::from_secs(60),
        false => trouble.lasts,
    };
    let mut open = true;
    while open && started.elapsed() < lasts {
        // A client of its own, now and then: the port takes connections, or not.
        open = machine.show("app.socket", "ActiveState")? == "active"
            && Client::tcp(machine, units::ADDRESS).is_ok();
    }
    let state = machine.show("app.socket", "ActiveState")?;
    let result = machine.show("app.socket", "Result")?;
    let refuses = Client::tcp(machine, units::ADDRESS).is_err();
    (trouble.mend)(machine)?;
    if open {
        machine.wait_until(Duration::from_secs(30), "the service answers", |machine| {
            let answer =
                Client::tcp(machine, units::ADDRESS).and_then(|mut client| client.get("/"));
            answer.is_ok()
        })?;
    }
    let report = load.stop()?;
    Ok(Passed {
        report,
        state,
        result,
        refuses,
    })
}
