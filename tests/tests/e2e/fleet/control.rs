//! The roll-out that people write by hand: copy, restart, next host.

use std::error::Error;

use zdt_e2e::machine::Machine;

use super::balancer::Front;
use super::setup::Fleet;

pub(super) fn the_playbook_that_everybody_copies_loses_requests(
    _: &Machine,
) -> Result<(), Box<dyn Error>> {
    let fleet = Fleet::boot()?;
    let hub = fleet.hub();
    fleet.settings(super::START_UP)?;
    let program = fleet.file("stock")?;
    for (_, _, machine) in fleet.network.hosts() {
        machine.write_file("/usr/local/bin/plain", &program, 0o755)?;
        machine.install(&[("plain.service", SERVICE)])?;
        machine.systemctl(&["start", "plain.service"])?.ok()?;
    }
    fleet.write("copied.yml", PLAYBOOK)?;
    hub.write_file("/etc/haproxy/haproxy.cfg", HAPROXY, 0o644)?;
    hub.run(&["mkdir", "-p", "/run/haproxy"])?.ok()?;
    hub.systemctl(&["start", "haproxy.service"])?.ok()?;
    fleet.await_all(Front::Haproxy)?;

    let load = fleet.load()?;
    let ended = fleet.play(&["copied.yml".to_owned()])?.ok()?;
    let report = load.stop()?;
    println!(
        "copied, restarted, next: {}; the play took {:.1?}",
        crate::restart::summary(&report),
        ended.took
    );
    assert!(report.valid, "{report}");
    assert!(report.lost() > 0, "the control lost nothing: {report}");
    Ok(())
}

/// It binds by itself, as most programs do.
const SERVICE: &str = "\
[Service]
ExecStart=/usr/local/bin/plain
Environment=BIND=0.0.0.0:8080
EnvironmentFile=-/etc/shop.env
Restart=always
";

const PLAYBOOK: &str = "
- hosts: web
  gather_facts: false
  serial: 1
  tasks:
    - ansible.builtin.copy: { src: files/stock, dest: /usr/local/bin/plain, mode: '0755' }
    - ansible.builtin.systemd_service: { name: plain, state: restarted }
";

const HAPROXY: &str = "\
global
    stats socket /run/haproxy/admin.sock mode 660 level admin
    maxconn 4000

defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s

frontend web
    bind :80
    default_backend shop

backend shop
    balance roundrobin
    option httpchk GET /
    server web1 10.77.0.11:8080 check
    server web2 10.77.0.12:8080 check
    server web3 10.77.0.13:8080 check
";
