//! What a process is given, when it is started again, and how it stops.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Group, User, getegid, geteuid};

use super::launcher::{Launcher, get, until};

const WORKERS: &str = r#"
[service.jobs]
kind = "worker"
instances = 3
ready = "started"
health = { command = ["test", "-e", "@/well"], timeout = "5s" }
exec = ["/bin/sh", "-c", """
trap 'rm -f @/well; exit 0' TERM
test -e @/broken || : > @/well
echo $ZDT_SERVICE {{instance}} of {{instances}} is $ZDT_INSTANCE of $ZDT_INSTANCES
while :; do sleep 0.02; done
"""]
"#;

#[test]
fn replicas_know_their_number_and_are_restarted_together_or_alone() {
    let launcher = Launcher::start(WORKERS);
    launcher.until_serving("jobs");
    let first = launcher.pids("jobs");
    assert_eq!(first.len(), 3);
    for number in 1..=3 {
        launcher.until_said(&format!(
            "jobs@{number} | jobs {number} of 3 is {number} of 3"
        ));
    }
    launcher.done(&["unit", "restart", "jobs@2.service"]);
    let second = launcher.pids("jobs");
    assert_eq!((first[0], first[2]), (second[0], second[2]));
    assert_ne!(first[1], second[1]);
    launcher.done(&["restart", "jobs"]);
    let third = launcher.pids("jobs");
    assert!(third.iter().all(|pid| !second.contains(pid)), "{third:?}");
    let logs = launcher.done(&["logs", "jobs@2.service"]);
    assert_eq!(logs.lines().count(), 3, "{logs}");

    // The first that is not well is the last that is replaced.
    fs::write(launcher.path("broken"), "").unwrap();
    let broken = launcher.ask(&["restart", "jobs"]);
    assert_eq!(broken.code, Some(6), "{}", broken.said);
    let why = "`jobs@1.service` was not well within 5s: `test` ended with exit status: 1";
    assert!(broken.said.contains(why), "{}", broken.said);
    let fourth = launcher.pids("jobs");
    assert!(fourth.ends_with(&third[1..]), "{third:?}, then {fourth:?}");
}

#[test]
fn a_process_is_given_what_the_file_names() {
    let launcher = Launcher::start(
        r#"
[service.job]
kind = "worker"
ready = "started"
working_directory = "/proc"
exec = ["/bin/sh", "-c", "echo $ZDT_SERVICE $GIVEN $(pwd) $1; exec sleep 1000", "sh", "{{service.name}}"]
environment = { GIVEN = "given to {{service.name}}" }
"#,
    );
    launcher.until_said("job | job given to job /proc job");
}

#[test]
fn a_process_that_fails_too_often_is_left_and_its_port_stays_open() {
    let launcher = Launcher::start(
        r#"
[service.web]
exec = ["/bin/sh", "-c", "date +%s%N >> @/starts; test -e @/mended || exit 3; exec @zdt demo-app"]
listen = "@/web.sock"
restart = { limit = 3, within = "10m", pause = "250ms", factor = 3, longest = "600ms" }
"#,
    );
    launcher.until_said("it was started again 3 times");
    let starts: Vec<u64> = launcher
        .read("starts")
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let pauses: Vec<u64> = starts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 1_000_000)
        .collect();
    println!("pauses of {pauses:?} ms");
    assert_eq!(pauses.len(), 3);
    let least = [250, 600, 600];
    assert!(pauses.iter().zip(least).all(|(took, least)| *took >= least));
    let said = launcher.said();
    let announced = ["250 ms", "600 ms"].map(|pause| {
        let text = format!("next start in {pause};");
        said.matches(&text).count()
    });
    assert_eq!(announced, [1, 2], "{said}");
    let web = launcher.service("web");
    assert_eq!(web["state"], "failed");
    assert_eq!(web["units"][0]["crash_restarts"], 3, "{web}");

    // Who connects waits until somebody asks for it again.
    let waiting = thread::spawn({
        let socket = launcher.path("web.sock");
        UnixStream::connect(&socket).unwrap();
        move || get(&socket, "/")
    });
    fs::write(launcher.path("mended"), "").unwrap();
    launcher.done(&["start", "web"]);
    assert_eq!(waiting.join().unwrap(), "hello\n");
}

#[test]
fn a_limit_of_zero_starts_nothing_again() {
    let launcher = Launcher::start(
        r#"
[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "exit 3"]
restart = { limit = 0 }
"#,
    );
    launcher.until_said("it is not started again");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(launcher.said().matches("started process").count(), 1);
    assert_eq!(launcher.service("job")["state"], "failed");
}

