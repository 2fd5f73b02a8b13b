//! The Ansible role on a real machine, by a real `ansible-playbook`: what changes, what does not,
//! and what clients see of it. The machine is controller and host at once.

mod page;
mod play;
mod sites;

use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Running};

use self::play::{Play, disk};
use crate::{Test, units};

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "ansible::a_clean_host_is_configured_once",
        a_clean_host_is_configured_once,
    ),
    (
        "ansible::each_change_changes_exactly_that",
        each_change_changes_exactly_that,
    ),
    (
        "ansible::an_outage_is_announced_and_measured",
        an_outage_is_announced_and_measured,
    ),
    (
        "ansible::plain_units_are_those_of_zdt_units",
        plain_units_are_those_of_zdt_units,
    ),
    (
        "ansible::five_sites_share_a_program",
        sites::five_sites_share_a_program,
    ),
    (
        "ansible::every_variable_is_on_the_page",
        page::every_variable_is_on_the_page,
    ),
];

type Done = Result<(), Box<dyn Error>>;

const CONFIG: &str = r#"#jinja2: variable_start_string: '<<', variable_end_string: '>>'
[service.app]
exec = ["{{release.path}}/bin/app"]
listen = "<< address | default('127.0.0.1:8080') >>"
release = { root = "/srv/app" }
environment_files = ["-/etc/app.env"]
"#;

/// `--check` tells what would change and changes nothing; then all of it is there; then nothing
/// is left to do.
fn a_clean_host_is_configured_once(machine: &Machine) -> Done {
    let play = Play::new(machine, CONFIG)?;
    play.release("v1")?;
    let before = disk(machine)?;
    let dry = play.run("main.yml", &["--check", "--diff"])?.ok()?;
    assert_eq!(disk(machine)?, before);
    for told in [
        "+++ after: /etc/systemd/system/app.socket",
        "+ListenStream=127.0.0.1:8080",
        "+exec = [\"{{release.path}}/bin/app\"]",
        "create `app.service`: costs nothing",
        "`app` would be deployed: `v1` instead of nothing",
    ] {
        assert!(dry.text.contains(told), "{told}\n{}", dry.text);
    }
    let place = [
        "Install zdt-units",
        "Make the directory of zdt.toml",
        "Put zdt.toml in place",
        "Put the units in place",
    ];
    assert_eq!(
        dry.changed,
        [&place[..], &["Say what would be deployed"]].concat()
    );

    let first = play.run("main.yml", &[])?.ok()?;
    assert_eq!(
        first.changed,
        [&place[..], &["Deploy the release"]].concat()
    );
    assert_eq!(Client::tcp(machine, units::ADDRESS)?.get("/")?.status, 200);

    let before = disk(machine)?;
    play.run("main.yml", &[])?.changes(&[])?;
    play.run("main.yml", &["--check", "--diff"])?.changes(&[])?;
    assert_eq!(disk(machine)?, before);
    Ok(())
}

