//! Turns what was written into what was meant, one service at a time, past every mistake.

mod balancer;
mod deploy;
mod events;
mod health;
mod kind;
mod launcher;
mod lifecycle;
mod ports;
mod process;
mod proxy;
mod sockets;
mod task;
mod text;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use self::health::Of;
use self::ports::{Offer, offers};
use self::sockets::{Unnamed, name_health, name_units};
use self::task::{CHECK_TIMEOUT, WARM_TIMEOUT};
use self::text::{AtHand, all_or_nothing};
use super::{
    AbsolutePath, Address, DocUri, Domain, Foreign, Model, Name, Reach, Sandbox, Service, Socket,
    Strategy, UnitName, User, UserName, cross,
};
use crate::config::{At, Config, ForeignConfig, Problem, ServiceConfig, nearest};

/// The model, or what is wrong; and what is wrong only on systemd.
pub(super) fn model(config: Config) -> (Result<Model, Vec<Problem>>, Vec<Problem>) {
    let mut build = Build {
        problems: config.problems,
        places: Vec::new(),
        units: Vec::new(),
        known: known_units(&config.services, &config.foreign),
        offers: offers(&config.services),
        only_with_launcher: Vec::new(),
        roots: HashMap::new(),
        domains: HashMap::new(),
        heads: kind::heads(&config.services),
        at_hand: None,
    };
    build.roots = build.roots(&config.services);
    if config.services.is_empty() && build.problems.is_empty() {
        build.problems.push(
            Problem::new(&(0..0), "there is no service in this file")
                .hint("the smallest one is a `[service.NAME]` with `exec` and `listen`"),
        );
    }
    let services: Vec<Service> = config
        .services
        .iter()
        .filter_map(|service| build.service(service))
        .collect();
    build.at_hand = None;
    let foreign: Vec<Foreign> = config
        .foreign
        .iter()
        .filter_map(|unit| build.foreign(unit))
        .collect();

    let breaker = build.breaker(&config.breaker).unwrap_or_default();
    let events = build.events(&config.events);
    let launcher = build.launcher(&config.launcher);

    let mut model = Model {
        services,
        foreign,
        breaker,
        events: events.unwrap_or_default(),
        launcher: launcher.unwrap_or_default(),
    };
    cross::check(
        &config.services,
        &config.foreign,
        &build.places,
        &build.units,
        &mut build.problems,
    );
    if !build.problems.is_empty() {
        return (Err(build.problems), build.only_with_launcher);
    }
    cross::settle_ipv6(&mut model);
    (Ok(model), build.only_with_launcher)
}

/// The unit that each service of the file stands for, also of those that do not parse.
fn known_units(services: &[ServiceConfig], foreign: &[ForeignConfig]) -> HashMap<String, UnitName> {
    let ours = services.iter().filter_map(|service| {
        let name = Name::parse(&service.name.value).ok()?;
        let unit = match kind::strategy_word(service) {
            "rolling" => UnitName::target(&name),
            _ => UnitName::service(&name),
        };
        Some((name.to_string(), unit))
    });
    let theirs = foreign.iter().filter_map(|foreign| {
        let unit = UnitName::parse(&foreign.unit.value).ok()?;
        Some((foreign.name.value.clone(), unit))
    });
    ours.chain(theirs).collect()
}

/// Where the sockets listen, the main one first.
fn places_of(sockets: &[Unnamed]) -> Vec<Reach> {
    let addresses = sockets.iter().flat_map(|socket| socket.listen.addresses());
    addresses.map(|address| address.reach()).collect()
}

/// An address and where it was written.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) service: String,
    pub(super) socket: String,
    pub(super) address: Address,
    pub(super) at: Range<usize>,
}

/// A unit that will be written, and what it is written for.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) unit: UnitName,
    /// `socket `http` of service `shop``.
    pub(super) what: String,
    pub(super) at: Range<usize>,
}

pub(super) struct Build {
    problems: Vec<Problem>,
    places: Vec<Place>,
    units: Vec<Planned>,
    known: HashMap<String, UnitName>,
    offers: HashMap<String, Option<Offer>>,
    /// What systemd cannot do, and the launcher can.
    only_with_launcher: Vec<Problem>,
    /// Where each service with releases keeps them.
    roots: HashMap<String, AbsolutePath>,
    /// Of each domain: where it was first named, and by which service.
    domains: HashMap<Domain, At<String>>,
    /// Of each service that says so: with whose releases it runs.
    heads: HashMap<String, String>,
    at_hand: Option<AtHand>,
}

