//! The commands on a real launcher: services that are restarted, deployed and taken back while clients go on.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "starts launchers and commands, and looks at their processes"
)]

#[path = "operate_launcher/bench.rs"]
mod bench;
#[path = "operate_launcher/development.rs"]
mod development;
#[path = "operate_launcher/programs.rs"]
mod programs;

use std::fs;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use self::bench::{Bench, LIMIT, PROGRAM};

/// The demo's app on a socket of its own, by each strategy.
fn four(bench: &Bench) -> String {
    let mut text = bench.head();
    for (strategy, more) in [
        ("queue", "handover = true\n"),
        ("standby", ""),
        ("rolling", "instances = 2\n"),
        ("reload", ""),
    ] {
        text += &format!(
            "[service.{strategy}]\nexec = [\"{PROGRAM}\", \"demo-app\"]\nlisten = \"{}\"\n\
             strategy = \"{strategy}\"\n{more}",
            bench.socket(strategy)
        );
    }
    text
}

#[test]
fn a_restart_by_each_strategy_loses_nothing_where_the_stock_recipe_does() {
    let mut bench = Bench::new();
    let stock = format!(
        "[service.stock]\nexec = [\"{PROGRAM}\", \"demo-app\", \"--stock\"]\n\
         [[service.stock.socket]]\nname = \"http\"\nlisten = \"{}\"\ndefer_accept = false\n",
        bench.free_port()
    );
    bench.write(&(four(&bench) + &stock));
    bench.start(&[]);
    for service in ["queue", "standby", "rolling", "reload"] {
        let report = bench.under_load(service, || {
            for _ in 0..3 {
                let before = bench.pids(service);
                bench.done(&["restart", service]);
                let now = bench.pids(service);
                assert_eq!(now.len(), before.len(), "{service}");
                assert!(now.iter().all(|pid| !before.contains(pid)), "{service}");
            }
        });
        println!("{service}: 3 restarts: {report}");
        assert_eq!(report.lost(), 0, "{service}: {report}");
    }
    let control = bench.under_load("stock", || {
        for _ in 0..3 {
            bench.done(&["restart", "stock"]);
        }
    });
    println!("stock: 3 restarts: {control}");
    assert!(control.lost() > 0, "the control lost nothing: {control}");
}

/// What a process leaves is for the next one. After a stop there is none, and a client that waits is to hear that.
#[test]
fn a_stop_closes_the_connections_that_were_left() {
    let mut bench = Bench::new();
    bench.write(&four(&bench));
    bench.start(&[]);
    let mut client = UnixStream::connect(bench.socket("queue")).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut asks = || {
        let mut answer = [0; 4096];
        let sent = client.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        sent.and_then(|()| client.read(&mut answer))
    };
    assert!(asks().unwrap() > 0);
    bench.done(&["restart", "queue"]);
    assert!(asks().unwrap() > 0, "the restart closed it");
    bench.done(&["stop", "queue"]);
    let after = asks();
    let closed = match &after {
        Ok(length) => *length == 0,
        Err(error) => matches!(error.kind(), BrokenPipe | ConnectionReset),
    };
    assert!(closed, "{after:?}");
}

