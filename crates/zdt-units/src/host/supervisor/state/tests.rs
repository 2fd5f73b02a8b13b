//! Whole sequences: what comes in, and what a supervisor does about it.

use super::*;

const PAUSE: u64 = 500;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limits() -> Limits {
    Limits {
        start: ms(60_000),
        stop: ms(41_000),
        pause: ms(PAUSE),
        watchdog: None,
        ready: Readiness::Notify,
    }
}

/// A machine, the time in milliseconds, and a short word for each action.
struct Run {
    machine: Machine,
    now: u64,
}

impl Run {
    fn new(limits: Limits) -> Self {
        let mut run = Self {
            machine: Machine::new(limits),
            now: 0,
        };
        run.put(0, Input::Started(1));
        run
    }

    fn ready(limits: Limits) -> Self {
        let mut run = Self::new(limits);
        run.put(10, Input::Ready);
        run
    }

    /// Time goes on by `after`, then `input` comes.
    fn put(&mut self, after: u64, input: Input) -> String {
        self.now += after;
        let actions = self.machine.step(ms(self.now), input);
        let words: Vec<String> = actions
            .iter()
            .map(|action| match action {
                Action::Tell(event) => word(event),
                Action::End(code) => format!("end {code}"),
                other => format!("{other:?}").to_lowercase(),
            })
            .collect();
        words.join(", ")
    }

    /// Time goes on to the deadline.
    fn due(&mut self) -> String {
        let deadline = self.machine.deadline().expect("something is waited for");
        let now = u64::try_from(deadline.as_millis()).unwrap();
        self.put(now - self.now, Input::Due)
    }
}

fn word(event: &Event) -> String {
    match event {
        Event::Started { pid, .. } => format!("(started {pid})"),
        Event::Pausing { pause } => format!("(pausing {})", pause.as_millis()),
        Event::Restarted(report) => format!(
            "(restarted {:?} to {}, {} + {}{})",
            report.old_pid.unwrap_or_default(),
            report.new_pid,
            report.stop.as_millis(),
            report.start.as_millis(),
            if report.killed { ", killed" } else { "" }
        ),
        other => {
            let shown = format!("{other:?}");
            let name = shown.split([' ', '{', '(']).next().unwrap_or_default();
            format!("({})", name.to_lowercase())
        }
    }
}

fn failed() -> Input {
    Input::Exited(Exit::Code(1))
}

#[test]
fn a_restart_stops_and_then_starts() {
    let mut run = Run::ready(limits());
    assert_eq!(run.put(5, Input::Restart), "(restarting), terminate");
    assert_eq!(
        run.put(300, Input::Exited(Exit::Code(0))),
        "(exited), killrest, start"
    );
    assert_eq!(run.put(1, Input::Started(2)), "(started 2)");
    assert_eq!(
        run.put(20, Input::Ready),
        "(ready), closeuntaken, (restarted 1 to 2, 300 + 20)"
    );
    assert_eq!(run.machine.generation(), 2);
    assert_eq!(run.machine.deadline(), None);
}

#[test]
fn restarts_asked_for_during_a_restart_become_one_more() {
    let mut run = Run::ready(limits());
    run.put(5, Input::Restart);
    assert_eq!(run.put(0, Input::Restart), "(queued)");
    assert_eq!(run.put(0, Input::Restart), "(queued)");
    run.put(0, Input::Exited(Exit::Code(0)));
    run.put(0, Input::Started(2));
    assert_eq!(run.put(0, Input::Restart), "(queued)");
    assert_eq!(
        run.put(7, Input::Ready),
        "(ready), closeuntaken, (restarted 1 to 2, 0 + 7), (restarting), terminate"
    );
    run.put(0, Input::Exited(Exit::Code(0)));
    run.put(0, Input::Started(3));
    assert_eq!(
        run.put(1, Input::Ready),
        "(ready), closeuntaken, (restarted 2 to 3, 0 + 1)"
    );
}

