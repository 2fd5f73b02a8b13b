//! What watching costs a restart, what it costs when nobody does, and a restart of the dashboard itself.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::place::{PROGRAM, Place, Stream, address, descriptors, number, sleeps, until};

const WATCHERS: usize = 200;

const RESTARTS: usize = 5;

/// Each reads what it is sent, as a browser does.
struct Watchers {
    threads: Vec<JoinHandle<()>>,
    seen: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Watchers {
    fn start(place: &Place) -> Self {
        let (seen, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let watch = |_| {
            let mut stream = Stream::open(place.dashboard_at).unwrap();
            let (seen, stop) = (seen.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) && stream.next("looked").is_some() {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..WATCHERS).map(watch).collect();
        let watchers = Self {
            threads,
            seen,
            stop,
        };
        until("all who watch", || {
            (watchers.seen.load(Ordering::Relaxed) >= WATCHERS).then_some(())
        });
        watchers
    }

    /// How often they were told something.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.seen.load(Ordering::Relaxed)
    }
}

pub(super) fn two_hundred_who_watch_do_not_slow_a_restart_down() {
    let place = Place::start(Duration::from_millis(500), "");
    place.restart("shop");
    place.get("/");
    sleep(Duration::from_millis(500));
    let before = descriptors(place.pid());
    let (mut fastest_alone, mut fastest_watched) = (f64::MAX, f64::MAX);
    let mut told = 0;
    for _ in 0..RESTARTS {
        place.restart("shop");
        let alone = last_took(&place);
        let watchers = Watchers::start(&place);
        place.restart("shop");
        let watched = last_took(&place);
        told += watchers.stop();
        println!("{alone:.0} ms alone, {watched:.0} ms with {WATCHERS} who watch");
        fastest_alone = alone.min(fastest_alone);
        fastest_watched = watched.min(fastest_watched);
    }
    // Whatever else the machine does only adds to what a restart takes.
    let ratio = fastest_watched / fastest_alone;
    let after = until("end of all", || {
        (descriptors(place.pid()) <= before).then(|| descriptors(place.pid()))
    });
    println!(
        "ratio {ratio:.2}; told {told} times; descriptors before and after {before} and {after}"
    );
    assert!(
        ratio < 1.25,
        "{fastest_watched} ms against {fastest_alone} ms"
    );
}

/// As the events tell it.
fn last_took(place: &Place) -> f64 {
    let text = std::fs::read_to_string(place.events()).unwrap();
    let mut events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ended = events.rfind(|event| event["kind"] == "finished").unwrap();
    assert_eq!(ended["outcome"], "completed");
    ended["elapsed_ms"].as_f64().unwrap()
}

pub(super) fn nobody_watches_and_nothing_is_done() {
    let place = Place::start(Duration::ZERO, "");
    let seconds = 3;
    let watched = {
        let mut stream = Stream::open(place.dashboard_at).unwrap();
        stream.next("looked").unwrap();
        stream.next("looked").unwrap();
        let before = sleeps(place.pid())["reader"];
        sleep(Duration::from_secs(seconds));
        sleeps(place.pid())["reader"] - before
    };
    // Whoever asked is gone, and what was begun is done: `doctor` itself rests for a second meanwhile.
    let mut last = sleeps(place.pid());
    let reader = "reader";
    until("rest", || {
        sleep(Duration::from_secs(3));
        let now = sleeps(place.pid());
        let rests = now[reader] == last[reader];
        last = now;
        rests.then_some(())
    });
    let began = Instant::now();
    let before = sleeps(place.pid());
    sleep(Duration::from_secs(seconds));
    let after = sleeps(place.pid());
    let looked_for = began.elapsed().as_secs();
    let woken: Vec<(&String, u64)> = after
        .iter()
        .map(|(name, count)| (name, count - before[name]))
        .collect();
    let status = std::fs::read_to_string(format!("/proc/{}/status", place.pid())).unwrap();
    println!(
        "in {seconds} s the reader woke up {watched} times with one who watches; with nobody {woken:?}; \
         VmRSS {} kB, RssAnon {} kB",
        number(&status, "VmRSS:"),
        number(&status, "RssAnon:")
    );
    assert!(watched > 0);
    assert_eq!(after[reader], before[reader]);
    // The server looks for connections that take too long, once a second.
    for (name, count) in woken {
        assert!(count <= looked_for + 1, "{name}: {count} in {looked_for} s");
    }
}

/// The launcher holds its socket; who watches is told at once to come again.
pub(super) fn its_own_restart_is_lossless() {
    let at = address();
    let more = format!(
        "[service.dashboard]\nexec = [{PROGRAM:?}, \"dashboard\", \"--config\", \"DIRECTORY/zdt.toml\"]\nlisten = \"{at}\"\nsandbox = \"none\"\n\
         health = {{ http = \"http://{at}/readyz\" }}\n"
    );
    let place = Place::launch(Duration::ZERO, &more, at);
    place.serves("dashboard");
    let mut stream = Stream::open(at).unwrap();
    stream.next("looked").unwrap();
    let mut load = std::process::Command::new(PROGRAM);
    load.args(["probe", "--rate=50", "--for=4s", "--json", "--path=/livez"])
        .arg(at.to_string());
    let load = load
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(500));
    place.restart("dashboard");
    let took = last_took(&place);
    // It ended, and was not cut.
    while stream.line().is_some_and(|line| line != "0") {}
    let mut again = Stream::open(at).unwrap();
    assert_eq!(again.status(), 200);
    assert!(
        again
            .next("restarts")
            .unwrap()
            .contains("restart dashboard")
    );
    let output = load.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    println!("its restart took {took:.0} ms with one who watches; {said}");
    assert!(output.status.success(), "{said}");
}
