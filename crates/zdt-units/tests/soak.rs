//! The launcher for a long time, and under all that can befall it: restarted, killed, replaced, abused, and left alone.
//!
//! `cargo test` runs the short form. The long one takes minutes:
//! `ZDT_SOAK=long cargo test --release -p zdt-units --test soak -- --nocapture`

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these tests are about processes, and their helpers are tests too"
)]

#[path = "soak/abused.rs"]
mod abused;
#[path = "soak/idle.rs"]
mod idle;
#[path = "soak/init.rs"]
mod init;
#[path = "soak/killed.rs"]
mod killed;
#[path = "soak/launcher.rs"]
mod launcher;
#[path = "soak/load.rs"]
mod load;
#[path = "soak/proc.rs"]
mod proc;
#[path = "soak/restarts.rs"]
mod restarts;
#[path = "soak/upgrade.rs"]
mod upgrade;

use std::future::Future;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zdt-units");

/// Longer than anything takes, even on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(60);

/// Each measures, so they take turns.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let waited = timeout(LIMIT, wanted).await;
    waited.unwrap_or_else(|_| panic!("{what} did not happen within {LIMIT:?}"))
}

/// Looks again and again, but not for ever.
async fn until(what: &str, mut found: impl FnMut() -> bool) {
    soon(what, async {
        while !found() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// How much of it: `short` on every `cargo test`, `long` where `ZDT_SOAK=long`.
fn of<T>(short: T, long: T) -> T {
    match std::env::var("ZDT_SOAK").as_deref() {
        Ok("long") => long,
        _ => short,
    }
}

/// Chance that can be had again: `ZDT_SEED` repeats a run.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("ZDT_SEED").ok();
        let seed = seed.map_or_else(
            || u64::from(std::process::id()),
            |seed| seed.parse().unwrap(),
        );
        println!("ZDT_SEED={seed}");
        Self(seed)
    }

    /// splitmix64
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pause(&mut self, at_most: Duration) -> Duration {
        let limit = u64::try_from(at_most.as_millis()).unwrap();
        Duration::from_millis(self.below(limit))
    }
}
