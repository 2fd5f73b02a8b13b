//! Restarts under load.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::Machine;
use zdt_units::probe::Report;

use crate::units;

/// Twenty plain restarts of generated units lose nothing, whatever the
/// warm-up. What everybody copies loses requests in the same run.
///
/// A thousand clients a second, each on a connection of its own; and the same
/// with 20 ms between connecting and sending, as clients at a distance do.
pub(crate) fn restarts_lose_nothing(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let control_machine = crate::builder().boot()?;
    units::stock(&control_machine)?;
    let silent_machine = crate::builder().boot()?;
    units::zdt(&silent_machine, units::ZDT_SILENT)?;
    units::zdt(machine, units::ZDT)?;

    let cases = [
        ("zdt, at once", machine, "--think=0s"),
        ("zdt, 20 ms think", machine, "--think=20ms"),
        (
            "zdt, 20 ms think, no DeferAcceptSec",
            &silent_machine,
            "--think=20ms",
        ),
        ("stock, at once", &control_machine, "--think=0s"),
        ("stock, 20 ms think", &control_machine, "--think=20ms"),
    ];
    let mut stock_lost = 0;
    for (name, machine, think) in cases {
        let report = restarts(machine, think, 20)?;
        println!("{name}, 20 restarts: {}", summary(&report));
        assert!(report.valid, "{report}");
        assert!(report.total.outcomes.ok >= 10_000, "{report}");
        match name.starts_with("zdt") {
            true => assert_eq!(report.lost(), 0, "{report}"),
            false => stock_lost += report.lost(),
        }
    }
    assert!(stock_lost > 0, "the control lost nothing");
    Ok(())
}

/// Those who keep `axum::serve` lose nothing of HTTP/1.1 behind a gate.
pub(crate) fn axum_serve_behind_a_gate_loses_nothing(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let gated = units::ZDT_SILENT.replace("/app\"]", "/app\"]\nenvironment = { GATE = \"1\" }");
    units::zdt(machine, &gated)?;
    let report = restarts(machine, "--think=20ms", 8)?;
    println!(
        "axum::serve behind a gate, 8 restarts: {}",
        summary(&report)
    );
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
}

/// Restarts under load, with warm-ups from nothing to a second.
fn restarts(machine: &Machine, think: &str, count: u32) -> Result<Report, Box<dyn Error>> {
    let load = units::load(machine, &["--rate=1000", think])?;
    for round in 0..count {
        let warm_up = [0, 50, 200, 1000][round as usize % 4];
        machine.write_file("/etc/app.env", format!("WARMUP_MS={warm_up}\n"), 0o644)?;
        units::restart(machine)?;
    }
    Ok(load.stop()?)
}

pub(crate) fn summary(report: &Report) -> String {
    let total = &report.total;
    format!(
        "{}; longest wait {} ms",
        total.outcomes,
        total.latency.max_us / 1000
    )
}

/// How long the others wait at a restart of half a second, with a three-second
/// request in flight and without.
pub(crate) fn a_slow_request_delays_nobody_else(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let control_machine = crate::builder().boot()?;
    units::stock(&control_machine)?;
    units::zdt(machine, units::ZDT)?;
    for machine in [machine, &control_machine] {
        machine.write_file("/etc/app.env", "WARMUP_MS=500\n", 0o644)?;
    }
    let without = others_wait(machine, None)?;
    let with = others_wait(machine, Some("/slow?ms=3000"))?;
    let control = others_wait(&control_machine, Some("/slow?ms=3000"))?;
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!(
        "longest wait of the others: {without:?} without a slow request, {with:?} beside one \
         (ratio {ratio:.2}); stock beside one: {control:?}"
    );
    assert!(ratio <= 1.5, "{ratio}");
    assert!(control >= Duration::from_secs(2), "{control:?}");
    Ok(())
}

/// Restarts three times, each with `slow` in flight; the longest wait of
/// anybody else. The slow request must be answered.
fn others_wait(machine: &Machine, slow: Option<&str>) -> Result<Duration, Box<dyn Error>> {
    let load = units::load(machine, &["--rate=300"])?;
    for _ in 0..3 {
        let mut client = Client::tcp(machine, units::ADDRESS)?;
        if let Some(path) = slow {
            client.send_get(path)?;
        }
        units::restart(machine)?;
        if slow.is_some() {
            assert_eq!(client.answer()?.status, 200);
        }
    }
    let report = load.stop()?;
    assert!(report.valid, "{report}");
    Ok(Duration::from_micros(report.total.latency.max_us))
}

/// Every kind of client at once, over TCP and a Unix socket, ten restarts.
pub(crate) fn every_kind_of_client_keeps_its_requests(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, TWO_SOCKETS)?;
    let tcp = units::load(
        machine,
        &[
            "--stream=name=close,rate=200",
            "--stream=name=open,rate=100,no-close-header,think=20ms",
            "--stream=name=keep-alive,rate=300,keep-alive=32",
            "--stream=name=keep-alive-slow-clients,rate=20,keep-alive=16",
            "--stream=name=upload,rate=20,path=/upload,method=POST,body-bytes=65536,body-chunks=8,body-pause=20ms",
            "--stream=name=upload-unread,rate=20,path=/ignore-body,method=POST,body-bytes=65536",
            "--stream=name=large,rate=4,path=/large?mb=4,expect-length=4194304",
            "--stream=name=pieces,rate=10,path=/stream?ms=20&chunks=10",
            "--stream=name=http2,rate=200,http2=8",
        ],
    )?;
    let path = machine.host_path("/run/app.sock");
    let address = format!("unix:{}", path.display());
    let unix = Load::start(
        machine,
        env!("CARGO_BIN_EXE_units"),
        &[
            &address,
            "--stream=name=unix,rate=100,think=5ms",
            "--stream=name=unix-keep-alive,rate=100,keep-alive=8",
        ],
    )?;
    for round in 0..10 {
        let warm_up = [0, 100][round % 2];
        machine.write_file("/etc/app.env", format!("WARMUP_MS={warm_up}\n"), 0o644)?;
        units::restart(machine)?;
    }
    for report in [tcp.stop()?, unix.stop()?] {
        for stream in &report.streams {
            println!(
                "{:>24}: {} (stale {}, refused by GOAWAY {})",
                stream.name, stream.outcomes, stream.outcomes.stale, stream.outcomes.retryable
            );
        }
        assert!(report.valid, "{report}");
        assert_eq!(report.lost(), 0, "{report}");
    }
    Ok(())
}

const TWO_SOCKETS: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
environment_files = ["-/etc/app.env"]

[[service.app.socket]]
name = "http"
listen = "127.0.0.1:8080"

[[service.app.socket]]
name = "local"
listen = "/run/app.sock"
mode = "0666"
"#;
