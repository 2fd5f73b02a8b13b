//! Whole sequences: what comes in, and what a supervisor does about it.

use super::*;
use crate::observe::Active;

const PAUSE: u64 = 500;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limits() -> Limits {
    Limits {
        start: ms(60_000),
        stop: ms(41_000),
        restarts: Restarts {
            pause: ms(PAUSE),
            ..Restarts::default()
        },
        ..no_limits()
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
        assert_eq!(run.put(0, Input::Start), "launch");
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
                Action::Settle(done) => match done {
                    Ok(_) => "done".to_owned(),
                    Err(_) => "not done".to_owned(),
                },
                Action::Run(hook, limit) => {
                    format!("run {hook:?} {}", limit.as_millis()).to_lowercase()
                }
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
        "(exited), killrest, launch"
    );
    assert_eq!(run.put(1, Input::Started(2)), "(started 2)");
    assert_eq!(
        run.put(20, Input::Ready),
        "(ready), closeuntaken, (restarted 1 to 2, 300 + 20), done"
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
        "(ready), closeuntaken, (restarted 1 to 2, 0 + 7), done, (restarting), terminate"
    );
    run.put(0, Input::Exited(Exit::Code(0)));
    run.put(0, Input::Started(3));
    assert_eq!(
        run.put(1, Input::Ready),
        "(ready), closeuntaken, (restarted 2 to 3, 0 + 1), done"
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
        "(exited), killrest, launch"
    );
    run.put(0, Input::Started(2));
    assert_eq!(
        run.put(1, Input::Ready),
        "(ready), closeuntaken, (restarted 1 to 2, 41001 + 1, killed), done"
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
        // Whoever asked for the first start is told that it failed.
        let said = said.replace("not done, ", "");
        pauses.push(said.replace("(exited), killrest, ", ""));
        assert_eq!(run.due(), "launch");
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
        restarts: Restarts {
            pause: ms(30_000),
            longest: ms(30_000),
            ..Restarts::default()
        },
        ..limits()
    });
    assert_eq!(
        run.put(1, failed()),
        "(exited), killrest, not done, (pausing 30000)"
    );
    run.due();
    run.put(0, Input::Started(2));
    assert_eq!(run.put(1, failed()), "(exited), killrest, (pausing 30000)");
}

#[test]
fn a_restart_ends_the_pause() {
    let mut run = Run::new(limits());
    run.put(1, failed());
    assert_eq!(run.put(1, Input::Restart), "(restarting), launch");
    run.put(0, Input::Started(2));
    assert_eq!(
        run.put(5, Input::Ready),
        "(ready), closeuntaken, (restarted 0 to 2, 0 + 5), done"
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
        "(exited), killrest, (restartfailed), not done, (pausing 500)"
    );
    assert_eq!(run.due(), "launch");
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
        "(notstarted), (restartfailed), not done, (pausing 500)"
    );
    assert_eq!(run.due(), "launch");
}

#[test]
fn a_process_that_is_not_ready_in_time_is_killed_and_started_again() {
    let mut run = Run::new(limits());
    assert_eq!(run.due(), "(killed), kill");
    assert_eq!(
        run.put(1, Input::Exited(Exit::Signal(9))),
        "(exited), killrest, not done, (pausing 500)"
    );
}

#[test]
fn a_start_without_notify_is_ready_at_once() {
    let mut run = Run::new(Limits {
        ready: Ready::Started,
        ..limits()
    });
    assert_eq!(run.machine.deadline(), None);
    run.put(1, Input::Restart);
    run.put(0, Input::Exited(Exit::Signal(15)));
    assert_eq!(
        run.put(0, Input::Started(2)),
        "(started 2), (ready), closeuntaken, (restarted 1 to 2, 0 + 0), done"
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
    assert_eq!(run.put(0, Input::Stop), "not done, (stopping)");
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
        "(exited), killrest, launch"
    );
}

#[test]
fn a_stopped_unit_starts_again_when_it_is_asked_to() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Stop);
    run.put(1, Input::Exited(Exit::Code(0)));
    assert_eq!(run.machine.state(), (Active::Inactive, "dead", "success"));
    for input in [Input::Start, Input::Restart] {
        assert!(run.put(1, input).ends_with("launch"));
        run.put(0, Input::Started(2));
        assert!(run.put(1, Input::Ready).ends_with("done"));
        run.put(0, Input::Stop);
        run.put(1, Input::Exited(Exit::Code(0)));
    }
}

#[test]
fn a_stop_is_quiet_drain_signal_and_kill() {
    let sequence = Sequence {
        quiet: true,
        drain: true,
        drain_limit: ms(5_000),
        command: false,
    };
    let mut run = Run::ready(Limits {
        sequence,
        ..limits()
    });
    assert_eq!(run.put(0, Input::Stop), "(stopping), run quiet 10000");
    assert_eq!(run.machine.state().1, "stop");
    assert_eq!(run.put(100, Input::HookEnded), "run drain 5000");
    // It is killed at its limit, and has a moment to say so.
    assert_eq!(run.put(5_000, Input::Due), "");
    assert_eq!(run.put(0, Input::HookEnded), "terminate");
    assert_eq!(run.due(), "(killed), kill");
    assert_eq!(
        run.put(1, Input::Exited(Exit::Signal(9))),
        "(exited), killrest, (ended), end 137"
    );
}

