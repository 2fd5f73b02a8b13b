use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::*;

const MB: u64 = 1_000_000;

/// A shell in a group of its own that ends with this.
struct Group(process::Child);

impl Group {
    /// Returns once it has printed a line.
    fn start(script: &str) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(self.id(), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// A shell with 50 MB, a copy of it that shares them, and a program that this one waits for.
const HOG: &str =
    "x=$(head -c 50000000 /dev/zero | tr '\\0' x); (sleep 1000; :) & echo ready; wait";

#[test]
fn pages_that_processes_share_count_once() {
    let group = Group::start(HOG);
    // The copy starts its program when it likes.
    let measured = loop {
        let measured = Groups::read().measure(group.id());
        let is_whole = |child: &super::Child| child.command.starts_with("sleep");
        if measured.processes.iter().any(is_whole) {
            break measured;
        }
    };
    assert!(measured.proportional, "{measured:?}");
    assert_eq!(measured.processes.len(), 3, "{measured:?}");
    assert_eq!(measured.processes[0].pid, group.0.id());
    assert!(measured.processes[0].command.starts_with("sh -c x="));

    let pids: Vec<u32> = measured.processes.iter().map(|child| child.pid).collect();
    let resident = total(&sizes(&pids, resident));
    let (once, twice) = (measured.bytes / MB, resident.bytes / MB);
    eprintln!("the same three processes: {once} MB proportional, {twice} MB resident");
    assert!(once >= 50, "{once} MB");
    assert!(
        twice >= 100,
        "{twice} MB: they share nothing, so this shows nothing"
    );
    assert!(
        measured.bytes * 3 < resident.bytes * 2,
        "{once} of {twice} MB"
    );
}

#[test]
fn a_process_that_is_gone_is_no_error() {
    let group = Group::start("(sleep 1000; :) & echo ready; wait");
    let groups = Groups::read();
    let id = group.id();
    drop(group);
    // Of its children nobody waits for the end here.
    let end = Instant::now() + Duration::from_secs(60);
    let mut measured = groups.measure(id);
    while !measured.processes.is_empty() && Instant::now() < end {
        sleep(Duration::from_millis(5));
        measured = groups.measure(id);
    }
    assert_eq!(measured.processes, []);
    assert_eq!(measured.bytes, 0);
}

#[test]
fn one_that_nobody_waited_for_has_no_memory() {
    let mut child = Command::new("true").process_group(0).spawn().unwrap();
    let pid = child.id();
    while !Stat::of(Pid::from_raw(pid.try_into().unwrap()))
        .unwrap()
        .has_ended()
    {}
    let id = Pid::from_raw(i32::try_from(pid).unwrap());
    assert_eq!(Groups::read().measure(id).processes, []);
    child.wait().unwrap();
}

fn watch(warn: Option<u64>) -> Watch {
    Watch::new(&Memory {
        limit: 100,
        warn,
        every: Duration::from_secs(5),
    })
}

#[test]
fn it_is_warned_once_until_it_was_a_tenth_below_again() {
    let mut watch = watch(Some(80));
    let steps = [80, 81, 90, 71, 85, 100, 101, 101, 72, 81, 101, 71, 81];
    assert_eq!(
        steps.map(|bytes| watch.step(bytes)),
        [
            Step::Nothing,
            Step::Warn,
            Step::Nothing,
            Step::Nothing,
            Step::Warn,
            Step::Nothing,
            Step::Over,
            Step::Over,
            Step::Nothing,
            Step::Nothing,
            Step::Over,
            Step::Nothing,
            Step::Warn,
        ]
    );
}

#[test]
fn without_a_warning_there_is_only_the_limit() {
    let mut watch = watch(None);
    let steps = [99, 100, 101, 1];
    assert_eq!(
        steps.map(|bytes| watch.step(bytes)),
        [Step::Nothing, Step::Nothing, Step::Over, Step::Nothing]
    );
}
