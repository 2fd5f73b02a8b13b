//! Installations that meet others: a service that binds by itself, files of strangers, images, and users.

use std::error::Error;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Output, Running};

use super::{BASE, CONFIG, DIRECTORY, Done, UNITS, covers, listening, listing, lossless, run};
use crate::units;

const STOCK: &str = "\
# The unit that everybody starts with.
[Service]
ExecStart=/opt/zdt/bin/stock

[Install]
WantedBy=multi-user.target
";

/// A service that binds by itself is replaced with one outage, and put back.
pub(crate) fn a_service_that_binds_by_itself_is_taken_over(machine: &Machine) -> Done {
    machine.install(&[("app.service", STOCK)])?;
    machine
        .systemctl(&["enable", "--now", "app.service"])?
        .ok()?;
    units::await_main(machine)?;
    let old = machine.show("app.service", "MainPID")?;
    machine.write_file(CONFIG, BASE, 0o644)?;

    let refused = run(machine, &["install"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    let why = "`/etc/systemd/system/app.service` was not written by zdt-units; `app.service` runs \
               and listens on `127.0.0.1:8080` by itself";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    assert_eq!(machine.show("app.service", "MainPID")?, old);

    let load = units::load(machine, &["--rate=1000"])?;
    let taken = run(machine, &["install", "--take-over", "--json"])?.ok()?;
    let report = load.stop()?;
    covers("take-over", &taken.stdout, &report)?;
    assert_eq!(machine.show("app.socket", "ActiveState")?, "active");
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));

    // From here on a restart loses nothing.
    let load = units::load(machine, &["--rate=500"])?;
    run(machine, &["restart", "app"])?.ok()?;
    lossless("a restart after the take-over", load)?;

    let load = units::load(machine, &["--rate=1000"])?;
    let back = run(machine, &["uninstall", "app", "--json"])?.ok()?;
    units::await_main(machine)?;
    let report = load.stop()?;
    covers("the way back", &back.stdout, &report)?;
    let text = machine
        .run(&["cat", &format!("{DIRECTORY}/app.service")])?
        .ok()?;
    assert_eq!(text.stdout, STOCK);
    assert_eq!(machine.show("app.service", "UnitFileState")?, "enabled");
    assert_eq!(
        listing(machine)?,
        "./app.service\n./multi-user.target.wants/app.service\n"
    );
    Ok(())
}

/// The old service has another name, and the new one cannot start: the old one
/// runs again, as it was.
pub(crate) fn a_failed_take_over_puts_the_old_service_back(machine: &Machine) -> Done {
    machine.install(&[("old.service", STOCK)])?;
    machine
        .systemctl(&["enable", "--now", "old.service"])?
        .ok()?;
    let answers = |machine: &Machine| {
        let answer = Client::tcp(machine, units::ADDRESS).and_then(|mut client| client.get("/"));
        answer.is_ok_and(|answer| answer.status == 200)
    };
    machine.wait_until(Duration::from_secs(10), "the old one answers", answers)?;
    let config = BASE.replace(
        "environment_files",
        "start_timeout = \"2s\"\nenvironment_files",
    );
    machine.write_file(CONFIG, &config, 0o644)?;

    let refused = run(machine, &["install"])?;
    let pid = machine.show("old.service", "MainPID")?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    let why = format!(
        "`app.socket` cannot listen on `127.0.0.1:8080`: process {pid} (`stock`) of `old.service` does"
    );
    assert!(refused.stderr.contains(&why), "{}", refused.stderr);
    assert_eq!(listing(machine)?, "");

    machine.write_file("/etc/app.env", "WARMUP_MS=600000\n", 0o644)?;
    let failed = run(machine, &["install", "--take-over", "old"])?;
    assert_eq!(failed.code, Some(6), "{}", failed.stderr);
    machine.wait_until(Duration::from_secs(10), "the old one answers", answers)?;
    assert_eq!(machine.show("old.service", "UnitFileState")?, "enabled");
    assert_eq!(machine.show("old.service", "ActiveState")?, "active");
    assert_eq!(listing(machine)?, "");

    machine.write_file("/etc/app.env", "", 0o644)?;
    run(machine, &["install", "--take-over", "old"])?.ok()?;
    assert_eq!(machine.show("old.service", "UnitFileState")?, "disabled");
    let new = machine.show("app.service", "MainPID")?;
    let answer = Client::tcp(machine, units::ADDRESS)?.get("/")?;
    assert_eq!(answer.text(), format!("pid {new}\n"));
    run(machine, &["uninstall", "app"])?.ok()?;
    machine.wait_until(Duration::from_secs(10), "the old one answers", answers)?;
    assert_eq!(machine.show("old.service", "UnitFileState")?, "enabled");
    assert_eq!(listing(machine)?, "");
    Ok(())
}