#[test]
fn releases_are_deployed_taken_back_and_rolled_back() {
    let mut bench = Bench::new();
    let socket = bench.socket("shop");
    let root = bench.path("releases");
    fs::create_dir(&root).unwrap();
    let text = format!(
        "[service.shop]\nexec = [\"{{{{release.path}}}}/app\", \"demo-app\"]\nlisten = \"{socket}\"\n\
         strategy = \"standby\"\nstart_timeout = \"10s\"\nrelease = {{ root = \"{root}\" }}\nbake = \"0s\"\n"
    );
    bench.write(&(bench.head() + &text));
    for release in ["v1", "v2"] {
        let directory = bench.path(release);
        fs::create_dir(&directory).unwrap();
        bench::script(
            &format!("{directory}/app"),
            &format!("exec {PROGRAM} \"$@\""),
        );
    }
    let bad = bench.path("bad");
    fs::create_dir(&bad).unwrap();
    bench::script(&format!("{bad}/app"), "echo no such table >&2; exit 3");
    // Before the first deployment there is nothing to start.
    fs::create_dir_all(format!("{root}/v0")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, format!("{root}/v0/app")).unwrap();
    std::os::unix::fs::symlink("v0", format!("{root}/current")).unwrap();
    bench.start(&[]);

    let report = bench.under_load("shop", || {
        for release in ["v1", "v2"] {
            let from = bench.path(release);
            bench.done(&["deploy", "shop", "--from", &from, "--release", release]);
        }
        let served = bench.pids("shop");
        let refused = bench.run(&["deploy", "shop", "--from", &bad, "--release", "v3"]);
        assert_eq!(refused.code, 6, "{}", refused.said);
        assert!(refused.said.contains("no such table"), "{}", refused.said);
        assert_eq!(
            bench.pids("shop"),
            served,
            "the one that serves was touched"
        );
        bench.done(&["rollback", "shop"]);
    });
    println!("deployments: {report}");
    assert_eq!(report.lost(), 0, "{report}");
    let releases = bench.done(&["releases", "shop", "--json"]);
    let current = fs::read_link(format!("{root}/current")).unwrap();
    assert!(current.ends_with("v1"), "{}: {releases}", current.display());
    let history = bench.done(&["history", "shop"]);
    assert!(history.contains("roll back v1: completed"), "{history}");
}

#[test]
fn services_are_looked_at_held_stopped_and_started() {
    let mut bench = Bench::new();
    let worker = "[service.jobs]\nkind = \"worker\"\nready = \"started\"\n\
                  exec = [\"/bin/sh\", \"-c\", \"echo began; trap 'exit 0' TERM; while :; do sleep 0.05; done\"]\n";
    bench.write(&(four(&bench) + worker));
    bench.start(&[]);
    let status: serde_json::Value =
        serde_json::from_str(bench.done(&["status", "--json"]).lines().next().unwrap()).unwrap();
    let states: Vec<&str> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["serving"; 5]);
    let found = bench.done(&["doctor"]);
    assert!(found.contains("danger 0"), "{found}");
    let logs = bench.done(&["logs", "jobs", "-n", "5"]);
    assert!(logs.ends_with("began\n"), "{logs}");

    let mut followed = bench.spawn(&["logs", "jobs", "-f", "-n", "1"]);
    followed.until("began");
    bench.done(&["restart", "jobs"]);
    followed.until("began");
    followed.kill();

    let report = bench.under_load("queue", || {
        let file = bench.path("held");
        let write = format!("echo $ZDT_SERVICE > {file}");
        bench.done(&["hold", "queue", "--max", "20s", "--", "sh", "-c", &write]);
        assert_eq!(fs::read_to_string(file).unwrap(), "queue\n");
    });
    println!("hold: {report}");
    assert_eq!(report.lost(), 0, "{report}");

    bench.done(&["stop", "queue"]);
    assert!(bench.pids("queue").is_empty());
    assert!(!fs::exists(bench.socket("queue")).unwrap());
    bench.done(&["start", "queue"]);
    assert_eq!(bench.pids("queue").len(), 1);

    let events = bench.done(&["events", "queue", "--json", "--kind", "planned"]);
    let begun: Vec<serde_json::Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = begun
        .iter()
        .map(|event| (event["operation"].as_str(), event["manager"].as_str()))
        .collect();
    let by_launcher = |operation| (Some(operation), Some("launcher"));
    assert_eq!(told, ["stop", "start"].map(by_launcher), "{events}");

    let pids = bench.pids("rolling");
    bench.done(&["shutdown"]);
    assert_eq!(bench.launcher_ended(), Some(0));
    assert!(pids.iter().all(|pid| !bench::is_alive(*pid)));
    assert!(!fs::exists(bench.socket("rolling")).unwrap());
}

