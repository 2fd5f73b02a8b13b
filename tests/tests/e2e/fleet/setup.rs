//! Three hosts with a real sshd, and a fourth with the balancers, which is the controller and the client as well.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};

use zdt_e2e::load::Load;
use zdt_e2e::machine::{self, Machine, Reason};
use zdt_e2e::network::{HUB, Network};

use super::play::{Ended, HOME, Play};

pub(super) const WEB: [&str; 3] = ["web1", "web2", "web3"];
const UNITS: &str = env!("CARGO_BIN_EXE_units");

pub(super) struct Fleet {
    pub(super) network: Network,
}

impl Fleet {
    /// Boots and connects them; no service is installed yet.
    pub(super) fn boot() -> Result<Self, Box<dyn Error>> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let ansible = repository.join("target/ansible");
        if !ansible.join("bin/ansible-playbook").exists() {
            let missing = Reason::File("target/ansible");
            return Err(machine::Error::Unavailable(missing).into());
        }
        let hub = crate::builder()
            .directory(ansible)
            .directory(repository.join("examples"));
        let web = WEB.map(|name| (name, crate::builder()));
        let fleet = Self {
            network: Network::boot(("lb1", hub), web.into())?,
        };
        let hub = fleet.hub();
        hub.needs("sshd", "openssh-server")?;
        hub.needs("haproxy", "haproxy")?;
        hub.needs("nginx", "nginx-light")?;
        hub.run(&["sh", "-ec", CONTROLLER])?.ok()?;
        fleet.connect()?;
        let python = hub.run(&["readlink", "-f", "/opt/zdt/bin/ansible/bin/python3"])?;
        let python = python.ok()?.stdout;
        fleet.write(
            "inventory.yml",
            &INVENTORY.replace("PYTHON", python.trim_end()),
        )?;
        fleet.write("templates/zdt.toml.j2", ZDT_TOML)?;
        Ok(fleet)
    }

    /// As the role does it, which has tests of its own.
    pub(super) fn install(&self, release: &str) -> Result<(), Box<dyn Error>> {
        self.release(release, "")?;
        let archive = self.file(&format!("shop-{release}.tar.gz"))?;
        let program = self.file("zdt-units")?;
        let zdt_toml = ZDT_TOML
            .replace("{% raw %}", "")
            .replace("{% endraw %}", "");
        self.write("zdt.toml", &zdt_toml)?;
        for (_, _, machine) in self.network.hosts() {
            machine.write_file("/usr/local/bin/zdt-units", &program, 0o755)?;
            machine.write_file("/etc/zdt/zdt.toml", &zdt_toml, 0o644)?;
            machine.write_file("/tmp/shop.tar.gz", &archive, 0o644)?;
            machine.run(&["zdt-units", "install"])?.ok()?;
            let deploy = ["zdt-units", "deploy", "shop", "--from", "/tmp/shop.tar.gz"];
            machine
                .run(&[&deploy[..], &["--release", release]].concat())?
                .ok()?;
        }
        Ok(())
    }

    /// What the controller has to bring to the hosts.
    pub(super) fn file(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.hub().host_path(&format!("{HOME}/files/{name}")))
    }

    /// Of the processes that start from now on, on every host.
    pub(super) fn settings(&self, text: &str) -> Result<(), machine::Error> {
        for (_, _, machine) in self.network.hosts() {
            machine.write_file("/etc/shop.env", text, 0o644)?;
        }
        Ok(())
    }

    /// A release on the controller, and what is wrong with it.
    pub(super) fn release(&self, release: &str, fault: &str) -> Result<(), machine::Error> {
        let make = ["sh", "-ec", RELEASE, "release", release, fault];
        self.hub().run(&make)?.ok()?;
        Ok(())
    }

    pub(super) fn hub(&self) -> &Machine {
        self.network.hub()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), machine::Error> {
        self.hub()
            .write_file(&format!("{HOME}/{name}"), text, 0o644)
    }

    /// A key for the controller, and a sshd on each host that knows it.
    fn connect(&self) -> Result<(), Box<dyn Error>> {
        let hub = self.hub();
        let public = hub.run(&["cat", "/root/fleet/key.pub"])?.ok()?.stdout;
        let mut known = String::new();
        for (name, address, machine) in self.network.hosts() {
            machine.write_file("/etc/ssh/fleet_authorized", &public, 0o600)?;
            machine.write_file("/etc/ssh/fleet_config", SSHD_CONFIG, 0o600)?;
            machine.install(&[("fleet-sshd.service", SSHD)])?;
            machine.systemctl(&["start", "fleet-sshd.service"])?.ok()?;
            let key = machine
                .run(&["cat", "/etc/ssh/fleet_key.pub"])?
                .ok()?
                .stdout;
            known.push_str(&format!("{name},{address} {key}"));
        }
        self.write("known_hosts", &known)?;
        Ok(())
    }

    pub(super) fn start(&self, arguments: &[String]) -> Result<Play, Box<dyn Error>> {
        Play::start(self.hub(), arguments)
    }

    pub(super) fn play(&self, arguments: &[String]) -> Result<Ended, Box<dyn Error>> {
        self.start(arguments)?.end()
    }

    /// A thousand requests a second to the balancer: half of them on connections of their own.
    pub(super) fn load(&self) -> Result<Load, machine::Error> {
        // A client has more patience than the longest time for which a host that has gone is waited for.
        let target = format!("http://{HUB}/");
        let new = "--stream=name=new,rate=500";
        let kept = "--stream=name=kept,rate=500,keep-alive=32";
        let flags = [target.as_str(), "--any-host", "--timeout=30s", new, kept];
        Load::start(self.hub(), UNITS, &flags)
    }

    /// The release that the main process on a host was started from.
    pub(super) fn serves(&self, host: &str) -> Result<String, Box<dyn Error>> {
        let machine = self.network.host(host);
        let path = format!("/proc/{}/exe", machine.show("shop.service", "MainPID")?);
        let program = machine.run(&["readlink", &path])?.ok()?.stdout;
        let below = PathBuf::from(program.trim_end());
        let release = below.strip_prefix("/srv/shop/releases")?.iter().next();
        Ok(release.ok_or(program)?.to_string_lossy().into_owned())
    }

    pub(super) fn serve(&self) -> Result<[String; 3], Box<dyn Error>> {
        Ok([
            self.serves(WEB[0])?,
            self.serves(WEB[1])?,
            self.serves(WEB[2])?,
        ])
    }
}

