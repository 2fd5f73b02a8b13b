//! The ports of programs that bind by themselves.

use std::collections::HashMap;

use super::super::{Address, Pace, Ports, Slot, Strategy, TcpAddress, Text};
use super::{Build, Place};
use crate::config::{At, PortConfig, Problem, ServiceConfig, list, nearest};

const PORT: std::ops::RangeInclusive<i64> = 1..=65535;

/// The port of a service as others can name it, also of one that does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    Fixed(u16),
    /// Known when it runs.
    Later,
    /// Its instances have one each.
    Several,
    /// It has a mistake of its own.
    Unclear,
}

/// What each service of the file offers.
pub(super) fn offers(services: &[ServiceConfig]) -> HashMap<String, Option<Offer>> {
    let offers = services.iter().map(|service| {
        let word = service.strategy.as_ref().map(|word| word.value.as_str());
        let instances = service.instances.as_ref().map_or(2, |number| number.value);
        let offer = service.port.as_ref().map(|port| match port {
            PortConfig::One(port) => match u16::try_from(port.value) {
                Ok(port) => Offer::Fixed(port),
                Err(_) => Offer::Unclear,
            },
            PortConfig::Range { .. } if word == Some("rolling") && instances > 1 => Offer::Several,
            PortConfig::Range { .. } => Offer::Later,
        });
        (service.name.value.clone(), offer)
    });
    offers.collect()
}

impl Build {
    pub(super) fn ports(
        &mut self,
        config: &ServiceConfig,
        strategy: Option<Strategy>,
    ) -> Option<Ports> {
        match config.port.as_ref()? {
            PortConfig::One(written) => {
                let port = self.port_number(written)?;
                self.places.push(Place {
                    service: config.name.value.clone(),
                    socket: "port".to_owned(),
                    address: Address::Tcp(TcpAddress::Any { port }),
                    at: written.at.clone(),
                });
                self.alone(written, strategy);
                Some(Ports {
                    from: port,
                    to: port,
                })
            }
            PortConfig::Range { at, from, to } => {
                let from = from.as_ref().map(|number| self.port_number(number));
                let to = to.as_ref().map(|number| self.port_number(number));
                let ports = Ports {
                    from: from??,
                    to: to??,
                };
                let wanted = at_once(strategy);
                let there = (u32::from(ports.to) + 1).saturating_sub(ports.from.into());
                if there < wanted {
                    let problem = match there {
                        0 => Problem::new(at, "the last port is before the first one"),
                        _ => Problem::new(
                            at,
                            format!("{there} of these ports, and {wanted} processes at a time"),
                        ),
                    };
                    let hint = format!(
                        "take at least {wanted}, one for each process that runs during a restart"
                    );
                    self.problems.push(problem.hint(hint));
                }
                self.only_with_launcher(
                    Problem::new(at, "only the launcher gives out ports")
                        .hint("take one fixed port, or run these services by `zdt-units run`"),
                );
                Some(ports)
            }
        }
    }

    fn port_number(&mut self, written: &At<i64>) -> Option<u16> {
        let port = self.number(Some(written), 0, PORT)?;
        Some(u16::try_from(port).expect("the range was checked"))
    }

    /// A port can be bound once.
    fn alone(&mut self, written: &At<i64>, strategy: Option<Strategy>) {
        let several = match strategy {
            Some(Strategy::Standby) => "standby",
            Some(Strategy::Rolling { .. }) => "rolling",
            _ => return,
        };
        self.problems.push(
            Problem::new(
                &written.at,
                format!("with `{several}` two processes would want this port at a time"),
            )
            .hint("take a range, such as `port = { from = 20000, to = 20099 }`, of which `zdt-units run` gives each one"),
        );
    }

    /// Notes what is wrong on systemd, and nowhere else.
    pub(super) fn only_with_launcher(&mut self, problem: Problem) {
        self.only_with_launcher.push(problem);
    }

