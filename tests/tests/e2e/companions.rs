//! A service and what runs with its releases: workers, a singleton, and beside them one that outlives them all. Each
//! process writes down when it started, began to drain, and ended, and workers their jobs.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Output};
use zdt_e2e::stamps::Stamp;

use crate::guard::{kill, launch};
use crate::{Test, units};

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "companions::deployments_lose_no_request_and_no_job",
        deployments_lose_no_request_and_no_job,
    ),
    (
        "companions::early_drains_overlap_and_others_do_not",
        early_drains_overlap_and_others_do_not,
    ),
    (
        "companions::a_killed_deployment_is_taken_back_whole",
        a_killed_deployment_is_taken_back_whole,
    ),
    (
        "companions::a_stop_drains_and_closes_and_a_start_opens",
        a_stop_drains_and_closes_and_a_start_opens,
    ),
];

const UNITS: &str = "/opt/zdt/bin/units";
const WORKERS: [&str; 2] = ["jobs@1.service", "jobs@2.service"];

fn config(early: bool) -> String {
    format!(
        r#"
[template.plain]
sandbox = "none"
environment = {{ STAMPS = "/srv/stamps", DRAIN_MS = "300" }}

[service.shop]
template = "plain"
exec = ["{{{{release.path}}}}/bin/app"]
listen = "127.0.0.1:8080"
release = {{ root = "/srv/shop" }}
drain = {{ grace = "500ms" }}
after = ["cache"]

[service.jobs]
template = "plain"
kind = "worker"
instances = 2
exec = ["{{{{release.path}}}}/bin/worker", "jobs", "/srv/jobs"]
release = {{ of = "shop", drain_early = {early} }}

[service.clock]
template = "plain"
kind = "singleton"
exec = ["{{{{release.path}}}}/bin/worker", "clock"]
release = {{ of = "shop" }}
after = ["jobs"]

[service.cache]
template = "plain"
kind = "service"
exec = ["/opt/zdt/bin/worker", "cache"]
"#
    )
}

/// Releases `v1` and `v2` are good; the workers of `v3` fall at once, and those of `v4` never get ready.
fn set_up(machine: &Machine, early: bool) -> Result<(), Box<dyn Error>> {
    let text = config(early);
    machine.write_file("/etc/zdt/zdt.toml", &text, 0o644)?;
    let shell = "mkdir -p /srv/jobs/new /srv/jobs/taken; cd /opt/zdt/bin; \
                 for v in v1 v2 v3 v4; do mkdir -p /tmp/$v/bin; cp app worker /tmp/$v/bin; done; \
                 cp /bin/false /tmp/v3/bin/worker; \
                 printf '#!/bin/sh\\nexec sleep 1000\\n' > /tmp/v4/bin/worker";
    machine.run(&["sh", "-ec", shell])?.ok()?;
    zdt(machine, &["install", "--config", "/etc/zdt/zdt.toml"])?.ok()?;
    deploy(machine, "v1")?.ok()?;
    serve(machine, "v1")
}