/// The example as it is, programs without what only a debugger wants, and a key.
const CONTROLLER: &str = r#"
cp -a /opt/zdt/bin/examples/ansible /root/fleet
cd /root/fleet
mkdir -p files templates
strip -o files/zdt-units /opt/zdt/bin/units
strip -o files/app /opt/zdt/bin/app
strip -o files/stock /opt/zdt/bin/stock
ssh-keygen -q -t ed25519 -N '' -f key
"#;

/// Compressed just so that it is an archive.
const RELEASE: &str = r#"
cd /root/fleet/files
mkdir -p "$1/bin"
cp app "$1/bin/app"
[ -z "$2" ] || echo "$2" >"$1/bin/fault"
echo "$1" >"$1/name"
tar -C "$1" -cf - . | gzip -1 >"shop-$1.tar.gz"
rm -r "$1"
"#;

/// The addresses of the test, and one interpreter for all: discovery finds what only this host has.
const INVENTORY: &str = r"
all:
  vars:
    ansible_python_interpreter: PYTHON
web:
  vars:
    ansible_user: root
    ansible_ssh_private_key_file: /root/fleet/key
    ansible_ssh_common_args: -o UserKnownHostsFile=/root/fleet/known_hosts
  hosts:
    web1: { ansible_host: 10.77.0.11 }
    web2: { ansible_host: 10.77.0.12 }
    web3: { ansible_host: 10.77.0.13 }
balancer:
  hosts:
    lb1: { ansible_host: 10.77.0.1, ansible_connection: local }
";

const ZDT_TOML: &str = r#"
[service.shop]
exec = ["{% raw %}{{release.path}}{% endraw %}/bin/app"]
listen = "0.0.0.0:8080"
release = { root = "/srv/shop" }
health = { listen = "0.0.0.0:8081", timeout = "5s" }
environment_files = ["-/etc/shop.env"]
start_timeout = "10s"
drain = { limit = "10s" }

[service.shop.proxy]
servers = { web1 = "10.77.0.11:8080", web2 = "10.77.0.12:8080", web3 = "10.77.0.13:8080" }
keepalive_min_timeout = "5s"
"#;

const SSHD_CONFIG: &str = "\
HostKey /etc/ssh/fleet_key
AuthorizedKeysFile /etc/ssh/fleet_authorized
PermitRootLogin prohibit-password
PasswordAuthentication no
Subsystem sftp internal-sftp
";

const SSHD: &str = "\
[Service]
Type=notify
RuntimeDirectory=sshd
ExecStartPre=/usr/bin/ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/fleet_key
ExecStart=/usr/sbin/sshd -D -f /etc/ssh/fleet_config
# As Debian's: a command that a session started is not ended with the daemon.
KillMode=process
";
