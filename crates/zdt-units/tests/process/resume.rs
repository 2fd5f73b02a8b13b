//! Processes whose launcher became another program, or was killed.

use std::fs;
use std::process::Child;

use zdt_units::host::supervisor::Exit;
use zdt_units::host::supervisor::process::Process;

use super::parts::{Kept, Part, command};
use super::{is_alive, printed, quiet, soon, until};

#[tokio::test]
async fn a_launcher_that_becomes_another_program_goes_on_with_its_children() {
    let place = tempfile::tempdir().unwrap();
    let status = command(Part::First, place.path()).status().unwrap();
    assert!(status.success());
    // The end of a child, and of each line all.
    let seen = fs::read_to_string(place.path().join("seen")).unwrap();
    assert_eq!(seen, "Code(7) half,after");
}

async fn kept(launcher: Part, place: &std::path::Path) -> (Child, Kept) {
    let launcher = command(launcher, place).spawn().unwrap();
    until("a process", || place.join("kept").exists()).await;
    (launcher, Kept::read(place))
}

#[tokio::test]
async fn an_orphan_is_watched_read_and_killed() {
    let place = tempfile::tempdir().unwrap();
    let (mut launcher, kept) = kept(Part::Killed, place.path()).await;
    launcher.kill().unwrap();
    launcher.wait().unwrap();

    let output = quiet();
    let mut process = Process::resume(kept.process).unwrap();
    assert!(is_alive(process.main()));
    assert_eq!(kept.pipes.len(), 2);
    for pipe in kept.pipes {
        output.resume(pipe).unwrap();
    }
    fs::write(place.path().join("go"), "").unwrap();
    until("its words", || place.path().join("printed").exists()).await;
    assert_eq!(printed(&output), ["alone"]);
    // How it ended is told to its parent, which is not this process.
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(soon("its end", process.exited()).await, Exit::Unknown);
    // Its number may be another one's by now; its child is known by what it was given.
    assert!(process.kill_group());
    soon("the end of its child", async {
        while process.kill_group() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn without_leave_a_process_ends_with_its_launcher() {
    let place = tempfile::tempdir().unwrap();
    let (mut launcher, kept) = kept(Part::Clinging, place.path()).await;
    let pid = kept.process.pid.unsigned_abs();
    assert!(is_alive(pid));
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    until("its end", || !is_alive(pid)).await;
    // What it started was told nothing.
    if let Ok(process) = Process::resume(kept.process) {
        process.kill();
    }
}
