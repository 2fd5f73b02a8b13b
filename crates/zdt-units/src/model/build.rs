//! Turns what was written into what was meant, one service at a time, past every mistake.

mod sockets;

use std::ops::Range;
use std::time::Duration;

use self::sockets::name_units;
use super::value::{Mistake, argument, duration, program, variable, variable_value};
use super::{
    AbsolutePath, Address, Drain, EnvironmentFile, Exec, Health, Model, Name, Network, Sandbox,
    Service, Socket, Strategy, UnitName, User, UserName, cross,
};
use crate::config::{
    At, Config, DrainConfig, HealthConfig, Problem, SandboxConfig, ServiceConfig, list, nearest,
};

pub(super) fn model(config: Config) -> Result<Model, Vec<Problem>> {
    let names: Vec<String> = config
        .services
        .iter()
        .map(|service| service.name.value.clone())
        .collect();
    let mut build = Build {
        problems: config.problems,
        places: Vec::new(),
        names,
    };
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

    let mut model = Model { services };
    cross::check(&config.services, &build.places, &mut build.problems);
    if !build.problems.is_empty() {
        return Err(build.problems);
    }
    cross::settle_ipv6(&mut model);
    Ok(model)
}

/// An address and where it was written.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) service: String,
    pub(super) socket: String,
    pub(super) address: Address,
    pub(super) at: Range<usize>,
}

pub(super) struct Build {
    problems: Vec<Problem>,
    places: Vec<Place>,
    /// All services of the file, also those that do not parse.
    names: Vec<String>,
}

impl Build {
    fn service(&mut self, config: &ServiceConfig) -> Option<Service> {
        let name = self.parse(&config.name, Name::parse);
        let exec = self.exec(config);
        let health = config.health.as_ref().map(|health| self.health(health));
        let health_socket = config
            .health
            .as_ref()
            .and_then(|health| self.health_socket(config, health));
        let sockets = self.sockets(config);
        let drain = self.drain(&config.drain);
        let strategy = self.strategy(config.strategy.as_ref());
        let after = self.after(config);
        let environment = self.environment(config);
        let environment_files = self.environment_files(config);
        let sandbox = self.sandbox(&config.sandbox);
        let given_user = config
            .user
            .as_ref()
            .map(|user| self.parse(user, UserName::parse));
        let working_directory = config
            .working_directory
            .as_ref()
            .map(|path| self.parse(path, AbsolutePath::parse));
        let start_timeout = self.duration(
            config.start_timeout.as_ref(),
            Duration::from_secs(60),
            Duration::from_millis(1),
        );
        let restart_pause = self.restart_pause(config.restart_sec.as_ref());
        let watchdog = config
            .watchdog
            .as_ref()
            .map(|text| self.duration(Some(text), Duration::ZERO, Duration::from_millis(1)));
        let open_files = self.number(config.nofile.as_ref(), 65536, 64..=1 << 30);

        let name = name?;
        let mut sockets = name_units(&name, sockets?);
        let health = match health {
            None => None,
            Some(health) => Some(health?),
        };
        let main = sockets.first()?.listen.addresses().first()?.reach();
        let health = health.map(|(reach, health)| Health {
            reach: reach.unwrap_or(main),
            ..health
        });
        sockets.extend(health_socket.map(|socket| Socket {
            unit: UnitName::socket(&format!("{name}-{}", socket.name.value)),
            name: socket.name.value,
            listen: socket.listen,
            backlog: socket.backlog,
        }));
        let user = match (given_user, &sandbox) {
            (Some(user), _) => User::Named(user?),
            (None, Some(Sandbox::Off)) => User::Root,
            (None, _) => User::Dynamic(UserName::of_service(&name)),
        };
        Some(Service {
            exec: exec?,
            sockets,
            health,
            drain: drain?,
            strategy: strategy?,
            after,
            environment,
            environment_files,
            user,
            working_directory: match working_directory {
                None => None,
                Some(path) => Some(path?),
            },
            sandbox: sandbox?,
            start_timeout: start_timeout?,
            restart_pause: restart_pause?,
            watchdog: match watchdog {
                None => None,
                Some(limit) => Some(limit?),
            },
            open_files: open_files?.unsigned_abs(),
            name,
        })
    }

