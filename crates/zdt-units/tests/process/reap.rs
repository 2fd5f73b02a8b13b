//! Children of others, and those that somebody waits for.

use std::fs;
use std::process::{Command, Stdio};

use zdt_units::host::supervisor::Exit;
use zdt_units::host::supervisor::reap::reap_strangers;

use super::{quiet, shell, soon, start, until};

const PLAYED: &str = "ZDT_TEST_REAPED";

/// Two hundred that nobody waits for, between two dozen that somebody does.
#[test]
fn strangers_are_collected_and_none_is_stolen() {
    // Alone in a process: the children of other tests are no strangers.
    if std::env::var_os(PLAYED).is_none() {
        let own = std::env::current_exe().unwrap();
        let name = "reap::strangers_are_collected_and_none_is_stolen";
        let played = Command::new(own)
            .args(["--exact", name, "--nocapture"])
            .env(PLAYED, "1")
            .status();
        assert!(played.unwrap().success());
        return;
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(play());
}

async fn play() {
    let output = quiet();
    let mut known = Vec::new();
    let mut processes = Vec::new();
    let mut strangers = 0;
    for number in 0..24 {
        // The first child of all, and so the first that the kernel shows, is waited for.
        processes.push((number, start(&shell(&format!("exit {number}")), &output)));
        for _ in 0..9 {
            let mut command = Command::new("/bin/true");
            command.stdin(Stdio::null());
            let child = command.spawn().unwrap();
            match known.len() < 16 && strangers % 9 == 8 {
                true => known.push(child),
                false => strangers += 1,
            }
        }
    }
    assert!(strangers >= 200);
    let all = strangers + known.len() + processes.len();
    until("the end of all", || zombies() == all).await;

    let is_known = |pid: nix::unistd::Pid| {
        known
            .iter()
            .any(|child| child.id() == pid.as_raw().unsigned_abs())
    };
    assert_eq!(reap_strangers(is_known), strangers);
    assert_eq!(zombies(), known.len() + processes.len());
    assert_eq!(reap_strangers(is_known), 0);
    for child in &mut known {
        assert!(child.wait().unwrap().success());
    }
    for (number, mut process) in processes {
        assert_eq!(soon("its end", process.exited()).await, Exit::Code(number));
    }
    assert_eq!(zombies(), 0);
    assert_eq!(reap_strangers(|_| false), 0);
}

/// Ended children of this process.
fn zombies() -> usize {
    let own = format!(") Z {} ", std::process::id());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&own)).count()
}
