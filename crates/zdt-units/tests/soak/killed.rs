//! The launcher is killed at any moment. Its processes go on, and the next one takes them up.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::launcher::{Launcher, both};
use super::load;
use super::proc::is_alive;
use super::restarts::{MIXED, rest};
use super::{Dice, PROGRAM, alone, of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_outlive_a_killed_launcher_and_the_next_one_takes_them_up() {
    let _alone = alone().await;
    let rounds = of(5, 40);
    let mut dice = Dice::new();
    let mut launcher = Launcher::start(&MIXED).await;
    let mut taken_up = 0;
    let services = launcher.services.clone();
    let (broken_off, reports) = load::during(&services, async |clients| {
        let mut broken_off = 0;
        for round in 0..rounds {
            clients.answered(20).await;
            let name = services[round % services.len()].name.clone();
            let after = dice.pause(Duration::from_millis(300));
            let output = launcher.killed_amid(&["restart", &name], after).await;
            let ended = !output.status.success();
            broken_off += u32::from(ended);
            println!(
                "killed {after:?} after the beginning of a restart of {name}: {}",
                both(&output)
            );

            // Whoever is there goes on by itself.
            let left: Vec<u32> = launcher
                .left
                .iter()
                .copied()
                .filter(|pid| is_alive(*pid))
                .collect();
            sleep(Duration::from_millis(200)).await;
            assert!(left.iter().all(|pid| is_alive(*pid)), "{left:?}");

            launcher.run(Path::new(PROGRAM)).await;
            let now: Vec<u32> = launcher.pids().into_iter().map(|(_, pid)| pid).collect();
            taken_up += left.iter().filter(|pid| now.contains(pid)).count();
            assert!(
                left.iter().all(|pid| now.contains(pid) || !is_alive(*pid)),
                "{left:?}, now {now:?}\n{}",
                launcher.tail()
            );
            launcher.done(&["recover", "--all"]).await;
            launcher.settled().await;
            launcher.done(&["restart", "--all"]).await;
        }
        clients.answered(20).await;
        broken_off
    })
    .await;
    let (cost, memory) = rest(&launcher).await;
    println!(
        "killed {rounds} times, {broken_off} of them in a restart: {taken_up} processes taken up, {} requests, 0 lost\n\
         RssAnon {memory} kB\n{cost:?}",
        load::sent(&reports)
    );
    load::assert_nothing_lost(&reports);
    assert_eq!(cost.zombies, 0);
    launcher.shut_down().await;
}

impl Launcher {
    /// Begins a command, kills the launcher a while later, and waits for the end of the command.
    async fn killed_amid(&mut self, arguments: &[&str], after: Duration) -> std::process::Output {
        let killed = async {
            sleep(after).await;
            self.signal(Signal::SIGKILL);
        };
        let (output, ()) = tokio::join!(self.command(arguments), killed);
        self.left = super::proc::alive_with(self.directory.path());
        self.ended().await;
        output
    }
}
