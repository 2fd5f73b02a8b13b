//! The machine itself.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use zdt_e2e::machine::Machine;

pub(crate) fn machine_boots(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let version = machine.systemctl(&["--version"])?.ok()?;
    let first = version.stdout.lines().next().unwrap_or_default();
    println!("{first}, booted in {:?}", machine.boot_time());
    assert!(first.starts_with("systemd "), "{first}");

    let state = machine.systemctl(&["is-system-running"])?;
    assert_eq!(state.stdout, "running\n");

    let init = machine.run(&["cat", "/proc/1/comm"])?.ok()?;
    assert_eq!(init.stdout, "systemd\n");
    let hostname = machine.run(&["hostname"])?.ok()?;
    assert_eq!(hostname.stdout.trim_end(), machine.name());
    Ok(())
}

pub(crate) fn machines_are_separate(one: &Machine) -> Result<(), Box<dyn Error>> {
    let other = crate::builder().boot()?;
    let unit = "[Service]\nExecStart=sleep infinity\n";
    for machine in [one, &other] {
        machine.install(&[("app.service", unit)])?;
        machine.systemctl(&["start", "app.service"])?.ok()?;
    }
    let pid = other.show("app.service", "MainPID")?;

    // In a cgroup tree that both share, this would kill the other's too.
    one.systemctl(&["stop", "app.service"])?.ok()?;
    assert_eq!(other.show("app.service", "ActiveState")?, "active");
    assert_eq!(other.show("app.service", "MainPID")?, pid);

    other.write_file("/tmp/mine", "", 0o600)?;
    assert!(!one.host_path("/tmp/mine").exists());
    assert!(!Path::new("/tmp/mine").exists());
    Ok(())
}

pub(crate) fn a_machine_leaves_nothing(_: &Machine) -> Result<(), Box<dyn Error>> {
    let machine = crate::builder().boot()?;
    let pid = machine.pid();
    let name = machine.name().to_owned();
    assert_eq!(left_over(&name, pid)?, ["process", "directory", "cgroup"]);

    drop(machine);
    assert_eq!(left_over(&name, pid)?, [""; 0]);
    Ok(())
}

fn left_over(name: &str, pid: u32) -> Result<Vec<&'static str>, Box<dyn Error>> {
    let mut left = Vec::new();
    if Path::new(&format!("/proc/{pid}")).exists() {
        left.push("process");
    }
    for entry in fs::read_dir("/tmp")? {
        if entry?
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{name}."))
        {
            left.push("directory");
        }
    }
    // A mount of its own: where the host has its cgroups is its own affair.
    let script =
        format!("mount -t cgroup2 none /mnt && find /mnt -type d -name {name} | grep -q .");
    let found = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .status()?;
    if found.success() {
        left.push("cgroup");
    }
    Ok(left)
}