/// Someone who is not a unit has the address; and whatever else has a say in a
/// unit is told.
pub(crate) fn strangers_and_drift_are_told(machine: &Machine) -> Done {
    machine.write_file(CONFIG, BASE, 0o644)?;
    let newer = run(machine, &["install", "--target-systemd=999"])?;
    assert_eq!(newer.code, Some(4), "{}", newer.stderr);
    assert!(
        newer.stderr.contains("these units are for 999"),
        "{}",
        newer.stderr
    );
    assert_eq!(listing(machine)?, "");

    let mut stranger = machine.command(&["/opt/zdt/bin/stock"]);
    let _nsenter = Running(stranger.spawn()?);
    machine.wait_until(Duration::from_secs(10), "the stranger listens", |machine| {
        Client::tcp(machine, units::ADDRESS).is_ok()
    })?;
    let find = "for comm in /proc/[0-9]*/comm; do \
                grep -qx stock $comm && echo $comm | cut -d/ -f3; done; true";
    let pid = machine.run(&["sh", "-c", find])?.ok()?.stdout;
    machine.write_file(CONFIG, BASE, 0o644)?;
    let refused = run(machine, &["install"])?;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    let why = format!(
        "`app.socket` cannot listen on `127.0.0.1:8080`: process {} (`stock`) does",
        pid.trim_end()
    );
    assert!(refused.stderr.contains(&why), "{}", refused.stderr);
    assert_eq!(listing(machine)?, "");
    let kill = format!("kill {pid}");
    machine.run(&["sh", "-c", &kill])?.ok()?;
    machine.wait_until(Duration::from_secs(10), "the stranger is gone", |machine| {
        Client::tcp(machine, units::ADDRESS).is_err()
    })?;
    run(machine, &["install"])?.ok()?;

    let note = |text: &str| -> Result<bool, Box<dyn Error>> {
        let check = run(machine, &["install", "--check"])?;
        assert_eq!(check.code, Some(8), "{}", check.stdout);
        Ok(check.stdout.contains(text))
    };
    // An edit that keeps its time, so that systemd itself does not see it.
    let edit = "cd /etc/systemd/system; touch -r app.service /tmp/t; \
                sed -i s/^RestartSec=.*/RestartSec=7s/ app.service; touch -r /tmp/t app.service; \
                systemctl daemon-reload; \
                sed -i s/^RestartSec=.*/RestartSec=500ms/ app.service; touch -r /tmp/t app.service";
    machine.run(&["sh", "-c", edit])?.ok()?;
    assert!(note(
        "`app.service` has RestartSec=500ms, and systemd goes by 7s"
    )?);
    machine.systemctl(&["daemon-reload"])?.ok()?;
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));

    machine.systemctl(&["disable", "app.service"])?;
    assert!(note("`app.service` is not enabled")?);
    run(machine, &["install"])?.ok()?;
    assert_eq!(machine.show("app.service", "UnitFileState")?, "enabled");

    machine.write_file("/usr/lib/systemd/system/app.service", STOCK, 0o644)?;
    let drop_in = format!("{DIRECTORY}/app.service.d/more.conf");
    machine.write_file(&drop_in, "[Service]\nRestartSec=2s\n", 0o644)?;
    assert!(note(
        "systemd has not read the files of `app.service` as they are"
    )?);
    let installed = run(machine, &["install"])?.ok()?.stderr;
    for text in [
        "`/usr/lib/systemd/system/app.service` is not read",
        "`/etc/systemd/system/app.service.d/more.conf` has a say in `RestartSec` of `app.service`",
    ] {
        assert!(installed.contains(text), "{installed}");
    }
    // A drop-in is the place for settings of one machine, so it is no drift.
    assert_eq!(run(machine, &["install", "--check"])?.code, Some(0));

    machine
        .systemctl(&["mask", "--runtime", "app.service"])?
        .ok()?;
    machine.systemctl(&["stop", "app.socket", "app.service"])?;
    machine
        .run(&["rm", &format!("{DIRECTORY}/app.service")])?
        .ok()?;
    machine.systemctl(&["daemon-reload"])?.ok()?;
    let masked = run(machine, &["install"])?;
    assert_eq!(masked.code, Some(4), "{}", masked.stderr);
    assert!(
        masked.stderr.contains("`app.service` is masked"),
        "{}",
        masked.stderr
    );
    Ok(())
}

