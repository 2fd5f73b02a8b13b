//! Unit files that are broken, under the same release.

use super::*;

const DROP_IN: &str = "/etc/systemd/system/app.service.d/more.conf";

/// systemd loads it and cannot start it: the files that worked are put back. What systemd does not
/// load, or has not read yet, is refused.
fn they_are_put_back(machine: &Machine) -> Result<(), Box<dyn Error>> {
    for (strategy, handover) in [("queue", "false"), ("standby", "true")] {
        let other = (strategy == "standby")
            .then(|| crate::builder().boot())
            .transpose()?;
        let machine = other.as_ref().unwrap_or(machine);
        let keys = format!("strategy = \"{strategy}\"\nhandover = {handover}");
        let app = App::install(machine, &keys, &["app.service"])?;
        let load = app.load()?;
        let files = app.unit_files()?;
        let broken = [
            "[Service]\nExecStart=\nExecStart=/srv/app/nothing\n",
            "[Service]\nExecStartPre=/bin/false\n",
        ];
        for (count, text) in broken.iter().enumerate() {
            drop_in(machine, text)?;
            let failed = app.zdt(&["restart", "app"])?;
            println!("{strategy}: {}", why(&failed));
            assert_eq!(failed.code, Some(6), "{}", failed.stderr);
            app.serves("v1")?;
            assert_eq!(app.unit_files()?, files);
            assert_eq!(app.failures()?, count + 1);
            assert_eq!(app.states("v1")?, ["current"]);
        }
        // The unit itself, as an older `generate` may have written it.
        let unit = "/etc/systemd/system/app.service";
        let text = machine.run(&["cat", unit])?.ok()?.stdout;
        machine.write_file(unit, text.replace("/bin/app", "/bin/nothing"), 0o644)?;
        machine.systemctl(&["daemon-reload"])?.ok()?;
        let failed = app.zdt(&["restart", "app"])?;
        assert_eq!(failed.code, Some(6), "{}", failed.stderr);
        app.serves("v1")?;
        assert_eq!(app.unit_files()?, files);

        let pid = machine.show("app.service", "MainPID")?;
        drop_in(machine, "[Service]\nExecStart=\n")?;
        let refused = app.zdt(&["restart", "app"])?;
        println!("{strategy}: {}", refused.stderr);
        assert_eq!(refused.code, Some(4), "{}", refused.stderr);
        machine.write_file(DROP_IN, "[Service]\nNice=1\n", 0o644)?;
        let unread = app.zdt(&["restart", "app"])?;
        assert_eq!(unread.code, Some(4), "{}", unread.stderr);
        assert_eq!(machine.show("app.service", "MainPID")?, pid);
        machine.systemctl(&["daemon-reload"])?.ok()?;
        app.zdt(&["restart", "app"])?.ok()?;
        app.serves("v1")?;
        assert_eq!(machine.show("app.service", "Nice")?, "1");
        assert_eq!(app.failures()?, 0);
        lossless(&format!("broken unit files, {strategy}"), &load.stop()?);
    }
    Ok(())
}

fn drop_in(machine: &Machine, text: &str) -> Result<(), Box<dyn Error>> {
    machine.write_file(DROP_IN, text, 0o644)?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    Ok(())
}

pub(super) const TESTS: &[(&str, Test)] = &[("bad::unit_files_are_put_back", they_are_put_back)];
