//! Restarts one program under load, and sums up what its clients met.

use std::future::pending;
use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, interval, sleep_until};

use super::schedule::{QUICK, SLOW, Schedule, THINK};
use crate::host::supervisor::{
    BindErrors, Event, Events, Held, Launch, RestartError, RestartReport, Supervisor,
};
use crate::model::Name;
use crate::probe::{Ended, Live, Load, Report, run_observed};

/// How the small app is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Zdt,
    Stock,
}

/// What one program did, and what its clients met.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(super) restarts: Vec<Restarted>,
    pub(super) quick: Quick,
    #[serde(rename = "probe")]
    pub(super) report: Report,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Restarted {
    /// From 1.
    pub(super) nth: u32,
    /// From the start of the load.
    pub(super) at_ms: u64,
    /// Until the new process was ready.
    pub(super) took_ms: u64,
    pub(super) slow_in_flight: bool,
    /// The longest wait of a quick request that was due meanwhile.
    pub(super) longest_wait_ms: u64,
}

/// Requests that the app answers at once, over the whole run. Waits leave out
/// the client's own pause before it sends.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Quick {
    /// At restarts without a slow request in flight, and between restarts.
    pub(super) longest_wait_ms: u64,
    /// At restarts with a slow request in flight.
    pub(super) longest_wait_beside_slow_ms: u64,
    /// Kept connections found closed; the request went out on a new one.
    pub(super) stale: u64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    Running {
        elapsed: Duration,
        ok: u64,
        lost: u64,
    },
    Restarted {
        nth: u32,
        took: Duration,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(transparent)]
    Bind(#[from] BindErrors),
    #[error("the app could not be started: {0}")]
    Start(String),
    #[error("failed to supervise the app: {0}")]
    Supervise(#[from] io::Error),
    #[error("the app could not be restarted: {0}")]
    Restart(#[from] RestartError),
}

/// A window of a restart begins so much before it: a client that was pausing
/// then met it too.
const BEFORE: Duration = Duration::from_millis(50);
/// And it ends so much after it, when what had queued is served.
const AFTER: Duration = Duration::from_millis(100);

/// Restarts `program` as `schedule` says, and tells `progress` about it.
pub(crate) async fn measure(
    program: Program,
    schedule: Schedule,
    mut progress: impl FnMut(Progress),
) -> Result<Measured, DemoError> {
    let held = Held::on_free_port()?;
    let address = held.tcp().expect("the one socket is TCP");
    let (supervisor, mut events) = Supervisor::start(launch(program), held)?;
    until_ready(&mut events).await?;

    let load = Load {
        target: address.into(),
        streams: schedule.streams(),
    };
    let live = Live::new();
    let (restarted, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let began = Instant::now();
    let restarts = async {
        let mut reports = Vec::new();
        for (nth, at) in (1..).zip(schedule.restart_times()) {
            sleep_until(began + at).await;
            let at = began.elapsed();
            let report = supervisor.restart().await?;
            let _ = restarted.send((nth, report.stop + report.start));
            reports.push((at, report));
        }
        Ok::<_, RestartError>(reports)
    };
    let watch = async {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = ticks.tick() => progress(Progress::Running {
                    elapsed: began.elapsed(),
                    ok: live.ok(),
                    lost: live.lost(),
                }),
                Some((nth, took)) = seen.recv() => progress(Progress::Restarted { nth, took }),
            }
        }
    };
    let (observer, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let load_runs = run_observed(&load, &live, Some(observer), pending());
    let loaded = async { tokio::join!(load_runs, restarts) };
    let (report, restarts) = tokio::select! {
        both = loaded => both,
        () = watch => unreachable!("progress is watched to the end"),
    };
    supervisor.stop().await;
    let mut slow = Vec::new();
    while let Ok(ended) = ends.try_recv() {
        if load.streams[ended.stream].name == SLOW {
            slow.push(ended);
        }
    }
    Ok(sum_up(&slow, report, &restarts?))
}

fn launch(program: Program) -> Launch {
    let name = Name::parse("demo").expect("`demo` is a name");
    let mut launch = Launch::new(name, crate::host::supervisor::OWN_PROGRAM);
    launch.arguments.push("demo-app".into());
    if program == Program::Stock {
        launch.arguments.push("--stock".into());
    }
    launch
}

async fn until_ready(events: &mut Events) -> Result<(), DemoError> {
    while let Some(event) = events.next().await {
        match event {
            Event::Ready { .. } => return Ok(()),
            Event::NotStarted { .. } | Event::Exited { .. } => {
                return Err(DemoError::Start(event.to_string()));
            }
            _ => {}
        }
    }
    Err(DemoError::Start("it was stopped".to_owned()))
}

fn sum_up(slow: &[Ended], report: Report, restarts: &[(Duration, RestartReport)]) -> Measured {
    let restarts: Vec<Restarted> = (1..)
        .zip(restarts)
        .map(|(nth, (at, restart))| {
            let took = restart.stop + restart.start;
            let window = at.saturating_sub(BEFORE)..*at + took + AFTER;
            // While the old process stopped: it is that one which a slow request may hold.
            let is_met = |slow: &Ended| slow.began <= *at + restart.stop && slow.ended >= *at;
            Restarted {
                nth,
                at_ms: millis(*at),
                took_ms: millis(took),
                slow_in_flight: slow.iter().any(is_met),
                longest_wait_ms: longest_wait(&report, |due| window.contains(&due)),
            }
        })
        .collect();
    let beside_slow = |due: Duration| {
        restarts.iter().any(|restart| {
            let at = Duration::from_millis(restart.at_ms);
            let end = at + Duration::from_millis(restart.took_ms) + AFTER;
            restart.slow_in_flight && (at.saturating_sub(BEFORE)..end).contains(&due)
        })
    };
    let quick = Quick {
        longest_wait_ms: longest_wait(&report, |due| !beside_slow(due)),
        longest_wait_beside_slow_ms: longest_wait(&report, beside_slow),
        stale: report.total.outcomes.stale,
    };
    Measured {
        restarts,
        quick,
        report,
    }
}

/// Of the quick requests that were due when `wanted` says.
fn longest_wait(report: &Report, wanted: impl Fn(Duration) -> bool) -> u64 {
    let streams = report
        .streams
        .iter()
        .filter(|stream| QUICK.contains(&stream.name.as_str()));
    let waits = streams.flat_map(|stream| {
        let think = if stream.name == QUICK[0] {
            millis(THINK)
        } else {
            0
        };
        let bucket = stream.timeline.bucket_ms;
        let due = (0..).map(move |n| Duration::from_millis(n * bucket));
        let waits = stream.timeline.max_us.iter();
        waits
            .zip(due)
            .filter(|(_, due)| wanted(*due))
            .map(move |(us, _)| (us / 1000).saturating_sub(think))
            .max()
    });
    waits.max().unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