/// Units in an image, which systemd of the image would start; and units of a
/// user, by the user's own manager.
pub(crate) fn images_and_users_have_services_too(machine: &Machine) -> Done {
    machine.write_file(CONFIG, BASE, 0o644)?;
    for _ in 0..2 {
        run(machine, &["install", "--root", "/tmp/image"])?.ok()?;
    }
    assert_eq!(
        run(machine, &["install", "--root", "/tmp/image", "--check"])?.code,
        Some(0)
    );
    for unit in ["app.socket", "app.service"] {
        let enabled = machine.systemctl(&["--root=/tmp/image", "is-enabled", unit])?;
        assert_eq!(enabled.stdout, "enabled\n", "{unit}");
    }
    assert_eq!(machine.show("app.service", "LoadState")?, "not-found");

    // A manager of a user, without PAM and logind, which a minimal root lacks.
    let user = "[Service]\nUser=nobody\nRuntimeDirectory=user-nobody\nRuntimeDirectoryMode=0700\n\
                Environment=XDG_RUNTIME_DIR=/run/user-nobody HOME=/run/user-nobody\nType=notify\n\
                Delegate=yes\nExecStart=/lib/systemd/systemd --user\n";
    machine.install(&[("manager.service", user)])?;
    machine.systemctl(&["start", "manager.service"])?.ok()?;
    machine.write_file(
        "/etc/zdt/user.toml",
        BASE.replace("/etc/app.env", "/tmp/none"),
        0o644,
    )?;
    let as_user = |arguments: &[&str]| -> Result<Output, Box<dyn Error>> {
        let own = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "env",
            "XDG_RUNTIME_DIR=/run/user-nobody",
            "HOME=/run/user-nobody",
        ];
        Ok(machine.run(&[&own, arguments].concat())?)
    };
    let install = |more: &[&str]| {
        let own = [UNITS, "install", "--user", "--config=/etc/zdt/user.toml"];
        as_user(&[&own, more].concat())
    };
    let first = install(&[])?.ok()?;
    assert!(first.stderr.ends_with("done\n"), "{}", first.stderr);
    assert_eq!(Client::tcp(machine, units::ADDRESS)?.get("/")?.status, 200);
    assert_eq!(install(&["--check"])?.code, Some(0));
    let backlog = format!("{BASE}backlog = 77\n").replace("/etc/app.env", "/tmp/none");
    machine.write_file("/etc/zdt/user.toml", backlog, 0o644)?;
    install(&[])?.ok()?;
    assert_eq!(listening(machine, units::ADDRESS)?.backlog, "77");
    let without_root = as_user(&[UNITS, "install"])?;
    assert_eq!(
        (without_root.code, without_root.stderr.as_str()),
        (
            Some(5),
            "error: `zdt-units install` needs root: it writes to `/etc/systemd/system`\n\n\
             hint: run it as root. `--dry-run` needs no root, and `zdt-units install --user` is for \
             services of your own\n"
        )
    );
    as_user(&[UNITS, "uninstall", "--user", "app"])?.ok()?;
    assert!(Client::tcp(machine, units::ADDRESS).is_err());
    Ok(())
}
