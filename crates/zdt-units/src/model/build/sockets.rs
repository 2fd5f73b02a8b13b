//! The sockets of one service, from both ways of writing them.

use std::ops::Range;

use super::super::mistake::Mistake;
use super::super::value::mode;
use super::super::{AbsolutePath, Address, Listen, Name, Socket, TcpAddress, UnitName, UserName};
use super::{Build, Place};
use crate::config::{At, HealthConfig, Problem, ServiceConfig, SocketConfig};

const DEFAULT_BACKLOG: u32 = 4096;
const HEALTH_BACKLOG: u32 = 64;
const HEALTH: &str = "health";

/// A socket whose unit is not named yet.
pub(super) struct Unnamed {
    pub(super) name: At<Name>,
    /// What its unit is to be called, if the file says so.
    pub(super) unit: Option<Name>,
    pub(super) listen: Listen,
    pub(super) backlog: u32,
}

impl Build {
    pub(super) fn sockets(&mut self, config: &ServiceConfig) -> Option<Vec<Unnamed>> {
        let mut sockets = Vec::new();
        let mut complete = true;
        if let Some(listen) = &config.listen {
            let name = At {
                value: Name::parse("http").expect("`http` is a name"),
                at: listen.at.clone(),
            };
            match self.listen(config, "http", listen, None) {
                Some(listen) => sockets.push(Unnamed {
                    name,
                    unit: None,
                    listen,
                    backlog: DEFAULT_BACKLOG,
                }),
                None => complete = false,
            }
        }
        for socket in &config.sockets {
            match self.socket(config, socket) {
                Some(socket) => sockets.push(socket),
                None => complete = false,
            }
        }
        self.unique_names(config, &sockets);
        // That a web service has none is reported already, where its program does not bind by itself.
        complete.then_some(sockets)
    }

    fn unique_names(&mut self, config: &ServiceConfig, sockets: &[Unnamed]) {
        for (index, socket) in sockets.iter().enumerate() {
            let name = &socket.name;
            if let Some(first) = sockets[..index]
                .iter()
                .find(|other| other.name.value == name.value && other.unit == socket.unit)
            {
                self.problems.push(
                    Problem::new(&name.at, format!("two sockets are named `{}`", name.value))
                        .label("the second one")
                        .also(&first.name.at, "the first one")
                        .hint(
                            "a program finds its sockets by name; `listen` alone is named `http`. \
                             To pass both under one name, give the second a `unit` of its own",
                        ),
                );
            }
            if name.value.as_str() == HEALTH && config.health.is_some() {
                self.problems.push(
                    Problem::new(&name.at, "`health` is the name of the health listener")
                        .hint("give this socket another name"),
                );
            }
        }
    }

    fn socket(&mut self, service: &ServiceConfig, config: &SocketConfig) -> Option<Unnamed> {
        let backlog = self.number(config.backlog.as_ref(), DEFAULT_BACKLOG.into(), 1..=1 << 20);
        let name = config.name.as_ref().and_then(|name| {
            let value = self.parse(name, Name::parse)?;
            Some(At {
                value,
                at: name.at.clone(),
            })
        });
        let unit = config
            .unit
            .as_ref()
            .map(|unit| self.parse(unit, socket_unit));
        let listen = config.listen.as_ref()?;
        let shown = config.name.as_ref().map_or("", |name| name.value.as_str());
        let listen = self.listen(service, shown, listen, Some(config));
        Some(Unnamed {
            name: name?,
            unit: match unit {
                None => None,
                Some(unit) => Some(unit?),
            },
            listen: listen?,
            backlog: u32::try_from(backlog?).expect("the range was checked"),
        })
    }

    fn listen(
        &mut self,
        service: &ServiceConfig,
        socket: &str,
        listen: &At<Vec<At<String>>>,
        options: Option<&SocketConfig>,
    ) -> Option<Listen> {
        if listen.value.is_empty() {
            self.problems.push(
                Problem::new(&listen.at, "`listen` is empty").hint("for example `\"0.0.0.0:80\"`"),
            );
            return None;
        }
        let mut tcp = Vec::new();
        let mut unix = Vec::new();
        for text in &listen.value {
            let address = self.parse(text, Address::parse);
            match address.clone() {
                Some(Address::Tcp(address)) => tcp.push(address),
                Some(Address::Unix(path)) => unix.push(path),
                None => {}
            }
            self.places.extend(address.map(|address| Place {
                service: service.name.value.clone(),
                socket: socket.to_owned(),
                address,
                at: text.at.clone(),
            }));
        }
        if !tcp.is_empty() && !unix.is_empty() {
            self.problems.push(
                Problem::new(&listen.at, "one socket is either TCP or Unix, not both").hint(
                    "write two `[[service.NAME.socket]]` tables, each with a name of its own",
                ),
            );
            return None;
        }
        let complete = tcp.len() + unix.len() == listen.value.len();
        let listen = match unix.is_empty() {
            true => self.tcp_options(tcp, options),
            false => self.unix_options(unix, options),
        };
        listen.filter(|_| complete)
    }