#[test]
fn a_process_that_does_not_end_is_killed_at_the_limit() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Restart);
    assert_eq!(run.machine.deadline(), Some(ms(10 + 41_000)));
    assert_eq!(run.due(), "(killed), kill");
    assert_eq!(run.machine.deadline(), None);
    assert_eq!(
        run.put(1, Input::Exited(Exit::Signal(9))),
        "(exited), killrest, start"
    );
    run.put(0, Input::Started(2));
    assert_eq!(
        run.put(1, Input::Ready),
        "(ready), closeuntaken, (restarted 1 to 2, 41001 + 1, killed)"
    );
}

#[test]
fn a_drain_that_asks_for_time_gets_it() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Restart);
    run.put(40_000, Input::Extend(ms(500)));
    // Less than what is left shortens nothing.
    assert_eq!(run.machine.deadline(), Some(ms(41_010)));
    run.put(0, Input::Extend(ms(5_000)));
    assert_eq!(run.machine.deadline(), Some(ms(45_010)));
    assert_eq!(run.put(1_000, Input::Due), "");
    assert_eq!(run.due(), "(killed), kill");
}

#[test]
fn a_crash_is_followed_by_longer_and_longer_pauses() {
    let mut run = Run::new(limits());
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let said = run.put(1, failed());
        pauses.push(said.replace("(exited), killrest, ", ""));
        assert_eq!(run.due(), "start");
        run.put(0, Input::Started(2));
    }
    assert_eq!(
        pauses,
        [500, 1000, 2000, 4000, 8000, 10_000, 10_000].map(|ms| format!("(pausing {ms})"))
    );
    // Ready for a moment is not healthy.
    run.put(1, Input::Ready);
    assert_eq!(
        run.put(9_999, failed()),
        "(exited), killrest, (pausing 10000)"
    );
    run.due();
    run.put(0, Input::Started(3));
    run.put(1, Input::Ready);
    assert_eq!(
        run.put(10_000, failed()),
        "(exited), killrest, (pausing 500)"
    );
}

#[test]
fn a_pause_longer_than_the_longest_stays_as_written() {
    let mut run = Run::new(Limits {
        pause: ms(30_000),
        ..limits()
    });
    assert_eq!(run.put(1, failed()), "(exited), killrest, (pausing 30000)");
    run.due();
    run.put(0, Input::Started(2));
    assert_eq!(run.put(1, failed()), "(exited), killrest, (pausing 30000)");
}

#[test]
fn a_restart_ends_the_pause() {
    let mut run = Run::new(limits());
    run.put(1, failed());
    assert_eq!(run.put(1, Input::Restart), "(restarting), start");
    run.put(0, Input::Started(2));
    assert_eq!(
        run.put(5, Input::Ready),
        "(ready), closeuntaken, (restarted 0 to 2, 0 + 5)"
    );
}

#[test]
fn a_restart_whose_process_fails_says_so_and_goes_on_trying() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Restart);
    run.put(0, Input::Restart);
    run.put(0, Input::Exited(Exit::Code(0)));
    run.put(0, Input::Started(2));
    assert_eq!(
        run.put(1, failed()),
        "(exited), killrest, (restartfailed), (pausing 500)"
    );
    assert_eq!(run.due(), "start");
    run.put(0, Input::Started(3));
    assert_eq!(run.put(1, Input::Ready), "(ready), closeuntaken");
}

#[test]
fn what_cannot_be_started_is_tried_again() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Restart);
    run.put(0, Input::Exited(Exit::Code(0)));
    assert_eq!(
        run.put(0, Input::NotStarted("no such file".to_owned())),
        "(notstarted), (restartfailed), (pausing 500)"
    );
    assert_eq!(run.due(), "start");
}

#[test]
fn a_process_that_is_not_ready_in_time_is_killed_and_started_again() {
    let mut run = Run::new(limits());
    assert_eq!(run.due(), "(killed), kill");
    assert_eq!(
        run.put(1, Input::Exited(Exit::Signal(9))),
        "(exited), killrest, (pausing 500)"
    );
}

