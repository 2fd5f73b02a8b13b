//! Servers that are restarted behind a proxy with a file of ours, and beside it with one as people copy it.

use std::fs;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use zdt_units::probe::{Live, Load, Pattern, Report, Stream, run_live};

use super::bench::{Bench, PROGRAM, free_port, script, until};
use super::running::{Proxy, Running};

/// Longer than `DETECTION` of the file, and than what the usual one takes.
const START: &str = "1.5";
const RESTARTS: usize = 3;

pub(super) fn one_server_restarts(proxy: Proxy) {
    let site = Site::start("");
    let report = site.restart_behind(&proxy.run(&site.file(proxy)), &["web1"]);
    tell(proxy, "one server", &report);
    assert_eq!(report.lost(), 0, "{report}");
}

pub(super) fn one_server_that_hands_over_restarts(proxy: Proxy) {
    let site = Site::start("handover = true\n");
    let report = site.restart_behind(&proxy.run(&site.file(proxy)), &["web1"]);
    tell(proxy, "one server, hand-over", &report);
    assert_eq!(report.lost(), 0, "{report}");
}

pub(super) fn two_servers_restart(proxy: Proxy) {
    let site = Site::start("servers");
    let report = site.restart_behind(&proxy.run(&site.file(proxy)), &["web1", "web2"]);
    tell(proxy, "two servers", &report);
    assert_eq!(report.lost(), 0, "{report}");
}

/// The control: the same service, and a check, or a timeout, that is not made for it.
pub(super) fn the_usual_file_loses(proxy: Proxy) {
    let site = Site::start("");
    let report = site.restart_behind(&proxy.run(&site.usual(proxy)), &["web1"]);
    tell(proxy, "one server, the usual file", &report);
    assert!(report.lost() > 0, "the control lost nothing: {report}");
}

fn tell(proxy: Proxy, what: &str, report: &Report) {
    let outcomes = &report.total.outcomes;
    let losses = outcomes.losses();
    let losses = losses.iter().map(|(what, count)| format!("{count} {what}"));
    println!(
        "{}, {what}: {} sent, {} lost [{}], {} stale, at most {} ms",
        proxy.program(),
        outcomes.scheduled,
        outcomes.lost(),
        losses.collect::<Vec<_>>().join(", "),
        outcomes.stale,
        report.total.latency.max_us / 1000,
    );
    for stream in &report.streams {
        let outcomes = &stream.outcomes;
        println!(
            "  {}: {} sent, {} lost",
            stream.name,
            outcomes.scheduled,
            outcomes.lost()
        );
    }
}

/// `web1`, and beside it `web2` as if on another host, under a launcher.
struct Site {
    bench: Bench,
    port: u16,
    health: u16,
}

impl Site {
    /// With lines for both, or with `servers` for two of them.
    fn start(more: &str) -> Self {
        let mut site = Self {
            bench: Bench::new(),
            port: free_port(),
            health: free_port(),
        };
        let (port, health) = (site.port, site.health);
        let program = site.bench.path("program");
        script(&program, &format!("sleep {START}; exec {PROGRAM} demo-app"));
        let service = |name: &str, host: &str, more: &str| {
            format!(
                "[service.{name}]\nexec = [\"{program}\"]\nlisten = \"{host}:{port}\"\n\
                 health = {{ listen = \"{host}:{health}\" }}\nstart_timeout = \"20s\"\n{more}"
            )
        };
        let text = match more {
            "servers" => {
                let grace = "drain = { grace = \"3s\" }\n";
                let servers = format!(
                    "{grace}proxy = {{ servers = {{ web1 = \"127.0.0.1:{port}\", web2 = \"127.0.0.2:{port}\" }} }}\n"
                );
                service("web1", "127.0.0.1", &servers) + &service("web2", "127.0.0.2", grace)
            }
            more => service("web1", "127.0.0.1", more),
        };
        site.bench.write(&(site.bench.head() + &text));
        site.bench.start(&[]);
        site
    }

    /// By the command.
    fn file(&self, proxy: Proxy) -> String {
        let arguments = ["generate", "--proxy", proxy.program(), "--out", "."];
        self.bench.done(&arguments);
        self.bench.done(&[&arguments[..], &["--check"]].concat());
        fs::read_to_string(self.bench.path(proxy.file())).unwrap()
    }

