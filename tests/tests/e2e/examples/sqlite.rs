//! `examples/sqlite`: one process at a time has the database.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Running};

use super::HTTP;

const DATABASE: &str = "/var/lib/guestbook/guestbook.db";
const LIMIT: Duration = Duration::from_secs(10);

/// Ten restarts while clients write: every entry that was acknowledged is in
/// the database once, no writer was ever locked out, and no two processes had
/// the database at a time.
pub(crate) fn one_writer_at_a_time_and_no_entry_is_lost(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    super::install(machine, "sqlite")?;
    let posts = super::load(
        machine,
        HTTP,
        &[
            "--method=POST",
            "--expect=201",
            "--body-bytes=64",
            "--stream=name=post,rate=300,think=20ms",
            "--stream=name=post-keep-alive,rate=100,keep-alive=8",
        ],
    )?;
    let stop = AtomicBool::new(false);
    let (restarted, writers, seen) = thread::scope(|scope| {
        let stop = &stop;
        let writers = [0, 1, 2, 3].map(|id| scope.spawn(move || write(machine, id, stop)));
        let watcher = scope.spawn(|| watch(machine, stop));
        let restarted = super::restart(machine, "guestbook", HTTP, 10).map_err(|e| e.to_string());
        stop.store(true, Ordering::Relaxed);
        let writers = writers.map(|writer| writer.join().expect("a writer does not panic"));
        let seen = watcher.join().expect("the watcher does not panic");
        (restarted, writers, seen)
    });
    restarted?;
    let report = posts.stop()?;
    super::assert_lossless("guest book, 10 restarts", &report);

    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(writer?.into_iter().map(|entry| (entry, 1)));
    }
    println!(
        "{} signed entries; {} looks at who has the database: at most {} at a time, {} in turn",
        acknowledged.len(),
        seen.looks,
        seen.most,
        seen.pids.len()
    );
    // What the clients sent is unique; the load's entries are all alike.
    let mut found = BTreeMap::new();
    let mut alike = 0;
    for entry in Client::tcp(machine, HTTP)?.get("/")?.text().lines() {
        match entry.starts_with("writer") {
            true => *found.entry(entry.to_owned()).or_insert(0) += 1,
            false => alike += 1,
        }
    }
    assert!(acknowledged.len() >= 500, "{}", acknowledged.len());
    assert!(acknowledged == found, "{acknowledged:?}\n{found:?}");
    assert_eq!(alike, report.total.outcomes.ok);

    let journal = machine.journal("guestbook.service")?;
    assert!(!journal.contains("locked"), "{journal}");
    assert_eq!(machine.show("guestbook.service", "NRestarts")?, "0");
    assert_eq!((seen.most, seen.pids.len()), (1, 11));

    a_second_process_is_seen_and_turned_away(machine)?;
    nobody_is_served_from_a_database_that_does_not_open(machine)?;
    super::control(
        "posts",
        "--stream=rate=300,think=20ms,method=POST,path=/upload,body-bytes=64",
        10,
    )
}

/// Signs the guest book until told to stop; the entries that were taken. Any
/// other answer, and any failure, is an error.
fn write(machine: &Machine, id: u32, stop: &AtomicBool) -> io::Result<Vec<String>> {
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let entry = format!("writer {id} entry {}", taken.len());
        let mut client = Client::tcp(machine, HTTP)?;
        client.send_post_head("/", entry.len())?;
        client.send(&entry)?;
        let answer = client.answer()?;
        if answer.status != 201 {
            return Err(io::Error::other(format!("`{entry}`: {answer:?}")));
        }
        taken.push(entry);
    }
    Ok(taken)
}

/// Who had the database open.
#[derive(Default)]
struct Seen {
    looks: u32,
    most: usize,
    pids: BTreeSet<String>,
}

fn watch(machine: &Machine, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let pids = holders(machine);
        seen.looks += 1;
        seen.most = seen.most.max(pids.len());
        seen.pids.extend(pids);
    }
    seen
}

/// The machine's processes that have the database open now. One that ends
/// meanwhile has nothing open.
fn holders(machine: &Machine) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let entries = |path| fs::read_dir(path).into_iter().flatten().flatten();
    let has_it = |pid: &String| {
        entries(machine.host_path(&format!("/proc/{pid}/fd")))
            .flat_map(|fd| fs::read_link(fd.path()))
            .any(|file| file.ends_with("guestbook.db"))
    };
    entries(machine.host_path("/proc"))
        .map(name)
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(has_it)
        .collect()
}

/// The control of the two claims above.
fn a_second_process_is_seen_and_turned_away(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let script = format!("exec 3<{DATABASE} && read -r _");
    let mut reader = machine.command(&["sh", "-c", &script]);
    let mut reader = Running(reader.stdin(Stdio::piped()).spawn()?);
    machine.wait_until(LIMIT, "two have the database", |machine| {
        holders(machine).len() == 2
    })?;
    drop(reader.0.stdin.take());

    let program = "STATE_DIRECTORY=/var/lib/guestbook exec /srv/guestbook/bin/guestbook";
    let second = machine.run(&["sh", "-c", program])?;
    assert_eq!(second.code, Some(1));
    assert_eq!(
        second.stderr,
        "Error: \"another process has this guest book; stop it first\"\n"
    );
    Ok(())
}

/// READY=1 waits for the database, and so do the clients.
fn nobody_is_served_from_a_database_that_does_not_open(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let shell = |script: &str| machine.run(&["sh", "-c", script])?.ok();
    machine.systemctl(&["stop", "guestbook.service"])?.ok()?;
    // A database that was closed has no log beside it, which would mend the damage.
    let directory = fs::read_dir(machine.host_path("/var/lib/guestbook/"))?;
    let files: BTreeSet<_> = directory.flatten().map(|file| file.file_name()).collect();
    assert_eq!(
        files,
        ["guestbook.db", "guestbook.lock"].map(Into::into).into()
    );
    shell(&format!(
        "mv {DATABASE} {DATABASE}.good && yes | head -c 99999 >{DATABASE} && \
         chown --reference={DATABASE}.good {DATABASE}"
    ))?;
    let mut client = Client::tcp(machine, HTTP)?;
    client.send_get("/")?;
    machine.wait_until(LIMIT, "the start was tried twice", |machine| {
        let tried = machine.show("guestbook.service", "NRestarts");
        tried.is_ok_and(|tried| tried != "0")
    })?;
    let state = machine.show("guestbook.service", "ActiveState")?;
    assert_eq!(state, "activating");
    shell(&format!("mv {DATABASE}.good {DATABASE}"))?;
    assert_eq!(client.answer()?.status, 200);
    Ok(())
}
