//! Restarts without an end, with processes that are killed in between: what is lost, and what is left.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;
use zdt_units::probe::Report;

use super::launcher::{Launcher, both};
use super::load::{self, Clients};
use super::proc::is_alive;
use super::{Dice, alone, of, until};

/// One of each strategy that has processes of its own.
pub(super) const MIXED: [(&str, &str); 3] = [
    ("queue", "handover = true"),
    ("standby", "handover = true\nstrategy = \"standby\""),
    (
        "rolling",
        "handover = true\nstrategy = \"rolling\"\ninstances = 2",
    ),
];

/// What may be lost by a service because of the processes of it that were killed.
#[derive(Clone, Debug, Default)]
struct Held {
    processes: u64,
    /// That its clients had sent and were not answered.
    requests: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_restarts_and_killed_processes_leave_nothing_behind() {
    let _alone = alone().await;
    let restarts = of(40, 200);
    let mut dice = Dice::new();
    let mut launcher = Launcher::start(&MIXED).await;
    // What is made once is made by now, also for a standby.
    launcher.done(&["restart", "--all"]).await;
    let warm = soak(&launcher, &mut dice, 6).await;
    check(&warm.1, &warm.0.held);
    let (before, memory_before) = rest(&launcher).await;

    let began = Instant::now();
    let (counted, reports) = soak(&launcher, &mut dice, restarts).await;
    let took = began.elapsed();
    check(&reports, &counted.held);

    let (after, memory_after) = rest(&launcher).await;
    println!(
        "{restarts} restarts and {} killed processes in {took:.1?}: {} requests, {} lost, all of them in killed \
         processes, which held at most {}; {} restarts met a kill and did not end well\n\
         RssAnon of the launcher: {memory_before} kB, then {memory_after} kB\n{after:?}",
        counted.held.iter().map(|held| held.processes).sum::<u64>(),
        load::sent(&reports),
        load::lost(&reports),
        counted.held.iter().map(|held| held.requests).sum::<u64>(),
        counted.met,
    );
    assert_eq!(after, before);
    assert_eq!(after.zombies, 0);
    let more = memory_after.saturating_sub(memory_before);
    assert!(
        more < MOST_MEMORY,
        "{more} kB more after {restarts} restarts"
    );
    launcher.shut_down().await;
}

/// What a heap may be larger after so many restarts by where things lie in it, in kilobytes. A leak of one descriptor's
/// or one line's worth a restart is more.
const MOST_MEMORY: u64 = 1024;

#[derive(Default)]
struct Counted {
    held: Vec<Held>,
    met: u32,
}

async fn soak(launcher: &Launcher, dice: &mut Dice, restarts: u32) -> (Counted, Vec<Report>) {
    load::during(&launcher.services, async |clients| {
        let mut counted = Counted {
            held: vec![Held::default(); launcher.services.len()],
            ..Counted::default()
        };
        for _ in 0..restarts {
            clients.answered(20).await;
            let service = dice.below(launcher.services.len() as u64) as usize;
            let kills = dice.below(3) == 0;
            let after = dice.pause(Duration::from_millis(400));
            let name = &launcher.services[service].name;
            let arguments = ["restart", name, "--force"];
            let restart = launcher.command(&arguments);
            let killed = async {
                if kills {
                    sleep(after).await;
                    let which = dice.below(8);
                    return kill_one(launcher, service, which, &clients).await;
                }
                None
            };
            let (output, killed) = tokio::join!(restart, killed);
            if let Some(held) = killed {
                counted.held[service].processes += 1;
                counted.held[service].requests += held;
            }
            if !output.status.success() {
                assert!(killed.is_some(), "{}\n{}", both(&output), launcher.tail());
                println!("it met a kill: {}", both(&output));
                counted.met += 1;
            }
            launcher.settled().await;
            if !output.status.success() {
                launcher.done(&["recover", name]).await;
                launcher.done(&["restart", name, "--force"]).await;
            }
        }
        counted
    })
    .await
}

/// Kills one process of a service. What its clients had sent before it was gone is what it can have held.
async fn kill_one(
    launcher: &Launcher,
    service: usize,
    which: u64,
    clients: &Clients,
) -> Option<u64> {
    let name = &launcher.services[service].name;
    let mut pids = launcher.running();
    pids.retain(|report| report.service.as_str() == name);
    let report = pids.get(which as usize % pids.len().max(1))?;
    let pid = report.state.instance.as_ref()?.pid;
    let live = clients.of(service);
    let (in_flight, scheduled) = (live.in_flight(), live.scheduled());
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).ok()?;
    until("the end of a killed process", || !is_alive(pid)).await;
    let held = in_flight + live.scheduled() - scheduled;
    let (unit, sub) = (&report.state.unit, &report.state.sub);
    println!("killed {unit} ({sub}), process {pid}, with at most {held} requests");
    Some(held)
}

/// A killed process ends connections in the middle. Nobody is refused, and nobody waits in vain.
fn check(reports: &[Report], held: &[Held]) {
    for (report, held) in reports.iter().zip(held) {
        let outcomes = &report.total.outcomes;
        let cut = outcomes.eof + outcomes.reset + outcomes.truncated;
        // A client may send on a connection that has just ended, before it is told.
        let just_ended = outcomes.eof_reused + outcomes.reset_reused;
        assert_eq!(report.lost(), cut + just_ended, "{report}");
        assert!(cut <= held.requests, "{held:?}: {report}");
        let most = held.requests + held.processes * load::KEPT as u64;
        assert!(cut + just_ended <= most, "{held:?}: {report}");
    }
}

/// Waits until nothing is under way any more.
pub(super) async fn rest(launcher: &Launcher) -> (super::proc::Cost, u64) {
    launcher.settled().await;
    let mut last = launcher.cost();
    let mut since = Instant::now();
    until("rest", || {
        let now = launcher.cost();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    })
    .await;
    (last, launcher.rss_anon())
}
