//! How a service is asked whether it is well.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::super::mistake::Mistake;
use super::super::value::word;
use super::super::{
    AbsolutePath, Address, Expected, Health, HttpProbe, Piece, Ports, Probe, Reach, Slot, Text,
};
use super::Build;
use super::text::{AtHand, all_or_nothing};
use crate::config::{At, ExpectedConfig, Headers, HealthConfig, Problem, list};

/// Whose health it is, and so what is asked where nothing is said.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// All places where the sockets of a service listen; the main one first, and empty after a mistake.
    Service(&'a [Reach]),
    Foreign,
}

impl Build {
    pub(super) fn health(&mut self, config: &HealthConfig, of: Of<'_>) -> Option<Health> {
        let probe = self.probe(config, of);
        let least = Duration::from_millis(1);
        let successes = self.number(config.successes.as_ref(), 1, 1..=1000);
        let interval = self.duration(config.interval.as_ref(), Duration::from_millis(200), least);
        let timeout = self.duration(config.timeout.as_ref(), Duration::from_secs(30), least);
        let attempt = config.attempt_timeout.as_ref();
        let attempt = self.duration(attempt, Duration::from_secs(5), least);
        let delay = self.duration(config.start_delay.as_ref(), Duration::ZERO, Duration::ZERO);
        if let (Some(written), Some(delay), Some(timeout)) = (&config.start_delay, delay, timeout)
            && delay >= timeout
        {
            self.problems.push(
                Problem::new(&written.at, "`start_delay` leaves no time to ask")
                    .hint("`timeout` is for all of it: make it longer"),
            );
            return None;
        }
        Some(Health {
            probe: probe?,
            successes: u32::try_from(successes?).expect("the range was checked"),
            interval: interval?,
            timeout: timeout?,
            attempt_timeout: attempt?,
            start_delay: delay?,
        })
    }

    fn probe(&mut self, config: &HealthConfig, of: Of<'_>) -> Option<Probe> {
        let kinds = [
            ("listen", config.listen.as_ref().map(|text| &text.at)),
            ("ready", config.ready.as_ref().map(|text| &text.at)),
            ("http", config.http.as_ref().map(|text| &text.at)),
            ("command", config.command.as_ref().map(|words| &words.at)),
            ("tcp", config.tcp.as_ref().map(|text| &text.at)),
            ("active", config.active.as_ref().map(|word| &word.at)),
        ];
        let written: Vec<_> = kinds
            .into_iter()
            .filter_map(|(key, at)| Some((key, at?)))
            .collect();
        let known = self.problems.len();
        let has_port = (self.at_hand.as_ref()).is_some_and(|at_hand| at_hand.ports.is_some());
        let mut rest = written.iter();
        if let Some((first, first_at)) = rest.next() {
            // These two are one kind.
            let other = rest.find(|(key, _)| (*first, *key) != ("listen", "ready"));
            if let Some((second, at)) = other {
                self.problems.push(
                    Problem::new(
                        at,
                        format!("`{first}` and `{second}` are two ways to ask, and one is taken"),
                    )
                    .also(first_at, format!("`{first}`"))
                    .hint("leave one of them out"),
                );
            }
        }
        if config.http.is_none() {
            self.only_with_http(config);
        }
        let probe = match written.first() {
            Some(("http", _)) => self.http(config),
            Some(("command", _)) => {
                let command = self.looked_up(config.command.as_ref()?);
                command.map(|command| Probe::Command { command })
            }
            Some(("tcp", _)) => self.tcp(config.tcp.as_ref()?, of),
            Some(("active", at)) => match config.active.as_ref()?.value {
                true => Some(Probe::Active),
                false => {
                    self.problems.push(
                        Problem::new(at, "`active = false` asks for nothing")
                            .hint("leave `health` out for a unit that is not asked"),
                    );
                    None
                }
            },
            _ => match of {
                Of::Service([]) if config.listen.is_none() && !has_port => {
                    self.problems.push(
                        Problem::new(&config.at, "there is no socket on which health could be asked for").hint(
                            "add `listen = \"127.0.0.1:19081\"`, or ask by `http`, `command` or `tcp`",
                        ),
                    );
                    None
                }
                Of::Service(sockets) => self.of_library(config, sockets),
                Of::Foreign => {
                    self.problems.push(
                        Problem::new(&config.at, "`health` does not say what to ask").hint(
                            "take `http`, `command`, `tcp` or `active`, \
                             for example `health = { command = [\"pg_isready\", \"-q\"] }`",
                        ),
                    );
                    None
                }
            },
        };
        probe.filter(|_| self.problems.len() == known)
    }