    fn tcp_options(
        &mut self,
        addresses: Vec<TcpAddress>,
        options: Option<&SocketConfig>,
    ) -> Option<Listen> {
        let defer = options.and_then(|options| options.defer_accept.as_ref());
        if let Some(options) = options.filter(|_| !addresses.is_empty()) {
            for (key, value) in [
                ("mode", &options.mode),
                ("user", &options.user),
                ("group", &options.group),
            ] {
                if let Some(value) = value {
                    self.problems.push(Problem::new(
                        &value.at,
                        format!("`{key}` is for Unix sockets, and this one is TCP"),
                    ));
                }
            }
        }
        Some(Listen::Tcp {
            addresses,
            // Settled when every socket of the file is known.
            ipv6: None,
            defer_accept: defer.is_none_or(|defer| defer.value),
        })
    }

    fn unix_options(
        &mut self,
        paths: Vec<AbsolutePath>,
        options: Option<&SocketConfig>,
    ) -> Option<Listen> {
        let written = options.and_then(|options| options.mode.as_ref());
        let mode = match written {
            Some(text) => self.parse(text, mode),
            None => Some(0o660),
        };
        let user = options.and_then(|options| options.user.as_ref());
        let user = user.and_then(|user| self.parse(user, UserName::parse));
        let group = options.and_then(|options| options.group.as_ref());
        let group = group.and_then(|group| self.parse(group, UserName::parse));
        if let Some(defer) = options.and_then(|options| options.defer_accept.as_ref()) {
            self.problems.push(Problem::new(
                &defer.at,
                "`defer_accept` is for TCP sockets, and this one is Unix",
            ));
        }
        Some(Listen::Unix {
            paths,
            mode: mode?,
            user,
            group,
        })
    }

    /// The listener of the health endpoint, if it has one of its own.
    pub(super) fn health_socket(
        &mut self,
        service: &ServiceConfig,
        config: &HealthConfig,
    ) -> Option<Unnamed> {
        let text = config.listen.as_ref()?;
        // A mistake in it is reported by `health`.
        let address = Address::parse(&text.value).ok()?;
        self.places.push(Place {
            service: service.name.value.clone(),
            socket: HEALTH.to_owned(),
            address: address.clone(),
            at: text.at.clone(),
        });
        Some(Unnamed {
            name: At {
                value: Name::parse(HEALTH).expect("`health` is a name"),
                at: text.at.clone(),
            },
            unit: None,
            listen: match address {
                Address::Tcp(address) => Listen::Tcp {
                    addresses: vec![address],
                    ipv6: None,
                    // A check that only connects would wait for a byte that never comes.
                    defer_accept: false,
                },
                Address::Unix(path) => Listen::Unix {
                    paths: vec![path],
                    mode: 0o660,
                    user: None,
                    group: None,
                },
            },
            backlog: HEALTH_BACKLOG,
        })
    }
}

/// With or without `.socket`.
fn socket_unit(text: &str) -> Result<Name, Mistake> {
    Name::parse(text.strip_suffix(".socket").unwrap_or(text))
}

/// The main socket's unit is named like the service; it comes first.
pub(super) fn name_units(service: &Name, sockets: Vec<Unnamed>) -> Vec<(Range<usize>, Socket)> {
    let main = sockets
        .iter()
        .position(|socket| socket.name.value.as_str() == "http")
        .unwrap_or(0);
    let mut named: Vec<_> = sockets
        .into_iter()
        .enumerate()
        .map(|(index, socket)| match index == main {
            true => named(service.as_str(), socket),
            false => beside(service, socket),
        })
        .collect();
    if !named.is_empty() {
        named[..=main].rotate_right(1);
    }
    named
}

pub(super) fn name_health(service: &Name, socket: Unnamed) -> (Range<usize>, Socket) {
    beside(service, socket)
}

fn beside(service: &Name, socket: Unnamed) -> (Range<usize>, Socket) {
    named(&format!("{service}-{}", socket.name.value), socket)
}

fn named(stem: &str, socket: Unnamed) -> (Range<usize>, Socket) {
    let unit = match &socket.unit {
        Some(unit) => UnitName::socket(unit.as_str()),
        None => UnitName::socket(stem),
    };
    let named = Socket {
        unit,
        name: socket.name.value,
        listen: socket.listen,
        backlog: socket.backlog,
    };
    (socket.name.at, named)
}
