//! Restarts a program under all clients that can be tried. Effects only; what they mean is
//! judged by `judge`.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::calibrate::{Calibrated, Usual, calibrate};
use super::result::PhaseKind;
use super::table::{BUCKET, Kind, Options, WEBSOCKETS};
use super::websocket::{Held, Sockets};
use crate::probe::{Ended, Live, Load, Recorder, Report, StreamReport, Target, run_observed};

/// Who can restart the program.
pub(crate) trait Restarts {
    /// Replaces its process, and returns when the new one serves, or will not.
    async fn restart(&mut self) -> Restarted;
}

/// One restart. Times count from its begin, or, once measured, from that of the load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restarted {
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) phases: Vec<(PhaseKind, Duration, Duration)>,
    pub(crate) killed: bool,
    pub(crate) status: Option<String>,
    pub(crate) failed: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress<'a> {
    Calibrating,
    Loaded { clients: usize, rate: f64 },
    Restarted { nth: u32, restarted: &'a Restarted },
}

/// All that was seen.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(super) target: String,
    pub(super) started_unix_ms: u64,
    pub(super) elapsed: Duration,
    pub(super) calibrated: Vec<Calibrated>,
    pub(super) seen: Vec<Seen>,
    pub(super) restarts: Vec<Restarted>,
    pub(super) warnings: Vec<String>,
    /// Why the figures say nothing about the restarts.
    pub(super) invalid: Option<String>,
}

/// What a client that was tried has met.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) kind: Kind,
    pub(super) usual: Usual,
    pub(super) report: StreamReport,
    pub(super) ended: Vec<Ended>,
}

/// Calibrates, then restarts under load as often as `options` says.
pub(crate) async fn measure(
    target: &Target,
    options: &Options,
    host: &mut impl Restarts,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Measured {
    progress(Progress::Calibrating);
    let calibrated = calibrate(target, options).await;
    let fit: Vec<(Kind, Usual)> = calibrated
        .iter()
        .filter_map(|client| Some((client.kind, *client.found.as_ref().ok()?)))
        .collect();
    let (kinds, streams): (Vec<_>, Vec<_>) = fit
        .iter()
        .filter_map(|&(kind, usual)| Some(((kind, usual), usual.stream(kind, options)?)))
        .unzip();
    let load = Load {
        target: target.clone(),
        streams,
    };
    let rate = load.streams.iter().map(|stream| stream.rate).sum();
    // Requests that are in flight when nothing is wrong.
    let usually = kinds
        .iter()
        .zip(&load.streams)
        .map(|((_, usual), stream)| usual.takes.as_secs_f64() * stream.rate)
        .sum::<f64>();

    let sockets = Sockets {
        target,
        path: options.websocket.as_deref().unwrap_or("/"),
        timeout: options.timeout,
    };
    let websocket = fit.iter().find(|(kind, _)| *kind == Kind::WebSocket);
    let places = websocket.map_or(0, |_| WEBSOCKETS);

    let live = Live::new();
    let (observer, mut ends) = mpsc::unbounded_channel();
    let (stopper, stopped) = watch::channel(false);
    let mut stop = stopped.clone();
    let until_stopped = async {
        let _ = stop.wait_for(|&stop| stop).await;
    };
    let clock = Instant::now();
    let script = async {
        let mut restarts = Vec::new();
        let mut invalid = None;
        if !fit.is_empty() {
            progress(Progress::Loaded {
                clients: fit.len(),
                rate,
            });
            sleep(options.before()).await;
            invalid = overload(&live, usually, rate * options.before().as_secs_f64());
        }
        let wanted = match fit.is_empty() || invalid.is_some() {
            true => 0,
            false => options.restarts,
        };
        for nth in 1..=wanted {
            let restarted = host.restart_at(clock).await;
            progress(Progress::Restarted {
                nth,
                restarted: &restarted,
            });
            let failed = restarted.failed.is_some();
            restarts.push(restarted);
            if failed {
                break;
            }
            sleep(options.settle()).await;
        }
        stopper.send_replace(true);
        (restarts, invalid)
    };
    let (report, held, (restarts, invalid)) = tokio::join!(
        run_observed(&load, &live, Some(observer), until_stopped),
        sockets.hold(places, clock, &stopped),
        script,
    );
    let elapsed = clock.elapsed();

    let mut ended: Vec<Vec<Ended>> = vec![Vec::new(); load.streams.len()];
    while let Ok(end) = ends.try_recv() {
        ended[end.stream].push(end);
    }
    let (valid, warnings) = trusted(&report);
    let mut seen: Vec<Seen> = kinds
        .into_iter()
        .zip(report.streams)
        .zip(ended)
        .map(|(((kind, usual), report), ended)| Seen {
            kind,
            usual,
            report,
            ended,
        })
        .collect();
    if let Some(&(kind, usual)) = websocket {
        seen.push(websockets(kind, usual, &held));
    }
    Measured {
        target: target.address.to_string(),
        started_unix_ms: report.started_unix_ms,
        elapsed,
        calibrated,
        seen,
        restarts,
        warnings,
        invalid: invalid.or(valid),
    }
}

impl Measured {
    /// Whether any client was answered.
    pub(crate) fn is_answered(&self) -> bool {
        !self.seen.is_empty()
    }
}

trait RestartAt: Restarts {
    /// With its times as those of the load.
    async fn restart_at(&mut self, clock: Instant) -> Restarted {
        let began = clock.elapsed();
        let restarted = self.restart().await;
        Restarted {
            began,
            ended: clock.elapsed(),
            phases: restarted
                .phases
                .iter()
                .map(|&(kind, from, to)| (kind, began + from, began + to))
                .collect(),
            ..restarted
        }
    }
}

impl<R: Restarts> RestartAt for R {}

/// Why the load is no fair one, after so many requests and before any restart.
fn overload(live: &Live, usually: f64, requests: f64) -> Option<String> {
    let why = if live.lost() > 0 {
        format!("{} of {} requests were lost", live.lost(), live.scheduled())
    } else if live.in_flight() as f64 > usually * 1.5 + requests * 0.5 + 10.0 {
        format!("{} of {} requests wait", live.in_flight(), live.scheduled())
    } else {
        return None;
    };
    Some(format!(
        "{why} before the first restart: the program does not bear this load"
    ))
}

/// Whether the probe itself was well, and what it warns of.
fn trusted(report: &Report) -> (Option<String>, Vec<String>) {
    match report.total.outcomes.client {
        _ if report.streams.is_empty() => (None, Vec::new()),
        0 => (None, report.warnings.clone()),
        _ => (Some(report.warnings.join("; ")), Vec::new()),
    }
}

fn websockets(kind: Kind, usual: Usual, held: &[Held]) -> Seen {
    let mut recorder = Recorder::new(BUCKET);
    let mut ended = Vec::new();
    for one in held {
        recorder.record(&one.done());
        ended.push(Ended {
            stream: 0,
            due: one.began,
            began: one.began,
            ended: one.ended,
            outcome: one.outcome,
            stale: false,
        });
    }
    Seen {
        kind,
        usual,
        report: recorder.finish(kind.name(), "websocket".to_owned(), 0.0),
        ended,
    }
}