impl Build {
    fn service(&mut self, config: &ServiceConfig) -> Option<Service> {
        self.at_hand = None;
        let name = self.parse(&config.name, Name::parse);
        self.at_hand = Some(AtHand::of(config));
        let kind = self.kind(config);
        let (release, companion) = self.releases(config);
        let strategy = self.strategy(config);
        let ports = config.port.is_some().then(|| self.ports(config, strategy));
        if let Some(at_hand) = &mut self.at_hand {
            at_hand.root = kind::root_of(config, &self.roots);
            at_hand.ports = ports.flatten();
            if let Some(Strategy::Rolling { instances, .. }) = strategy {
                at_hand.rolling = true;
                at_hand.instances = instances;
            }
        }

        let exec = self.exec(config);
        let documentation = config
            .documentation
            .iter()
            .filter_map(|uri| self.parse(uri, DocUri::parse))
            .collect();
        let health_socket = config
            .health
            .as_ref()
            .and_then(|health| self.health_socket(config, health));
        let sockets = self.sockets(config);
        let places = places_of(sockets.as_deref().unwrap_or_default());
        let health = config
            .health
            .as_ref()
            .map(|health| self.health(health, Of::Service(&places)));
        let drain = self.drain(&config.drain);
        let after = self.after(&config.after);
        let given = self.given(config);
        let given_next = self.given_next(config);
        let sandbox = self.sandbox(&config.sandbox);
        let given_user = config
            .user
            .as_ref()
            .map(|user| self.parse(user, UserName::parse));
        let start_timeout = self.duration(
            config.start_timeout.as_ref(),
            Duration::from_secs(60),
            Duration::from_millis(1),
        );
        let ready = self.ready(config, strategy);
        let stop = self.stop(config.stop.as_ref(), strategy);
        let restarts = self.restarts(config);
        let memory = config.memory.as_ref().map(|memory| self.memory(memory));
        let watchdog = config
            .watchdog
            .as_ref()
            .map(|text| self.duration(Some(text), Duration::ZERO, Duration::from_millis(1)));
        let open_files = self.number(config.nofile.as_ref(), 65536, 64..=1 << 30);
        self.uses_releases(config);
        let check = self.errand(config.check.as_ref(), CHECK_TIMEOUT);
        let migrate = config.migrate.as_ref().map(|migrate| self.migrate(migrate));
        let warm = self.errand(config.warm.as_ref(), WARM_TIMEOUT);
        let bake = self.duration(config.bake.as_ref(), Duration::ZERO, Duration::ZERO);
        let proxy = config.proxy.as_ref();
        let proxy = proxy.map(|proxy| self.proxy(config, proxy, sockets.as_deref()));

        let balancer = config.balancer.as_ref();
        let rotation = balancer.map(|balancer| self.rotation(balancer, &config.name));

        let name = name?;
        let mut sockets = name_units(&name, sockets?);
        sockets.extend(health_socket.map(|socket| name_health(&name, socket)));
        self.plan_units(&name, config, strategy, &sockets);
        let sockets: Vec<Socket> = sockets.into_iter().map(|(_, socket)| socket).collect();
        let user = match (given_user, &sandbox) {
            (Some(user), _) => User::Named(user?),
            (None, Some(Sandbox::Off)) => User::Root,
            (None, _) => User::Dynamic(UserName::of_service(&name)),
        };
        Some(Service {
            exec: exec?,
            documentation,
            sockets,
            health: all_or_nothing(health)?,
            drain: drain?,
            strategy: strategy?,
            after,
            environment: given.environment,
            environment_files: given.environment_files,
            credentials: given.credentials,
            user,
            working_directory: given.working_directory,
            sandbox: sandbox?,
            rotation: all_or_nothing(rotation)?,
            start_timeout: start_timeout?,
            kind: kind?,
            ready: ready?,
            stop: stop?,
            restarts: restarts?,
            memory: all_or_nothing(memory)?,
            ports: all_or_nothing(ports)?,
            companion: all_or_nothing(companion)?,
            watchdog: all_or_nothing(watchdog)?,
            open_files: open_files?.unsigned_abs(),
            handover: config.handover.as_ref().is_some_and(|wanted| wanted.value),
            release: all_or_nothing(release)?,
            check: all_or_nothing(check)?,
            migrate: all_or_nothing(migrate)?,
            warm: all_or_nothing(warm)?,
            given_next,
            bake: bake?,
            proxy: all_or_nothing(proxy)?,
            name,
        })
    }

    fn foreign(&mut self, config: &ForeignConfig) -> Option<Foreign> {
        let name = self.parse(&config.name, Name::parse);
        let unit = self.parse(&config.unit, UnitName::parse);
        let after = self.after(&config.after);
        let health = config
            .health
            .as_ref()
            .map(|health| self.health(health, Of::Foreign));
        Some(Foreign {
            name: name?,
            unit: unit?,
            after,
            health: all_or_nothing(health)?,
        })
    }

    /// Notes every unit that will be written for a service, so that no two have one name.
    fn plan_units(
        &mut self,
        name: &Name,
        config: &ServiceConfig,
        strategy: Option<Strategy>,
        sockets: &[(Range<usize>, Socket)],
    ) {
        let at = &config.name.at;
        let mut plan = |unit, what: String, at: &Range<usize>| {
            self.units.push(Planned {
                unit,
                what,
                at: at.clone(),
            });
        };
        match strategy {
            Some(Strategy::Rolling { .. }) => {
                plan(UnitName::template(name), format!("service `{name}`"), at);
                plan(UnitName::target(name), format!("service `{name}`"), at);
            }
            Some(Strategy::Standby) => {
                let standby = format!("the standby of service `{name}`");
                plan(UnitName::service(name), format!("service `{name}`"), at);
                plan(UnitName::standby(name), standby, at);
            }
            _ => plan(UnitName::service(name), format!("service `{name}`"), at),
        }
        for (task, at) in task::written(config) {
            let what = format!("the task `{task}` of service `{name}`");
            plan(UnitName::task(name, task), what, at);
        }
        for (at, socket) in sockets {
            let what = format!("socket `{}` of service `{name}`", socket.name);
            plan(socket.unit.clone(), what, at);
        }
    }

    fn after(&mut self, units: &[At<String>]) -> Vec<UnitName> {
        let known = std::mem::take(&mut self.known);
        let after = units
            .iter()
            .filter_map(|unit| {
                self.parse(unit, |text| {
                    if let Some(unit) = known.get(text) {
                        return Ok(unit.clone());
                    }
                    UnitName::parse(text).map_err(|mistake| {
                        let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
                        names.sort_unstable();
                        match nearest(text, &names) {
                            Some(known) => mistake.hint(format!("did you mean `{known}`?")),
                            None => mistake,
                        }
                    })
                })
            })
            .collect();
        self.known = known;
        after
    }
}