#[test]
fn a_restart_that_is_killed_half_way_is_recovered() {
    let mut bench = Bench::new();
    let go = bench.path("go");
    fs::write(&go, "").unwrap();
    let socket = bench.socket("shop");
    let slow = bench.path("slow");
    bench::script(
        &slow,
        &format!("while [ ! -e {go} ]; do sleep 0.02; done; exec {PROGRAM} demo-app"),
    );
    let text = format!(
        "[service.shop]\nexec = [\"{slow}\"]\nlisten = \"{socket}\"\nstrategy = \"standby\"\n"
    );
    bench.write(&(bench.head() + &text));
    bench.start(&[]);
    let served = bench.pids("shop");
    let report = bench.under_load("shop", || {
        fs::remove_file(&go).unwrap();
        let mut restart = bench.spawn(&["restart", "shop"]);
        restart.until("`shop-standby.service` is activating");
        restart.kill();
        fs::write(&go, "").unwrap();
        let recovered = bench.done(&["recover"]);
        println!("{recovered}");
        assert!(
            recovered.contains("stop `shop-standby.service`"),
            "{recovered}"
        );
        assert_eq!(bench.pids("shop"), served);
        bench.done(&["restart", "shop"]);
    });
    println!("killed and recovered: {report}");
    assert_eq!(report.lost(), 0, "{report}");
    assert_ne!(bench.pids("shop"), served);
}

#[test]
fn an_edited_file_is_applied_by_a_restart_and_taken_back_with_it() {
    let mut bench = Bench::new();
    let socket = bench.socket("shop");
    let text = |exec: &str| {
        format!("[service.shop]\nexec = [{exec}]\nlisten = \"{socket}\"\nstrategy = \"standby\"\n")
    };
    let good = text(&format!("\"{PROGRAM}\", \"demo-app\""));
    bench.write(&(bench.head() + &good));
    bench.start(&[]);
    let more = "[service.shop.environment]\nCOLOUR = \"green\"\n";
    bench.write(&(bench.head() + &good + more));
    bench.done(&["restart", "shop"]);
    let [pid] = bench.pids("shop")[..] else {
        panic!("one process")
    };
    let environment = bench::environment(pid);
    assert!(environment.contains(&("COLOUR".to_owned(), "green".to_owned())));

    let report = bench.under_load("shop", || {
        bench.write(&(bench.head() + &text("\"/bin/false\"")));
        let failed = bench.run(&["restart", "shop"]);
        assert_eq!(failed.code, 6, "{}", failed.said);
        assert_eq!(bench.pids("shop"), [pid]);
    });
    println!("a bad edit: {report}");
    assert_eq!(report.lost(), 0, "{report}");
}

/// As the commands have it that are printed where a plan could not put things back.
#[test]
fn a_file_is_loaded_by_hand_and_put_back_by_hand() {
    let mut bench = Bench::new();
    let text = |colour: &str| {
        format!(
            "[service.shop]\nexec = [\"{PROGRAM}\", \"demo-app\"]\nlisten = \"{}\"\n\
             environment = {{ COLOUR = \"{colour}\" }}\n",
            bench.socket("shop")
        )
    };
    let [green, blue] = ["green", "blue"].map(|colour| bench.head() + &text(colour));
    bench.write(&green);
    bench.start(&[]);
    bench.done(&["restart", "shop"]);
    let pid = || bench.pids("shop")[0];
    let restarted = || {
        let before = pid();
        bench.done(&["unit", "restart", "shop.service"]);
        assert_ne!(pid(), before);
        let mut environment = bench::environment(pid()).into_iter();
        environment.find(|(name, _)| name == "COLOUR").unwrap().1
    };
    let loaded = || {
        let before = pid();
        bench.done(&["unit", "daemon-reload"]);
        assert_eq!(pid(), before);
    };

    bench.write(&blue);
    assert_eq!(restarted(), "green");
    loaded();
    assert_eq!(restarted(), "blue");

    let kept = bench.path("state/shop/units");
    let copied = Command::new("cp").args(["-rT", &kept, "/"]).status();
    assert!(copied.unwrap().success());
    loaded();
    assert_eq!(restarted(), "green");
}

