//! What a proxy in front of a service has to know.

use std::collections::HashMap;
use std::time::Duration;

use super::super::proxy::{is_at_home, on_loopback};
use super::super::{Address, Domain, Ports, Proxy, Reach, Server, ServerName};
use super::Build;
use super::sockets::Unnamed;
use crate::config::{At, Problem, ProxyConfig, ServiceConfig};

impl Build {
    pub(super) fn proxy(
        &mut self,
        service: &ServiceConfig,
        config: &ProxyConfig,
        sockets: Option<&[Unnamed]>,
    ) -> Option<Proxy> {
        let known = self.problems.len();
        let domains = match &config.domains {
            None => Vec::new(),
            Some(domains) => self.domains(service, domains),
        };
        let least = Duration::from_millis(1);
        let written = config.keepalive_min_timeout.as_ref();
        let keepalive_min_timeout =
            written.and_then(|text| self.duration(Some(text), least, least));
        let proxy = match config.servers.as_slice() {
            [] => {
                let address = self.main_address(service, config, sockets);
                let name = service.name.value.as_str();
                let proxy = address.and_then(|at| Proxy::of_this_machine(name, domains, at));
                proxy.map(|proxy| Proxy {
                    keepalive_min_timeout,
                    ..proxy
                })
            }
            servers => {
                let servers = self.servers(servers);
                self.can_be_asked(service, config, &servers);
                Some(Proxy {
                    domains,
                    servers,
                    keepalive_min_timeout,
                })
            }
        };
        proxy.filter(|_| self.problems.len() == known)
    }

    fn domains(&mut self, service: &ServiceConfig, texts: &At<Vec<At<String>>>) -> Vec<Domain> {
        if texts.value.is_empty() {
            self.problems.push(
                Problem::new(&texts.at, "no client could ask for this service")
                    .hint("leave `domains` out for every host that no other service has"),
            );
        }
        let mut domains = Vec::new();
        for text in &texts.value {
            let Some(domain) = self.parse(text, Domain::parse) else {
                continue;
            };
            let name = &service.name.value;
            if let Some(first) = self.domains.get(&domain) {
                self.problems.push(
                    Problem::new(&text.at, format!("`{domain}` is that of `{}`", first.value))
                        .label(format!("of `{name}`"))
                        .also(&first.at, format!("of `{}`", first.value))
                        .hint("a domain belongs to one service, and is named once"),
                );
                continue;
            }
            let at = text.at.clone();
            let value = name.clone();
            self.domains.insert(domain.clone(), At { value, at });
            domains.push(domain);
        }
        domains
    }

    fn servers(&mut self, pairs: &[(At<String>, At<String>)]) -> Vec<Server> {
        let mut seen: HashMap<String, At<String>> = HashMap::new();
        let mut servers = Vec::new();
        for (key, text) in pairs {
            let name = self.parse(key, ServerName::parse);
            let address = self.parse(text, Server::address);
            let (Some(name), Some(address)) = (name, address) else {
                continue;
            };
            if let Some(first) = seen.get(&address.to_string()) {
                self.problems.push(
                    Problem::new(
                        &text.at,
                        format!("`{name}` and `{}` are at the same address", first.value),
                    )
                    .also(&first.at, format!("`{}`", first.value))
                    .hint("a proxy would send it twice as much; leave one of them out"),
                );
            }
            let at = text.at.clone();
            let value = name.to_string();
            seen.entry(address.to_string()).or_insert(At { value, at });
            servers.push(Server { name, address });
        }
        servers
    }

    /// Where a proxy on this machine reaches the service.
    fn main_address(
        &mut self,
        service: &ServiceConfig,
        config: &ProxyConfig,
        sockets: Option<&[Unnamed]>,
    ) -> Option<Reach> {
        let first = sockets?.iter().flat_map(|socket| socket.listen.addresses());
        if let Some(first) = first.take(1).next() {
            return Some(first.reach());
        }
        let ports = self.at_hand.as_ref().and_then(|at_hand| at_hand.ports);
        if let Some(port) = ports.and_then(Ports::fixed) {
            return Some(on_loopback(port));
        }
        let later = ports.is_some();
        // A mistake in either is told already.
        if !later && (service.port.is_some() || service.listen.is_some()) {
            return None;
        }
        self.problems.push(match later {
            true => Problem::new(
                &config.at,
                "each process has another port, known when it runs",
            )
            .hint("a proxy needs an address that stays: take `listen`, or one fixed `port`"),
            false => Problem::new(
                &config.at,
                "there is no socket that a proxy could connect to",
            )
            .hint("add `listen`, or leave `proxy` out"),
        });
        None
    }

    /// Whether a proxy on another machine gets an answer from the health listener.
    fn can_be_asked(&mut self, service: &ServiceConfig, config: &ProxyConfig, servers: &[Server]) {
        let elsewhere = servers.iter().find(|server| match server.address {
            Reach::Tcp(address) => !address.ip().is_loopback(),
            _ => false,
        });
        let listen = service.health.as_ref().and_then(|it| it.listen.as_ref());
        // What does not parse is told already.
        let at_home =
            |text: &&At<String>| Address::parse(&text.value).is_ok_and(|it| is_at_home(&it));
        if let (Some(server), Some(listen)) = (elsewhere, listen.filter(at_home)) {
            self.problems.push(
                Problem::new(
                    &listen.at,
                    format!(
                        "a proxy cannot ask `{}` here whether it is well: only its own machine can",
                        server.name
                    ),
                )
                .also(&config.at, "the servers of the proxy")
                .hint("listen where the proxy gets to, such as `0.0.0.0:19081`"),
            );
        }
    }
}