/// Requests and jobs go on while the release changes, the processes are restarted, a bad release is taken back, and the
/// one before comes back.
fn deployments_lose_no_request_and_no_job(machine: &Machine) -> Result<(), Box<dyn Error>> {
    set_up(machine, false)?;
    let cache = machine.show("cache.service", "MainPID")?;
    let load = units::load(machine, &["--rate=200", "--timeout=60s"])?;
    let jobs = Jobs::begin(machine);

    deploy(machine, "v2")?.ok()?;
    serve(machine, "v2")?;
    let broken = deploy(machine, "v3")?;
    assert_eq!(broken.code, Some(6), "{}", broken.stderr);
    serve(machine, "v2")?;
    let before = pids(machine)?;
    let restarted = zdt(machine, &["restart", "shop"])?.ok()?;
    assert!(
        restarted
            .stderr
            .contains("`jobs` and `clock` run with the releases of `shop`"),
        "{}",
        restarted.stderr
    );
    let after = pids(machine)?;
    assert!(
        before.iter().all(|(unit, pid)| after[unit] != *pid),
        "{before:?} {after:?}"
    );
    zdt(machine, &["restart", "clock"])?.ok()?;
    let alone = pids(machine)?;
    let changed: Vec<&String> = after
        .keys()
        .filter(|unit| after[*unit] != alone[*unit])
        .collect();
    assert_eq!(changed, ["clock.service"]);
    zdt(machine, &["rollback", "shop"])?.ok()?;
    serve(machine, "v1")?;
    // Of a unit of its own, nobody took it down.
    assert_eq!(machine.show("cache.service", "MainPID")?, cache);

    let sent = jobs.end(machine)?;
    let report = load.stop()?;
    let stamps = stamps(machine)?;
    let done = jobs_of(&stamps);
    println!(
        "{} requests and {sent} jobs over a deployment, a bad release, restarts and a roll back: {} lost, {} jobs not \
         done exactly once; {} runs of the singleton, {} of them at the same time",
        report.total.outcomes,
        report.lost(),
        sent - done
            .values()
            .filter(|(begun, ended)| (*begun, *ended) == (1, 1))
            .count(),
        runs(&stamps, "clock").len(),
        at_once(&runs(&stamps, "clock")),
    );
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert_eq!(done.len(), sent);
    assert!(done.values().all(|done| *done == (1, 1)), "{done:?}");
    assert!(runs(&stamps, "clock").len() >= 4);
    assert_eq!(at_once(&runs(&stamps, "clock")), 0);

    // The control: workers may run at the same time, and do; and so would two of the singleton by hand.
    assert!(at_once(&runs(&stamps, "jobs")) > 0);
    let by_hand = "STAMPS=/srv/stamps timeout 1 /opt/zdt/bin/worker twice & \
                   STAMPS=/srv/stamps timeout 1 /opt/zdt/bin/worker twice; wait";
    machine.run(&["sh", "-c", by_hand])?;
    assert_eq!(at_once(&runs(&self::stamps(machine)?, "twice")), 1);
    Ok(())
}

/// With `drain_early` each old worker begins to drain before the old web process has ended, without it after that.
fn early_drains_overlap_and_others_do_not(machine: &Machine) -> Result<(), Box<dyn Error>> {
    set_up(machine, true)?;
    for (release, early) in [("v2", true), ("v1", false)] {
        machine.write_file("/etc/zdt/zdt.toml", config(early), 0o644)?;
        let before = pids(machine)?;
        match early {
            true => deploy(machine, release)?.ok()?,
            false => zdt(machine, &["rollback", "shop", release])?.ok()?,
        };
        serve(machine, release)?;
        let stamps = stamps(machine)?;
        let when = |unit: &str, what: &str| {
            let of_it =
                |stamp: &&Stamp| stamp.pid.to_string() == before[unit] && stamp.what == what;
            stamps
                .iter()
                .find(of_it)
                .map(|stamp| stamp.at)
                .ok_or_else(|| format!("no {what} of {unit}"))
        };
        let web = (
            when("shop.service", "drain")?,
            when("shop.service", "stop")?,
        );
        for worker in WORKERS {
            let drains = (when(worker, "drain")?, when(worker, "stop")?);
            let overlap = drains.0 < web.1 && web.0 < drains.1;
            println!(
                "drain_early = {early}: {worker} begins to drain {:+.0} ms from the end of the web's drain",
                (drains.0 as f64 - web.1 as f64) / 1e6
            );
            assert_eq!(overlap, early, "{worker}: {drains:?}, the web {web:?}");
        }
    }
    Ok(())
}

/// Killed while workers of the new release start: the web serves the new release by then, and goes back too.
fn a_killed_deployment_is_taken_back_whole(machine: &Machine) -> Result<(), Box<dyn Error>> {
    set_up(machine, false)?;
    let load = units::load(machine, &["--rate=200", "--timeout=60s"])?;
    launch(
        machine,
        &["deploy", "shop", "--from", "/tmp/v4", "--release", "v4"],
    )?;
    machine.wait_until(
        Duration::from_secs(60),
        "a worker of the new release starts",
        |machine| {
            let state = machine.show("jobs@1.service", "SubState");
            let web = machine.show("shop.service", "MainPID");
            let web = web.and_then(|pid| machine.run(&["readlink", &format!("/proc/{pid}/exe")]));
            state.is_ok_and(|state| state == "start")
                && web.is_ok_and(|exe| exe.stdout.contains("/v4/"))
        },
    )?;
    kill(machine)?;
    let alone = zdt(machine, &["restart", "jobs"])?;
    assert_eq!(alone.code, Some(4), "{}", alone.stderr);
    assert!(alone.stderr.contains("recover shop"), "{}", alone.stderr);
    zdt(machine, &["recover"])?.ok()?;
    serve(machine, "v1")?;
    let report = load.stop()?;
    println!("killed and taken back: {}", report.total.outcomes);
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
}

