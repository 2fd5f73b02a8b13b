//! Draws the conclusion: which client met which restart, what it lost, and the verdict. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::advice;
use super::calibrate::{Calibrated, Unfit};
use super::measure::{Measured, Restarted, Seen};
use super::result::{
    Check, Client, Host, Loss, Phase, PhaseKind, Restart, Status, Subject, VERSION, Verdict,
    VerdictKind, Verified,
};
use super::table::{Kind, Meeting, Options};
use crate::probe::{Ended, Histogram, Latency, Outcome, Outcomes, Timeline};

/// What was restarted, by whom and where.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) subject: Subject,
    pub(crate) command: Vec<String>,
    pub(crate) host: Host,
    pub(crate) cpus: usize,
}

pub(crate) fn judge(
    about: About,
    options: &Options,
    measured: Measured,
    checks: Vec<Check>,
) -> Verified {
    let restarts: Vec<Restart> = (1..)
        .zip(&measured.restarts)
        .map(|(nth, restarted)| restart(nth, restarted, &measured, options))
        .collect();
    let clients: Vec<Client> = measured
        .calibrated
        .iter()
        .map(|calibrated| {
            let seen = measured
                .seen
                .iter()
                .find(|seen| seen.kind == calibrated.kind);
            match (seen, &calibrated.found) {
                (Some(seen), _) => tried(seen, &measured.restarts, options),
                (None, found) => untried(calibrated, found.as_ref().err(), options),
            }
        })
        .collect();
    let mut warnings = measured.warnings.clone();
    warnings.extend(missed(&clients, restarts.len()));
    Verified {
        v: VERSION,
        subject: about.subject,
        command: about.command,
        host: about.host,
        verdict: verdict(&measured, &clients),
        target: measured.target,
        started_unix_ms: measured.started_unix_ms,
        elapsed_ms: millis(measured.elapsed),
        cpus: about.cpus,
        restarts,
        clients,
        checks,
        warnings,
    }
}

/// An idle connection that is closed without a word is a loss, although nothing was sent on it
/// yet: had the request left a moment sooner, it would have been lost with it.
fn class(ended: &Ended) -> Option<&'static str> {
    match ended.outcome {
        outcome if outcome.is_lost() => Some(outcome.name()),
        Outcome::Ok if ended.stale => Some("stale"),
        _ => None,
    }
}

fn restart(nth: u32, restarted: &Restarted, measured: &Measured, options: &Options) -> Restart {
    let next = measured
        .restarts
        .iter()
        .map(|other| other.began)
        .find(|&began| began > restarted.began);
    let is_of_this = |ended: &&Ended| {
        class(ended).is_some()
            && ended.ended >= restarted.began
            && next.is_none_or(|next| ended.ended < next)
    };
    let lost = measured.seen.iter();
    let lost = lost.flat_map(|seen| seen.ended.iter().filter(is_of_this));
    let waits = measured
        .seen
        .iter()
        .map(|seen| longest_wait(seen, restarted, options));
    Restart {
        nth,
        began_ms: millis(restarted.began),
        ended_ms: millis(restarted.ended),
        phases: restarted.phases.iter().copied().map(phase).collect(),
        killed: restarted.killed,
        status: restarted.status.clone(),
        failed: restarted.failed.clone(),
        lost: lost.count() as u64,
        longest_wait_ms: millis(waits.max().unwrap_or_default()),
    }
}

fn phase((kind, from, to): (PhaseKind, Duration, Duration)) -> Phase {
    Phase {
        kind,
        from_ms: millis(from),
        to_ms: millis(to),
    }
}

fn untried(calibrated: &Calibrated, unfit: Option<&Unfit>, options: &Options) -> Client {
    Client {
        name: calibrated.kind.name().to_owned(),
        does: calibrated.kind.does(options),
        status: unfit.map_or(Status::NotTried, |unfit| unfit.status),
        note: unfit.map(|unfit| unfit.why.clone()),
        sent: 0,
        ok: 0,
        lost: 0,
        retryable: 0,
        losses: Vec::new(),
        outcomes: Outcomes::default(),
        met: 0,
        latency: Latency::default(),
        histogram: Histogram::default(),
        gap_ms: 0,
        longest_wait_ms: 0,
        timeline: Timeline::default(),
    }
}

