//! What was to be told, and what was.

use std::sync::{Arc, Mutex, PoisonError};

/// Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    wanted: usize,
    done: usize,
    last_failure: Option<String>,
}

impl Tally {
    pub(super) fn wanted(&self) {
        self.change(|counts| counts.wanted += 1);
    }

    pub(super) fn ended(&self, result: Result<(), String>) {
        self.change(|counts| match result {
            Ok(()) => counts.done += 1,
            Err(failure) => counts.last_failure = Some(failure),
        });
    }

    /// What is to be said in the end; nothing if all went well.
    pub(super) fn missing(&self, whom: &str) -> Option<String> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = counts.wanted - counts.done;
        let why = counts.last_failure.as_deref();
        let why = why.unwrap_or("there was no answer in time");
        (missing > 0).then(|| {
            format!(
                "{missing} of {} events did not reach {whom}: {why}",
                counts.wanted
            )
        })
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
