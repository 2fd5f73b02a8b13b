//! What takes a while: starts and stops that are followed to their end, in their order.

use futures_util::future::{join_all, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{oneshot, watch};

use super::control::Answers;
use super::output::Output;
use super::protocol::{Answer, Refusal};
use super::unit::{Ask, Unit};
use super::{RestartError, RestartReport};

/// What is done with units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Start,
    Restart,
    Reload,
    Stop,
    /// Stops what is started again soon.
    Hold,
}

/// Does `job` with all `units` at the same time, and tells what is seen of them meanwhile. It goes on if nobody listens
/// any more.
pub(super) async fn follow(units: Vec<Unit>, job: Job, answers: Answers) {
    let followed = units.iter().map(|unit| follow_one(unit, job, &answers));
    let failed = join_all(followed).await.into_iter().flatten().next();
    answers.send(match failed {
        None => Answer::Done,
        Some(refusal) => Answer::Failed(refusal),
    });
}

async fn follow_one(unit: &Unit, job: Job, answers: &Answers) -> Option<Refusal> {
    let mut told = unit.told();
    let done = ask(unit, job);
    tokio::pin!(done);
    let why = loop {
        tokio::select! {
            // What led to the end is told before the end.
            biased;
            Ok(event) = told.recv() => {
                answers.send(Answer::Told { event });
            }
            done = &mut done => break done.err(),
        }
    };
    while let Ok(event) = told.try_recv() {
        answers.send(Answer::Told { event });
    }
    let why = why?;
    let name = unit.view.borrow().state.unit.clone();
    let output = unit.output.tail(LAST_WORDS);
    Some(Refusal {
        reason: format!("`{name}` {}: {why}", did_not(job)),
        hint: Some(format!("see `zdt-units logs {name}`")),
        untouched: false,
        output: output.into_iter().map(|line| line.text).collect(),
    })
}

/// So many lines of a process are shown with its failure.
const LAST_WORDS: usize = 20;

fn did_not(job: Job) -> &'static str {
    match job {
        Job::Start | Job::Restart => "did not start",
        Job::Reload => "did not reload",
        Job::Stop | Job::Hold => "did not stop",
    }
}

async fn ask(unit: &Unit, job: Job) -> Result<(), String> {
    let (answer, answered) = oneshot::channel::<Result<RestartReport, RestartError>>();
    match job {
        Job::Start => unit.ask(Ask::Start(answer)),
        Job::Restart => unit.ask(Ask::Restart(Some(answer))),
        Job::Reload => unit.ask(Ask::Reload(answer)),
        Job::Stop | Job::Hold => {
            let (sender, stopped) = oneshot::channel();
            unit.ask(match job {
                Job::Hold => Ask::Hold(sender),
                _ => Ask::Stop(Some(sender)),
            });
            return stopped.await.map(drop).map_err(|_| GONE.to_owned());
        }
    }
    match answered.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RestartError::Failed(why))) => Err(why),
        Ok(Err(RestartError::Stopping)) if job == Job::Reload => {
            Err("it does not serve, or is at something else".to_owned())
        }
        Ok(Err(RestartError::Stopping)) => Err("it is being stopped".to_owned()),
        Err(_) => Err(GONE.to_owned()),
    }
}

const GONE: &str = "the launcher is ending";

/// The units of a service, and the places in the list of those that come before.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) units: Vec<Unit>,
    pub(super) after: Vec<usize>,
}

/// The other way round.
pub(super) fn reversed(parts: Vec<Ordered>) -> Vec<Ordered> {
    let mut before = vec![Vec::new(); parts.len()];
    for (place, part) in parts.iter().enumerate() {
        for earlier in &part.after {
            before[*earlier].push(place);
        }
    }
    let turned = parts.into_iter().zip(before);
    turned
        .map(|(part, after)| Ordered { after, ..part })
        .collect()
}

/// Does something with each, once it was done with all that come before it; what came of it, in the order of `parts`.
pub(super) async fn in_order<T>(parts: Vec<Ordered>, what: impl AsyncFn(&[Unit]) -> T) -> Vec<T> {
    let (done, _): (Vec<_>, Vec<_>) = parts.iter().map(|_| watch::channel(false)).unzip();
    let mut running = FuturesUnordered::new();
    for (place, part) in parts.iter().enumerate() {
        let mut before: Vec<_> = part
            .after
            .iter()
            .map(|other| done[*other].subscribe())
            .collect();
        let (done, what) = (&done[place], &what);
        running.push(async move {
            for earlier in &mut before {
                let _ = earlier.wait_for(|done| *done).await;
            }
            let outcome = what(&part.units).await;
            done.send_replace(true);
            (place, outcome)
        });
    }
    let mut outcomes: Vec<(usize, T)> = Vec::new();
    while let Some(outcome) = running.next().await {
        outcomes.push(outcome);
    }
    drop(running);
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// What processes printed: the last lines, and with `follow` all that comes.
pub(super) async fn logs(outputs: Vec<Output>, lines: usize, follow: bool, answers: Answers) {
    let mut followed: Vec<_> = outputs.iter().map(|output| output.follow()).collect();
    let mut last: Vec<_> = outputs
        .iter()
        .flat_map(|output| output.tail(lines))
        .collect();
    last.sort_by_key(|line| line.time);
    for line in last {
        if !answers.feed(Answer::Line(line)).await {
            return;
        }
    }
    if !follow {
        answers.send(Answer::Done);
        return;
    }
    while !followed.is_empty() {
        let next = followed.iter_mut().map(|lines| Box::pin(lines.recv()));
        tokio::select! {
            (line, ..) = select_all(next) => {
                // Whoever reads too slowly misses some.
                if let Ok(line) = line && !answers.feed(Answer::Line(line)).await {
                    return;
                }
            }
            () = answers.gone() => return,
        }
    }
    answers.gone().await;
}
