//! The machine itself.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;

const SOCKET: &str = "\
[Socket]
ListenStream=127.0.0.1:8080
";

const SANDBOXED: &str = "\
[Service]
Type=notify
ExecStart=/opt/zdt/bin/stock
DynamicUser=yes
User=app
StateDirectory=app
RuntimeDirectory=app
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateIPC=yes
PrivateNetwork=yes
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
IPAddressDeny=any
MemoryMax=500M
LimitNOFILE=20000
";

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

/// The machine lacks nothing that a hardened unit asks of its host.
pub(crate) fn a_sandbox_holds(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.install(&[("app.socket", SOCKET), ("app.service", SANDBOXED)])?;
    machine.systemctl(&["start", "app.socket"])?.ok()?;
    machine.systemctl(&["start", "app.service"])?.ok()?;
    let pid = machine.show("app.service", "MainPID")?;

    let answer = Client::tcp(machine, "127.0.0.1:8080")?.get("/")?;
    assert_eq!(answer.text(), format!("pid {pid}\n"));
    // By number: a small root cannot name dynamic users.
    let user = machine.run(&["stat", "--format=%u", &format!("/proc/{pid}")])?;
    let user: u32 = user.ok()?.stdout.trim_end().parse()?;
    assert!((61184..=65519).contains(&user), "{user}");
    let namespace = |of: &str| machine.run(&["readlink", &format!("/proc/{of}/ns/net")]);
    assert_ne!(namespace(&pid)?.ok()?.stdout, namespace("1")?.ok()?.stdout);
    let journal = machine.journal("app.service")?;
    assert!(!journal.contains("ignoring"), "{journal}");
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