fn tried(seen: &Seen, restarts: &[Restarted], options: &Options) -> Client {
    let losses = losses(seen);
    let lost = losses.iter().map(|loss| loss.count).sum();
    let met = restarts.iter().filter(|restart| meets(seen, restart));
    let met = u32::try_from(met.count()).unwrap_or(u32::MAX);
    let sent = seen.ended.len() as u64;
    let retryable = seen.report.outcomes.retryable;
    let waits = restarts
        .iter()
        .map(|restart| longest_wait(seen, restart, options));
    let usual = seen.usual.status;
    let note = match seen.kind {
        Kind::WebSocket => None,
        _ if usual == 200 => None,
        _ => Some(format!("the usual answer is {usual}, so that counts as ok")),
    };
    Client {
        name: seen.kind.name().to_owned(),
        does: seen.kind.does(options),
        status: match (lost, met) {
            (1.., _) => Status::Lost,
            (0, 0) => Status::NotMet,
            (0, _) => Status::Passed,
        },
        note,
        sent,
        ok: sent - lost - retryable,
        lost,
        retryable,
        losses,
        outcomes: seen.report.outcomes.clone(),
        met,
        latency: seen.report.latency,
        histogram: seen.report.histogram.clone(),
        gap_ms: match seen.kind {
            Kind::WebSocket => 0,
            _ => millis(gap(&seen.ended, restarts)),
        },
        longest_wait_ms: millis(waits.max().unwrap_or_default()),
        timeline: timeline(seen),
    }
}

fn losses(seen: &Seen) -> Vec<Loss> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for class in seen.ended.iter().filter_map(class) {
        *counts.entry(class).or_default() += 1;
    }
    let mut losses: Vec<Loss> = counts
        .into_iter()
        .map(|(class, count)| {
            let (what, advice) = advice::of(seen.kind, class);
            Loss {
                class: class.to_owned(),
                what: match class {
                    "wrong_status" => format!("{what}: {}", statuses(seen)),
                    _ => what.to_owned(),
                },
                count,
                advice: advice.to_owned(),
            }
        })
        .collect();
    losses.sort_by_key(|loss| std::cmp::Reverse(loss.count));
    losses
}

fn statuses(seen: &Seen) -> String {
    let statuses = seen.report.outcomes.statuses.keys();
    let statuses: Vec<String> = statuses.map(u16::to_string).collect();
    statuses.join(", ")
}

/// Whether the restart proves anything for this client.
fn meets(seen: &Seen, restart: &Restarted) -> bool {
    // Between the request for a restart and the signal the old process serves as always.
    let stop = match restart.phases.first() {
        Some((PhaseKind::Stopping, from, _)) => *from,
        _ => restart.began,
    };
    let any = |met: &dyn Fn(&Ended) -> bool| seen.ended.iter().any(met);
    match seen.kind.meeting() {
        Meeting::During => any(&|one| one.began <= restart.ended && one.ended >= stop),
        Meeting::Across => any(&|one| one.began < stop && one.ended > stop),
        Meeting::Kept => {
            any(&|one| one.outcome == Outcome::Ok && one.ended < stop) && any(&|one| one.due > stop)
        }
    }
}

/// The longest that a request which was in flight or due during the restart took beyond its own time.
fn longest_wait(seen: &Seen, restart: &Restarted, options: &Options) -> Duration {
    if seen.kind == Kind::WebSocket {
        return Duration::ZERO;
    }
    let own = seen.usual.own_time(seen.kind, options);
    let met = seen.ended.iter().filter(|one| {
        one.outcome == Outcome::Ok && one.due <= restart.ended && one.ended >= restart.began
    });
    let waits = met.map(|one| (one.ended - one.due).saturating_sub(own));
    waits.max().unwrap_or_default()
}