/// A request that was sent is answered, and then the port is closed. Others are left alone.
fn a_stop_drains_and_closes_and_a_start_opens(machine: &Machine) -> Result<(), Box<dyn Error>> {
    set_up(machine, false)?;
    let before = pids(machine)?;
    let stopped = thread::scope(|scope| -> Result<Output, Box<dyn Error>> {
        let slow = scope.spawn(|| {
            Client::tcp(machine, units::ADDRESS).and_then(|mut client| client.get("/slow?ms=1500"))
        });
        let is_sent = |machine: &Machine| {
            machine
                .run(&["ss", "-Htn", "state", "established", "sport", "=", ":8080"])
                .is_ok_and(|out| !out.stdout.is_empty())
        };
        machine.wait_until(
            Duration::from_secs(10),
            "the slow request is on its way",
            is_sent,
        )?;
        let stopped = zdt(machine, &["stop", "shop"])?.ok()?;
        let answer = slow.join().map_err(|_| "it panicked")??;
        assert_eq!(answer.status, 200);
        Ok(stopped)
    })?;
    println!("{}", stopped.stderr);
    let refused = Client::tcp(machine, units::ADDRESS);
    assert!(refused.is_err(), "the port is still open");
    let state = |unit: &str| machine.show(unit, "ActiveState");
    for unit in before.keys() {
        assert_eq!(state(unit)?, "inactive", "{unit}");
    }
    assert_eq!(state("shop.socket")?, "inactive");
    assert_eq!(state("cache.service")?, "active");
    let again = zdt(machine, &["stop", "shop"])?.ok()?;
    assert!(
        again.stderr.contains("it is stopped already"),
        "{}",
        again.stderr
    );

    // What waits for another one is stopped before it, and the web before its workers. Clients that come meanwhile are
    // served, then wait and are reset, then are refused; none hangs.
    zdt(machine, &["start", "--all"])?.ok()?;
    serve(machine, "v1")?;
    Client::tcp(machine, units::ADDRESS)?.get("/")?;
    let before = pids(machine)?;
    let cache = machine.show("cache.service", "MainPID")?;
    let came = while_they_come(machine, || zdt(machine, &["stop", "--all"]))?;
    println!("clients that came during the stop: {came:?}");
    assert_eq!(came.hung, 0, "{came:?}");
    assert!(
        came.served > 0 && came.reset > 0 && came.refused > 0,
        "{came:?}"
    );
    assert_eq!(state("cache.service")?, "inactive");
    let stamps = stamps(machine)?;
    let when = |pid: &str, what: &str| {
        let of_it = |stamp: &&Stamp| stamp.pid.to_string() == pid && stamp.what == what;
        stamps
            .iter()
            .find(of_it)
            .map(|stamp| stamp.at)
            .ok_or_else(|| format!("no {what} of {pid}"))
    };
    let shop = when(&before["shop.service"], "stop")?;
    let clock = (
        when(&before["clock.service"], "drain")?,
        when(&before["clock.service"], "stop")?,
    );
    assert!(shop < clock.0 && clock.1 < when(&cache, "drain")?);

    zdt(machine, &["start", "shop"])?.ok()?;
    serve(machine, "v1")?;
    // Other commands know what to do without a socket.
    for command in ["status", "doctor", "explain"] {
        zdt(machine, &[command])?.ok()?;
    }
    zdt(machine, &["hold", "clock", "--max", "1m", "--", "true"])?.ok()?;
    let verified = zdt(machine, &["verify", "jobs"])?;
    assert_eq!(verified.code, Some(2), "{}", verified.stderr);
    assert!(
        verified.stderr.contains("`jobs` has no socket"),
        "{}",
        verified.stderr
    );
    Ok(())
}

/// What became of clients.
#[derive(Debug, Default)]
struct Came {
    served: usize,
    reset: usize,
    refused: usize,
    hung: usize,
}

/// Clients with a slow request each, one every 20 ms, as long as `work` takes and a little longer. Those that come last
/// before nobody accepts any more are answered while others wait.
fn while_they_come(
    machine: &Machine,
    work: impl FnOnce() -> Result<Output, Box<dyn Error>>,
) -> Result<Came, Box<dyn Error>> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut clients = Vec::new();
            let mut last = false;
            while !last {
                last = done.load(Ordering::Relaxed);
                clients.push(scope.spawn(|| {
                    let mut client = Client::tcp(machine, units::ADDRESS)?;
                    client.get("/slow?ms=800")
                }));
                thread::sleep(Duration::from_millis(20));
            }
            clients
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        worked?.ok()?;
        let mut came = Came::default();
        for client in clients.join().map_err(|_| "it panicked")? {
            match client.join().map_err(|_| "a client panicked")? {
                Ok(_) => came.served += 1,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => came.refused += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => came.hung += 1,
                Err(_) => came.reset += 1,
            }
        }
        Ok(came)
    })
}