    fn only_with_http(&mut self, config: &HealthConfig) {
        let keys = [
            ("status", config.status.as_ref().map(|numbers| &numbers.at)),
            ("body", config.body.as_ref().map(|text| &text.at)),
            ("json", config.json.as_ref().map(|table| &table.at)),
            ("headers", config.headers.as_ref().map(|pairs| &pairs.at)),
        ];
        for (key, at) in keys {
            let Some(at) = at else { continue };
            self.problems.push(
                Problem::new(at, format!("`{key}` is for `http`"))
                    .hint("add `http = \"http://127.0.0.1:8080/health\"`"),
            );
        }
    }

    /// The way of the `zdt` library.
    fn of_library(&mut self, config: &HealthConfig, sockets: &[Reach]) -> Option<Probe> {
        let own = config
            .listen
            .as_ref()
            .map(|text| self.parse(text, Address::parse));
        let path = match &config.ready {
            None => Some("/readyz".to_owned()),
            Some(text) => self.parse(text, request_path),
        };
        let port = self.at_hand.as_ref().and_then(|at_hand| at_hand.ports);
        let reach = match (all_or_nothing(own)?, sockets.first(), port) {
            (Some(address), _, _) => address.reach(),
            (None, Some(socket), _) => socket.clone(),
            (None, None, Some(ports)) => on_loopback(ports),
            // After a mistake.
            (None, None, None) => return None,
        };
        Some(Probe::Ready { reach, path: path? })
    }

    fn http(&mut self, config: &HealthConfig) -> Option<Probe> {
        let url = config.http.as_ref().and_then(|text| self.url(text));
        let status = match &config.status {
            None => vec![200],
            Some(numbers) => self.status(numbers),
        };
        let body = config
            .body
            .as_ref()
            .map(|text| self.parse(text, |text| Ok(text.to_owned())));
        let json = config.json.as_ref().map(|json| self.expected(json));
        let headers = match &config.headers {
            None => Vec::new(),
            Some(headers) => self.headers(headers),
        };
        let (reach, path) = url?;
        Some(Probe::Http(HttpProbe {
            reach,
            path,
            headers,
            status,
            body: all_or_nothing(body)?,
            json: all_or_nothing(json)?,
        }))
    }

    /// A URL whose port may be that of each process.
    fn url(&mut self, text: &At<String>) -> Option<(Reach, String)> {
        let filled = self.fill(text, own_port)?;
        let asked = match filled.slots().next() {
            None => http_url(&filled.to_string()),
            Some(_) => each_port(&filled, "http://", http_url),
        };
        self.note(text, asked)
    }

    fn status(&mut self, numbers: &At<Vec<At<i64>>>) -> Vec<u16> {
        if numbers.value.is_empty() {
            self.problems.push(
                Problem::new(&numbers.at, "no status would do")
                    .hint("leave `status` out for 200, or name at least one"),
            );
        }
        let all = numbers.value.iter();
        all.filter_map(|number| {
            let status = self.number(Some(number), 200, 100..=599)?;
            Some(u16::try_from(status).expect("the range was checked"))
        })
        .collect()
    }

    fn expected(&mut self, config: &ExpectedConfig) -> Option<Expected> {
        let pointer = self.parse(config.pointer.as_ref()?, json_pointer);
        Some(Expected {
            pointer: pointer?,
            value: config.equals.as_ref()?.value.clone(),
        })
    }

    fn headers(&mut self, headers: &Headers) -> Vec<(String, String)> {
        let pairs = headers.value.iter();
        pairs
            .filter_map(|(name, value)| {
                let name = self.parse(name, header_name);
                let value = self.parse(value, header_value);
                Some((name?, value?))
            })
            .collect()
    }

    /// A program, looked up on `PATH` if it has no slash, and its arguments: for `zdt-units` to run.
    pub(super) fn looked_up(&mut self, command: &At<Vec<At<String>>>) -> Option<Vec<String>> {
        if command
            .value
            .first()
            .is_none_or(|program| program.value.is_empty())
        {
            self.problems.push(
                Problem::new(&command.at, "this command is empty")
                    .hint("its first part is the program"),
            );
            return None;
        }
        let words = command.value.iter();
        let words: Vec<String> = words
            .filter_map(|text| {
                self.parse(text, |text| {
                    word(Text::literal(text)).map(|word| word.to_string())
                })
            })
            .collect();
        (words.len() == command.value.len()).then_some(words)
    }

    fn tcp(&mut self, text: &At<String>, of: Of<'_>) -> Option<Probe> {
        let filled = self.fill(text, own_port)?;
        let address = |text: &str| Ok((Address::parse(text)?.reach(), String::new()));
        let asked = match filled.slots().next() {
            None => address(&filled.to_string()),
            Some(_) => each_port(&filled, "", address),
        };
        let (reach, _) = self.note(text, asked)?;
        if let Of::Service(sockets) = of
            && sockets.contains(&reach)
        {
            self.problems.push(
                Problem::new(
                    &text.at,
                    format!(
                        "`{}` accepts connections whoever runs: systemd holds it open",
                        text.value
                    ),
                )
                .hint("ask for an answer instead, with `http` or `ready`"),
            );
            return None;
        }
        Some(Probe::Tcp { reach })
    }
}