#[test]
fn a_start_without_notify_is_ready_at_once() {
    let mut run = Run::new(Limits {
        ready: Readiness::Started,
        ..limits()
    });
    assert_eq!(run.machine.deadline(), None);
    run.put(1, Input::Restart);
    run.put(0, Input::Exited(Exit::Signal(15)));
    assert_eq!(
        run.put(0, Input::Started(2)),
        "(started 2), (ready), closeuntaken, (restarted 1 to 2, 0 + 0)"
    );
}

#[test]
fn a_stop_ends_with_what_the_process_ended_with() {
    let check = |exit, code: u8| {
        let mut run = Run::ready(limits());
        assert_eq!(run.put(0, Input::Stop), "(stopping), terminate");
        assert_eq!(run.put(0, Input::Stop), "");
        assert_eq!(run.put(0, Input::Restart), "refuse");
        let said = run.put(0, Input::Exited(exit));
        assert_eq!(said, format!("(exited), killrest, (ended), end {code}"));
    };
    check(Exit::Code(0), 0);
    check(Exit::Code(3), 3);
    // What `SIGTERM` does to a program that knows nothing of it.
    check(Exit::Signal(15), 0);
    check(Exit::Signal(9), 137);
}

#[test]
fn a_stop_during_a_restart_starts_nothing() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Restart);
    assert_eq!(run.put(0, Input::Stop), "(stopping)");
    assert_eq!(
        run.put(0, Input::Exited(Exit::Code(0))),
        "(exited), killrest, (ended), end 0"
    );
}

#[test]
fn a_stop_in_a_pause_ends_at_once() {
    let mut run = Run::new(limits());
    run.put(0, failed());
    assert_eq!(run.put(0, Input::Stop), "(ended), end 0");
}

#[test]
fn a_second_interrupt_kills() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Stop);
    assert_eq!(run.put(0, Input::Kill), "(killed), kill");
    assert_eq!(
        run.put(0, Input::Exited(Exit::Signal(9))),
        "(exited), killrest, (ended), end 137"
    );
}

#[test]
fn a_missed_watchdog_kills_and_starts_again() {
    let watched = || {
        Run::ready(Limits {
            watchdog: Some(ms(1000)),
            ..limits()
        })
    };
    let mut run = watched();
    assert_eq!(run.put(900, Input::Watchdog), "");
    assert_eq!(run.machine.deadline(), Some(ms(1910)));
    assert_eq!(run.due(), "(killed), kill");
    assert_eq!(
        run.put(1, Input::Exited(Exit::Signal(9))),
        "(exited), killrest, (pausing 500)"
    );

    assert_eq!(watched().put(1, Input::WatchdogTrigger), "(killed), kill");

    // A process that drains is not watched.
    let mut run = watched();
    run.put(0, Input::Restart);
    assert_eq!(run.put(2000, Input::Due), "");
}

#[test]
fn a_process_that_stops_by_itself_gets_the_time_to_drain() {
    let mut run = Run::ready(limits());
    assert_eq!(run.put(0, Input::Stopping), "(leaving)");
    assert_eq!(run.machine.deadline(), Some(ms(10 + 41_000)));
    assert_eq!(
        run.put(0, Input::Exited(Exit::Code(0))),
        "(exited), killrest, (pausing 500)"
    );
    // One that was told to stop says so too.
    let mut run = Run::ready(limits());
    run.put(0, Input::Restart);
    assert_eq!(run.put(0, Input::Stopping), "");
}

#[test]
fn a_restart_of_a_process_that_stops_by_itself_skips_the_pause() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Stopping);
    assert_eq!(run.put(0, Input::Restart), "(restarting)");
    assert_eq!(
        run.put(0, Input::Exited(Exit::Code(0))),
        "(exited), killrest, start"
    );
}
