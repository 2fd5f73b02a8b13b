//! Writes what a reverse proxy in front of services has to know. Pure, and the same for the same input, byte for byte.

mod backend;
mod caddy;
mod haproxy;
mod nginx;
mod page;
mod traefik;

use self::backend::Backend;
use crate::model::{Mistake, Model, Service};

/// The proxies that files are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    Haproxy,
    Nginx,
    Caddy,
    Traefik,
}

/// One file to be included into the configuration of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFile {
    pub name: &'static str,
    pub text: String,
    /// What will not go as it may be meant, one sentence each.
    pub notes: Vec<String>,
}

/// The file for `proxy` with the services called `names`; without names, with those that have the key `proxy`, or the
/// only one that there is.
pub fn proxy_file(
    model: &Model,
    source: &str,
    proxy: Proxies,
    names: &[String],
) -> Result<ProxyFile, Vec<Mistake>> {
    let services = chosen(model, names)?;
    let mut mistakes = Vec::new();
    let mut backends = Vec::new();
    for service in services {
        match Backend::of(service) {
            Some(backend) => backends.push(backend),
            None => mistakes.push(
                Mistake::new(format!(
                    "`{}` has no address that a proxy could connect to",
                    service.name
                ))
                .hint("a proxy needs `listen`, or one fixed `port`"),
            ),
        }
    }
    only_one_takes_every_host(&backends, &mut mistakes);
    if proxy == Proxies::Traefik {
        traefik::refuse_unix(&backends, &mut mistakes);
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let notes = backends
        .iter()
        .filter_map(|backend| backend.note(proxy))
        .collect();
    let (name, text) = match proxy {
        Proxies::Haproxy => ("zdt.cfg", haproxy::file(&backends, source)),
        Proxies::Nginx => ("zdt.conf", nginx::file(&backends, source)),
        Proxies::Caddy => ("zdt.caddy", caddy::file(&backends, source)),
        Proxies::Traefik => ("zdt.yml", traefik::file(&backends, source)),
    };
    Ok(ProxyFile { name, text, notes })
}

fn chosen<'m>(model: &'m Model, names: &[String]) -> Result<Vec<&'m Service>, Vec<Mistake>> {
    let wanted = |service: &&Service| names.iter().any(|name| service.name.as_str() == name);
    if !names.is_empty() {
        return Ok(model.services.iter().filter(wanted).collect());
    }
    let with_key = model
        .services
        .iter()
        .filter(|service| service.proxy.is_some());
    let with_key: Vec<&Service> = with_key.collect();
    if !with_key.is_empty() {
        return Ok(with_key);
    }
    let mut reachable = model
        .services
        .iter()
        .filter(|service| service.proxied().is_some());
    match (reachable.next(), reachable.next()) {
        (Some(only), None) => Ok(vec![only]),
        (None, _) => Err(vec![
            Mistake::new("no service of this file has an address that a proxy could connect to")
                .hint("a proxy needs `listen`, or one fixed `port`"),
        ]),
        (Some(one), Some(_)) => Err(vec![
            Mistake::new("no service of this file says which hosts are its own").hint(format!(
                "add `proxy = {{ domains = [\"{}.example\"] }}` to each, or name one for every host",
                one.name
            )),
        ]),
    }
}

fn only_one_takes_every_host(backends: &[Backend<'_>], mistakes: &mut Vec<Mistake>) {
    let mut every = backends.iter().filter(|backend| backend.domains.is_empty());
    let Some(first) = every.next() else { return };
    for second in every {
        mistakes.push(
            Mistake::new(format!(
                "`{}` and `{}` both take every host",
                first.name, second.name
            ))
            .hint(format!(
                "add `proxy = {{ domains = [\"{}.example\"] }}` to one of them",
                second.name
            )),
        );
    }
}
