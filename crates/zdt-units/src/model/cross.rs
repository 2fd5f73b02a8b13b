//! What only shows when all services of a file are seen together.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::build::{Place, Planned};
use super::{Address, Ipv6, Listen, Model, TcpAddress, UnitName};
use crate::config::{At, ForeignConfig, Problem, ServiceConfig};

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
    let after = After::new(services, foreign);
    cycles(&after, problems);
    families(services, &after, problems);
}

/// Two sockets that cannot both be listened on.
fn collisions(places: &[Place], problems: &mut Vec<Problem>) {
    // Only what has the same port, or the same path, can collide.
    let mut alike: HashMap<Key<'_>, Vec<&Place>> = HashMap::new();
    for second in places {
        let before = alike.entry(Key::of(&second.address)).or_default();
        let mut others = before.iter();
        let first = others
            .find(|first| first.address.collides(&second.address))
            .copied();
        before.push(second);
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

/// What two addresses that collide have in common.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Port(u16),
    Path(&'a str),
}

impl<'a> Key<'a> {
    fn of(address: &'a Address) -> Self {
        match address {
            Address::Tcp(address) => Self::Port(address.port()),
            Address::Unix(path) => Self::Path(path.as_str()),
        }
    }
}

/// `BindIPv6Only=` counts for a whole unit, so one port can narrow another.
fn narrowed(places: &[Place], problems: &mut Vec<Problem>) {
    let with_ipv4 = places.iter().filter_map(|place| match place.address {
        Address::Tcp(address) if address.is_ipv4() => Some(address.port()),
        _ => None,
    });
    let with_ipv4: HashSet<u16> = with_ipv4.collect();
    for place in places {
        let Address::Tcp(address) = place.address else {
            continue;
        };
        if !address.is_ipv6_wildcard() || with_ipv4.contains(&address.port()) {
            continue;
        }
        let cause = places.iter().find(|other| {
            (&other.service, &other.socket) == (&place.service, &place.socket)
                && matches!(other.address, Address::Tcp(other) if other.is_ipv6_wildcard()
                    && with_ipv4.contains(&other.port()))
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

/// Units that would be one file.
fn unit_names(units: &[Planned], problems: &mut Vec<Problem>) {
    let mut seen: HashMap<&UnitName, &Planned> = HashMap::new();
    for second in units {
        let first = *seen.entry(&second.unit).or_insert(second);
        if std::ptr::eq(first, second) {
            continue;
        }
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

/// What each service of the file waits for, as it was written.
struct After<'c> {
    all: HashMap<&'c str, &'c [At<String>]>,
    /// A unit may be named in full.
    aliases: HashMap<&'c str, &'c str>,
}

impl<'c> After<'c> {
    fn new(services: &'c [ServiceConfig], foreign: &'c [ForeignConfig]) -> Self {
        let ours = services.iter().map(|ours| (&ours.name, &ours.after));
        let theirs = foreign.iter().map(|theirs| (&theirs.name, &theirs.after));
        let named = |theirs: &'c ForeignConfig| (&*theirs.unit.value, &*theirs.name.value);
        Self {
            all: ours
                .chain(theirs)
                .map(|(name, after)| (name.value.as_str(), after.as_slice()))
                .collect(),
            aliases: foreign.iter().map(named).collect(),
        }
    }

    fn of(&self, name: &str) -> &'c [At<String>] {
        self.all.get(name).copied().unwrap_or_default()
    }

    /// The name of a service from that of its unit.
    fn stem<'u>(&self, unit: &'u str) -> &'u str
    where
        'c: 'u,
    {
        let kinds = [".service", ".target"];
        let ours = kinds.iter().find_map(|kind| unit.strip_suffix(kind));
        let alias = self.aliases.get(unit).copied();
        alias.or(ours).unwrap_or(unit)
    }
}

/// Services that are replaced together: none of them can wait for a service that waits for one of them, and the head
/// comes first.
fn families(services: &[ServiceConfig], after: &After<'_>, problems: &mut Vec<Problem>) {
    let head_of = |name: &str| {
        let service = services.iter().find(|service| service.name.value == name)?;
        let of = service.release.as_ref()?.of.as_ref()?;
        Some(of.value.as_str())
    };
    for service in services {
        let name = service.name.value.as_str();
        let head = head_of(name).unwrap_or(name);
        let is_with = |other: &str| other != head && head_of(other) == Some(head);
        let mut seen = HashSet::new();
        for unit in &service.after {
            let mut left = vec![after.stem(&unit.value)];
            while let Some(next) = left.pop() {
                let is_own = next == head || head_of(next) == Some(head);
                if is_own && next != after.stem(&unit.value) || (name == head && is_with(next)) {
                    problems.push(
                        Problem::new(
                            &unit.at,
                            format!("`{name}` waits here for `{next}`, which is replaced together with it"),
                        )
                        .hint(match name == head {
                            true => "what runs with the releases of a service is replaced after that one",
                            false => "take it out of `after`: the one between would have to come before and after both",
                        }),
                    );
                    break;
                }
                if !is_own && seen.insert(next) {
                    left.extend(after.of(next).iter().map(|unit| after.stem(&unit.value)));
                }
            }
        }
    }
}

/// Services that wait for each other would never start.
fn cycles(after: &After<'_>, problems: &mut Vec<Problem>) {
    let all = &after.all;
    let before = |name: &str| after.of(name);
    let stem = |unit: &str| after.stem(unit).to_owned();
    for name in in_cycles(all, &stem) {
        let start = name;
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

/// Those that are left when all that wait for nobody are taken away, again and again; in the order
/// of the alphabet.
fn in_cycles(
    all: &HashMap<&str, &[At<String>]>,
    stem: &impl Fn(&str) -> String,
) -> BTreeSet<String> {
    let mut followers: HashMap<String, Vec<&str>> = HashMap::new();
    let mut waits: HashMap<&str, usize> = HashMap::new();
    for (name, after) in all {
        let needs: BTreeSet<String> = after.iter().map(|unit| stem(&unit.value)).collect();
        let needs: Vec<String> = needs
            .into_iter()
            .filter(|need| all.contains_key(need.as_str()))
            .collect();
        waits.insert(name, needs.len());
        for need in needs {
            followers.entry(need).or_default().push(name);
        }
    }
    let mut free: Vec<&str> = all
        .keys()
        .copied()
        .filter(|name| waits[name] == 0)
        .collect();
    let mut left: BTreeSet<String> = all.keys().map(|name| (*name).to_owned()).collect();
    while let Some(name) = free.pop() {
        left.remove(name);
        for follower in followers.get(name).into_iter().flatten() {
            let count = waits.entry(follower).or_default();
            *count -= 1;
            if *count == 0 {
                free.push(follower);
            }
        }
    }
    left
}

/// `[::]` steps back to IPv6 where an IPv4 socket has the same port.
pub(super) fn settle_ipv6(model: &mut Model) {
    let ipv4_ports: HashSet<u16> = model
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