/// What is left for each question to fill in.
fn own_port(at_hand: &AtHand, slot: &Slot) -> bool {
    *slot == Slot::Port && at_hand.ports.is_some()
}

/// Where the `zdt` library answers that binds by itself.
fn on_loopback(ports: Ports) -> Reach {
    let ip = Ipv4Addr::LOCALHOST.into();
    match ports.fixed() {
        Some(port) => Reach::Tcp(SocketAddr::new(ip, port)),
        None => Reach::OwnPort(ip),
    }
}

/// Reads an address whose port is `{{port}}`; nothing else may depend on it.
fn each_port(
    text: &Text,
    scheme: &str,
    read: impl Fn(&str) -> Result<(Reach, String), Mistake>,
) -> Result<(Reach, String), Mistake> {
    let wrong = || {
        Mistake::new("`{{port}}` stands for the port of an address here, and nothing else")
            .hint(format!("for example `{scheme}127.0.0.1:{{{{port}}}}`"))
    };
    let [Piece::Literal(before), Piece::Slot(Slot::Port), rest @ ..] = text.pieces() else {
        return Err(wrong());
    };
    let host = before.strip_prefix(scheme).ok_or_else(wrong)?;
    let alone = !host.contains(['/', '?']) && host.ends_with(':');
    if !alone || !matches!(rest, [] | [Piece::Literal(_)]) {
        return Err(wrong());
    }
    // Any port will do to see what the rest means.
    let (reach, path) = read(&text.fill(&Slot::Port, "1").to_string())?;
    match reach {
        Reach::Tcp(address) if address.port() == 1 => Ok((Reach::OwnPort(address.ip()), path)),
        _ => Err(wrong()),
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

/// `http://127.0.0.1:8080/health` or `unix:/run/app.sock:/health`.
fn http_url(text: &str) -> Result<(Reach, String), Mistake> {
    if let Some(rest) = text.strip_prefix("unix:") {
        let (socket, path) = match rest.find(":/") {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest.trim_end_matches(':'), "/"),
        };
        AbsolutePath::parse(socket)?;
        let address = Address::parse(socket)?;
        return Ok((address.reach(), request_path(path)?));
    }
    if text.starts_with("https://") {
        return Err(
            Mistake::new(format!("`{text}` speaks TLS, and health does not")).hint(
                "ask where the process speaks plain HTTP, or take \
                 `command = [\"curl\", \"--fail\", \"--silent\", \"https://…\"]`",
            ),
        );
    }
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(Mistake::new(format!("`{text}` is not a URL to ask"))
            .hint("write `http://127.0.0.1:8080/health`, or `unix:/run/app.sock:/health`"));
    };
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => (&rest[..at], rest[at..].to_owned()),
        Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
        None => (rest, "/".to_owned()),
    };
    if authority == "localhost" || authority.starts_with("localhost:") {
        let meant = text.replacen("localhost", "127.0.0.1", 1);
        return Err(Mistake::new("names are not looked up here").hint(format!("write `{meant}`")));
    }
    let bare = authority.trim_start_matches('[').trim_end_matches(']');
    let address = match bare.parse::<std::net::IpAddr>() {
        Ok(ip) => std::net::SocketAddr::new(ip, 80).to_string(),
        Err(_) => authority.to_owned(),
    };
    if address.starts_with('/') || address.is_empty() {
        return Err(Mistake::new(format!("`{text}` does not say whom to ask"))
            .hint("write `http://127.0.0.1:8080/health`"));
    }
    Ok((Address::parse(&address)?.reach(), request_path(&path)?))
}

/// After RFC 6901: empty, or `/` before each part, and `~` only in `~0` and `~1`.
fn json_pointer(text: &str) -> Result<String, Mistake> {
    let escaped = text
        .split('~')
        .skip(1)
        .all(|after| after.starts_with(['0', '1']));
    if !escaped || !(text.is_empty() || text.starts_with('/')) {
        return Err(
            Mistake::new(format!("`{text}` is not a place in a JSON text"))
                .hint("write `/` before each name, for example `/checks/db/status`"),
        );
    }
    Ok(text.to_owned())
}

/// What `zdt-units` says itself, or what would make another request of it.
const TAKEN: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn header_name(text: &str) -> Result<String, Mistake> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| Mistake::new(format!("`{text}` does not do as the name of a header")))?;
    if TAKEN.contains(&name.as_str()) {
        return Err(Mistake::new(format!("`{text}` is not yours to set"))
            .hint(format!("all but {} are", list(TAKEN))));
    }
    Ok(text.to_owned())
}

fn header_value(text: &str) -> Result<String, Mistake> {
    HeaderValue::from_str(text).map_err(|_| {
        Mistake::new("this does not do as the value of a header")
            .hint("it is one line of visible characters")
    })?;
    Ok(text.to_owned())
}