/// Of `docs/environment.md`: each variable that a process of `zdt-units run` has, and those that it has not.
#[test]
fn a_process_finds_what_the_reference_says() {
    let mut bench = Bench::new();
    let root = bench.path("releases");
    fs::create_dir_all(format!("{root}/v1")).unwrap();
    std::os::unix::fs::symlink("v1", format!("{root}/current")).unwrap();
    // Of this release, by what is known of it when a process is started.
    fs::write(bench.path("secret-v1"), "s3cret").unwrap();
    fs::write(bench.path("v1.env"), "COLOUR=green\n").unwrap();
    let [secret, file] = ["secret-{{release.name}}", "{{release.revision}}.env"];
    let [secret, file] = [secret, file].map(|name| bench.path(name));
    let sleeps = "exec = [\"/bin/sleep\", \"1000\"]\nready = \"started\"\n";
    let app = format!("exec = [\"{PROGRAM}\", \"demo-app\"]\n");
    let text = format!(
        "[service.plain]\nkind = \"worker\"\n{sleeps}\
         [service.web]\n{app}listen = \"{}\"\nhandover = true\nwatchdog = \"60s\"\n\
         [service.pair]\n{app}listen = \"{}\"\nstrategy = \"rolling\"\ninstances = 2\nhandover = true\n\
         [service.again]\n{app}listen = \"{}\"\nstrategy = \"reload\"\n\
         [service.released]\nkind = \"worker\"\n{sleeps}release = {{ root = \"{root}\" }}\n\
         working_directory = \"{{{{release.path}}}}\"\ncredentials = {{ token = \"{secret}\" }}\n\
         environment_files = [\"{file}\"]\n",
        bench.socket("web"),
        bench.socket("pair"),
        bench.socket("again"),
    );
    bench.write(&(bench.head() + &text));
    bench.start(&[]);
    let always = "INVOCATION_ID LISTEN_FDNAMES LISTEN_FDS LISTEN_PID NOTIFY_SOCKET ZDT_DRAIN_GRACE \
                  ZDT_DRAIN_LIMIT ZDT_DRAIN_LINGER ZDT_GENERATION ZDT_INSTANCE ZDT_SERVICE";
    for (service, more) in [
        ("plain", ""),
        ("web", "FDSTORE WATCHDOG_PID WATCHDOG_USEC ZDT_HANDOVER"),
        (
            "pair",
            "FDSTORE ZDT_HANDOVER ZDT_HANDOVER_DIR ZDT_INSTANCES",
        ),
        ("again", "ZDT_RELOAD ZDT_RELOAD_LIMIT"),
        (
            "released",
            "CREDENTIALS_DIRECTORY ZDT_RELEASE ZDT_RELEASE_PATH ZDT_REVISION",
        ),
    ] {
        let pids = bench.pids(service);
        let variables = bench::environment(pids[0]);
        let mut names: Vec<&str> = variables
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| bench::documented().contains(&(*name).to_owned()))
            .collect();
        names.sort_unstable();
        let mut expected: Vec<&str> = always.split(' ').filter(|name| !name.is_empty()).collect();
        expected.extend(more.split_whitespace());
        expected.sort_unstable();
        assert_eq!(names, expected, "{service}");
    }
    let environment = bench::environment(bench.pids("released")[0]);
    let value = |wanted: &str| {
        let mut variables = environment.iter();
        let (_, value) = variables.find(|(name, _)| name == wanted).unwrap();
        value.as_str()
    };
    assert_eq!(value("COLOUR"), "green");
    let token = format!("{}/token", value("CREDENTIALS_DIRECTORY"));
    assert_eq!(fs::read_to_string(token).unwrap(), "s3cret");
}
