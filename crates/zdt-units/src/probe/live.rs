//! Counters that can be read while a run is going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::outcome::Outcome;

/// A handle on a run in progress; clones read the same counters.
#[derive(Clone, Debug, Default)]
pub struct Live {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    scheduled: AtomicU64,
    ok: AtomicU64,
    lost: AtomicU64,
    ended: AtomicU64,
    changed: Notify,
}

impl Live {
    pub fn new() -> Live {
        Live::default()
    }

    /// Requests that were due so far.
    pub fn scheduled(&self) -> u64 {
        self.inner.scheduled.load(Ordering::Relaxed)
    }

    /// Requests that ended well so far.
    pub fn ok(&self) -> u64 {
        self.inner.ok.load(Ordering::Relaxed)
    }

    /// Requests lost so far.
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Requests sent whose end is not known yet.
    pub fn in_flight(&self) -> u64 {
        let ended = self.inner.ended.load(Ordering::Relaxed);
        self.scheduled().saturating_sub(ended)
    }

    /// Resolves once `n` requests have ended well.
    pub async fn until_ok(&self, n: u64) {
        self.until(|live| live.ok() >= n).await;
    }

    /// Resolves once `n` requests were lost.
    pub async fn until_lost(&self, n: u64) {
        self.until(|live| live.lost() >= n).await;
    }

    /// Resolves once `n` requests have ended, well or not.
    pub async fn until_ended(&self, n: u64) {
        self.until(|live| live.inner.ended.load(Ordering::Relaxed) >= n)
            .await;
    }

    async fn until(&self, reached: impl Fn(&Live) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.inner.changed.notified());
            changed.as_mut().enable();
            if reached(self) {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn note_scheduled(&self) {
        self.inner.scheduled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_ended(&self, outcome: Outcome) {
        if outcome == Outcome::Ok {
            self.inner.ok.fetch_add(1, Ordering::Relaxed);
        } else if outcome.is_lost() {
            self.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.ended.fetch_add(1, Ordering::Relaxed);
        self.inner.changed.notify_waiters();
    }
}