#[test]
fn a_process_that_ends_while_it_is_quieted_is_told_nothing_more() {
    let mut run = Run::ready(Limits {
        sequence: Sequence {
            quiet: true,
            ..Sequence::default()
        },
        ..limits()
    });
    run.put(0, Input::Restart);
    assert_eq!(
        run.put(1, Input::Exited(Exit::Code(0))),
        "(exited), killrest, endhook, launch"
    );
    // The word of the command that was ended comes late.
    assert_eq!(run.put(0, Input::HookEnded), "");
}

#[test]
fn a_drain_without_a_command_waits_for_the_end() {
    let sequence = Sequence {
        drain_limit: ms(5_000),
        command: true,
        ..Sequence::default()
    };
    let mut run = Run::ready(Limits {
        sequence,
        ..limits()
    });
    assert_eq!(run.put(0, Input::Stop), "(stopping)");
    assert_eq!(run.due(), "endhook, run stop 10000");
    assert_eq!(run.put(1, Input::HookEnded), "");
    assert_eq!(run.due(), "endhook, (killed), kill");
}

#[test]
fn what_fails_too_often_is_left_until_somebody_asks() {
    let mut run = Run::new(Limits {
        restarts: Restarts {
            limit: Some(2),
            within: Some(ms(60_000)),
            factor: 1,
            ..Restarts::default()
        },
        ..limits()
    });
    for _ in 0..2 {
        assert!(run.put(1, failed()).ends_with("(pausing 500)"));
        run.due();
        run.put(0, Input::Started(2));
    }
    assert_eq!(run.put(1, failed()), "(exited), killrest, (gaveup), end 1");
    assert_eq!(
        run.machine.state(),
        (Active::Failed, "failed", "start-limit-hit")
    );
    assert_eq!(run.machine.deadline(), None);
    assert_eq!(run.put(1, Input::Restart), "(restarting), launch");
    run.put(0, Input::Started(3));
    // What was counted before is forgotten.
    assert!(run.put(1, failed()).ends_with("(pausing 500)"));
}

#[test]
fn failures_that_are_far_apart_do_not_add_up() {
    let mut run = Run::ready(Limits {
        restarts: Restarts {
            limit: Some(1),
            within: Some(ms(1_000)),
            ..Restarts::default()
        },
        ..limits()
    });
    for _ in 0..5 {
        assert!(run.put(2_000, failed()).contains("(pausing"));
        run.due();
        run.put(0, Input::Started(2));
        run.put(1, Input::Ready);
    }
}

#[test]
fn a_reload_is_done_when_the_process_says_so() {
    let mut run = Run::ready(limits());
    assert_eq!(run.put(0, Input::Reload), "(reloading), hangup");
    // Without `RELOADING=1` before it that is of something else.
    assert_eq!(run.put(1, Input::Ready), "");
    run.put(1, Input::Reloading);
    assert_eq!(run.machine.state().0, Active::Reloading);
    run.put(1, Input::MainPid(2));
    assert_eq!(run.put(1, Input::Ready), "(reloaded), done");
    assert_eq!(run.machine.state().0, Active::Active);
}

#[test]
fn a_reload_that_is_never_done_leaves_the_process_serving() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Reload);
    assert_eq!(run.due(), "(reloadfailed), not done");
    assert_eq!(run.machine.state().0, Active::Active);
    assert_eq!(run.machine.deadline(), None);
}

#[test]
fn a_task_is_done_when_it_ends_well() {
    let task = || {
        Run::new(Limits {
            task: true,
            ..limits()
        })
    };
    let mut run = task();
    assert_eq!(run.put(1, Input::Ready), "");
    assert_eq!(
        run.put(1, Input::Exited(Exit::Code(0))),
        "(exited), killrest, done, (ended), end 0"
    );
    assert_eq!(run.machine.state().0, Active::Inactive);
    let mut run = task();
    assert_eq!(
        run.put(1, failed()),
        "(exited), killrest, not done, (ended), end 1"
    );
    assert_eq!(run.machine.state(), (Active::Failed, "failed", "exit-code"));
    let mut run = task();
    assert_eq!(run.due(), "(killed), kill");
    assert_eq!(
        run.put(1, Input::Exited(Exit::Signal(9))),
        "(exited), killrest, not done, (ended), end 1"
    );
    assert_eq!(run.machine.state(), (Active::Failed, "failed", "timeout"));
}

#[test]
fn what_may_live_for_a_while_is_stopped_then() {
    let mut run = Run::ready(Limits {
        life: Some(ms(1_000)),
        ..limits()
    });
    assert_eq!(run.due(), "(expired), (stopping), terminate");
    assert_eq!(run.now, 1_010);
}

#[test]
fn a_machine_goes_on_after_it_was_written_down() {
    let mut run = Run::ready(limits());
    run.put(0, Input::Restart);
    let text = serde_json::to_string(&run.machine).unwrap();
    let mut machine: Machine = serde_json::from_str(&text).unwrap();
    machine.set_limits(limits());
    run.machine = machine;
    assert_eq!(run.due(), "(killed), kill");
}
