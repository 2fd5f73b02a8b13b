//! What a launcher costs while nothing happens.

use std::time::Duration;

use tokio::time::sleep;

use super::launcher::Launcher;
use super::{alone, of, proc};

/// In kilobytes, without the pages of the program file, which all who run it share.
const MOST_OWN: u64 = 4 * 1024;

/// With them, of the program as it is installed: `ZDT_DIST` is its path.
const MOST: u64 = 12 * 1024;

#[tokio::test]
async fn nothing_wakes_a_launcher_up_while_nothing_happens() {
    let _alone = alone().await;
    let mut launcher =
        Launcher::start(&[("one", ""), ("two", ""), ("three", "handover = true")]).await;
    // Its memory and threads are those after it has done what it does.
    launcher.done(&["restart", "--all"]).await;
    let dist = std::env::var_os("ZDT_DIST");
    if let Some(program) = &dist {
        let program = program.to_str().unwrap();
        launcher.done(&["upgrade", program]).await;
        launcher.done(&["restart", "--all"]).await;
    }
    let (before, _) = super::restarts::rest(&launcher).await;
    let pid = launcher.pid();

    let slept = of(Duration::from_secs(3), Duration::from_secs(10));
    let woken = proc::sleeps(pid);
    // Long enough for whatever is due again and again.
    sleep(slept).await;
    assert_eq!(
        proc::sleeps(pid),
        woken,
        "in {slept:?}; of threads {before:?}"
    );

    let [resident, own] = ["VmRSS", "RssAnon"].map(|key| proc::status(pid, key));
    println!(
        "3 services, {} threads: VmRSS {resident} kB, RssAnon {own} kB",
        before.threads
    );
    assert!(own < MOST_OWN, "VmRSS {resident} kB, RssAnon {own} kB");
    assert!(
        dist.is_none() || resident < MOST,
        "VmRSS {resident} kB, RssAnon {own} kB"
    );
    launcher.shut_down().await;
}
