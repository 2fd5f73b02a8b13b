//! How a program of others is asked to end: commands, then a signal, in order and each with a limit.

use std::error::Error;
use std::time::{Duration, Instant};

use zdt_e2e::machine::Machine;

use crate::units;

/// Knows nothing of zdt, and says what ends it.
const MAIN: &str = "\
#!/bin/sh
cd /run/foreign/$ZDT_SERVICE
say() { echo \"main: $1\" >> said; }
trap 'say SIGQUIT; exit 0' QUIT
trap 'say SIGTERM; exit 0' TERM
rm -f end
while ! test -e end; do sleep 0.05; done
for round in $(seq ${ROUNDS-6}); do sleep 0.05; done
say 'by itself'
";

/// Says that it was run and for whom, then does what the file of its name says.
const HOOK: &str = "\
#!/bin/sh
cd /run/foreign/$ZDT_SERVICE
echo \"$1 of $ZDT_PID\" >> said
case $(cat \"$1\" 2>/dev/null) in
fail) exit 3 ;;
hang) trap '' TERM; while :; do sleep 1; done ;;
slow) sleep 1; echo \"$1 done\" >> said ;;
end) touch end ;;
esac
";

const ZDT: &str = r#"
[template.work]
exec = ["/bin/sh", "/opt/foreign/main"]
ready = "started"
sandbox = "none"

# First quiet, then drain, then the signal.
[service.work]
template = "work"
listen = "127.0.0.1:8080"

[service.work.stop]
quiet = ["/bin/sh", "/opt/foreign/hook", "quiet"]
drain = ["/bin/sh", "/opt/foreign/hook", "drain"]
drain_limit = "3s"
signal = "SIGQUIT"

# A command in the place of the signal.
[service.halt]
template = "work"
listen = "127.0.0.1:8081"
stop = { command = ["/bin/sh", "/opt/foreign/hook", "command"] }

# Ends by itself once it is quiet.
[service.own]
template = "work"
listen = "127.0.0.1:8082"
stop = { quiet = ["/bin/sh", "/opt/foreign/hook", "quiet"], drain_limit = "60s" }
"#;

/// What people write. systemd has one limit for all commands, and signals the process when one exceeds it. It takes the
/// end of the last command for the end of the process, and runs them all when the process has ended already. The process
/// takes three seconds to end by itself.
const CONTROL: &str = "\
[Service]
Type=exec
Environment=ZDT_SERVICE=control ROUNDS=60
ExecStart=/bin/sh /opt/foreign/main
ExecStop=-/bin/sh /opt/foreign/hook quiet
ExecStop=-/bin/sh /opt/foreign/hook drain
TimeoutStopSec=2s
KillMode=mixed
KillSignal=SIGQUIT
Restart=always
";

/// Hooks that fail and hooks that hang stop nothing: those after them are run, and the signal is sent.
pub(crate) fn a_foreign_program_is_stopped_in_order(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    start(machine)?;
    for (hooks, least, most) in [
        (["do", "slow"], 1, 10),
        (["fail", "fail"], 0, 10),
        (["do", "hang"], 3, 10),
        (["hang", "slow"], 11, 40),
    ] {
        let wanted = [("quiet", hooks[0]), ("drain", hooks[1])];
        let (said, pid, took) = restart(machine, "work", &wanted)?;
        println!("{hooks:?}: {said:?} in {took:?}");
        let mut order = vec![format!("quiet of {pid}"), format!("drain of {pid}")];
        if hooks[1] == "slow" {
            order.push("drain done".to_owned());
        }
        order.push("main: SIGQUIT".to_owned());
        assert_eq!(said, order, "{hooks:?}");
        // Far from `TimeoutStopSec=`, which is 41 s.
        let limits = Duration::from_secs(least)..Duration::from_secs(most);
        assert!(limits.contains(&took), "{hooks:?}: {took:?}");
    }

    let hooks = [("quiet", "hang"), ("drain", "slow")];
    let (said, _, took) = restart(machine, "control", &hooks)?;
    println!("control, {hooks:?}: {said:?} in {took:?}");
    let at = |what: &str| said.iter().position(|line| line == what);
    let signal = at("main: SIGQUIT").ok_or("the control got no signal")?;
    assert!(
        at("drain done").is_none_or(|done| done > signal),
        "{said:?}"
    );
    Ok(())
}

