//! The launcher is killed at any moment. Its processes go on, and the next one takes them up.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::launcher::Launcher;
use super::load;
use super::proc::{alive_with, is_alive};
use super::restarts::{MIXED, rest};
use super::{Dice, PROGRAM, alone, of, until};

/// More than a second, for which connections that rest are waited for.
const LONGEST_DRAIN: Duration = Duration::from_millis(1500);

/// With `queue` the old process ends before the next one is there. Who kills the launcher in between closes the port.
/// That is counted apart, by service. Whatever goes on was written down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_outlive_a_killed_launcher_and_the_next_one_takes_them_up() {
    let _alone = alone().await;
    let rounds = of(6, 60);
    let mut dice = Dice::new();
    let mut launcher = Launcher::start(&MIXED).await;
    let services = launcher.services.clone();
    let mut counted = Counted {
        closed: vec![0; services.len()],
        ..Counted::default()
    };
    let ((), reports) = load::during(&services, async |clients| {
        for round in 0..rounds {
            clients.answered(20).await;
            let name = services[round % services.len()].name.clone();
            let after = dice.pause(Duration::from_millis(300));
            let (output, left) = launcher.killed_amid(&["restart", &name], after).await;
            counted.broken_off += u32::from(!output.status.success());
            println!("killed {after:?} after the beginning of a restart of {name}: {left:?}");
            let kept =
                std::fs::read_to_string(launcher.directory.path().join("state/launcher.json"));
            let kept = kept.unwrap();
            let is_kept = |pid: u32| {
                let mut numbers = kept.split(|c: char| !c.is_ascii_digit());
                numbers.any(|number| number == pid.to_string())
            };
            let unknown = left.iter().find(|(pid, _)| !is_kept(*pid));
            assert_eq!(unknown, None, "{kept}");

            launcher.run(Path::new(PROGRAM)).await;
            let now = launcher.pids();
            let has = |pid: u32| now.iter().any(|(_, now)| *now == pid);
            counted.taken_up += left.iter().filter(|(pid, _)| has(*pid)).count();
            // One that drains may be seen, and have ended before there is a launcher that takes it up.
            for (service, closed) in services.iter().zip(&mut counted.closed) {
                let goes_on = |(pid, of): &(u32, String)| *of == service.name && has(*pid);
                *closed += u32::from(!left.iter().any(goes_on));
            }
            let lost = left.iter().find(|(pid, _)| !has(*pid) && is_alive(*pid));
            assert_eq!(lost, None, "{now:?}\n{}", launcher.tail());
            launcher.done(&["recover"]).await;
            launcher.settled().await;
            launcher.done(&["restart", "--all"]).await;
        }
        clients.answered(20).await;
    })
    .await;
    let (cost, memory) = rest(&launcher).await;
    println!(
        "killed {rounds} times, {} of them in a restart: {} processes taken up, {} requests, {} lost, with the port \
         closed at {} of the kills\nRssAnon {memory} kB\n{cost:?}",
        counted.broken_off,
        counted.taken_up,
        load::sent(&reports),
        load::lost(&reports),
        counted.closed.iter().sum::<u32>(),
    );
    for (report, closed) in reports.iter().zip(&counted.closed) {
        assert!(report.lost() == 0 || *closed > 0, "{report}");
    }
    assert_eq!(cost.zombies, 0);
    assert_eq!(launcher.pids().len(), 4, "{:?}", launcher.pids());
    launcher.shut_down().await;
}

#[derive(Default)]
struct Counted {
    /// Restarts that the kill broke off.
    broken_off: u32,
    taken_up: usize,
    /// By service: kills that met it without any process.
    closed: Vec<u32>,
}

impl Launcher {
    /// Begins a command, kills the launcher a while later, and waits for the end of the command. Also gives its apps and
    /// their services as they were left.
    async fn killed_amid(
        &mut self,
        arguments: &[&str],
        after: Duration,
    ) -> (Output, Vec<(u32, String)>) {
        let killed = async {
            sleep(after).await;
            self.signal(Signal::SIGKILL);
        };
        let (output, ()) = tokio::join!(self.command(arguments), killed);
        self.ended().await;
        // What it had told to stop drains, and nothing takes its place; all else goes on by itself.
        let mut left = alive_with(self.directory.path());
        let mut since = Instant::now();
        until("rest", || {
            let now = alive_with(self.directory.path());
            if now != left {
                (left, since) = (now, Instant::now());
            }
            since.elapsed() > LONGEST_DRAIN
        })
        .await;
        (output, left)
    }
}
