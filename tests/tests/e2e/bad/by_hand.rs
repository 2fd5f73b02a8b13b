//! Ways back that fail, or that somebody breaks off.

use super::*;

const BROKEN: &str = "/etc/app.broken";

/// The new release does not start, and by then the old one does not either. What is printed for whoever
/// is called does the rest, as it is printed.
fn a_way_back_that_fails_is_told_as_commands(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let app = App::install(machine, "", &["app.service"])?;
    let load = app.load()?;
    app.make("exit", &[("fault", "exit")])?;
    machine.write_file(BROKEN, "", 0o644)?;
    let failed = app.deploy("exit")?;
    println!("{}", failed.stderr);
    assert_eq!(failed.code, Some(7), "{}", failed.stderr);
    assert_eq!(app.failures()?, 1);
    assert_eq!(app.link("current")?, "v1");
    assert_eq!(machine.show("app.socket", "ActiveState")?, "active");
    machine.run(&["rm", BROKEN])?.ok()?;
    by_hand(machine, &failed)?;
    app.serves("v1")?;

    // And with the unit files, of which the broken ones are still there.
    let drop_in = "/etc/systemd/system/app.service.d/more.conf";
    let files = app.unit_files()?;
    let text = "[Service]\nExecStart=\nExecStart=/srv/app/nothing\n";
    machine.write_file(drop_in, text, 0o644)?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    let kept = "mount --bind /etc/systemd/system /etc/systemd/system \
                && mount -o remount,bind,ro /etc/systemd/system";
    machine.run(&["sh", "-ec", kept])?.ok()?;
    let failed = app.zdt(&["restart", "app"])?;
    println!("{}", failed.stderr);
    assert_eq!(failed.code, Some(7), "{}", failed.stderr);
    machine.run(&["umount", "/etc/systemd/system"])?.ok()?;
    by_hand(machine, &failed)?;
    app.serves("v1")?;
    assert_eq!(app.unit_files()?, files);

    app.make("good", &[])?;
    app.deploy("good")?.ok()?;
    app.serves("good")?;
    assert_eq!(app.failures()?, 0);
    lossless(
        "two ways back that failed, and ended by hand",
        &load.stop()?,
    );
    Ok(())
}

/// SIGTERM to the launcher while it watches the new release: that is taken back. A second one ends that
/// too, and `recover` does the rest.
fn an_interrupt_takes_back_and_a_second_one_leaves(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let app = App::install(machine, "drain = { limit = \"20s\" }", &["app.service"])?;
    let patient = std::fs::read_to_string(machine.host_path("/etc/zdt/zdt.toml"))?;
    let patient = patient.replace("bake = \"700ms\"", "bake = \"30s\"");
    machine.write_file("/etc/zdt/zdt.toml", patient, 0o644)?;
    let load = app.load()?;
    app.make("good", &[])?;
    let launcher = Launcher::start(machine)?;
    launcher.await_said("stay up for 30s")?;
    launcher.interrupt()?;
    assert_eq!(launcher.code()?, "6", "{}", launcher.said()?);
    println!("{}", launcher.said()?);
    app.serves("v1")?;
    assert_eq!(app.states("good")?, ["next", "failed"]);
    assert_eq!(app.failures()?, 1);

    let launcher = Launcher::start(machine)?;
    launcher.await_said("stay up for 30s")?;
    // The way back waits for a request in the new process.
    let mut slow = zdt_e2e::client::Client::tcp(machine, units::ADDRESS)?;
    slow.send_get("/slow?ms=5000")?;
    launcher.interrupt()?;
    launcher.await_said("back 2. restart `app.service`")?;
    launcher.interrupt()?;
    assert_eq!(launcher.code()?, "7", "{}", launcher.said()?);
    println!("{}", launcher.said()?);
    assert!(machine.host_path(RECORD).exists());
    let refused = app.deploy("good")?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    let recovered = app.zdt(&["recover", "app"])?.ok()?;
    println!("{}", recovered.stderr);
    assert_eq!(slow.answer()?.status, 200);
    app.serves("v1")?;
    assert_eq!(app.states("good")?, ["next", "failed"]);
    lossless("an interrupt, and two in a row", &load.stop()?);
    Ok(())
}

/// Runs what `failed` says is left to do, a line at a time, as a person would.
fn by_hand(machine: &Machine, failed: &Output) -> Result<(), Box<dyn Error>> {
    let (_, list) = failed
        .stderr
        .split_once("what is left to do, by hand, when the cause is mended:\n")
        .ok_or("it is said")?;
    let commands: Vec<&str> = list
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .collect();
    assert!(!commands.is_empty(), "{}", failed.stderr);
    for command in commands {
        machine.run(&["sh", "-c", command])?.ok()?;
    }
    Ok(())
}

/// `zdt-units deploy` of the release `good`, in a unit of its own.
struct Launcher<'m>(&'m Machine);

impl<'m> Launcher<'m> {
    fn start(machine: &'m Machine) -> Result<Self, Box<dyn Error>> {
        let script = format!(
            "{UNITS} deploy app --from /tmp/good --release good 2>/run/said & echo $! >/run/pid; \
             wait $!; echo $? >/run/code"
        );
        machine
            .run(&["rm", "-f", "/run/said", "/run/pid", "/run/code"])?
            .ok()?;
        let run = ["systemd-run", "--collect", "--", "sh", "-c", &script];
        machine.run(&run)?.ok()?;
        Ok(Self(machine))
    }

    fn said(&self) -> Result<String, Box<dyn Error>> {
        Ok(std::fs::read_to_string(self.0.host_path("/run/said"))?)
    }

    fn await_said(&self, what: &str) -> Result<(), Box<dyn Error>> {
        let limit = format!("it says `{what}`");
        Ok(self.0.wait_until(LIMIT, &limit, |_| {
            self.said().is_ok_and(|said| said.contains(what))
        })?)
    }

    fn interrupt(&self) -> Result<(), Box<dyn Error>> {
        self.0
            .run(&["sh", "-ec", "kill -TERM \"$(cat /run/pid)\""])?
            .ok()?;
        Ok(())
    }

    fn code(&self) -> Result<String, Box<dyn Error>> {
        let path = self.0.host_path("/run/code");
        let mut code = String::new();
        self.0.wait_until(LIMIT, "it has ended", |_| {
            code = std::fs::read_to_string(&path).unwrap_or_default();
            code.ends_with('\n')
        })?;
        Ok(code.trim_end().to_owned())
    }
}

pub(super) const TESTS: &[(&str, Test)] = &[
    (
        "bad::a_way_back_that_fails_is_told_as_commands",
        a_way_back_that_fails_is_told_as_commands,
    ),
    (
        "bad::an_interrupt_takes_back_and_a_second_one_leaves",
        an_interrupt_takes_back_and_a_second_one_leaves,
    ),
];