/// One job every 20 ms, each a file of its own name.
struct Jobs {
    stop: &'static AtomicBool,
    sent: thread::JoinHandle<Result<usize, std::io::Error>>,
}

impl Jobs {
    fn begin(machine: &Machine) -> Self {
        let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let new: PathBuf = machine.host_path("/srv/jobs/new");
        let sent = thread::spawn(move || {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                fs::write(new.join(sent.to_string()), "")?;
                sent += 1;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(sent)
        });
        Self { stop, sent }
    }

    /// How many there were, when the last one is done.
    fn end(self, machine: &Machine) -> Result<usize, Box<dyn Error>> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sent.join().map_err(|_| "it panicked")??;
        machine.wait_until(Duration::from_secs(60), "all jobs are done", |machine| {
            let ended = stamps(machine).map(|stamps| {
                stamps
                    .iter()
                    .filter(|stamp| stamp.what.starts_with("end "))
                    .count()
            });
            ended.is_ok_and(|ended| ended >= sent)
        })?;
        Ok(sent)
    }
}

fn stamps(machine: &Machine) -> Result<Vec<Stamp>, Box<dyn Error>> {
    let text = fs::read_to_string(machine.host_path("/srv/stamps"))?;
    let stamps: Option<Vec<Stamp>> = text.lines().map(Stamp::parse).collect();
    Ok(stamps.ok_or("a line that is no stamp")?)
}

/// How often each job began and ended.
fn jobs_of(stamps: &[Stamp]) -> BTreeMap<&str, (usize, usize)> {
    let mut jobs: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for stamp in stamps {
        if let Some(job) = stamp.what.strip_prefix("begin ") {
            jobs.entry(job).or_default().0 += 1;
        } else if let Some(job) = stamp.what.strip_prefix("end ") {
            jobs.entry(job).or_default().1 += 1;
        }
    }
    jobs
}

/// From when to when each process of that name ran; without an end if it still does.
fn runs(stamps: &[Stamp], name: &str) -> Vec<(u64, u64)> {
    let own = || stamps.iter().filter(|stamp| stamp.name == name);
    let starts = own().filter(|stamp| stamp.what == "start");
    starts
        .map(|start| {
            let ended = |stamp: &&Stamp| {
                stamp.pid == start.pid && stamp.what == "stop" && stamp.at > start.at
            };
            (
                start.at,
                own().find(ended).map_or(u64::MAX, |stamp| stamp.at),
            )
        })
        .collect()
}

/// How many of them began before one before them ended.
fn at_once(runs: &[(u64, u64)]) -> usize {
    let mut runs = runs.to_vec();
    runs.sort_unstable();
    runs.windows(2).filter(|pair| pair[1].0 < pair[0].1).count()
}

fn pids(machine: &Machine) -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let units = ["shop.service", "clock.service"].into_iter().chain(WORKERS);
    let mut pids = BTreeMap::new();
    for unit in units {
        pids.insert(unit.to_owned(), machine.show(unit, "MainPID")?);
    }
    Ok(pids)
}

/// All of them run `release`.
fn serve(machine: &Machine, release: &str) -> Result<(), Box<dyn Error>> {
    let current = machine.run(&["readlink", "/srv/shop/current"])?.ok()?;
    assert_eq!(current.stdout.trim_end(), format!("releases/{release}"));
    for (unit, pid) in pids(machine)? {
        let program = machine
            .run(&["readlink", &format!("/proc/{pid}/exe")])?
            .ok()?;
        let program = program.stdout.trim_end();
        assert!(
            program.starts_with(&format!("/srv/shop/releases/{release}/bin/")),
            "{unit} runs {program}, not {release}"
        );
    }
    Ok(())
}

fn deploy(machine: &Machine, release: &str) -> Result<Output, Box<dyn Error>> {
    let from = format!("/tmp/{release}");
    zdt(
        machine,
        &["deploy", "shop", "--from", &from, "--release", release],
    )
}

fn zdt(machine: &Machine, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    Ok(machine.run(&[&[UNITS], arguments].concat())?)
}