#[test]
fn a_stop_runs_its_commands_in_order_and_a_broken_one_stops_nothing() {
    let mut launcher = Launcher::start(
        r#"
[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "trap 'echo signal >> @/told' QUIT; echo up $$; while [ ! -e @/end ]; do sleep 0.02; done; echo ended >> @/told"]

[service.job.stop]
quiet = ["/bin/sh", "-c", "echo quiet $ZDT_PID $ZDT_SERVICE >> @/told; exit 1"]
drain = ["/bin/sh", "-c", "echo drain >> @/told"]
drain_limit = "60s"
signal = "SIGQUIT"

[service.hard]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "while [ ! -e @/hard ]; do sleep 0.02; done; echo hard >> @/told"]

[service.hard.stop]
drain = ["/bin/sleep", "1000"]
drain_limit = "300ms"
command = ["/bin/sh", "-c", "echo command >> @/told; : > @/hard"]
"#,
    );
    launcher.until_said("job | up");
    let pid = launcher.pids("job")[0];
    thread::spawn({
        let (told, end) = (launcher.path("told"), launcher.path("end"));
        move || {
            until("the signal", || {
                fs::read_to_string(&told).is_ok_and(|told| told.contains("signal"))
            });
            fs::write(end, "").unwrap();
        }
    });
    launcher.done(&["stop", "job"]);
    assert_eq!(
        launcher.read("told"),
        format!("quiet {pid} job\ndrain\nsignal\nended\n")
    );
    let said = launcher.said();
    assert!(said.contains("`stop.quiet` failed with 1"), "{said}");
    launcher.send(Signal::SIGTERM);
    assert_eq!(launcher.end(), Some(0));
    let told = launcher.read("told");
    assert!(told.ends_with("command\nhard\n"), "{told}");
    let said = launcher.said();
    assert!(
        said.contains("`stop.drain` did not end within 300ms, and was killed"),
        "{said}"
    );
}

#[test]
fn a_worker_that_drains_early_begins_with_the_web_process_and_others_follow() {
    let launcher = Launcher::new(
        r#"
[service.web]
exec = ["{{release.path}}/web"]
listen = "@/web.sock"
release = { root = "@/srv" }

[service.web.stop]
drain = ["/bin/sh", "-c", "echo web drains; until test -e @/go; do sleep 0.02; done"]
drain_limit = "60s"

[service.early]
kind = "worker"
ready = "started"
exec = ["{{release.path}}/worker", "early"]
release = { of = "web", drain_early = true }

[service.late]
kind = "worker"
ready = "started"
exec = ["{{release.path}}/worker", "late"]
release = { of = "web" }
"#,
    );
    launcher.script("build/web", "exec @zdt demo-app");
    launcher.script(
        "build/worker",
        "trap 'echo $1 told; exit 0' TERM; echo $1 up; while :; do sleep 0.02; done",
    );
    let mut launcher = launcher;
    launcher.run();
    launcher.done(&["deploy", "web", "--from", "build", "--release", "v1"]);
    launcher.until_said("early | early up");
    launcher.until_said("late | late up");
    thread::scope(|scope| {
        let restart = scope.spawn(|| launcher.done(&["restart", "web"]));
        launcher.until_said("web drains");
        launcher.until_said("early | early told");
        assert!(!launcher.said().contains("late told"));
        fs::write(launcher.path("go"), "").unwrap();
        restart.join().unwrap();
    });
    launcher.until_said("late | late told");
    let said = launcher.said();
    let at = |text: &str| {
        said.find(text)
            .unwrap_or_else(|| panic!("no `{text}` in {said}"))
    };
    let web_ended = at("ended: drained");
    assert!(web_ended < at("late | late told"), "{said}");
}

#[test]
fn a_worker_with_a_standby_is_never_without_a_process() {
    let launcher = Launcher::start(
        r#"
[service.job]
kind = "worker"
ready = "started"
strategy = "standby"
health = { command = ["/bin/true"] }
exec = ["/bin/sh", "-c", "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.02; done"]
"#,
    );
    launcher.until_said("job | up");
    launcher.done(&["restart", "job"]);
    let said = launcher.said();
    let told = said.lines().filter_map(|line| {
        let (unit, what) = line.split_once(": ")?;
        let told = ["is ready", "restarting", "stopping"];
        let word = told.into_iter().find(|word| what.contains(word))?;
        Some((unit, word))
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("job", "is ready"),
            ("job-standby", "is ready"),
            ("job", "restarting"),
            ("job", "is ready"),
            ("job-standby", "stopping"),
        ],
        "{said}"
    );
}