/// A process that is ended by a command, or left to end by itself, is waited for and gets no signal.
pub(crate) fn a_process_that_ends_by_itself_gets_no_signal(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    start(machine)?;
    for (service, hook) in [("halt", "command"), ("own", "quiet")] {
        let (said, pid, took) = restart(machine, service, &[(hook, "end")])?;
        println!("{service}: {said:?} in {took:?}");
        assert_eq!(
            said,
            [format!("{hook} of {pid}"), "main: by itself".to_owned()]
        );
    }
    let (said, _, _) = restart(machine, "control", &[("quiet", "end"), ("drain", "do")])?;
    println!("control: {said:?}");
    assert_eq!(said.last().map(String::as_str), Some("main: SIGQUIT"));
    Ok(())
}

/// When a process has ended there is nobody to ask, and systemd would ask all the same.
pub(crate) fn a_process_that_is_gone_is_not_asked_to_stop(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    start(machine)?;
    for (service, of_nobody) in [("work", ""), ("control", "quiet of \ndrain of \n")] {
        prepare(machine, service, &[])?;
        let unit = format!("{service}.service");
        let pid = machine.show(&unit, "MainPID")?;
        machine.write_file(&format!("/run/foreign/{service}/end"), "", 0o644)?;
        let limit = Duration::from_secs(20);
        machine.wait_until(limit, "another process runs", |machine| {
            let next = machine.show(&unit, "MainPID");
            next.is_ok_and(|next| next != pid && next != "0")
        })?;
        let said = said(machine, service)?;
        println!("{service}, ended: {said:?}");
        assert_eq!(said, format!("main: by itself\n{of_nobody}"), "{service}");
    }
    Ok(())
}

const SERVICES: [&str; 4] = ["work", "halt", "own", "control"];

fn start(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.write_file("/opt/foreign/main", MAIN, 0o755)?;
    machine.write_file("/opt/foreign/hook", HOOK, 0o755)?;
    for service in SERVICES {
        prepare(machine, service, &[])?;
    }
    let units = units::generate(ZDT)?;
    let units = units.iter();
    let mut units: Vec<(&str, &str)> = units
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    units.push(("control.service", CONTROL));
    machine.install(&units)?;
    for service in SERVICES {
        machine
            .systemctl(&["start", &format!("{service}.service")])?
            .ok()?;
    }
    Ok(())
}

/// What each hook is to do; nothing was said yet.
fn prepare(machine: &Machine, service: &str, hooks: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
    for (name, text) in [&[("said", "")], hooks].concat() {
        machine.write_file(&format!("/run/foreign/{service}/{name}"), text, 0o644)?;
    }
    Ok(())
}

fn said(machine: &Machine, service: &str) -> Result<String, Box<dyn Error>> {
    let said = machine.run(&["cat", &format!("/run/foreign/{service}/said")])?;
    Ok(said.ok()?.stdout)
}

/// What was said while `service` was restarted, the process it was about, and how long it took.
fn restart(
    machine: &Machine,
    service: &str,
    hooks: &[(&str, &str)],
) -> Result<(Vec<String>, String, Duration), Box<dyn Error>> {
    prepare(machine, service, hooks)?;
    let unit = format!("{service}.service");
    let pid = machine.show(&unit, "MainPID")?;
    let began = Instant::now();
    machine.systemctl(&["restart", &unit])?.ok()?;
    let took = began.elapsed();
    let next = machine.show(&unit, "MainPID")?;
    assert_ne!(next, pid, "{service} was not restarted");
    let said = said(machine, service)?;
    Ok((said.lines().map(str::to_owned).collect(), pid, took))
}
