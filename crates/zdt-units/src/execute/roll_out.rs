//! Several plans, each begun when those before it are done.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::Interrupts;
use crate::event::Outcome;
use crate::order::Schedule;

/// Carries out what `begin` starts for each place, in the order of `schedule`. After a failure, or an
/// interrupt, those that run come to their end and no other one is begun; it has no outcome.
pub async fn roll_out<F: Future<Output = Outcome>>(
    mut schedule: Schedule,
    interrupts: &mut Interrupts,
    begin: impl Fn(usize) -> F,
) -> Vec<Option<Outcome>> {
    let mut outcomes = vec![None; schedule.len()];
    let mut running = FuturesUnordered::new();
    loop {
        while let Some(place) = schedule.begin() {
            let work = begin(place);
            running.push(async move { (place, work.await) });
        }
        tokio::select! {
            biased;
            ended = running.next() => {
                let Some((place, outcome)) = ended else {
                    return outcomes;
                };
                outcomes[place] = Some(outcome);
                schedule.done(place, matches!(outcome, Outcome::Completed | Outcome::Lossy));
            }
            () = interrupts.next() => schedule.stop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// Each takes a second; says when each began.
    async fn rolled(
        after: &[Vec<usize>],
        failing: Option<usize>,
        interrupt: Option<Duration>,
    ) -> (Vec<(usize, u64)>, Vec<Option<Outcome>>) {
        let (sender, mut interrupts) = Interrupts::channel();
        let began = RefCell::new(Vec::new());
        let start = Instant::now();
        let work = |place| {
            began.borrow_mut().push((place, start.elapsed().as_secs()));
            async move {
                sleep(Duration::from_secs(1)).await;
                match Some(place) == failing {
                    true => Outcome::RolledBack,
                    false => Outcome::Completed,
                }
            }
        };
        let press = async {
            if let Some(after) = interrupt {
                sleep(after).await;
                sender.send(()).unwrap();
            }
            std::future::pending::<()>().await;
        };
        let schedule = Schedule::new(after, 2);
        let outcomes = tokio::select! {
            outcomes = roll_out(schedule, &mut interrupts, work) => outcomes,
            () = press => unreachable!("it never ends"),
        };
        (began.into_inner(), outcomes)
    }

    const DONE: Option<Outcome> = Some(Outcome::Completed);

    #[tokio::test(start_paused = true)]
    async fn branches_run_side_by_side_and_in_order() {
        let after = [vec![], vec![0], vec![], vec![1, 2]];
        let (began, outcomes) = rolled(&after, None, None).await;
        assert_eq!(began, [(0, 0), (2, 0), (1, 1), (3, 2)]);
        assert_eq!(outcomes, [DONE; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_lets_the_others_end_and_begins_none() {
        let after = [vec![], vec![0], vec![], vec![2]];
        let (began, outcomes) = rolled(&after, Some(0), None).await;
        assert_eq!(began, [(0, 0), (2, 0)]);
        assert_eq!(outcomes, [Some(Outcome::RolledBack), None, DONE, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupt_begins_none() {
        let after = [vec![], vec![0]];
        let (_, outcomes) = rolled(&after, None, Some(Duration::from_millis(500))).await;
        assert_eq!(outcomes, [DONE, None]);
    }
}