/// Each change is carried out alone, what is no good ends the play, and no client loses anything.
fn each_change_changes_exactly_that(machine: &Machine) -> Done {
    let play = Play::new(machine, CONFIG)?;
    play.release("v1")?;
    play.run("main.yml", &[])?.ok()?;
    let gate = "[Service]\nExecStartPre=sh -c 'while [ -e /etc/gate ]; do sleep 0.05; done'\n";
    machine.install(&[("app.service.d/gate.conf", gate)])?;
    let load = units::load(machine, &["--rate=200", "--timeout=60s"])?;
    let process = || machine.show("app.service", "MainPID");

    // The program is another one while the old one is at work.
    machine.write_file("/etc/gate", "", 0o644)?;
    let mut restart = machine.command(&["/usr/local/bin/zdt-units", "restart", "app"]);
    let mut restart = Running(restart.stderr(Stdio::null()).spawn()?);
    let starting = |machine: &Machine| {
        let state = machine.show("app.service", "ActiveState");
        state.is_ok_and(|state| state == "activating")
    };
    machine.wait_until(Duration::from_secs(10), "the app starts", starting)?;
    let append = "echo >> /root/play/zdt-units";
    machine.run(&["sh", "-ec", append])?.ok()?;
    play.run("install.yml", &[])?
        .changes(&["Install zdt-units"])?;
    assert!(starting(machine), "the restart was over before the play");
    machine.run(&["rm", "/etc/gate"])?.ok()?;
    assert!(restart.0.wait()?.success());

    let before = process()?;
    let other = CONFIG
        .replace("[service.app]", "[service.app]\nstart_timeout = \"90s\"")
        .replace("-/etc/app.env", "-/etc/other.env");
    play.file("zdt.toml.j2", &other)?;
    let told = play.run("configure.yml", &["--diff"])?.changes(&[
        "Put zdt.toml in place",
        "Put the units in place",
        "Restart services that have not seen the change",
    ])?;
    for line in [
        "+start_timeout = \"90s\"",
        "-TimeoutStartSec=60s",
        "+TimeoutStartSec=90s",
        "TimeoutStartSec: 60s -> 90s: costs nothing",
        "EnvironmentFile: -/etc/app.env -> -/etc/other.env: counts from the next restart of `app.service`",
    ] {
        assert!(told.text.contains(line), "{line}\n{}", told.text);
    }
    assert_ne!(process()?, before);

    play.release("v2")?;
    play.run("deploy.yml", &[])?
        .changes(&["Deploy the release"])?;
    assert_eq!(serving(machine)?, "releases/v2\n");

    // All of it is wanted at once, and zdt.toml is wrong: not even the program is put in place.
    let before = (disk(machine)?, process()?);
    machine.run(&["sh", "-ec", append])?.ok()?;
    play.release("v3")?;
    play.file(
        "zdt.toml.j2",
        &other.replace("start_timeout", "start_timeuot"),
    )?;
    play.run("main.yml", &[])?.failed_with(&[
        "zdt.toml is missing or invalid; nothing was touched",
        "did you mean `start_timeout`",
    ]);
    play.file("zdt.toml.j2", &other)?;
    play.run("main.yml", &["--extra-vars=address=127.0.0.1:8081"])?
        .failed_with(&[
            "refused; nothing was touched",
            "without a gap: leave this socket as it was, and add one of the same name",
            "in the role `--allow-gap` is `zdt_allow_gap: true`",
        ]);
    assert_eq!((disk(machine)?, process()?), before);

    let broken = "mkdir -p /root/play/v4/bin && cp /bin/false /root/play/v4/bin/app";
    machine.run(&["sh", "-ec", broken])?.ok()?;
    play.want("v4")?;
    play.run("deploy.yml", &[])?.failed_with(&[
        "`v4` of `app`: the release did not serve and was taken back; the one before serves",
        "app.service",
    ]);
    assert_eq!(serving(machine)?, "releases/v2\n");
    let litter = machine
        .run(&["find", "/tmp", "/var/tmp", "-name", "zdt-*"])?
        .ok()?;
    assert_eq!(litter.stdout, "");

    let report = load.stop()?;
    println!(
        "a program, a zdt.toml, a release; three that are no good: {}",
        report.total.outcomes
    );
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");

    play.file(
        "vars.json",
        r#"{"zdt_roll_back": [{"service": "app", "release": "v1"}]}"#,
    )?;
    let before = (disk(machine)?, process()?);
    let dry = play
        .run("roll_back.yml", &["--check"])?
        .changes(&["Say what would serve"])?;
    let told = "`app` would go back from `v2` to v1";
    assert!(dry.text.contains(told), "{}", dry.text);
    assert_eq!((disk(machine)?, process()?), before);
    play.run("roll_back.yml", &[])?.changes(&["Roll back"])?;
    assert_eq!(serving(machine)?, "releases/v1\n");
    play.run("roll_back.yml", &[])?.changes(&[])?;
    // The host has it still, so it comes from there.
    machine.run(&["rm", "-r", "/root/play/v2"])?.ok()?;
    play.want("v2")?;
    play.run("deploy.yml", &[])?
        .changes(&["Deploy the release"])?;
    assert_eq!(serving(machine)?, "releases/v2\n");
    one_play_rolls_at_a_time(machine, &play)
}

