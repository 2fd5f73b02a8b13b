//! The launcher becomes another program under load, or does not, and its services go on.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::launcher::{Launcher, both};
use super::restarts::{MIXED, rest};
use super::{PROGRAM, alone, load, of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launcher_becomes_another_program_and_nobody_notices() {
    let _alone = alone().await;
    let upgrades = of(5, 50);
    let mut launcher = Launcher::start(&MIXED).await;
    let pid = launcher.pid();
    let copies = ["one", "two"].map(|name| {
        let copy = launcher.directory.path().join(name);
        fs::copy(PROGRAM, &copy).unwrap();
        copy
    });
    launcher.done(&["restart", "--all"]).await;
    upgrade(&launcher, &copies[1]).await;
    launcher.done(&["restart", "--all"]).await;
    let (before, memory_before) = rest(&launcher).await;
    let processes = launcher.pids();

    let ((), reports) = load::during(&launcher.services, async |clients| {
        for round in 0..upgrades {
            clients.answered(50).await;
            let copy = &copies[round % 2];
            upgrade(&launcher, copy).await;
            assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).unwrap(), *copy);
            assert_eq!(launcher.pids(), processes);
        }
        clients.answered(50).await;
        // And it does what it did: connections go over, and what is printed is heard.
        launcher.done(&["restart", "--all"]).await;
        clients.answered(50).await;
    })
    .await;
    load::assert_nothing_lost(&reports);
    assert_eq!(launcher.about().unwrap().upgrades as usize, upgrades + 1);
    for report in &reports {
        let connections = &report.stream("kept").unwrap().connections;
        assert_eq!(report.total.outcomes.stale, 0, "{connections:?}");
    }
    let now = launcher.pids();
    assert!(
        now.iter()
            .zip(&processes)
            .all(|(now, then)| now.0 == then.0 && now.1 != then.1)
    );
    for (unit, pid) in &now {
        let logs = launcher.done(&["logs", unit]).await;
        assert!(!logs.is_empty(), "nothing of {unit}, process {pid}");
    }

    let (after, memory_after) = rest(&launcher).await;
    println!(
        "{upgrades} upgrades: {} requests, 0 lost\n\
         RssAnon of the launcher: {memory_before} kB, then {memory_after} kB\n{after:?}",
        load::sent(&reports)
    );
    assert_eq!(after, before);
    launcher.shut_down().await;
}

async fn upgrade(launcher: &Launcher, program: &Path) {
    let pid = launcher.pid();
    launcher.done(&["upgrade", program.to_str().unwrap()]).await;
    assert_eq!(launcher.about().unwrap().pid, pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_no_launcher_is_refused() {
    let _alone = alone().await;
    let mut launcher = Launcher::start(&MIXED).await;
    let broken = broken(launcher.directory.path());
    launcher.done(&["restart", "--all"]).await;
    let processes = launcher.pids();
    let (before, _) = rest(&launcher).await;
    let ((), reports) = load::during(&launcher.services, async |clients| {
        for program in &broken {
            clients.answered(50).await;
            let output = launcher
                .command(&["upgrade", program.to_str().unwrap()])
                .await;
            println!(
                "{}",
                both(&output).replace(launcher.directory.path().to_str().unwrap(), "")
            );
            assert_eq!(output.status.code(), Some(4), "{}", both(&output));
            assert_eq!(launcher.pids(), processes);
        }
        launcher.done(&["restart", "--all"]).await;
        clients.answered(50).await;
    })
    .await;
    load::assert_nothing_lost(&reports);
    let about = launcher.about().unwrap();
    assert_eq!((about.pid, about.upgrades), (launcher.pid(), 0));
    let (after, _) = rest(&launcher).await;
    println!(
        "{} refused: {} requests, 0 lost",
        broken.len(),
        load::sent(&reports)
    );
    assert_eq!(after, before);
    launcher.shut_down().await;
}

/// Programs that one should not become.
fn broken(directory: &Path) -> Vec<PathBuf> {
    let file = |name: &str, text: &str, mode| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let dangling = directory.join("dangling");
    symlink("nowhere", &dangling).unwrap();
    vec![
        file("fails", "#!/bin/sh\nexit 1\n", 0o755),
        file("other", "#!/bin/sh\nexit 0\n", 0o755),
        file("garbage", "no program at all\0", 0o755),
        file("plain", "#!/bin/sh\nexit 0\n", 0o644),
        file("hangs", "#!/bin/sh\nexec sleep 1000\n", 0o755),
        directory.join("missing"),
        dangling,
        directory.to_owned(),
    ]
}
