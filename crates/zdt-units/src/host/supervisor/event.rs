//! What a supervisor tells: typed for programs, one line each for people. Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::Hook;

/// Something that happened to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    Started {
        pid: u32,
        /// Counts the starts by this supervisor, from 1.
        generation: u64,
    },
    /// It serves, and said so with `READY=1`.
    Ready {
        pid: u32,
        after: Duration,
        status: Option<String>,
    },
    /// The running process, if any, is told to drain; another one follows.
    Restarting {
        pid: Option<u32>,
    },
    /// Asked for a restart while one was going on; one more follows it.
    Queued,
    Restarted(RestartReport),
    /// The new process of a restart did not serve; it is tried again and again.
    RestartFailed {
        why: String,
    },
    /// The process is told to replace itself.
    Reloading {
        pid: u32,
    },
    Reloaded {
        before: u32,
        now: u32,
    },
    /// The process that was told to replace itself goes on as it was.
    ReloadFailed {
        why: String,
    },
    /// It ended by itself more often than it may, and is not started again until somebody asks for it.
    GaveUp {
        why: String,
        restarts: u32,
    },
    /// It was there for as long as it may be.
    Expired {
        pid: u32,
    },
    /// A command of the stop sequence failed; what follows it is done all the same.
    HookFailed {
        hook: Hook,
        why: String,
    },
    /// The process is told to drain, and none follows.
    Stopping {
        pid: u32,
    },
    /// The process drains without being told to.
    Leaving {
        pid: u32,
    },
    Exited {
        pid: u32,
        exit: Exit,
        /// What it last said of itself.
        status: Option<String>,
    },
    Killed {
        pid: u32,
        why: WhyKilled,
    },
    /// Processes that the main one had started lived on after its end, and were killed.
    LeftBehind {
        pid: u32,
    },
    /// Descriptors that were to be kept for the next process, and for which there is no room.
    NotKept {
        name: String,
        descriptors: usize,
        /// How many there is room for.
        most: usize,
    },
    /// Connections that the process was handed and did not take; they were closed.
    Untaken {
        pid: u32,
        connections: usize,
    },
    NotStarted {
        why: String,
    },
    /// Until the next start; connections wait in the kernel.
    Pausing {
        pause: Duration,
    },
    /// A message of another process than the main one, which has no say.
    Stranger {
        sender: i32,
        main: u32,
        text: String,
    },
    /// `MAINPID=`: another process of the service is the main one now.
    MainProcess {
        pid: u32,
    },
    /// No process is left and none follows.
    Ended {
        code: u8,
    },
}

/// What a restart did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartReport {
    /// `None` if no process was running.
    pub old_pid: Option<u32>,
    pub new_pid: u32,
    /// From the signal to the end of the old process.
    pub stop: Duration,
    /// From the start of the new process to its `READY=1`.
    pub start: Duration,
    /// The old process took longer than its limit and was killed.
    pub killed: bool,
    /// What the old process last said of itself.
    pub status: Option<String>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It was not a child of this process at its end.
    Unknown,
}

