//! What only shows when all services of a file are seen together.

use super::build::{Place, Planned};
use super::{Address, Ipv6, Listen, Model, TcpAddress};
use crate::config::{ForeignConfig, Problem, ServiceConfig};

pub(super) fn check(
    services: &[ServiceConfig],
    foreign: &[ForeignConfig],
    places: &[Place],
    units: &[Planned],
    problems: &mut Vec<Problem>,
) {
    collisions(places, problems);
    narrowed(places, problems);
    unit_names(units, problems);
    cycles(services, foreign, problems);
}

/// Two sockets that cannot both be listened on.
fn collisions(places: &[Place], problems: &mut Vec<Problem>) {
    for (index, second) in places.iter().enumerate() {
        let first = places[..index]
            .iter()
            .find(|first| first.address.collides(&second.address));
        let Some(first) = first else { continue };
        problems.push(
            Problem::new(
                &second.at,
                format!(
                    "`{}` of service `{}` is taken by service `{}`",
                    second.address, second.service, first.service
                ),
            )
            .label(format!(
                "socket `{}` of `{}`",
                second.socket, second.service
            ))
            .also(
                &first.at,
                format!("socket `{}` of `{}`", first.socket, first.service),
            )
            .hint(match (&first.address, &second.address) {
                (one, two) if one == two => "each address can be listened on once",
                (Address::Tcp(TcpAddress::Any { .. }), _)
                | (_, Address::Tcp(TcpAddress::Any { .. })) => {
                    "an address without a host takes the port on every address, IPv4 and IPv6"
                }
                _ => "the wildcard takes the port on every address",
            }),
        );
    }
}

/// `BindIPv6Only=` counts for a whole unit, so one port can narrow another.
fn narrowed(places: &[Place], problems: &mut Vec<Problem>) {
    for place in places {
        let Address::Tcp(address) = place.address else {
            continue;
        };
        if !address.is_ipv6_wildcard() || has_ipv4(places, address.port()) {
            continue;
        }
        let cause = places.iter().find(|other| {
            (&other.service, &other.socket) == (&place.service, &place.socket)
                && matches!(other.address, Address::Tcp(other) if other.is_ipv6_wildcard()
                    && has_ipv4(places, other.port()))
        });
        let Some(cause) = cause else { continue };
        let port = address.port();
        problems.push(
            Problem::new(
                &place.at,
                format!("`{address}` would take IPv6 only, because of its neighbour"),
            )
            .also(&cause.at, "another socket has this port for IPv4")
            .hint(format!(
                "write both `0.0.0.0:{port}` and `[::]:{port}`, or give it a socket of its own"
            )),
        );
    }
}

fn has_ipv4(places: &[Place], port: u16) -> bool {
    places.iter().any(
        |place| matches!(place.address, Address::Tcp(tcp) if tcp.is_ipv4() && tcp.port() == port),
    )
}

/// Units that would be one file.
fn unit_names(units: &[Planned], problems: &mut Vec<Problem>) {
    for (index, second) in units.iter().enumerate() {
        let mut before = units[..index].iter();
        let Some(first) = before.find(|first| first.unit == second.unit) else {
            continue;
        };
        problems.push(
            Problem::new(
                &second.at,
                format!(
                    "{} and {} would both be `{}`",
                    first.what, second.what, second.unit
                ),
            )
            .also(&first.at, &first.what)
            .hint("rename one of them"),
        );
    }
}

/// Services that wait for each other would never start.
fn cycles(services: &[ServiceConfig], foreign: &[ForeignConfig], problems: &mut Vec<Problem>) {
    let ours = services.iter().map(|ours| (&ours.name, &ours.after));
    let theirs = foreign.iter().map(|theirs| (&theirs.name, &theirs.after));
    let all: Vec<_> = ours.chain(theirs).collect();
    let before = |name: &str| {
        let found = all.iter().find(|(service, _)| service.value == name);
        found.map_or(&[][..], |(_, after)| after.as_slice())
    };
    // A unit may be named in full.
    let stem = |unit: &str| {
        let alias = foreign.iter().find(|theirs| theirs.unit.value == unit);
        let kinds = [".service", ".target"];
        let ours = kinds.iter().find_map(|kind| unit.strip_suffix(kind));
        match alias {
            Some(theirs) => theirs.name.value.clone(),
            None => ours.unwrap_or(unit).to_owned(),
        }
    };
    for (name, _) in &all {
        let start = name.value.clone();
        let mut paths: Vec<Vec<String>> = vec![vec![start.clone()]];
        let mut seen = vec![start.clone()];
        while let Some(path) = paths.pop() {
            let last = path.last().expect("a path has at least its start");
            for unit in before(last) {
                let next = stem(&unit.value);
                if next == start {
                    // Told once, at the service of the cycle that comes first in the alphabet.
                    if path.iter().min() == Some(&start) {
                        let shown: Vec<_> = path.iter().map(|name| format!("`{name}`")).collect();
                        problems.push(
                            Problem::new(
                                &unit.at,
                                format!(
                                    "{} after `{start}`: they wait for each other",
                                    shown.join(" after ")
                                ),
                            )
                            .hint("take one of them out of `after`"),
                        );
                    }
                } else if !seen.contains(&next) {
                    seen.push(next.clone());
                    paths.push([path.as_slice(), &[next]].concat());
                }
            }
        }
    }
}

/// `[::]` steps back to IPv6 where an IPv4 socket has the same port.
pub(super) fn settle_ipv6(model: &mut Model) {
    let ipv4_ports: Vec<u16> = model
        .services
        .iter()
        .flat_map(|service| &service.sockets)
        .flat_map(|socket| socket.listen.addresses())
        .filter_map(|address| match address {
            Address::Tcp(tcp) if tcp.is_ipv4() => Some(tcp.port()),
            _ => None,
        })
        .collect();
    let sockets = model
        .services
        .iter_mut()
        .flat_map(|service| &mut service.sockets);
    for socket in sockets {
        let Listen::Tcp {
            addresses, ipv6, ..
        } = &mut socket.listen
        else {
            continue;
        };
        let wildcards = || {
            addresses
                .iter()
                .filter(|address| address.is_ipv6_wildcard())
        };
        if wildcards().any(|address| ipv4_ports.contains(&address.port())) {
            *ipv6 = Some(Ipv6::Only);
        } else if wildcards().next().is_some() {
            *ipv6 = Some(Ipv6::Both);
        }
    }
}
