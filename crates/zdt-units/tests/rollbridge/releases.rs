//! Deployments of a whole application.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::launcher::{Launcher, get};

const SHOP: &str = r#"
[service.web]
exec = ["{{release.path}}/web"]
listen = "@/web.sock"
release = { root = "@/srv", keep = 2 }
health = { http = "unix:@/web.sock:/", timeout = "5s" }
after = ["broker"]

[service.jobs]
kind = "worker"
ready = "started"
exec = ["{{release.path}}/jobs"]
release = { of = "web" }

[service.clock]
kind = "singleton"
ready = "started"
exec = ["{{release.path}}/jobs"]
release = { of = "web" }

[service.broker]
kind = "service"
ready = "started"
exec = ["/bin/sleep", "1000"]
"#;

fn build(launcher: &Launcher, web: &str) {
    launcher.script("build/web", web);
    launcher.script(
        "build/jobs",
        "echo $ZDT_SERVICE runs $ZDT_RELEASE of $(basename \"$ZDT_RELEASE_PATH\"); exec sleep 1000",
    );
}

fn deploy(launcher: &Launcher, release: &str) -> String {
    launcher.done(&["deploy", "web", "--from", "build", "--release", release])
}

#[test]
fn deployments_replace_each_kind_as_its_policy_says() {
    let launcher = Launcher::start(SHOP);
    build(&launcher, "exec @zdt demo-app");
    // The first client comes before the first release, and waits.
    let early = thread::spawn({
        let socket = launcher.path("web.sock");
        move || get(&socket, "/")
    });
    deploy(&launcher, "v1");
    assert_eq!(early.join().unwrap(), "hello\n");
    launcher.until_said("jobs | jobs runs v1 of v1");
    launcher.until_said("clock | clock runs v1 of v1");

    let names = ["web", "jobs", "clock", "broker"];
    let before = names.map(|name| launcher.pids(name));
    deploy(&launcher, "v2");
    let after = names.map(|name| launcher.pids(name));
    for (name, (before, after)) in names.iter().zip(before.iter().zip(&after)) {
        let is_replaced = before != after;
        assert_eq!(
            is_replaced,
            *name != "broker",
            "{name}: {before:?} {after:?}"
        );
    }
    launcher.until_said("jobs | jobs runs v2 of v2");
    assert_eq!(launcher.service("web")["release"], "v2");

    // Back, and by name.
    launcher.done(&["rollback", "web"]);
    assert_eq!(launcher.service("web")["release"], "v1");
    launcher.done(&["rollback", "web", "v2"]);
    assert_eq!(launcher.service("web")["release"], "v2");

    deploy(&launcher, "v3");
    let mut kept: Vec<_> = fs::read_dir(launcher.path("srv/releases"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    kept.sort();
    assert_eq!(kept, ["v2", "v3"]);
    let listed = launcher.done(&["releases", "web"]);
    assert!(listed.contains("v3") && listed.contains("v2"), "{listed}");
    let events = launcher.done(&["events", "--json"]);
    assert!(events.contains("\"v3\""), "{events}");
}

#[test]
fn a_release_that_is_not_well_is_taken_back_and_the_one_before_serves() {
    let launcher = Launcher::start(SHOP);
    build(&launcher, "exec @zdt demo-app");
    deploy(&launcher, "v1");
    let jobs = launcher.pids("jobs");
    build(&launcher, "exit 3");
    let bad = launcher.ask(&["deploy", "web", "--from", "build", "--release", "v2"]);
    assert_eq!(bad.code, Some(6), "{}", bad.said);
    assert_eq!(get(&launcher.path("web.sock"), "/"), "hello\n");
    assert_eq!(launcher.service("web")["release"], "v1");
    assert_eq!(launcher.pids("jobs"), jobs);
}

#[test]
fn a_process_is_told_its_release_and_what_that_was_made_from() {
    let launcher = Launcher::start(
        r#"
[service.job]
kind = "worker"
ready = "started"
exec = ["{{release.path}}/job", "{{release.name}}", "{{release.revision}}", "{{release.path}}"]
release = { root = "@/srv" }
"#,
    );
    launcher.script(
        "build/job",
        "echo $ZDT_RELEASE of $ZDT_REVISION, $1 of $2 at $3; exec sleep 1000",
    );
    fs::write(launcher.path("build/REVISION"), "0a1b2c\n").unwrap();
    launcher.done(&["deploy", "job", "--from", "build", "--release", "v1"]);
    let path = launcher.path("srv/current").display().to_string();
    launcher.until_said(&format!("job | v1 of 0a1b2c, v1 of 0a1b2c at {path}\n"));

    // Without a name it is the time, and without a revision that name.
    fs::remove_file(launcher.path("build/REVISION")).unwrap();
    launcher.done(&["deploy", "job", "--from", "build"]);
    let name = launcher.service("job")["release"].clone();
    let name = name.as_str().unwrap();
    let form = name.replace(|char: char| char.is_ascii_digit(), "0");
    assert_eq!(form, "0000-00-00T00.00.00");
    launcher.until_said(&format!(
        "job | {name} of {name}, {name} of {name} at {path}\n"
    ));
}

#[test]
fn the_first_question_waits_for_the_delay() {
    let web = "[service.web]\nexec = [\"@zdt\", \"demo-app\"]\nlisten = \"@/web.sock\"\n\
        health = { http = \"unix:@/web.sock:/\", start_delay = \"2s\" }\n";
    let launcher = Launcher::start(web);
    launcher.until_serving("web");
    let began = Instant::now();
    launcher.done(&["restart", "web"]);
    let delayed = began.elapsed();
    println!("a restart with a delay of 2 s took {delayed:?}");
    assert!(delayed >= Duration::from_secs(2));
}