/// While one play rolls, another one ends before it touches anything. One that was killed leaves its lock.
fn one_play_rolls_at_a_time(machine: &Machine, play: &Play<'_>) -> Done {
    const LOCK: &str = "/run/zdt-rolling-shop.lock";
    let book = play::example("rolling.yml").display().to_string();
    play.file(
        "vars.json",
        r#"{"zdt_units_src": "/root/play/zdt-units", "zdt_toml_src": "/root/play/zdt.toml.j2",
            "zdt_releases": [{"service": "app", "release": "v1", "src": "/root/play/v1"}],
            "zdt_balancer": "none", "zdt_ready_url": "http://127.0.0.1:8080/"}"#,
    )?;
    machine.write_file("/etc/gate", "", 0o644)?;
    let mut first = play.start(&book)?;
    let starting = |machine: &Machine| {
        let state = machine.show("app.service", "ActiveState");
        state.is_ok_and(|state| state == "activating")
    };
    machine.wait_until(Duration::from_secs(80), "the first one's turn", starting)?;
    play.run(&book, &[])?
        .failed_with(&["Another play is rolling: root on ", ", since 2"]);
    assert!(starting(machine), "the first one was over before");
    machine.run(&["rm", "/etc/gate"])?.ok()?;
    assert!(first.0.wait()?.success());
    assert_eq!(serving(machine)?, "releases/v1\n");
    assert!(!machine.run(&["test", "-L", LOCK])?.success());

    machine
        .run(&["ln", "-s", "somebody, since long", LOCK])?
        .ok()?;
    play.run(&book, &[])?.failed_with(&[
        "Another play is rolling: somebody, since long",
        "zdt_break_lock=true",
    ]);
    let broken = play.run(&book, &["--extra-vars=zdt_break_lock=true"])?;
    broken.changes(&[
        "Break the lock of a play that was killed",
        "Take the lock",
        "Remove it",
    ])?;
    assert!(!machine.run(&["test", "-L", LOCK])?.success());
    Ok(())
}

/// A service that binds by itself gives way to one that is activated. That refuses clients once:
/// not unless it is permitted, and not longer than is told.
fn an_outage_is_announced_and_measured(machine: &Machine) -> Done {
    let config = "[service.app]\nexec = [\"/opt/zdt/bin/app\"]\nlisten = \"127.0.0.1:8080\"\n";
    let play = Play::new(machine, config)?;
    machine.install(&[("app.service", units::STOCK_SERVICE)])?;
    machine
        .systemctl(&["enable", "--now", "app.service"])?
        .ok()?;
    let answers = |machine: &Machine| Client::tcp(machine, units::ADDRESS).is_ok();
    machine.wait_until(Duration::from_secs(10), "the old one answers", answers)?;

    let take_over = ["--extra-vars", "zdt_take_over=app.service"];
    let permitted = [&take_over[..], &["--extra-vars", "{zdt_allow_gap: true}"]].concat();
    let before = (disk(machine)?, machine.show("app.service", "MainPID")?);
    let announced = "clients are refused once, from the moment when its process stops listening until systemd listens";
    play.run("main.yml", &take_over)?.failed_with(&[
        "refused; nothing was touched",
        announced,
        "`zdt_allow_gap: true`",
    ]);
    assert_eq!(
        (disk(machine)?, machine.show("app.service", "MainPID")?),
        before
    );

    // The old process listens no more, and answers these first: an outage that no client can miss.
    let slow = units::load(machine, &["--rate=20", "--path=/slow?ms=300"])?;
    let load = units::load(machine, &["--rate=500"])?;
    let played = play.run("main.yml", &permitted)?.ok()?;
    let report = load.stop()?;
    slow.stop()?;
    assert!(played.text.contains(announced), "{}", played.text);
    let told = Gap::read(&played.text)?;
    let outcomes = &report.total.outcomes;
    println!(
        "take-over: told {:.1} ms ({}); the probe beside it: {outcomes}",
        told.ms, told.line
    );
    // Requests leave at a fixed rate; those that are late may leave together.
    let lag = f64::from(u32::try_from(report.total.lag_max_us)?) / 1000.0;
    let seen =
        f64::from(u32::try_from(outcomes.refused)?.saturating_sub(1)) * 1000.0 / report.total.rate;
    assert!(outcomes.refused > 0, "{report}");
    assert!(
        seen <= told.ms + lag,
        "seen {seen} ms, told {} ms, lag {lag} ms",
        told.ms
    );

    play.run("main.yml", &permitted)?.changes(&[])?;
    let load = units::load(machine, &["--rate=500"])?;
    units::restart(machine)?;
    let report = load.stop()?;
    assert_eq!(report.lost(), 0, "{report}");
    Ok(())
}