/// The longest stretch without a success that lies over a restart.
fn gap(ended: &[Ended], restarts: &[Restarted]) -> Duration {
    let mut ends: Vec<Duration> = ended
        .iter()
        .filter(|one| one.outcome == Outcome::Ok)
        .map(|one| one.ended)
        .collect();
    ends.sort();
    let stretches = ends.windows(2).map(|pair| (pair[0], pair[1]));
    let over = stretches.filter(|(from, to)| {
        let touches = |restart: &Restarted| *from <= restart.ended && *to >= restart.began;
        restarts.iter().any(touches)
    });
    over.map(|(from, to)| to - from).max().unwrap_or_default()
}

/// That of the probe, with the connections that were closed without notice as losses.
fn timeline(seen: &Seen) -> Timeline {
    let mut timeline = seen.report.timeline.clone();
    for one in seen.ended.iter().filter(|one| class(one) == Some("stale")) {
        let at = millis(one.due) / timeline.bucket_ms;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let (Some(ok), Some(lost)) = (timeline.ok.get_mut(at), timeline.lost.get_mut(at)) {
            *ok = ok.saturating_sub(1);
            *lost += 1;
        }
    }
    timeline
}

fn missed(clients: &[Client], restarts: usize) -> Vec<String> {
    let missed = clients.iter().filter(|client| {
        matches!(client.status, Status::Passed | Status::NotMet) && (client.met as usize) < restarts
    });
    let told = missed.map(|client| {
        format!(
            "`{}` met {} of {restarts} restarts, and the others prove nothing for it; raise `--rate`",
            client.name, client.met
        )
    });
    told.collect()
}

fn verdict(measured: &Measured, clients: &[Client]) -> Verdict {
    let sent = clients.iter().map(|client| client.sent).sum();
    let lost = clients.iter().map(|client| client.lost).sum();
    let with = |wanted: Status| {
        let found = clients.iter().filter(move |client| client.status == wanted);
        found.map(|client| client.name.as_str()).collect::<Vec<_>>()
    };
    let restarts = match measured.restarts.len() {
        1 => "1 restart".to_owned(),
        n => format!("{n} restarts"),
    };
    let (kind, says) = if let Some(failed) = measured
        .restarts
        .iter()
        .find_map(|restart| restart.failed.as_ref())
    {
        (VerdictKind::Failed, format!("a restart failed: {failed}"))
    } else if let Some(why) = invalid(measured, clients) {
        (
            VerdictKind::Invalid,
            format!("not a valid measurement: {why}"),
        )
    } else if lost > 0 {
        let names = with(Status::Lost).join(", ");
        let losses = match lost {
            1 => "1 loss".to_owned(),
            n => format!("{n} losses"),
        };
        let says = format!("{losses} among {sent} requests in {restarts}: {names}");
        (VerdictKind::Lossy, says)
    } else {
        let tried = with(Status::Passed).len();
        let clients = match tried {
            1 => "1 client".to_owned(),
            n => format!("{n} clients"),
        };
        let says = format!("nothing was lost: {sent} requests of {clients}, {restarts}");
        (VerdictKind::Lossless, says)
    };
    Verdict {
        kind,
        sent,
        lost,
        says,
    }
}

fn invalid(measured: &Measured, clients: &[Client]) -> Option<String> {
    if let Some(why) = &measured.invalid {
        return Some(format!(
            "{why}; lower `--rate`, or choose clients with `--only`"
        ));
    }
    if measured.seen.is_empty() {
        return Some("no client could be tried".to_owned());
    }
    let first = measured.restarts.first()?;
    let is_early = |ended: &&Ended| class(ended).is_some() && ended.ended < first.began;
    let early = measured.seen.iter();
    let early = early
        .flat_map(|seen| seen.ended.iter().filter(is_early))
        .count();
    if early > 0 {
        return Some(format!(
            "{early} requests were lost before the first restart"
        ));
    }
    let proves = |client: &Client| matches!(client.status, Status::Passed | Status::Lost);
    let proved = clients.iter().any(proves);
    (!proved).then(|| "no restart met a request; raise `--rate`".to_owned())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