    /// As it is copied from one to the next.
    fn usual(&self, proxy: Proxy) -> String {
        let (port, health) = (self.port, self.health);
        match proxy {
            Proxy::Haproxy => format!(
                "frontend web\n    mode http\n    bind :80\n    timeout client 30s\n    default_backend shop\n\
                 backend shop\n    mode http\n    timeout connect 5s\n    timeout server 30s\n    \
                 option httpchk GET /readyz\n    \
                 server web1 127.0.0.1:{port} check port {health} inter 500ms fall 2 rise 2\n"
            ),
            Proxy::Nginx => format!(
                "upstream shop {{\n    server 127.0.0.1:{port};\n    keepalive 32;\n}}\n\
                 server {{\n    listen 80;\n    location / {{\n        proxy_pass http://shop;\n        \
                 proxy_http_version 1.1;\n        proxy_set_header Connection \"\";\n        \
                 proxy_connect_timeout 1s;\n        proxy_read_timeout 1s;\n    }}\n}}\n"
            ),
            Proxy::Caddy => format!(
                "http:// {{\n\treverse_proxy 127.0.0.1:{port} {{\n\t\thealth_uri /readyz\n\t\t\
                 health_port {health}\n\t\thealth_interval 500ms\n\t}}\n}}\n"
            ),
            Proxy::Traefik => format!(
                "http:\n  routers:\n    shop: {{ rule: \"PathPrefix(`/`)\", service: shop }}\n  services:\n    \
                 shop:\n      loadBalancer:\n        servers: [{{ url: \"http://127.0.0.1:{port}\" }}]\n        \
                 healthCheck: {{ path: /readyz, port: {health}, interval: 500ms, timeout: 400ms }}\n"
            ),
        }
    }

    /// Restarts one after the other, each when the proxy uses the one before again.
    fn restart_behind(&self, proxy: &Running, services: &[&str]) -> Report {
        let rounds = std::env::var("ZDT_PROXY_ROUNDS").ok();
        let rounds: usize = rounds.map_or(1, |rounds| rounds.parse().unwrap());
        let hosts = [[127, 0, 0, 1], [127, 0, 0, 2]];
        // What waited in its queue is answered within a second or two: then it is the proxy that sends requests.
        let used = |service: usize| {
            for _ in 0..4 {
                until("requests to the server", || {
                    is_used(hosts[service], self.port)
                });
                thread::sleep(Duration::from_secs(1));
            }
        };
        under_load(proxy, || {
            for restart in 0..RESTARTS * rounds {
                // With one server there is nothing to wait for.
                if restart > 0 && services.len() > 1 {
                    used((restart - 1) % services.len());
                }
                self.bench
                    .done(&["restart", services[restart % services.len()]]);
            }
        })
    }
}

/// Whether a process has an open connection there, which it has accepted: what is queued belongs to nobody.
fn is_used(host: [u8; 4], port: u16) -> bool {
    let local = format!("{:08X}:{port:04X}", u32::from_le_bytes(host));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&local.as_str())
            && words.get(3) == Some(&"01")
            && words.get(9) != Some(&"0")
    })
}

/// Requests a second, of all streams together: what two cores have room for, beside clients, proxy and servers, of
/// which most are debug builds.
fn rate() -> f64 {
    let rate = std::env::var("ZDT_PROXY_RATE").ok();
    rate.map_or(200.0, |rate| rate.parse().unwrap())
}

fn streams() -> Vec<Stream> {
    let rate = rate();
    let stream = |name: &str, share: f64, pattern| Stream {
        name: name.to_owned(),
        rate: rate * share,
        pattern,
        timeout: Duration::from_secs(30),
        ..Stream::default()
    };
    vec![
        stream("new", 0.4, Pattern::New),
        stream("kept", 0.495, Pattern::KeepAlive { connections: 50 }),
        Stream {
            method: "POST".to_owned(),
            body_bytes: 512,
            ..stream("posts", 0.1, Pattern::KeepAlive { connections: 10 })
        },
        Stream {
            path: "/slow?ms=500".to_owned(),
            ..stream("slow", 0.005, Pattern::New)
        },
    ]
}

/// What clients of the proxy meet while `work` is done.
fn under_load(proxy: &Running, work: impl FnOnce()) -> Report {
    let load = Load {
        target: proxy.address.into(),
        streams: streams(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let live = Live::new();
    let seen = live.clone();
    let clients = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run_live(&load, &live, async {
            let _ = stopped.await;
        }))
    });
    let some = |n: u64| until("some answers", || seen.ok() >= n);
    some(500);
    work();
    some(seen.ok() + 500);
    let _ = stop.send(());
    let report = clients.join().unwrap();
    assert!(report.valid, "{report}");
    report
}