    /// Puts the ports of other services into `text`; those that are known later are left.
    pub(super) fn ports_of_others(&mut self, at: &At<String>, text: &Text) -> Option<Text> {
        let mut filled = text.clone();
        for slot in text.slots() {
            let Slot::PortOf(name) = slot else { continue };
            let wrong = match self.offers.get(name.as_str()) {
                Some(Some(Offer::Fixed(port))) => {
                    filled = filled.fill(slot, &port.to_string());
                    continue;
                }
                Some(Some(Offer::Later)) => continue,
                Some(Some(Offer::Unclear)) => return None,
                Some(Some(Offer::Several)) => Problem::new(
                    &at.at,
                    format!("each instance of `{name}` has a port of its own"),
                )
                .hint("name a service with one port"),
                Some(None) => Problem::new(&at.at, format!("service `{name}` has no `port`")).hint(
                    "what it listens on is under `listen`, and known when this file is written",
                ),
                None => {
                    let problem = Problem::new(&at.at, format!("there is no service `{name}`"));
                    let mut known: Vec<&str> = self.offers.keys().map(String::as_str).collect();
                    known.sort_unstable();
                    match nearest(name.as_str(), &known) {
                        Some(meant) => {
                            problem.hint(format!("did you mean `{{{{port.{meant}}}}}`?"))
                        }
                        None => problem.hint(format!("there is {}", list(&known))),
                    }
                }
            };
            self.problems.push(wrong);
            return None;
        }
        Some(filled)
    }
}

/// How many processes run while a service is restarted.
fn at_once(strategy: Option<Strategy>) -> u32 {
    match strategy {
        Some(Strategy::Standby | Strategy::Reload) => 2,
        Some(Strategy::Rolling {
            instances,
            pace: Pace { surge, .. },
        }) => instances + surge,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Model, Values};

    /// Where each service of `text` is asked, and what it is run with.
    fn read(text: &str) -> Vec<(String, Vec<String>)> {
        let model = Model::read("zdt.toml", text).unwrap();
        let services = model.services.into_iter().map(|service| {
            assert!(service.sockets.is_empty());
            let arguments = service.exec.arguments().iter();
            let probe = service.health.unwrap().probe;
            (probe.target(), arguments.map(ToString::to_string).collect())
        });
        services.collect()
    }

    #[test]
    fn a_service_with_a_port_needs_no_socket_and_is_asked_at_its_port() {
        let found = read(
            r#"
[service.fixed]
exec = ["/bin/a", "--port={{port}}"]
port = 8080
health = { http = "http://127.0.0.1:{{port}}/ping" }

[service.range]
exec = ["/bin/a", "{{port}}", "{{port.fixed}}", "{{port.cache}}"]
port = { from = 20000, to = 20099 }
strategy = "rolling"
health = { http = "http://[::1]:{{port}}/ping" }

[service.cache]
exec = ["/bin/a"]
port = { from = 20000, to = 20099 }
health = { tcp = "127.0.0.1:{{port}}" }

[service.ours]
exec = ["/bin/a"]
port = { from = 20000, to = 20099 }
health = {}
"#,
        );
        let words =
            |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        assert_eq!(
            found,
            [
                (
                    "http://127.0.0.1:8080/ping".to_owned(),
                    words(&["--port=8080"])
                ),
                (
                    "http://[::1]:{{port}}/ping".to_owned(),
                    words(&["{{port}}", "8080", "{{port.cache}}"])
                ),
                ("127.0.0.1:{{port}}".to_owned(), words(&[])),
                ("http://127.0.0.1:{{port}}/readyz".to_owned(), words(&[])),
            ]
        );
    }

    #[test]
    fn each_process_is_asked_and_run_with_the_port_that_it_was_given() {
        let text = r#"
[service.a]
exec = ["/bin/a", "{{port}} of {{release.name}}"]
port = { from = 20000, to = 20099 }
release = { root = "/srv/a" }
working_directory = "{{release.path}}"
health = { http = "http://127.0.0.1:{{port}}/ping" }
check = { command = ["/bin/a", "{{release.name}}"] }

[service.a.environment]
URL = "http://a:{{port}}"
RELEASE = "{{release.name}}"
"#;
        let model = Model::read("zdt.toml", text).unwrap();
        let service = model.service("a").unwrap();
        let values = Values {
            port: Some(20001),
            release: Some("v2".to_owned()),
            ..Values::default()
        };
        let run = service.exec.arguments()[0].filled(&values);
        assert_eq!(run.as_deref(), Ok("20001 of v2"));
        let probe = service.health.as_ref().unwrap().probe.on_port(20001);
        assert_eq!(probe.target(), "http://127.0.0.1:20001/ping");
        // A task has no port, and is not given what names one.
        let names = service.given_next.environment.iter();
        let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["RELEASE"]);
    }
}
