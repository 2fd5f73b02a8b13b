//! Releases on a real machine: deployed under load, taken back, and where the disk does not
//! want them.

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::Duration;

use zdt_e2e::client::Client;
use zdt_e2e::machine::{Machine, Output};
use zdt_units::host::Failure;
use zdt_units::host::releases::{look, perform};
use zdt_units::model::{AbsolutePath, ReleaseName};
use zdt_units::plan::ReleaseAct;

use crate::{Test, units};

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "releases::a_broken_one_is_taken_back_and_nobody_is_refused",
        a_broken_one_is_taken_back_and_nobody_is_refused,
    ),
    (
        "releases::a_full_disk_or_a_read_only_one_is_left_as_it_was",
        a_full_disk_or_a_read_only_one_is_left_as_it_was,
    ),
];

const CONFIG: &str = r#"
[service.app]
exec = ["{{release.path}}/bin/app"]
listen = "127.0.0.1:8080"
release = { root = "/srv/app", keep = 2 }
"#;

const UNITS: &str = "/opt/zdt/bin/units";

/// Deployments and roll backs under load: what does not start is taken back, and a request that
/// was sent is answered by one release or the other.
fn a_broken_one_is_taken_back_and_nobody_is_refused(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    machine.write_file("/etc/zdt/zdt.toml", CONFIG, 0o644)?;
    for (name, text) in units::generate(CONFIG)? {
        machine.install(&[(&name, &text)])?;
    }
    machine.systemctl(&["start", "app.socket"])?.ok()?;
    who_comes_before_the_first_one_is_answered_by_it(machine)?;
    let shell = "mkdir -p /tmp/v2/bin && cp /opt/zdt/bin/app /tmp/v2/bin && tar czf /tmp/v2.tar.gz -C /tmp/v2 . \
                 && mkdir -p /tmp/v3/bin && cp /bin/false /tmp/v3/bin/app";
    machine.run(&["sh", "-ec", shell])?.ok()?;

    let load = units::load(machine, &["--rate=200", "--timeout=60s"])?;
    let serves = |release: &str| -> Result<(), Box<dyn Error>> {
        let current = machine.run(&["readlink", "/srv/app/current"])?.ok()?;
        assert_eq!(current.stdout.trim_end(), format!("releases/{release}"));
        let pid = machine.show("app.service", "MainPID")?;
        let program = machine
            .run(&["readlink", &format!("/proc/{pid}/exe")])?
            .ok()?;
        assert_eq!(
            program.stdout.trim_end(),
            format!("/srv/app/releases/{release}/bin/app")
        );
        Ok(())
    };
    serves("v1")?;
    zdt(
        machine,
        &[
            "deploy",
            "app",
            "--from",
            "/tmp/v2.tar.gz",
            "--release",
            "v2",
        ],
    )?
    .ok()?;
    serves("v2")?;
    let broken = zdt(
        machine,
        &["deploy", "app", "--from", "/tmp/v3", "--release", "v3"],
    )?;
    assert_eq!(broken.code, Some(6), "{}", broken.stderr);
    serves("v2")?;
    zdt(machine, &["rollback", "app"])?.ok()?;
    serves("v1")?;
    let none = zdt(machine, &["rollback", "app", "v9"])?;
    assert_eq!(none.code, Some(4), "{}", none.stderr);
    // Without a name, and the third: the oldest that nobody needs goes.
    zdt(machine, &["deploy", "app", "--from", "/tmp/v2"])?.ok()?;
    let report = load.stop()?;
    println!(
        "three deployments, a roll back and a broken release: {}",
        report.total.outcomes
    );
    assert!(report.valid, "{report}");
    assert_eq!(report.lost(), 0, "{report}");

    let listed = zdt(machine, &["releases", "app", "--verify"])?.ok()?;
    println!("{}", listed.stdout);
    let states: Vec<Vec<&str>> = listed
        .stdout
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().skip(5).collect())
        .collect();
    assert_eq!(
        states,
        [vec!["current,", "intact"], vec!["previous,", "intact"]],
        "{}",
        listed.stdout
    );
    machine
        .run(&["sh", "-ec", "echo x >> /srv/app/releases/v1/bin/app"])?
        .ok()?;
    let changed = zdt(machine, &["releases", "app", "--verify"])?;
    assert_eq!(changed.code, Some(8), "{}", changed.stdout);
    Client::tcp(machine, "127.0.0.1:8080")?.get("/")?;
    Ok(())
}