/// Why a process was not given more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyKilled {
    /// Not ready in time.
    Start(Duration),
    /// Not ended in time.
    Stop(Duration),
    /// No `WATCHDOG=1` in time.
    Watchdog(Duration),
    /// A task that did not end in time.
    Task(Duration),
    Asked,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { pid, generation } => {
                write!(f, "started process {pid} (start {generation})")
            }
            Self::Ready { pid, after, status } => {
                write!(f, "process {pid} is ready after {}", time(*after))?;
                said(f, status.as_deref())
            }
            Self::Restarting { pid: Some(pid) } => {
                write!(f, "restarting: process {pid} drains")
            }
            Self::Restarting { pid: None } => f.write_str("restarting: starting at once"),
            Self::Queued => f.write_str("one more restart follows this one"),
            Self::Restarted(report) => report.fmt(f),
            Self::RestartFailed { why } => {
                write!(f, "the restart failed: {why}; the sockets stay open")
            }
            Self::Reloading { pid } => {
                write!(f, "reloading: process {pid} starts the one after it")
            }
            Self::Reloaded { before, now } if before == now => {
                write!(f, "process {now} has reloaded")
            }
            Self::Reloaded { before, now } => {
                write!(f, "reloaded: process {now} serves in the place of {before}")
            }
            Self::ReloadFailed { why } => write!(f, "the reload failed: {why}"),
            Self::GaveUp { why, restarts: 0 } => {
                write!(
                    f,
                    "{why}; it is not started again, and its sockets stay open"
                )
            }
            Self::GaveUp { why, restarts } => write!(
                f,
                "{why}; it was started again {restarts} times (`restart.limit`) and is not any more, until somebody asks for it; its sockets stay open"
            ),
            Self::Expired { pid } => write!(f, "process {pid} was there for as long as it may be"),
            Self::HookFailed { why, .. } => write!(f, "{why}; the stop goes on"),
            Self::Stopping { pid } => write!(f, "stopping: process {pid} drains"),
            Self::Leaving { pid } => write!(f, "process {pid} stops by itself"),
            Self::Exited { pid, exit, status } => {
                write!(f, "process {pid} {exit}")?;
                said(f, status.as_deref())
            }
            Self::Killed { pid, why } => write!(f, "killed process {pid}: {why}"),
            Self::LeftBehind { pid } => {
                write!(f, "process {pid} left others behind; killed them")
            }
            Self::NotKept { name, most: 0, .. } => {
                write!(
                    f,
                    "closed `{name}`: nothing is kept for the next process without `handover = true`"
                )
            }
            Self::NotKept {
                name,
                descriptors,
                most,
            } => write!(
                f,
                "closed {descriptors} more of `{name}`: {most} descriptors are kept for the next process, not more"
            ),
            Self::Untaken { pid, connections } => {
                f.write_str(&crate::event::untaken(*pid, *connections))
            }
            Self::NotStarted { why } => write!(f, "could not start: {why}"),
            Self::Pausing { pause } => write!(
                f,
                "next start in {}; connections wait meanwhile",
                time(*pause)
            ),
            Self::Stranger { sender, main, text } => write!(
                f,
                "ignored `{text}` of process {sender}: only the main process {main} is heard"
            ),
            Self::MainProcess { pid } => write!(f, "process {pid} is the main one now"),
            Self::Ended { code } => write!(f, "stopped with {code}"),
        }
    }
}

impl fmt::Display for RestartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restarted in {}", time(self.stop + self.start))?;
        if self.old_pid.is_some() {
            write!(
                f,
                ": {} to stop, {} to start",
                time(self.stop),
                time(self.start)
            )?;
        }
        if self.killed {
            f.write_str("; the old process was killed, and what it still served is lost")?;
        }
        Ok(())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(0) => f.write_str("ended"),
            Self::Code(code) => write!(f, "failed with {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(number) {
                Ok(signal) => write!(f, "was ended by {signal}"),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
            Self::Unknown => f.write_str("is gone"),
        }
    }
}

impl fmt::Display for WhyKilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(limit) => write!(
                f,
                "it did not say `READY=1` within {} (`start_timeout`)",
                time(*limit)
            ),
            Self::Stop(limit) => write!(
                f,
                "it did not end within {}; what it still served is lost",
                time(*limit)
            ),
            Self::Watchdog(limit) => {
                write!(f, "it did not say `WATCHDOG=1` within {}", time(*limit))
            }
            Self::Task(limit) => write!(f, "it did not end within {}", time(*limit)),
            Self::Asked => f.write_str("asked to; what it still served is lost"),
        }
    }
}

fn said(f: &mut fmt::Formatter<'_>, status: Option<&str>) -> fmt::Result {
    match status {
        Some(status) => write!(f, ": {status}"),
        None => Ok(()),
    }
}

/// Two or three digits that matter, and a unit.
fn time(time: Duration) -> String {
    match time.as_millis() {
        0 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        1..1000 => format!("{} ms", time.as_millis()),
        1000..60_000 if time.subsec_millis() > 0 => format!("{:.2} s", time.as_secs_f64()),
        _ => format!("{} s", time.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let ms = Duration::from_millis;
        let events = [
            Event::Started {
                pid: 7,
                generation: 2,
            },
            Event::Ready {
                pid: 7,
                after: ms(12),
                status: Some("serving 127.0.0.1:80".to_owned()),
            },
            Event::Exited {
                pid: 7,
                exit: Exit::Signal(9),
                status: None,
            },
            Event::Killed {
                pid: 7,
                why: WhyKilled::Start(ms(60_000)),
            },
            Event::Pausing { pause: ms(2000) },
            Event::Restarted(RestartReport {
                old_pid: Some(7),
                new_pid: 8,
                stop: ms(1300),
                start: Duration::from_micros(700),
                killed: false,
                status: None,
            }),
        ];
        assert_eq!(
            events.map(|event| event.to_string()),
            [
                "started process 7 (start 2)",
                "process 7 is ready after 12 ms: serving 127.0.0.1:80",
                "process 7 was ended by SIGKILL",
                "killed process 7: it did not say `READY=1` within 60 s (`start_timeout`)",
                "next start in 2 s; connections wait meanwhile",
                "restarted in 1.30 s: 1.30 s to stop, 0.7 ms to start",
            ]
        );
    }
}