#[test]
fn the_control_socket_belongs_to_those_it_is_for() {
    let mut text = r#"
[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sleep", "1000"]

[launcher]
mode = "0660"
"#
    .to_owned();
    let mut wanted = (geteuid(), getegid());
    if wanted.0.is_root() {
        text.push_str("owner = \"nobody\"\ngroup = \"daemon\"\n");
        let owner = User::from_name("nobody").unwrap().unwrap();
        let group = Group::from_name("daemon").unwrap().unwrap();
        wanted = (owner.uid, group.gid);
    } else {
        println!("without `owner` and `group`: only root gives files away");
    }
    let launcher = Launcher::start(&text);
    let control = fs::metadata(launcher.path("control.sock")).unwrap();
    assert_eq!(control.permissions().mode() & 0o777, 0o660);
    let found = (control.uid(), control.gid());
    assert_eq!(found, (wanted.0.as_raw(), wanted.1.as_raw()));
}

#[test]
fn so_many_lines_are_kept_as_the_file_says() {
    let launcher = Launcher::start(
        r#"
[service.job]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "for n in 1 2 3 4 5; do echo line $n; done; exec sleep 1000"]

[launcher]
lines = 2
"#,
    );
    launcher.until_said("job | line 5");
    let logs = launcher.done(&["logs", "job"]);
    assert_eq!(logs.lines().count(), 2, "{logs}");
    assert!(logs.contains("line 4") && logs.contains("line 5"), "{logs}");
}

#[test]
fn a_service_is_stopped_started_restarted_and_a_launcher_shut_down() {
    let mut launcher = Launcher::start(
        r#"
[service.web]
exec = ["@zdt", "demo-app"]
listen = "@/web.sock"

[service.a]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "trap 'echo a >> @/ended; exit 0' TERM; echo up; while :; do sleep 0.02; done"]

[service.b]
kind = "worker"
ready = "started"
exec = ["/bin/sh", "-c", "trap 'sleep 0.3; echo b >> @/ended; exit 0' TERM; echo up; while :; do sleep 0.02; done"]
after = ["a"]
"#,
    );
    launcher.until_serving("web");
    launcher.until_said("a | up");
    launcher.until_said("b | up");
    let first = launcher.pids("web");
    launcher.done(&["restart", "web"]);
    let second = launcher.pids("web");
    assert_ne!(first, second);
    launcher.done(&["stop", "web"]);
    assert!(UnixStream::connect(launcher.path("web.sock")).is_err());
    assert_eq!(launcher.service("web")["state"], "stopped");
    launcher.done(&["start", "web"]);
    assert_eq!(get(&launcher.path("web.sock"), "/"), "hello\n");
    let events = launcher.done(&["events", "--json"]);
    for operation in ["restart", "stop", "start"] {
        assert!(events.contains(operation), "{operation}: {events}");
    }
    let doctor = launcher.ask(&["doctor"]);
    assert_eq!(doctor.code, Some(0), "{}", doctor.said);
    launcher.done(&["shutdown"]);
    assert_eq!(launcher.end(), Some(0));
    assert!(!launcher.path("control.sock").exists());
    assert_eq!(launcher.ask(&["shutdown"]).code, Some(4));
    // The one that is needed ends after the one that needs it.
    assert_eq!(launcher.read("ended"), "b\na\n");

    launcher.run();
    assert!(launcher.done(&["events", "--json"]).starts_with(&events));
    let _follower = launcher.spawn(&["events", "--follow"], "followed");
    until("what there is already", || {
        launcher.read("followed").contains("restart of `web`: done")
    });
    launcher.done(&["restart", "a"]);
    until("what comes later", || {
        launcher.read("followed").contains("restart of `a`: done")
    });
}

#[test]
fn a_launcher_in_the_background_is_started_once() {
    let launcher = Launcher::new(
        r#"
[service.web]
exec = ["{{release.path}}/web"]
listen = "@/web.sock"
release = { root = "@/srv" }
[service.job]
kind = "worker"
exec = ["/bin/sleep", "1000"]
ready = "started"
"#,
    );
    launcher.script("build/web", "exec @zdt demo-app");
    let deploy = |launcher: &Launcher, release| {
        launcher.done(&["deploy", "web", "--from", "build", "--release", release]);
    };
    let said = launcher.done(&["run", "--detach"]);
    assert!(said.contains("the launcher runs (process"), "{said}");
    let missing = "`web` has no release yet: `zdt-units deploy web --from PATH` starts it";
    assert!(said.contains(missing), "{said}");
    assert!(said.contains("all other services are ready"), "{said}");
    deploy(&launcher, "v1");
    let first = launcher.pids("web");
    let said = launcher.done(&["run", "--detach"]);
    assert!(said.contains("the launcher runs already"), "{said}");
    assert!(said.contains("all services are ready"), "{said}");
    assert_eq!(launcher.pids("web"), first);
    assert!(launcher.read("state/launcher.log").contains("is ready"));
    deploy(&launcher, "v2");
    assert_eq!(launcher.service("web")["release"], "v2");
    assert_eq!(get(&launcher.path("web.sock"), "/"), "hello\n");
    launcher.done(&["shutdown"]);
    until("its end", || !launcher.path("control.sock").exists());
}
