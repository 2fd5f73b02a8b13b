//! The balancers, with the files that `zdt-units generate --proxy` writes.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use zdt_e2e::machine::{self, Reason};

use super::setup::{Fleet, WEB};

/// What is in front of the hosts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Front {
    Haproxy,
    Nginx,
    /// nginx, and nobody tells it anything.
    LeftAlone,
}

impl Front {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::LeftAlone => "none",
        }
    }

    /// Where it is told what to do.
    pub(super) fn at(self) -> &'static str {
        match self {
            Self::Haproxy => "/run/haproxy/admin.sock",
            Self::Nginx | Self::LeftAlone => "/etc/nginx/conf.d/zdt.conf",
        }
    }
}

/// What Debian's file has, without its log and with the socket for `zdt-units balancer`.
const HAPROXY: &str = "\
global
    stats socket /run/haproxy/admin.sock mode 660 level admin
    maxconn 4000

defaults
    timeout connect 5s
    timeout client 50s
    timeout server 50s
";

const NGINX: &str = "\
#!/bin/sh
exec /opt/nginx/nginx -p /opt/nginx -c /etc/nginx/nginx.conf \"$@\"
";

/// Modules are for Debian's own, and connections as the head of the generated file says.
const NGINX_CONF: &str = "\
rm -f /etc/nginx/modules-enabled/*
sed -i -e 's/worker_connections 768/worker_connections 16384/' -e '1i worker_rlimit_nofile 65536;' /etc/nginx/nginx.conf
";

impl Fleet {
    /// Starts one, with the file that is generated for it.
    pub(super) fn put_in_front(&self, front: Front) -> Result<(), Box<dyn Error>> {
        let hub = self.hub();
        let generate = ["/opt/zdt/bin/units", "generate", "--proxy", front.name()];
        let config = ["--config", "/root/fleet/zdt.toml"];
        let file = hub.run(&[&generate[..], &config].concat())?.ok()?;
        match front {
            Front::Haproxy => {
                hub.write_file("/etc/haproxy/haproxy.cfg", HAPROXY, 0o644)?;
                hub.write_file("/etc/haproxy/zdt.cfg", file.stdout, 0o644)?;
                let options = "EXTRAOPTS=\"-f /etc/haproxy/zdt.cfg\"\n";
                hub.write_file("/etc/default/haproxy", options, 0o644)?;
                hub.run(&["mkdir", "-p", "/run/haproxy"])?.ok()?;
                hub.systemctl(&["start", "haproxy.service"])?.ok()?;
            }
            Front::Nginx | Front::LeftAlone => {
                self.newer_nginx()?;
                hub.write_file(front.at(), file.stdout, 0o644)?;
                hub.run(&["rm", "-f", "/etc/nginx/sites-enabled/default"])?
                    .ok()?;
                hub.systemctl(&["start", "nginx.service"])?.ok()?;
            }
        }
        self.await_all(front)
    }

    /// In the place of Debian's, and with its files: one that has `keepalive_min_timeout`.
    fn newer_nginx(&self) -> Result<(), Box<dyn Error>> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/nginx/bin/nginx");
        let missing = Reason::File("target/nginx");
        let program = fs::read(program).map_err(|_| machine::Error::Unavailable(missing))?;
        let hub = self.hub();
        hub.write_file("/opt/nginx/nginx", program, 0o755)?;
        hub.write_file("/usr/sbin/nginx", NGINX, 0o755)?;
        hub.run(&["sh", "-ec", NGINX_CONF])?.ok()?;
        Ok(())
    }

    /// Waits until all hosts are known to be well.
    pub(super) fn await_all(&self, front: Front) -> Result<(), Box<dyn Error>> {
        WEB.into_iter()
            .try_for_each(|name| self.await_state(front, name, "up"))
    }

    pub(super) fn await_state(
        &self,
        front: Front,
        name: &str,
        wanted: &str,
    ) -> Result<(), Box<dyn Error>> {
        let limit = Duration::from_secs(30);
        let what = format!("{name} is {wanted}");
        let is_so = || self.state(front, name).is_ok_and(|state| state == wanted);
        Ok(machine::wait_until(limit, &what, is_so)?)
    }

    /// What the balancer says of a host: `up`, `down`, or `out`.
    pub(super) fn state(&self, front: Front, name: &str) -> Result<String, Box<dyn Error>> {
        let (flag, server) = (format!("--{}", front.name()), format!("shop/{name}"));
        let show = [
            "/opt/zdt/bin/units",
            "balancer",
            "show",
            "--json",
            &flag,
            front.at(),
            &server,
        ];
        let shown: Value = serde_json::from_str(&self.hub().run(&show)?.ok()?.stdout)?;
        Ok(shown["server"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }
}