    fn exec(&mut self, config: &ServiceConfig) -> Option<Exec> {
        let words = config.exec.as_ref()?;
        let Some((first, rest)) = words.value.split_first() else {
            self.problems.push(
                Problem::new(&words.at, "`exec` is empty").hint("its first part is the program"),
            );
            return None;
        };
        let program = self.parse(first, program);
        let arguments: Vec<_> = rest
            .iter()
            .filter_map(|word| self.parse(word, argument))
            .collect();
        Some(Exec::new(program?, arguments))
    }

    /// Its own address, if it has one, and the rest with a place-holder for it.
    fn health(&mut self, config: &HealthConfig) -> Option<(Option<super::Reach>, Health)> {
        let own = config
            .listen
            .as_ref()
            .map(|text| self.parse(text, Address::parse));
        let path = match &config.ready {
            None => Some("/readyz".to_owned()),
            Some(text) => self.parse(text, request_path),
        };
        let successes = self.number(config.successes.as_ref(), 1, 1..=1000);
        let interval = self.duration(
            config.interval.as_ref(),
            Duration::from_millis(200),
            Duration::from_millis(1),
        );
        let timeout = self.duration(
            config.timeout.as_ref(),
            Duration::from_secs(30),
            Duration::from_millis(1),
        );
        let own = match own {
            None => None,
            Some(address) => Some(address?.reach()),
        };
        let anywhere = || super::Reach::Tcp(([127, 0, 0, 1], 80).into());
        Some((
            own.clone(),
            Health {
                reach: own.unwrap_or_else(anywhere),
                path: path?,
                successes: u32::try_from(successes?).expect("the range was checked"),
                interval: interval?,
                timeout: timeout?,
            },
        ))
    }

    fn drain(&mut self, config: &DrainConfig) -> Option<Drain> {
        let default = Drain::default();
        let least = Duration::ZERO;
        let grace = self.duration(config.grace.as_ref(), default.grace, least);
        let limit = self.duration(config.limit.as_ref(), default.limit, least);
        let linger = self.duration(config.linger.as_ref(), default.linger, least);
        Some(Drain {
            grace: grace?,
            limit: limit?,
            linger: linger?,
        })
    }

    fn strategy(&mut self, config: Option<&At<String>>) -> Option<Strategy> {
        let Some(word) = config else {
            return Some(Strategy::Queue);
        };
        self.parse(word, |text| match text {
            "queue" => Ok(Strategy::Queue),
            "standby" | "rolling" | "reload" => Err(Mistake::new(format!(
                "strategy `{text}` is not supported yet by this version"
            ))
            .hint(
                "`queue` is: the process is stopped and started, and connections wait meanwhile",
            )),
            _ => Err(unknown_word("strategy", text, &["queue"])),
        })
    }

    fn after(&mut self, config: &ServiceConfig) -> Vec<UnitName> {
        let names: Vec<String> = self.names.clone();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        config
            .after
            .iter()
            .filter_map(|unit| {
                self.parse(unit, |text| {
                    if names.contains(&text) {
                        return Name::parse(text).map(|name| UnitName::service(&name));
                    }
                    UnitName::parse(text).map_err(|mistake| match nearest(text, &names) {
                        Some(known) => mistake.hint(format!("did you mean `{known}`?")),
                        None => mistake,
                    })
                })
            })
            .collect()
    }

    fn environment(&mut self, config: &ServiceConfig) -> Vec<(String, String)> {
        config
            .environment
            .iter()
            .filter_map(|(name, value)| {
                let name = self.parse(name, variable);
                let value = self.parse(value, variable_value);
                Some((name?, value?))
            })
            .collect()
    }

