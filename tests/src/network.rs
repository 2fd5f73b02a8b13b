//! Several machines in one network: a bridge in the network namespace of one
//! of them, the hub, and a cable from it to each of the others.
//!
//! Nothing is made in the host's own namespaces, so all of it ends with the
//! machines.

use std::thread;

use crate::machine::{Builder, Error, Machine};

const BRIDGE: &str = "lan";

/// Machines that reach each other by their addresses and by their names.
#[derive(Debug)]
pub struct Network {
    hub: Machine,
    hosts: Vec<Host>,
}

#[derive(Debug)]
struct Host {
    name: &'static str,
    machine: Machine,
}

impl Network {
    /// Boots all at once. The hub has the address `10.77.0.1`, the others
    /// `10.77.0.11` and on.
    pub fn boot(
        (hub, builder): (&'static str, Builder),
        hosts: Vec<(&'static str, Builder)>,
    ) -> Result<Self, Error> {
        let (booted_hub, booted) = thread::scope(|scope| {
            let others: Vec<_> = hosts
                .into_iter()
                .map(|(name, builder)| (name, scope.spawn(|| builder.boot())))
                .collect();
            let hub = builder.boot();
            let booted: Result<Vec<Host>, Error> = others
                .into_iter()
                .map(|(name, boots)| {
                    let machine = boots
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                    Ok(Host { name, machine })
                })
                .collect();
            (hub, booted)
        });
        let network = Self {
            hub: booted_hub?,
            hosts: booted?,
        };
        network.wire(hub)?;
        Ok(network)
    }

    pub fn hub(&self) -> &Machine {
        &self.hub
    }

    /// # Panics
    ///
    /// If there is none of that name.
    pub fn host(&self, name: &str) -> &Machine {
        let host = self.hosts.iter().find(|host| host.name == name);
        &host.expect("it is a host of this network").machine
    }

    /// Name, address and machine of each but the hub.
    pub fn hosts(&self) -> impl Iterator<Item = (&'static str, String, &Machine)> {
        let numbered = self.hosts.iter().enumerate();
        numbered.map(|(at, host)| (host.name, address(at), &host.machine))
    }

    /// Pulls the cable: what is on its way is lost without a word, and so is
    /// all that is sent from now on.
    pub fn cut_off(&self, name: &str) -> Result<(), Error> {
        self.cable(name, "down")
    }

    /// Plugs it in again.
    pub fn rejoin(&self, name: &str) -> Result<(), Error> {
        self.cable(name, "up")
    }

    fn cable(&self, name: &str, state: &str) -> Result<(), Error> {
        ip(&self.hub, &["link", "set", name, state])
    }

    fn wire(&self, hub: &str) -> Result<(), Error> {
        let own = format!("{HUB}/24");
        let up = |machine, name| ip(machine, &["link", "set", name, "up"]);
        ip(&self.hub, &["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&self.hub, &["address", "add", &own, "dev", BRIDGE])?;
        up(&self.hub, BRIDGE)?;
        let mut names = format!("{HUB} {hub}\n");
        for (name, address, machine) in self.hosts() {
            let pid = machine.pid().to_string();
            let cable = ["type", "veth", "peer", "name", "eth0", "netns", &pid];
            ip(&self.hub, &[&["link", "add", name], &cable[..]].concat())?;
            ip(&self.hub, &["link", "set", name, "master", BRIDGE])?;
            up(&self.hub, name)?;
            let own = format!("{address}/24");
            ip(machine, &["address", "add", &own, "dev", "eth0"])?;
            up(machine, "eth0")?;
            names.push_str(&format!("{address} {name}\n"));
        }
        let all = self.hosts.iter().map(|host| (host.name, &host.machine));
        for (name, machine) in all.chain([(hub, &self.hub)]) {
            let known = format!("127.0.0.1 localhost\n{names}");
            machine.write_file("/etc/hosts", known, 0o644)?;
            machine.write_file("/etc/hostname", format!("{name}\n"), 0o644)?;
            machine.run(&["hostname", name])?.ok()?;
        }
        Ok(())
    }
}

/// The address of the hub.
pub const HUB: &str = "10.77.0.1";

fn address(at: usize) -> String {
    format!("10.77.0.{}", 11 + at)
}

/// By the host's `ip`, for which a pid is what it is for the host.
fn ip(machine: &Machine, arguments: &[&str]) -> Result<(), Error> {
    machine.run_in_net(&[&["ip"], arguments].concat())?.ok()?;
    Ok(())
}
