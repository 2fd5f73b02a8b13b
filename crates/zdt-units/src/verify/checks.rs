//! What the supervisor has seen of a program, beside its clients. Pure.

use super::result::Check;
use crate::host::supervisor::{Event, Exit, WhyKilled};
use crate::model::Ready;

/// The checks of a program that the supervisor has started, from all that it told.
pub(crate) fn checks(events: &[Event], readiness: Ready, answers: bool) -> Vec<Check> {
    vec![
        socket(answers),
        ready(readiness),
        exit(events),
        children(events),
    ]
}

fn check(name: &str, passed: Option<bool>, says: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        passed,
        says: says.into(),
    }
}

fn socket(answers: bool) -> Check {
    let says = match answers {
        true => "it serves the socket that was passed to it",
        false => {
            "nothing answers on the socket that was passed to it as descriptor 3 \
             (`LISTEN_FDS`); a port that a program binds by itself closes at each restart"
        }
    };
    check("socket", Some(answers), says)
}

fn ready(readiness: Ready) -> Check {
    match readiness {
        Ready::Notify => check("ready", Some(true), "it says `READY=1` when it serves"),
        Ready::Started => check(
            "ready",
            None,
            "not asked for `READY=1`; the first answer counted as ready",
        ),
    }
}

/// How its processes ended that were told to.
fn exit(events: &[Event]) -> Check {
    let mut told = false;
    let (mut well, mut killed, mut others) = (0, 0, Vec::new());
    let mut by_itself = Vec::new();
    let mut why = None;
    for event in events {
        match event {
            Event::Restarting { pid: Some(_) } | Event::Stopping { .. } => told = true,
            Event::Killed { why: reason, .. } => why = Some(*reason),
            Event::Exited { exit, .. } => {
                match (why.take(), told, exit) {
                    (Some(WhyKilled::Stop(_)), ..) => killed += 1,
                    (_, false, exit) => by_itself.push(exit.to_string()),
                    (_, true, Exit::Code(0) | Exit::Signal(15)) => well += 1,
                    (_, true, exit) => others.push(exit.to_string()),
                }
                told = false;
            }
            _ => {}
        }
    }
    let mut wrong = Vec::new();
    if killed > 0 {
        wrong.push(format!(
            "it did not end within the stop timeout after SIGTERM and was killed, {}",
            times(killed)
        ));
    }
    if let Some(exit) = others.first() {
        let how_often = times(others.len());
        wrong.push(format!(
            "after SIGTERM it {exit}, {how_often}; a clean stop ends with 0"
        ));
    }
    if let Some(exit) = by_itself.first() {
        let how_often = times(by_itself.len());
        wrong.push(format!("it {exit} without being told to, {how_often}"));
    }
    match (wrong.is_empty(), well) {
        (true, 0) => check("exit", None, "it was never told to stop"),
        (true, well) => {
            let says = format!("it ended by itself after SIGTERM, {}", times(well));
            check("exit", Some(true), says)
        }
        (false, _) => check("exit", Some(false), wrong.join("; ")),
    }
}

fn children(events: &[Event]) -> Check {
    let left = |event: &&Event| matches!(event, Event::LeftBehind { .. });
    match events.iter().filter(left).count() {
        0 => check("children", Some(true), "it left no process behind"),
        n => check(
            "children",
            Some(false),
            format!(
                "it left processes of its own behind, {}; they were killed",
                times(n)
            ),
        ),
    }
}

fn times(n: usize) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn restarting() -> Event {
        Event::Restarting { pid: Some(7) }
    }

    fn exited(exit: Exit) -> Event {
        Event::Exited {
            pid: 7,
            exit,
            status: None,
        }
    }

    fn killed() -> Event {
        Event::Killed {
            pid: 7,
            why: WhyKilled::Stop(Duration::from_secs(1)),
        }
    }

    fn says(events: &[Event]) -> (Option<bool>, String) {
        let check = exit(events);
        (check.passed, check.says)
    }

    #[test]
    fn a_process_ends_by_itself_or_is_killed() {
        let stopping = Event::Stopping { pid: 7 };
        assert_eq!(
            says(&[
                restarting(),
                exited(Exit::Code(0)),
                stopping,
                exited(Exit::Signal(15))
            ]),
            (
                Some(true),
                "it ended by itself after SIGTERM, twice".to_owned()
            )
        );
        assert_eq!(
            says(&[restarting(), killed(), exited(Exit::Signal(9))]),
            (
                Some(false),
                "it did not end within the stop timeout after SIGTERM and was killed, once"
                    .to_owned()
            )
        );
        assert_eq!(
            says(&[restarting(), exited(Exit::Code(3)), exited(Exit::Code(1))]),
            (
                Some(false),
                "after SIGTERM it failed with 3, once; a clean stop ends with 0; \
                 it failed with 1 without being told to, once"
                    .to_owned()
            )
        );
        assert_eq!(says(&[]).0, None);
    }

    #[test]
    fn what_is_left_behind_is_told() {
        let events = [Event::LeftBehind { pid: 7 }];
        let passed = |events| {
            let checks = checks(events, Ready::Started, true);
            checks.iter().map(|check| check.passed).collect::<Vec<_>>()
        };
        assert_eq!(passed(&events), [Some(true), None, None, Some(false)]);
        assert_eq!(passed(&[]), [Some(true), None, None, Some(true)]);
    }
}