    fn environment_files(&mut self, config: &ServiceConfig) -> Vec<EnvironmentFile> {
        config
            .environment_files
            .iter()
            .filter_map(|file| {
                self.parse(file, |text| {
                    let path = text.strip_prefix('-');
                    Ok(EnvironmentFile {
                        path: AbsolutePath::parse(path.unwrap_or(text))?,
                        optional: path.is_some(),
                    })
                })
            })
            .collect()
    }

    fn sandbox(&mut self, config: &SandboxConfig) -> Option<Sandbox> {
        let on = Sandbox::On {
            network: Network::Outbound,
            state: None,
        };
        match config {
            SandboxConfig::Absent => Some(on),
            SandboxConfig::Word(word) => self.parse(word, |text| match text {
                "default" => Ok(on),
                "none" => Ok(Sandbox::Off),
                _ => Err(unknown_word("sandbox", text, &["default", "none"])),
            }),
            SandboxConfig::Table { network, state } => {
                let network = match network {
                    None => Some(Network::Outbound),
                    Some(word) => self.parse(word, |text| match text {
                        "none" => Ok(Network::Nothing),
                        "outbound" => Ok(Network::Outbound),
                        _ => Err(unknown_word("network", text, &["none", "outbound"])),
                    }),
                };
                let state = match state {
                    None => None,
                    Some(name) => Some(self.parse(name, Name::parse)?),
                };
                Some(Sandbox::On {
                    network: network?,
                    state,
                })
            }
        }
    }

    fn restart_pause(&mut self, config: Option<&At<String>>) -> Option<Duration> {
        let Some(text) = config else {
            return Some(Duration::from_millis(500));
        };
        self.parse(text, |written| {
            let pause = duration(written)?;
            if pause < Duration::from_millis(250) {
                return Err(Mistake::new(format!("`{written}` between two starts is too short"))
                    .hint("take `250ms` or more: systemd closes the port of a service that starts more than 20 times in 2 s"));
            }
            Ok(pause)
        })
    }

    fn duration(
        &mut self,
        text: Option<&At<String>>,
        default: Duration,
        least: Duration,
    ) -> Option<Duration> {
        let Some(text) = text else {
            return Some(default);
        };
        self.parse(text, |written| {
            let parsed = duration(written)?;
            if parsed < least {
                return Err(Mistake::new(format!("`{written}` leaves no time at all")));
            }
            Ok(parsed)
        })
    }

    fn number(
        &mut self,
        number: Option<&At<i64>>,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let Some(number) = number else {
            return Some(default);
        };
        if range.contains(&number.value) {
            return Some(number.value);
        }
        self.problems.push(
            Problem::new(&number.at, format!("{} is out of range", number.value)).hint(format!(
                "from {} to {}",
                range.start(),
                range.end()
            )),
        );
        None
    }

    /// Notes the mistake of `parse`, if any, where `text` stands.
    fn parse<T>(
        &mut self,
        text: &At<String>,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(mistake) => {
                let mut problem = Problem::new(&text.at, mistake.message);
                problem.hint = mistake.hint;
                self.problems.push(problem);
                None
            }
        }
    }
}

fn request_path(text: &str) -> Result<String, Mistake> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !text.starts_with('/') || !plain {
        return Err(
            Mistake::new(format!("`{text}` is not the path of a request"))
                .hint("start it with `/`, for example `/readyz`"),
        );
    }
    Ok(text.to_owned())
}

fn unknown_word(key: &str, text: &str, known: &[&str]) -> Mistake {
    let mistake = Mistake::new(format!("`{text}` is not a value of `{key}`"));
    match nearest(text, known) {
        Some(known) => mistake.hint(format!("did you mean `{known}`?")),
        None => mistake.hint(format!("it takes {}", list(known))),
    }
}
