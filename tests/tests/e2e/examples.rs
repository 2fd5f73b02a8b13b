//! The examples, each installed and restarted as its README says.

mod chat;
mod events;
mod foreign;
mod grpc;
mod nginx;
mod sites;
mod sqlite;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use zdt_e2e::client::Client;
use zdt_e2e::load::Load;
use zdt_e2e::machine::{self, Machine};
use zdt_units::model::Model;
use zdt_units::probe::Report;

pub(crate) use self::chat::a_chat_stays_connected_and_misses_nothing;
pub(crate) use self::events::a_browser_misses_no_event;
pub(crate) use self::foreign::programs_of_others_refuse_nobody;
pub(crate) use self::grpc::a_grpc_client_loses_no_call;
pub(crate) use self::nginx::nginx_before_a_unix_socket_loses_nothing;
pub(crate) use self::sites::a_site_restarts_and_the_others_do_not_notice;
pub(crate) use self::sqlite::one_writer_at_a_time_and_no_entry_is_lost;
use crate::units;

const UNITS: &str = "/opt/zdt/bin/units";
const CONFIG: &str = "/etc/zdt/zdt.toml";
pub(crate) const HTTP: &str = "127.0.0.1:80";

/// The shop is the README's smallest program in the smallest units.
pub(crate) fn the_shop_loses_nothing(machine: &Machine) -> Result<(), Box<dyn Error>> {
    install(machine, "shop")?;
    let load = load(machine, HTTP, &["--rate=500", "--think=20ms"])?;
    restart(machine, "shop", HTTP, 5)?;
    let report = load.stop()?;
    assert_lossless("shop, 5 restarts", &report);
    Ok(())
}

/// Two listeners under one drain, each told by its name, and a third that
/// answers for both.
pub(crate) fn two_ports_lose_nothing(machine: &Machine) -> Result<(), Box<dyn Error>> {
    const ADMIN: &str = "127.0.0.1:9000";
    const HEALTH: &str = "127.0.0.1:19081";

    install(machine, "two-ports")?;
    let flags = ["--rate=300", "--think=20ms"];
    let public = load(machine, HTTP, &flags)?;
    let admin = load(machine, ADMIN, &flags)?;
    for _ in 0..6 {
        restart(machine, "tickets", HTTP, 1)?;
        // Nobody got the other's socket.
        let said = |address| Client::tcp(machine, address)?.get("/").map(|a| a.text());
        assert!(said(HTTP)?.starts_with("ticket "));
        assert!(said(ADMIN)?.ends_with(" sold by this process\n"));
        let ready = Client::tcp(machine, HEALTH)?.get("/readyz")?;
        let pid = machine.show("tickets.service", "MainPID")?;
        let instance = ready.header("x-zdt-instance").unwrap_or_default();
        assert_eq!(ready.status, 200);
        assert!(instance.contains(&format!("pid={pid} ")), "{instance}");
        assert_eq!(Client::tcp(machine, HTTP)?.get("/readyz")?.status, 404);
    }
    assert_lossless("public port, 6 restarts", &public.stop()?);
    assert_lossless("admin port, 6 restarts", &admin.stop()?);
    control("one port", "--stream=rate=300,think=20ms", 6)
}

/// Puts an example into the machine with the commands of its README: the
/// program where `exec` is, its own `zdt.toml`, and what that generates.
pub(crate) fn install(machine: &Machine, name: &str) -> Result<(), Box<dyn Error>> {
    let directory = directory(name);
    let zdt_toml = fs::read_to_string(directory.join("zdt.toml"))?;
    let services = Model::read("zdt.toml", &zdt_toml)
        .map_err(|mistakes| format!("{:?}", mistakes.problems()))?
        .services;
    let built = programs(&directory)?;
    for service in &services {
        let program = machine.host_path(&service.exec.program().to_string());
        if !program.exists() {
            let named = |built: &&PathBuf| built.file_name() == program.file_name();
            let built = built.iter().find(named).or(built.first());
            fs::create_dir_all(program.parent().unwrap_or(&program))?;
            fs::copy(built.ok_or("the example builds no program")?, program)?;
        }
    }
    machine.write_file(CONFIG, zdt_toml, 0o644)?;
    let out = ["--config", CONFIG, "--out", "/etc/systemd/system"];
    machine
        .run(&[&[UNITS, "generate"], &out[..]].concat())?
        .ok()?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    for service in &services {
        let unit = service.unit();
        let start = machine.systemctl(&["enable", "--now", unit.as_str()])?;
        start.ok()?;
    }
    Ok(())
}

pub(crate) fn directory(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")).join(name)
}

/// Builds an example, because `cargo test -p zdt-e2e` does not; the paths of
/// its programs. Where the whole workspace is built, as `ZDT_E2E_BUILT=workspace`
/// says, the same build is asked: for an example alone its crates would be
/// compiled again, with less features.
pub(crate) fn programs(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let manifest = directory.canonicalize()?.join("Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--message-format=json"]);
    // Of the package of this test, which `ring` takes for its own that have changed, and all above it is built again.
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"CARGO_PKG_") || bytes.starts_with(b"CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    match std::env::var("ZDT_E2E_BUILT").as_deref() {
        Ok("workspace") => cargo.args(["--workspace", "--all-targets"]),
        _ => cargo.arg("--manifest-path").arg(&manifest),
    };
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let mut programs = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let of_it = message["manifest_path"].as_str().map(Path::new) == Some(&manifest);
        if of_it && message["profile"]["test"] == false {
            programs.extend(message["executable"].as_str().map(PathBuf::from));
        }
    }
    Ok(programs)
}

pub(crate) fn load(
    machine: &Machine,
    address: &str,
    flags: &[&str],
) -> Result<Load, machine::Error> {
    let flags = [&[address], flags].concat();
    Load::start(machine, env!("CARGO_BIN_EXE_units"), &flags)
}

/// Restarts a service with `zdt-units restart`, which proves that the process
/// is a new one. Between two restarts clients are served for a while.
fn restart(
    machine: &Machine,
    service: &str,
    address: &str,
    count: u32,
) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        let command = [UNITS, "restart", service, "--config", CONFIG];
        machine.run(&command)?.ok()?;
        for _ in 0..200 {
            Client::tcp(machine, address)?.get("/somebody-else")?;
        }
    }
    Ok(())
}

/// A number of a tally such as `3 streams, 70 ticks`.
fn count<N: FromStr>(line: &str, what: &str) -> Result<N, Box<dyn Error>> {
    let count = line.split(", ").find_map(|count| count.strip_suffix(what));
    let count = count.and_then(|count| count.parse().ok());
    count.ok_or_else(|| format!("`{line}` tells of no{what}").into())
}

pub(crate) fn assert_lossless(name: &str, report: &Report) {
    println!("{name}: {}", crate::restart::summary(report));
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
}

/// The recipe that everybody copies loses requests of the same stream, so the
/// load is one that finds losses.
fn control(name: &str, stream: &str, restarts: u32) -> Result<(), Box<dyn Error>> {
    let machine = crate::builder().boot()?;
    units::stock(&machine)?;
    let load = units::load(&machine, &[stream])?;
    for _ in 0..restarts {
        units::restart(&machine)?;
    }
    let report = load.stop()?;
    let said = crate::restart::summary(&report);
    println!("stock, {name}, {restarts} restarts: {said}");
    assert!(report.valid, "{report}");
    assert!(report.lost() > 0, "the control lost nothing: {report}");
    Ok(())
}
