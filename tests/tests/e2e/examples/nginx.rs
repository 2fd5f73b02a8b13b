//! `examples/unix-socket`: nginx in front, and its clients.

use std::error::Error;
use std::fs;

use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;
use zdt_units::probe::Report;

use super::HTTP;

const STOCK_SOCKET: &str = "\
[Socket]
ListenStream=/run/wiki.sock
SocketGroup=www-data
SocketMode=0660
";

const STOCK_SERVICE: &str = "\
[Unit]
StartLimitIntervalSec=0

[Service]
ExecStart=/opt/zdt/bin/stock
";

/// A start-up of a second behind a queue of eight: a Unix socket refuses what
/// does not fit.
const SHORT_QUEUE: &str = r#"
[service.wiki]
exec = ["/opt/zdt/bin/app"]
environment = { WARMUP_MS = "1000" }

[[service.wiki.socket]]
name = "http"
listen = "/run/wiki.sock"
group = "www-data"
backlog = 8
"#;

const MAKE_ROOM: &str = "
cd /etc/nginx && rm -f sites-enabled/default &&
sed -i 's/worker_connections .*;/worker_connections 8192;/; 1i worker_rlimit_nofile 16384;' nginx.conf
";

/// Eighty restarts behind nginx with the example's own configuration. Beside
/// it the stock recipe behind the same nginx, and the trap of a short queue.
pub(crate) fn nginx_before_a_unix_socket_loses_nothing(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    nginx(machine)?;
    super::install(machine, "unix-socket")?;
    let hello = Client::tcp(machine, HTTP)?.get("/")?;
    assert_eq!(hello.text(), "hello 127.0.0.1\n");
    let report = restarts(machine, 1000, 80)?;
    super::assert_lossless("behind nginx, 80 restarts", &report);

    let stock = crate::builder().boot()?;
    nginx(&stock)?;
    stock.install(&[
        ("wiki.socket", STOCK_SOCKET),
        ("wiki.service", STOCK_SERVICE),
    ])?;
    let start = stock.systemctl(&["start", "wiki.socket", "wiki.service"])?;
    start.ok()?;
    // How much it loses depends on the load of the machine; that it does, does not.
    let mut lost = 0;
    for round in 1..=10 {
        let report = restarts(&stock, 1000, 80)?;
        println!(
            "stock behind nginx, round {round} of 80 restarts: {}",
            report.total.outcomes
        );
        assert!(report.valid, "{report}");
        lost = report.lost();
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0, "the control lost nothing");

    for backlog in [4096, 8] {
        let short = crate::builder().boot()?;
        nginx(&short)?;
        let zdt_toml = SHORT_QUEUE.replace("backlog = 8", &format!("backlog = {backlog}"));
        for (name, text) in crate::units::generate(&zdt_toml)? {
            short.install(&[(&name, &text)])?;
        }
        short.systemctl(&["start", "wiki.service"])?.ok()?;
        let report = restarts(&short, 100, 3)?;
        println!(
            "behind nginx, backlog {backlog}, start-up 1 s, 3 restarts: {}",
            report.total.outcomes
        );
        assert!(report.valid, "{report}");
        let log = short.run(&["cat", "/var/log/nginx/error.log"])?.ok()?;
        let full = log.stdout.matches("Resource temporarily unavailable");
        assert_eq!(report.lost(), full.count() as u64, "{report}");
        assert_eq!(report.lost() > 0, backlog == 8, "{report}");
    }
    Ok(())
}

/// nginx as Debian starts it, with the example's configuration and no other
/// site, and room for the clients that wait: each takes two connections.
fn nginx(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.needs("nginx", "nginx-light")?;
    let conf = fs::read_to_string(super::directory("unix-socket").join("nginx.conf"))?;
    machine.write_file("/etc/nginx/conf.d/wiki.conf", conf, 0o644)?;
    machine.run(&["sh", "-c", MAKE_ROOM])?.ok()?;
    machine.systemctl(&["start", "nginx.service"])?.ok()?;
    Ok(())
}

/// What nginx's clients see of plain restarts.
fn restarts(machine: &Machine, rate: u32, count: u32) -> Result<Report, Box<dyn Error>> {
    let load = super::load(machine, HTTP, &[&format!("--rate={rate}")])?;
    for _ in 0..count {
        machine.systemctl(&["restart", "wiki.service"])?.ok()?;
        for _ in 0..50 {
            Client::tcp(machine, HTTP)?.get("/")?;
        }
    }
    Ok(load.stop()?)
}