/// Until there is one, systemd starts the service again and again, in vain. Nobody is refused: who came waits.
fn who_comes_before_the_first_one_is_answered_by_it(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let starts = || -> Result<u32, Box<dyn Error>> {
        Ok(machine.show("app.service", "NRestarts")?.parse()?)
    };
    thread::scope(|scope| {
        let came = scope.spawn(|| {
            let mut client = Client::tcp(machine, units::ADDRESS).map_err(|it| it.to_string())?;
            let limit = Duration::from_secs(60);
            client.set_limit(limit).map_err(|it| it.to_string())?;
            let answer = client.get("/").map_err(|it| it.to_string())?;
            Ok::<_, String>(answer.status)
        });
        machine.wait_until(Duration::from_secs(20), "starts in vain", |_| {
            starts().is_ok_and(|starts| starts >= 2)
        })?;
        let looked = machine.run(&[UNITS, "doctor", "app", "--rate", "1"])?;
        for told in [
            "there is no `/srv/app/current`",
            "zdt-units deploy app --from",
        ] {
            assert!(looked.stdout.contains(told), "{told}: {}", looked.stdout);
        }
        let from = ["--from", "/opt/zdt/bin/app", "--release", "v1"];
        zdt(machine, &[&["deploy", "app"], &from[..]].concat())?.ok()?;
        assert_eq!(came.join().map_err(|_| "it panicked")??, 200);
        let last = starts()?;
        // Longer than between two of them.
        thread::sleep(Duration::from_secs(1));
        assert_eq!(starts()?, last);
        Ok(())
    })
}

/// A release that is too large is refused with both figures. One that turns out to be is removed
/// again, and so is nothing written where nobody may write.
fn a_full_disk_or_a_read_only_one_is_left_as_it_was(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let shell = "mkdir /srv/app /tmp/large && mount -t tmpfs -o size=1m none /srv/app \
                 && head -c 3000000 /dev/zero > /tmp/large/app";
    machine.run(&["sh", "-ec", shell])?.ok()?;
    let root = machine.host_path("/srv/app");
    let large = copy(&machine.host_path("/tmp/large"), &root).expect_err("it is too large");
    assert_eq!(
        large.reason,
        format!(
            "the release takes 2.86 MiB, and `{}/releases` has 1.00 MiB left",
            root.display()
        )
    );
    let litter = || machine.run(&["ls", "-A", "/srv/app/releases"])?.ok();
    assert_eq!(litter()?.stdout, ".zdt\n");

    // The size of such a file is not known before it is read.
    let full = copy(Path::new("/proc/kallsyms"), &root).expect_err("it has some megabytes");
    assert_eq!(
        full.reason,
        "failed to write `bin/kallsyms`: No space left on device (os error 28)"
    );
    assert_eq!(litter()?.stdout, ".zdt\n");

    machine
        .run(&["mount", "-o", "remount,ro", "/srv/app"])?
        .ok()?;
    let small = machine.host_path("/etc/hostname");
    let frozen = copy(&small, &root).expect_err("nobody may write there");
    assert!(
        frozen
            .reason
            .ends_with("Read-only file system (os error 30)"),
        "{frozen}"
    );
    machine
        .run(&["mount", "-o", "remount,rw", "/srv/app"])?
        .ok()?;
    copy(&small, &root)?;
    let seen = look(&AbsolutePath::parse(&root.display().to_string()).map_err(|e| e.message)?)?;
    assert_eq!(seen.records().count(), 1);
    Ok(())
}

/// As `deploy` does it, seen from the host.
fn copy(from: &Path, root: &Path) -> Result<(), Failure> {
    let parsed = AbsolutePath::parse(&root.display().to_string());
    let act = ReleaseAct::Copy {
        from: from.to_owned(),
        root: parsed.map_err(|mistake| Failure::new(mistake.message))?,
        release: ReleaseName::parse("v1").map_err(|mistake| Failure::new(mistake.message))?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .map_err(|error| Failure::new(error.to_string()))?
        .block_on(perform(&act))
}

fn zdt(machine: &Machine, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    Ok(machine.run(&[&[UNITS], arguments].concat())?)
}
