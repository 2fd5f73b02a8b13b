//! How services are right now, as node_exporter reads it. Pure.

use super::{family, sample};
use crate::status::{ServiceStatus, State, Status};

/// Of a socket, where there may be several.
type Sample<'s> = (Option<&'s String>, u64);

/// One reading: what it is called, what it is, and its samples of a service.
struct Gauge {
    name: &'static str,
    text: &'static str,
    of: fn(&ServiceStatus) -> Vec<Sample<'_>>,
}

const GAUGES: &[Gauge] = &[
    Gauge {
        name: "zdt_serving",
        text: "Whether a process serves; also while it ends and the next one starts.",
        of: |service| vec![(None, u64::from(serves(service)))],
    },
    Gauge {
        name: "zdt_ready",
        text: "Whether the health endpoint answered as wanted; absent where nobody was asked.",
        of: |service| {
            let asked = service.health.iter();
            asked
                .map(|health| (None, u64::from(health == "ok")))
                .collect()
        },
    },
    Gauge {
        name: "zdt_problems",
        text: "What is wrong right now, as `zdt-units status` says it.",
        of: |service| vec![(None, count(service.problems.len()))],
    },
    Gauge {
        name: "zdt_breaker_open",
        text: "Whether operations are refused because too many failed.",
        of: |service| vec![(None, u64::from(service.breaker_open))],
    },
    Gauge {
        name: "zdt_memory_bytes",
        text: "Memory of the processes and their children.",
        of: |service| one(service.memory_bytes),
    },
    Gauge {
        name: "zdt_memory_warn_bytes",
        text: "`memory.warn` of zdt.toml, or `memory.limit` without it.",
        of: |service| one(service.memory_warn_bytes),
    },
    Gauge {
        name: "zdt_connections",
        text: "Connections that were accepted and are open.",
        of: |service| {
            let sockets = service.sockets.iter();
            sockets
                .map(|socket| (Some(&socket.unit), count(socket.live)))
                .collect()
        },
    },
    Gauge {
        name: "zdt_queue_connections",
        text: "Connections that wait to be accepted.",
        of: |service| {
            let sockets = service.sockets.iter();
            sockets
                .filter_map(|socket| Some((Some(&socket.unit), socket.waiting?.into())))
                .collect()
        },
    },
    Gauge {
        name: "zdt_queue_limit",
        text: "How many connections may wait.",
        of: |service| {
            let sockets = service.sockets.iter();
            sockets
                .filter_map(|socket| Some((Some(&socket.unit), socket.waiting_limit?.into())))
                .collect()
        },
    },
];

fn serves(service: &ServiceStatus) -> bool {
    match service.state {
        State::Serving | State::Starting | State::Draining | State::Reloading => true,
        // The first connection starts it.
        State::Waiting => true,
        State::Crashing | State::Failed | State::Stopped => false,
    }
}

fn one(value: Option<u64>) -> Vec<Sample<'static>> {
    value.map(|value| (None, value)).into_iter().collect()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The text that a textfile collector reads.
pub fn text(status: &Status) -> String {
    let mut out = String::new();
    for gauge in GAUGES {
        family(&mut out, gauge.name, "gauge", gauge.text);
        for service in &status.services {
            for (socket, value) in (gauge.of)(service) {
                let mut labels = vec![("service", &service.name)];
                labels.extend(socket.map(|unit| ("socket", unit)));
                sample(&mut out, gauge.name, &labels, value);
            }
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::status::SocketStatus;

    pub(in super::super) fn example() -> Status {
        Status {
            manager: String::new(),
            new_connections: None,
            services: vec![
                ServiceStatus {
                    name: "shop".to_owned(),
                    state: State::Serving,
                    health: Some("status 503".to_owned()),
                    breaker_open: true,
                    memory_bytes: Some(4096),
                    memory_warn_bytes: Some(8192),
                    sockets: vec![SocketStatus {
                        unit: "shop.socket".to_owned(),
                        live: 3,
                        waiting: Some(7),
                        waiting_limit: Some(4096),
                        holds_seconds: None,
                    }],
                    ..ServiceStatus::default()
                },
                ServiceStatus {
                    name: "db".to_owned(),
                    state: State::Failed,
                    problems: vec!["it has failed".to_owned()],
                    ..ServiceStatus::default()
                },
            ],
            notes: Vec::new(),
        }
    }

    #[test]
    fn each_reading_is_there_where_it_was_taken() {
        let text = text(&example());
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"zdt_serving{service="shop"} 1"#,
                r#"zdt_serving{service="db"} 0"#,
                r#"zdt_ready{service="shop"} 0"#,
                r#"zdt_problems{service="shop"} 0"#,
                r#"zdt_problems{service="db"} 1"#,
                r#"zdt_breaker_open{service="shop"} 1"#,
                r#"zdt_breaker_open{service="db"} 0"#,
                r#"zdt_memory_bytes{service="shop"} 4096"#,
                r#"zdt_memory_warn_bytes{service="shop"} 8192"#,
                r#"zdt_connections{service="shop",socket="shop.socket"} 3"#,
                r#"zdt_queue_connections{service="shop",socket="shop.socket"} 7"#,
                r#"zdt_queue_limit{service="shop",socket="shop.socket"} 4096"#,
            ]
        );
    }
}
