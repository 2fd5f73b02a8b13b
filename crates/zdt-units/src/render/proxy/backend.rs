//! A service as a proxy sees it: what follows for all four of them, before anyone's words for it.

use std::time::Duration;

use super::Proxies;
use crate::model::{Domain, Name, Probe, Proxy, Reach, Server, Service, span};

/// Between two checks where several serve: one is missed for two of these.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
pub(super) const FALL: u32 = 2;
/// How long a proxy goes on sending requests to a server that says no.
pub(super) const DETECTION: Duration = Duration::from_secs(2);

/// How long an answer to a check is waited for: a server that is busy is not down.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// Between two checks of the only server.
pub(super) const LONE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a connection without a request is kept to a server that hands it over: less than the 120 s after which
/// the `zdt` library closes it.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// How long a host that does not answer at all is waited for, where there is another one.
const CONNECT: Duration = Duration::from_secs(2);

/// A service, its hosts and its servers.
#[derive(Debug)]
pub(super) struct Backend<'m> {
    pub(super) name: &'m Name,
    /// Empty: every host.
    pub(super) domains: Vec<Domain>,
    pub(super) servers: Vec<Server>,
    pub(super) check: Check,
    /// The longest that one restart may take.
    pub(super) stop: Duration,
    pub(super) start: Duration,
    pub(super) grace: Duration,
    /// Whether connections outlive a restart.
    pub(super) handover: bool,
    /// Of the clients of nginx.
    pub(super) keepalive_min_timeout: Option<Duration>,
}

/// How a proxy finds out that a server is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Http(Question),
    /// Several servers that say nothing of themselves.
    Connect,
    /// One server, of which nothing better than its queue is known.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) path: String,
    pub(super) place: Place,
    /// Never empty.
    pub(super) status: Vec<u16>,
    pub(super) headers: Vec<(String, String)>,
}

/// Where a server is asked, seen from the address where it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    There,
    /// On the same host.
    Port(u16),
    /// Of the only server, on this machine.
    Elsewhere(Reach),
}

impl<'m> Backend<'m> {
    pub(super) fn of(service: &'m Service) -> Option<Self> {
        let Proxy {
            domains,
            servers,
            keepalive_min_timeout,
        } = service.proxied()?;
        let check = match servers.as_slice() {
            [server] => alone(service, server),
            _ => of_several(service),
        };
        Some(Self {
            name: &service.name,
            domains,
            servers,
            check,
            stop: service.stop_timeout(),
            start: service.start_timeout,
            grace: service.drain.grace,
            handover: service.handover,
            keepalive_min_timeout,
        })
    }

    pub(super) fn is_alone(&self) -> bool {
        self.servers.len() == 1
    }

    /// How long a request may wait: for a whole restart.
    pub(super) fn patience(&self) -> Duration {
        self.stop + self.start
    }

    /// Why it may.
    pub(super) fn why_patience(&self) -> String {
        format!(
            "A request may wait for a whole restart, {} to stop and {} to start at most: answered late, not lost.",
            span(self.stop),
            span(self.start)
        )
    }

    /// How long a connection to a server may take to be there.
    pub(super) fn connect(&self) -> Duration {
        match self.is_alone() {
            true => self.patience(),
            false => CONNECT,
        }
    }

    /// Why it may; follows [`why_patience`](Self::why_patience).
    pub(super) fn why_connect(&self) -> &'static str {
        match self.is_alone() {
            true => "As long, where its queue is full.",
            false => "A host that has gone answers nothing: the next one is asked soon.",
        }
    }

    /// Why connections to servers are kept, or are not.
    pub(super) fn why_connections(&self) -> &'static str {
        match self.handover {
            true => {
                "With `handover` connections outlive a restart. The `zdt` library closes one that rests for 120 s."
            }
            false => {
                "A connection for each request. Without `handover` a process that stops closes those that rest, perhaps \
                 just as a request is sent on one; a new one waits in the queue."
            }
        }
    }

    /// A balancer that looks away too late.
    pub(super) fn note(&self, proxy: Proxies) -> Option<String> {
        let asks = matches!(self.check, Check::Http(_)) && proxy != Proxies::Nginx;
        (asks && !self.is_alone() && self.grace < DETECTION).then(|| {
            format!(
                "`{}`: it takes {} until no more requests come to a server that stops, and its `drain.grace` is {}: \
                 they wait there for the next process; add `drain = {{ grace = \"3s\" }}`, and the other servers take \
                 them",
                self.name,
                span(DETECTION),
                span(self.grace),
            )
        })
    }
}

/// `/livez`, which stays 200 while the process stops. Of a program of others nobody knows such a path.
fn alone(service: &Service, server: &Server) -> Check {
    let Some(Probe::Ready { reach, path }) = service.health.as_ref().map(|health| &health.probe)
    else {
        return Check::Nothing;
    };
    let Some(before) = path.strip_suffix("/readyz") else {
        return Check::Nothing;
    };
    let is_elsewhere = service.proxy.as_ref().is_some_and(|proxy| {
        let servers = &proxy.servers;
        servers.iter().any(|known| is_remote(&known.address))
    });
    let place = match (&server.address, reach) {
        (here, there) if here == there => Place::There,
        (Reach::Tcp(here), Reach::Tcp(there)) if is_elsewhere || here.ip() == there.ip() => {
            on_port(here.port(), there.port())
        }
        (_, Reach::OwnPort(_)) => Place::There,
        (_, there) => Place::Elsewhere(there.clone()),
    };
    Check::Http(Question {
        path: format!("{before}/livez"),
        place,
        status: vec![200],
        headers: Vec::new(),
    })
}

fn of_several(service: &Service) -> Check {
    let (reach, path, status, headers) = match service.health.as_ref().map(|health| &health.probe) {
        Some(Probe::Ready { reach, path }) => (reach, path, vec![200], Vec::new()),
        Some(Probe::Http(http)) => (
            &http.reach,
            &http.path,
            http.status.clone(),
            http.headers.clone(),
        ),
        _ => return Check::Connect,
    };
    let main = service.main_reach();
    let place = match reach {
        there if main.as_ref() == Some(there) => Place::There,
        Reach::Tcp(there) => Place::Port(there.port()),
        Reach::OwnPort(_) => Place::There,
        // Of other machines nobody can ask there.
        Reach::Unix(_) => return Check::Connect,
    };
    Check::Http(Question {
        path: path.clone(),
        place,
        status,
        headers,
    })
}

fn on_port(serves: u16, asked: u16) -> Place {
    match serves == asked {
        true => Place::There,
        false => Place::Port(asked),
    }
}

fn is_remote(address: &Reach) -> bool {
    matches!(address, Reach::Tcp(address) if !address.ip().is_loopback())
}
