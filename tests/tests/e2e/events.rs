//! Where the events of a restart go, on a real systemd.

use std::error::Error;
use std::time::Instant;

use serde_json::Value;
use zdt_e2e::machine::{Machine, Output};

use crate::{Test, units};

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "events::everybody_is_told_the_same",
        everybody_is_told_the_same,
    ),
    (
        "events::a_webhook_that_hangs_delays_no_restart",
        a_webhook_that_hangs_delays_no_restart,
    ),
    (
        "events::a_log_that_cannot_be_written_is_told_and_stops_nothing",
        a_log_that_cannot_be_written_is_told_and_stops_nothing,
    ),
];

const UNITS: &str = "/opt/zdt/bin/units";
const LOG: &str = "/var/log/zdt/events.jsonl";

/// Standard output, the file and the journal have one sequence, and the commands read it.
fn everybody_is_told_the_same(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let metrics = "/var/lib/metrics/zdt.prom";
    install(machine, &format!("metrics = \"{metrics}\""))?;
    restart(machine, &["--json"])?.ok()?;
    let said = restart(machine, &["--json"])?.ok()?.stdout;
    let id = field(said.lines().next().unwrap_or_default(), "restart_id")?;

    let file = machine.run(&["cat", LOG])?.ok()?.stdout;
    let of_file: Vec<&str> = file.lines().filter(|line| line.contains(&id)).collect();
    assert_eq!(of_file, said.lines().collect::<Vec<_>>());

    let journal = machine.run(&["journalctl", "--sync"])?;
    journal.ok()?;
    let by_id = format!("ZDT_RESTART_ID={id}");
    let journal = machine
        .run(&["journalctl", "--output=json", &by_id])?
        .ok()?;
    let kinds = |text: &str, name: &str| -> Result<Vec<String>, Box<dyn Error>> {
        text.lines().map(|line| field(line, name)).collect()
    };
    assert_eq!(kinds(&journal.stdout, "ZDT_KIND")?, kinds(&said, "kind")?);
    let last = journal.stdout.lines().last().unwrap_or_default();
    assert_eq!(field(last, "ZDT_SERVICE")?, "app");
    assert_eq!(field(last, "ZDT_OUTCOME")?, "completed");
    assert_eq!(field(last, "ZDT_ALIAS")?, "SERVICE_RESTART_SUCCESS");
    assert_eq!(field(last, "PRIORITY")?, "5");
    // Beside what the service itself said.
    let unit = machine.run(&["journalctl", "--unit=app.service", "--output=cat"])?;
    let done = "restart of `app`: done, after ";
    assert_eq!(unit.ok()?.stdout.matches(done).count(), 2);

    let events = machine.run(&[UNITS, "events", "app", "--kind", "finished"])?;
    let events = events.ok()?.stdout;
    assert_eq!(events.matches(done).count(), 2, "{events}");
    let history = machine.run(&[UNITS, "history", "--json"])?.ok()?.stdout;
    let history: Value = serde_json::from_str(&history)?;
    assert_eq!(history["total"]["count"], 2);
    assert_eq!(history["total"]["failed"], 0);
    let table = machine.run(&[UNITS, "history"])?.ok()?.stdout;
    println!("{table}");
    let metrics = machine.run(&["cat", metrics])?.ok()?.stdout;
    let counted = r#"zdt_restarts_total{service="app",operation="restart",outcome="completed"} 2"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    Ok(())
}

/// The server answers 500, then hangs, then takes it. A second one never answers.
/// The restart is as quick as without, and what did not arrive is told.
fn a_webhook_that_hangs_delays_no_restart(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.needs("python3", "python3-minimal")?;
    machine.write_file("/opt/hook.py", SERVER, 0o755)?;
    let unit =
        "[Service]\nExecStart=/usr/bin/env python3 /opt/hook.py\nType=notify\nNotifyAccess=all\n";
    machine.install(&[("hook.service", unit)])?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    machine.systemctl(&["start", "hook.service"])?.ok()?;

    install(machine, "")?;
    let mut without = Vec::new();
    for _ in 0..3 {
        without.push(restart_ms(&restart(machine, &["--json"])?.ok()?)?);
    }
    let webhook = |port: u32| {
        format!(
            "[[events.webhook]]\nurl = \"http://127.0.0.1:{port}/secret\"\non = [\"started\"]\ntimeout = \"2s\"\n"
        )
    };
    configure(machine, &format!("{}{}", webhook(9001), webhook(9002)))?;
    let begun = Instant::now();
    let output = restart(machine, &["--json"])?.ok()?;
    let whole = begun.elapsed();
    let with = restart_ms(&output)?;
    println!(
        "a restart took {without:?} ms without, {with} ms with two webhooks that hang; the command ended after {} ms",
        whole.as_millis()
    );
    // One that waited would take two timeouts and more.
    assert!(with < 2000.0, "{with} ms");
    let note = "note: 1 of 1 events did not reach the webhook at `127.0.0.1`: ";
    assert_eq!(output.stderr.matches(note).count(), 1, "{}", output.stderr);
    let seen = machine.run(&["cat", "/run/hook.seen"])?.ok()?.stdout;
    let kinds: Result<Vec<String>, _> = seen.lines().map(|line| field(line, "kind")).collect();
    assert_eq!(kinds?, ["planned"; 3], "{seen}");
    Ok(())
}