/// Units for those who want no launcher: the directives that `generate` writes, and restarts that lose nothing.
fn plain_units_are_those_of_zdt_units(machine: &Machine) -> Done {
    let play = Play::new(machine, "")?;
    let site = |listen: &str| {
        format!(
            r#"{{"zdt_plain": [{{"name": "app", "exec": "/opt/zdt/bin/app", "listen": ["{listen}"],
            "environment_files": ["-/etc/app.env"], "domains": ["shop.example"], "livez": "/livez"}}],
            "zdt_traefik_dynamic": "/etc/traefik.yml"}}"#
        )
    };
    play.file("vars.json", &site(units::ADDRESS))?;
    let before = disk(machine)?;
    let files = ["Write the socket unit", "Write the service unit"];
    play.run("plain.yml", &["--check"])?
        .changes(&[&files[..], &["Tell Traefik"]].concat())?;
    assert_eq!(disk(machine)?, before);
    let start = "Start the service, and restart it with a unit that changed";
    play.run("plain.yml", &[])?
        .changes(&[&files[..], &["Open the socket", start, "Tell Traefik"]].concat())?;
    play.run("plain.yml", &[])?.changes(&[])?;

    let generated = units::generate(units::ZDT)?;
    assert_eq!(generated.len(), 2);
    for (name, text) in generated {
        let path = format!("/etc/systemd/system/{name}");
        let plain = machine.run(&["cat", &path])?.ok()?.stdout;
        assert_eq!(directives(&plain), directives(&text), "{name}");
    }
    let traefik = machine.run(&["cat", "/etc/traefik.yml"])?.ok()?.stdout;
    for line in [
        "      rule: \"Host(`shop.example`)\"",
        "          - url: \"http://127.0.0.1:8080\"",
        "          path: /livez",
    ] {
        assert!(
            traefik.lines().any(|told| told == line),
            "{line}\n{traefik}"
        );
    }

    let load = units::load(machine, &["--rate=500", "--think=20ms"])?;
    for _ in 0..5 {
        units::restart(machine)?;
    }
    let report = load.stop()?;
    println!("plain units, 5 restarts: {}", report.total.outcomes);
    assert_eq!(report.lost(), 0, "{report}");

    let before = disk(machine)?;
    play.file("vars.json", &site("127.0.0.1:8081"))?;
    play.run("plain.yml", &[])?.failed_with(&[
        "`app.socket` is open on 127.0.0.1:8080, and is to listen on 127.0.0.1:8081",
    ]);
    assert_eq!(disk(machine)?, before);
    Ok(())
}

/// Sections and directives of a unit, without comments and empty lines.
fn directives(text: &str) -> Vec<&str> {
    let lines = text.lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// How long nobody listened, as the role says it.
#[derive(Debug)]
struct Gap {
    line: String,
    ms: f64,
}

impl Gap {
    fn read(text: &str) -> Result<Self, Box<dyn Error>> {
        let told = text.lines().find_map(|line| line.split_once("measured: "));
        let (_, line) = told.ok_or_else(|| format!("no gap was told:\n{text}"))?;
        let ms = line
            .split_once(" for ")
            .and_then(|(_, rest)| rest.split_once(" ms"));
        let (ms, _) = ms.ok_or_else(|| format!("no time in `{line}`"))?;
        Ok(Self {
            line: line.trim_end_matches(['"', ',']).to_owned(),
            ms: ms.parse()?,
        })
    }
}

fn serving(machine: &Machine) -> Result<String, Box<dyn Error>> {
    Ok(machine.run(&["readlink", "/srv/app/current"])?.ok()?.stdout)
}
