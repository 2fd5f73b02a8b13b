//! Health of every kind, and what is run besides a service, on a real systemd.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Output};

use crate::{Test, units};

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "health::units_of_others_are_asked_in_every_way",
        units_of_others_are_asked_in_every_way,
    ),
    (
        "health::a_command_that_hangs_is_killed_with_its_children",
        a_command_that_hangs_is_killed_with_its_children,
    ),
    (
        "health::tasks_run_beside_the_service_as_its_user",
        tasks_run_beside_the_service_as_its_user,
    ),
    (
        "health::a_task_migrates_sqlite_while_the_service_runs",
        a_task_migrates_sqlite_while_the_service_runs,
    ),
    (
        "health::what_failed_is_told_in_its_own_words",
        what_failed_is_told_in_its_own_words,
    ),
];

const PERFORM: &str = "/opt/zdt/bin/perform";

/// A server in a shell: its status is what `/etc/status` says, and it names the host that it was asked for.
const STATUS: &str = r#"
while IFS= read -r line; do
    line=$(printf %s "$line" | tr -d '\r')
    case "$line" in
        [Hh]ost:*) host=${line#*: } ;;
        "") break ;;
    esac
done
body="{\"status\": \"$(cat /etc/status)\", \"host\": \"$host\"}"
printf 'HTTP/1.1 200 OK\r\ncontent-length: %s\r\nconnection: close\r\n\r\n%s' ${#body} "$body"
"#;

const OTHERS: &[(&str, &str)] = &[
    (
        "status.socket",
        "[Socket]\nListenStream=127.0.0.1:3001\nListenStream=/run/status.sock\nAccept=yes\n",
    ),
    (
        "status@.service",
        "[Service]\nExecStart=/bin/sh /opt/status.sh\nStandardInput=socket\nStandardError=journal\n",
    ),
    ("main.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
];

const ASKED: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"

[service.http]
unit = "main.service"
health = { http = "http://127.0.0.1:3001/health", headers = { Host = "shop.example" }, body = "shop.example", json = { pointer = "/status", equals = "healthy" } }

[service.unix]
unit = "main.service"
health = { http = "unix:/run/status.sock:/health", json = { pointer = "/host", equals = "localhost" } }

[service.tcp]
unit = "main.service"
health = { tcp = "127.0.0.1:3001", interval = "20ms" }

[service.command]
unit = "main.service"
health = { command = ["grep", "-x", "healthy", "/etc/status"], interval = "20ms" }

[service.active]
unit = "main.service"
health = { active = true, interval = "20ms" }
"#;

/// Each way says yes where it should, and no, with every answer, where it should not.
fn units_of_others_are_asked_in_every_way(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.write_file("/etc/zdt/zdt.toml", ASKED, 0o644)?;
    machine.write_file("/opt/status.sh", STATUS, 0o644)?;
    machine.write_file("/etc/status", "healthy\n", 0o644)?;
    machine.install(OTHERS)?;
    machine
        .systemctl(&["start", "status.socket", "main.service"])?
        .ok()?;
    for kind in ["http", "unix", "tcp", "command", "active"] {
        let well = machine.run(&[PERFORM, "check", kind])?.ok()?;
        let asked = well.stdout.lines().next().unwrap_or_default().to_owned();
        println!("{}", asked.trim_start());
        // Only HTTP could have said which process answers.
        let noted = well.stdout.contains("does not say which process answers");
        assert_eq!(noted, ["http", "unix"].contains(&kind), "{}", well.stdout);
    }

    machine.write_file("/etc/status", "degraded\n", 0o644)?;
    let http = why(&machine.run(&[PERFORM, "check", "http"])?);
    println!("{http}");
    let said = "error: `main.service` is not well: status 200, and `/status` is `\"degraded\"` (3 times, 0.0s to ";
    assert!(http.starts_with(said), "{http}");
    let command = why(&machine.run(&[PERFORM, "check", "command"])?);
    println!("{command}");
    let said = "error: `main.service` is not well: `grep` ended with exit status: 1 (3 times, ";
    assert!(command.starts_with(said), "{command}");
    // It has nothing to do with the status, so it is still well.
    machine.run(&[PERFORM, "check", "unix"])?.ok()?;

    machine.systemctl(&["stop", "status.socket"])?.ok()?;
    let tcp = why(&machine.run(&[PERFORM, "check", "tcp"])?);
    println!("{tcp}");
    let said = "error: `main.service` is not well: no connection: Connection refused (os error 111) (3 times, ";
    assert!(tcp.starts_with(said), "{tcp}");
    machine.systemctl(&["stop", "main.service"])?.ok()?;
    let active = why(&machine.run(&[PERFORM, "check", "active"])?);
    println!("{active}");
    let said = "error: `main.service` is not well: systemd says inactive (dead) (3 times, ";
    assert!(active.starts_with(said), "{active}");
    Ok(())
}

/// Nothing of it is left, and its words are shown.
fn a_command_that_hangs_is_killed_with_its_children(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let config = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
health = { command = ["sh", "-c", "echo waiting for nobody; sleep 4321 & wait"], attempt_timeout = "300ms" }
"#;
    machine.write_file("/etc/zdt/zdt.toml", config, 0o644)?;
    units::zdt(machine, config)?;
    // It is not well to begin with.
    let stopped = machine.run(&["/opt/zdt/bin/units", "restart", "app"])?;
    assert_eq!(stopped.code, Some(5), "{}", stopped.stderr);
    let said = "error: `app.service` is not well: `sh` did not end within 300ms (3 times, ";
    assert!(why(&stopped).starts_with(said), "{}", stopped.stderr);
    let config = config.replace("\"300ms\"", "\"300ms\", timeout = \"1s\"");
    machine.write_file("/etc/zdt/zdt.toml", config, 0o644)?;
    let restarted = machine.run(&["/opt/zdt/bin/units", "restart", "app", "--force"])?;
    println!("{}", why(&restarted));
    assert_eq!(restarted.code, Some(7), "{}", restarted.stderr);
    let said = "error: `app.service` was not well within 1s: `sh` did not end within 300ms (";
    assert!(why(&restarted).starts_with(said), "{}", restarted.stderr);
    assert!(
        restarted.stderr.contains("| waiting for nobody\n"),
        "{}",
        restarted.stderr
    );
    machine.wait_until(Duration::from_secs(5), "no child is left", |machine| {
        // A word of a command line, and not of this one.
        let words =
            "grep --null-data --files-with-matches --line-regexp '432[1]' /proc/[0-9]*/cmdline";
        let found = machine.run(&["sh", "-c", words]);
        found.is_ok_and(|found| found.stdout.is_empty())
    })?;
    Ok(())
}

const TASKS: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
release = { root = "/srv/app" }
working_directory = "{{release.path}}"
environment = { ASSETS = "{{release.path}}/assets" }
sandbox = { state = "app" }
check = { command = ["/bin/sh", "-c", "readlink -f \"$ASSETS\" && cat \"$ASSETS/ok\""] }
migrate = { command = ["/bin/sh", "-c", "id -u && cat /var/lib/app/old && echo new >/var/lib/app/new"], backup = ["/bin/sh", "-c", "echo old >/var/lib/app/old"] }
"#;

/// With its state directory, which the running process goes on having, in the release that comes next.
fn tasks_run_beside_the_service_as_its_user(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.write_file("/etc/zdt/zdt.toml", TASKS, 0o644)?;
    for release in ["v1", "v2"] {
        let path = format!("/srv/app/releases/{release}/assets/ok");
        machine.write_file(&path, format!("{release} is fine\n"), 0o644)?;
    }
    machine
        .run(&["ln", "-s", "releases/v1", "/srv/app/current"])?
        .ok()?;
    machine
        .run(&["ln", "-s", "releases/v2", "/srv/app/next"])?
        .ok()?;
    units::zdt(machine, TASKS)?;
    let pid = machine.show("app.service", "MainPID")?;
    let uid = |path: &str| -> Result<String, Box<dyn Error>> {
        let owner = machine.run(&["stat", "--format=%u", path])?.ok()?;
        Ok(owner.stdout.trim().to_owned())
    };
    let user = uid(&format!("/proc/{pid}"))?;

    for task in ["check", "backup", "migrate"] {
        machine.run(&[PERFORM, "task", "app", task])?.ok()?;
        let unit = format!("app-{task}.service");
        assert_eq!(machine.show(&unit, "Result")?, "success");
    }
    machine.sync_journal()?;
    let said = machine.run(&["journalctl", "--output=cat", "SYSLOG_IDENTIFIER=sh"])?;
    println!("{}", said.stdout);
    assert_eq!(
        said.stdout,
        format!("/srv/app/releases/v2/assets\nv2 is fine\n{user}\nold\n")
    );
    assert_eq!(uid("/var/lib/app/new")?, user);
    // The process that serves did not notice, and can still write where the tasks wrote.
    assert_eq!(machine.show("app.service", "MainPID")?, pid);
    let answer = Client::tcp(machine, units::ADDRESS)?.get("/")?.text();
    assert_eq!(answer, format!("pid {pid}\n"));
    let directory = format!("/proc/{pid}/root/var/lib/app/new");
    assert_eq!(uid(&directory)?, user);
    machine.systemctl(&["restart", "app.service"])?.ok()?;
    assert_eq!(uid("/var/lib/app/new")?, user);
    Ok(())
}

const SQLITE: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
sandbox = { state = "app", network = "none" }
migrate = { command = ["/usr/bin/sqlite3", "/var/lib/app/shop.db", "PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY); ALTER TABLE orders ADD COLUMN paid; INSERT INTO orders (paid) VALUES (1);"], down = ["/usr/bin/sqlite3", "/var/lib/app/shop.db", "ALTER TABLE orders DROP COLUMN paid;"] }
"#;

/// Up and down, in a directory that only the user of the service can write to, without a lost request.
fn a_task_migrates_sqlite_while_the_service_runs(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.needs("sqlite3", "sqlite3")?;
    machine.write_file("/etc/zdt/zdt.toml", SQLITE, 0o644)?;
    units::zdt(machine, SQLITE)?;
    let load = units::load(machine, &["--rate=200"])?;
    let schema = || -> Result<String, Box<dyn Error>> {
        let asked = [
            "sqlite3",
            "/var/lib/app/shop.db",
            "SELECT sql FROM sqlite_schema",
        ];
        Ok(machine.run(&asked)?.ok()?.stdout)
    };
    for _ in 0..3 {
        machine.run(&[PERFORM, "task", "app", "migrate"])?.ok()?;
        assert!(schema()?.contains("paid"));
        machine
            .run(&[PERFORM, "task", "app", "migrate-down"])?
            .ok()?;
        assert!(!schema()?.contains("paid"));
    }
    let report = load.stop()?;
    println!(
        "3 migrations there and back: {}",
        crate::restart::summary(&report)
    );
    assert_eq!(report.lost(), 0, "{report}");

    // A second one in a row finds its column there: the failure comes with the words of SQLite.
    machine.run(&[PERFORM, "task", "app", "migrate"])?.ok()?;
    let twice = machine.run(&[PERFORM, "task", "app", "migrate"])?;
    println!("{}", why(&twice));
    assert!(
        twice.stdout.contains("| ") && twice.stdout.contains("duplicate column name: paid"),
        "{}",
        twice.stdout
    );
    Ok(())
}

/// A check that fails, a release that cannot start, and one that is not ready in time.
fn what_failed_is_told_in_its_own_words(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let config = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
environment_files = ["-/etc/app.env"]
health = { http = "http://127.0.0.1:8080/", body = "nobody", interval = "50ms", timeout = "600ms" }
check = { command = ["/bin/sh", "-c", "echo checking; echo line 7: no such upstream >&2; exit 3"] }
"#;
    machine.write_file("/etc/zdt/zdt.toml", config, 0o644)?;
    units::zdt(machine, config)?;
    let check = machine.run(&[PERFORM, "task", "app", "check"])?;
    println!("{}", check.stdout);
    let told: Vec<&str> = check.stdout.lines().map(without_time).collect();
    let own =
        "error: `app-check.service` failed: result `exit-code`, exit status 3, now failed (failed)";
    assert!(told.contains(&own), "{}", check.stdout);
    let words = ["| checking", "| line 7: no such upstream"];
    assert!(
        told.windows(2).any(|lines| lines == words),
        "{}",
        check.stdout
    );

    // A restart asks it first, and touches nothing, whatever else it does not look at.
    let pid = machine.show("app.service", "MainPID")?;
    let stopped = machine.run(&["/opt/zdt/bin/units", "restart", "app", "--force"])?;
    assert_eq!(stopped.code, Some(5), "{}", stopped.stderr);
    assert!(stopped.stderr.contains(words[1]), "{}", stopped.stderr);
    assert_eq!(machine.show("app.service", "MainPID")?, pid);

    let passes = config.replace("exit 3", "exit 0");
    machine.write_file("/etc/zdt/zdt.toml", &passes, 0o644)?;
    units::zdt(machine, &passes)?;
    let late = machine.run(&["/opt/zdt/bin/units", "restart", "app", "--force"])?;
    println!("{}", why(&late));
    let said = "error: `app.service` was not well within 600ms: status 200, without `nobody` in the body (";
    assert!(late.stderr.contains(said), "{}", late.stderr);

    machine.write_file("/etc/app.env", "CRASH=1\n", 0o644)?;
    let broken = machine.run(&["/opt/zdt/bin/units", "restart", "app", "--force"])?;
    let words: Vec<&str> = broken.stderr.lines().map(without_time).collect();
    let words = words.iter().filter(|line| line.starts_with("| "));
    println!("{}", words.copied().collect::<Vec<_>>().join("\n"));
    assert_eq!(broken.code, Some(7));
    assert!(
        broken.stderr.contains("| app.service: Main process exited"),
        "{}",
        broken.stderr
    );

    // Without a journal to ask the failure is told all the same.
    machine.write_file("/etc/app.env", "", 0o644)?;
    units::zdt(machine, config)?;
    machine
        .run(&["mv", "/usr/bin/journalctl", "/usr/bin/journalctl.away"])?
        .ok()?;
    let silent = machine.run(&[PERFORM, "task", "app", "check"]);
    machine
        .run(&["mv", "/usr/bin/journalctl.away", "/usr/bin/journalctl"])?
        .ok()?;
    let silent = silent?.stdout;
    let none = "| (there is no journal to read: `journalctl` could not be run: No such file or directory (os error 2))";
    assert!(silent.contains(own) && silent.contains(none), "{silent}");
    Ok(())
}

/// The line that says why a step failed.
fn why(output: &Output) -> String {
    let lines = output.stdout.lines().chain(output.stderr.lines());
    let mut errors = lines
        .map(without_time)
        .filter(|line| line.starts_with("error: "));
    errors.next().unwrap_or_default().to_owned()
}

/// `error: …` for `    0.123s     error: …`.
fn without_time(line: &str) -> &str {
    let rest = line.trim_start();
    match rest.split_once("s ") {
        Some((time, rest)) if time.parse::<f64>().is_ok() => rest.trim_start(),
        _ => rest,
    }
}