/// On port 9001 500, then nothing, then 200; on port 9002 nothing ever.
const SERVER: &str = r#"
import os, socket, threading
def request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body
kept = []
def deaf(listener):
    while True:
        kept.append(listener.accept())
listeners = [socket.create_server(("127.0.0.1", port)) for port in (9001, 9002)]
threading.Thread(target=deaf, args=(listeners[1],), daemon=True).start()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
for status in (500, None, 200):
    connection, _ = listeners[0].accept()
    body = request(connection)
    with open("/run/hook.seen", "ab") as seen:
        seen.write(body + b"\n")
    if status is None:
        kept.append(connection)
        continue
    connection.sendall(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
    connection.close()
threading.Event().wait()
"#;

/// Read-only, then full: the restart is done, and people and programs are told what is missing.
fn a_log_that_cannot_be_written_is_told_and_stops_nothing(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    install(machine, "")?;
    let read_only = ["mount", "-t", "tmpfs", "-o", "ro", "none", "/var/log"];
    machine.run(&read_only)?.ok()?;
    let output = restart(machine, &[])?.ok()?;
    let note =
        format!("note: events are not written to `{LOG}`: Read-only file system (os error 30)\n");
    assert_eq!(output.stderr.matches(&note).count(), 1, "{}", output.stderr);

    machine.run(&["umount", "/var/log"])?.ok()?;
    let full = ["mount", "-t", "tmpfs", "-o", "size=4k", "none", "/var/log"];
    machine.run(&full)?.ok()?;
    machine.run(&[
        "sh",
        "-c",
        "mkdir /var/log/zdt; head -c 4096 /dev/zero >/var/log/fill; true",
    ])?;
    let output = restart(machine, &["--json"])?.ok()?;
    let told = output.stdout.lines().filter(|line| {
        line.contains("\"kind\":\"note\"") && line.contains("No space left on device")
    });
    assert_eq!(told.count(), 1, "{}", output.stdout);
    machine.run(&["umount", "/var/log"])?.ok()?;
    Ok(())
}

fn install(machine: &Machine, events: &str) -> Result<(), Box<dyn Error>> {
    configure(machine, events)?;
    units::zdt(machine, units::ZDT)
}

fn configure(machine: &Machine, events: &str) -> Result<(), Box<dyn Error>> {
    let config = format!("{}\n[events]\n{events}\n", units::ZDT);
    machine.write_file("/etc/zdt/zdt.toml", &config, 0o644)?;
    Ok(())
}

fn restart(machine: &Machine, flags: &[&str]) -> Result<Output, Box<dyn Error>> {
    let command = [&[UNITS, "restart", "app"], flags].concat();
    Ok(machine.run(&command)?)
}

/// A field of a JSON object, as text.
fn field(line: &str, name: &str) -> Result<String, Box<dyn Error>> {
    let value: Value = serde_json::from_str(line)?;
    let text = value[name].as_str();
    let text = text.ok_or_else(|| format!("no `{name}` in {line}"))?;
    Ok(text.to_owned())
}

/// How long the restart took by its own account.
fn restart_ms(output: &Output) -> Result<f64, Box<dyn Error>> {
    let last = output.stdout.lines().last().unwrap_or_default();
    let last: Value = serde_json::from_str(last)?;
    assert_eq!(last["kind"], "finished");
    let elapsed = last["elapsed_ms"].as_f64().ok_or("no time")?;
    Ok(elapsed)
}
