//! What many idle connections, and many listeners, cost at a restart.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::TcpSocket;
use zdt_e2e::machine::Machine;
use zdt_units::probe::Stream;

use crate::window::{Restart, Seen, milliseconds, observe};
use crate::{Result, process, reason, units};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Restarts of each.
    #[arg(long, default_value_t = 3)]
    pub(crate) restarts: u32,
    /// Idle keep-alive connections that are open at the restart.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1000, 5000, 15_000])]
    pub(crate) connections: Vec<usize>,
    /// Addresses that the service listens on.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    pub(crate) listeners: Vec<usize>,
}

pub(crate) struct Measured {
    pub(crate) args: Args,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) connections: usize,
    pub(crate) listeners: usize,
    /// One of [`SERVERS`].
    pub(crate) server: usize,
    /// From the first `SIGTERM` to `READY=1` of the next process, in milliseconds.
    pub(crate) restarts: Vec<f64>,
    /// Resident memory of the process before the restart, in MiB.
    pub(crate) memory: Vec<f64>,
    /// CPU time of PID 1 for the restart, in milliseconds.
    pub(crate) manager: Vec<f64>,
    /// New clients meanwhile, a hundred a second.
    pub(crate) others: Seen,
    /// From the command to the first answer that a new client had from the next process, in milliseconds.
    pub(crate) first_answers: Vec<f64>,
    /// Connections that answer after the restart.
    pub(crate) survived: Vec<f64>,
}

/// The name, the server, the settings of its units.
pub(crate) const SERVERS: [(&str, &str, &str); 3] = [
    ("zdt", "zdt", "handover = true"),
    ("zdt, no hand-over", "zdt", ""),
    ("stock, in the same units", "stock", ""),
];

/// As many descriptors as a machine in namespaces may have.
const NOFILE: &str = "nofile = 20000";

impl Row {
    /// Whether a restart has to leave its connections open.
    pub(crate) fn hands_over(&self) -> bool {
        self.server == 0
    }
}

pub(crate) fn measure(args: &Args) -> Result<Measured> {
    let machine = units::boot()?;
    let many_connections = args.connections.iter().map(|&connections| (connections, 1));
    let many_listeners = args.listeners.iter().map(|&listeners| (0, listeners));
    let mut cases: Vec<(usize, usize)> = Vec::new();
    for case in many_connections.chain(many_listeners) {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    let mut rows = Vec::new();
    for (connections, listeners) in cases {
        for server in 0..SERVERS.len() {
            // Without connections there is nothing to hand over, and the stock recipe takes one listener.
            if server > 0 && (connections == 0 || listeners > 1) {
                continue;
            }
            rows.push(Row {
                connections,
                listeners,
                server,
                restarts: Vec::new(),
                memory: Vec::new(),
                manager: Vec::new(),
                others: Seen::default(),
                first_answers: Vec::new(),
                survived: Vec::new(),
            });
        }
    }
    for (number, row) in rows.iter().enumerate() {
        start(&machine, number, row)?;
    }
    for round in 1..=args.restarts {
        for (number, row) in rows.iter_mut().enumerate() {
            eprintln!(
                "restart {round} of {}, {}, {} connections, {} listeners",
                args.restarts, SERVERS[row.server].0, row.connections, row.listeners
            );
            visit(&machine, number, row).map_err(|error| {
                let connections = row.connections;
                format!("{connections} connections: {}", reason(error.as_ref()))
            })?;
        }
    }
    let args = args.clone();
    Ok(Measured { args, rows })
}

fn start(machine: &Machine, number: usize, row: &Row) -> Result<()> {
    let name = name(number);
    let listen: Vec<String> = (0..row.listeners)
        .map(|listener| format!("\"{}\"", address(number, listener)))
        .collect();
    let (_, which, settings) = SERVERS[row.server];
    let settings = format!("listen = [{}]\n{NOFILE}\n{settings}", listen.join(", "));
    let zdt_toml = units::zdt_toml(&name, &units::server(which)?, &settings);
    let units = units::generate(&zdt_toml)?;
    let wanted = [format!("{name}.socket"), format!("{name}.service")];
    units::start(machine, &units, &wanted)?;
    units::await_answer(machine, &address(number, 0).to_string())
}

fn visit(machine: &Machine, number: usize, row: &mut Row) -> Result<()> {
    let unit = format!("{}.service", name(number));
    let address = address(number, 0);
    // Each visit meets a process that held nothing before.
    machine.systemctl(&["restart", &unit])?.ok()?;
    let mut clients = units::in_net(machine, async || connect(address, row.connections).await)?;
    let pid = machine.show(&unit, "MainPID")?;
    row.memory.push(memory(machine, &pid)?);

    let before = process::cpu_time_of_main_thread(machine.pid())?;
    let restart = Restart {
        address: &address.to_string(),
        script: &format!("systemctl restart {unit}"),
        streams: vec![Stream::default()],
        window: Duration::ZERO,
        until_next: true,
    };
    let window = observe(machine, &restart)?;
    row.others.add(&window);
    row.first_answers
        .extend(window.first_answer.map(milliseconds));
    let used = process::cpu_time_of_main_thread(machine.pid())?.saturating_sub(before);
    row.manager.push(milliseconds(used));
    let time = units::restart_time(machine, &unit)?;
    row.restarts.push(milliseconds(time));

    let mut survived = 0;
    for client in &mut clients {
        if asked(client)? {
            survived += 1;
        }
    }
    row.survived.push(f64::from(survived));
    Ok(())
}

/// Connections that were each answered once. One source address has not ports enough for all.
async fn connect(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut clients = Vec::new();
    for number in 0..count {
        let socket = TcpSocket::new_v4()?;
        let source = Ipv4Addr::new(127, 0, 1, 1 + (number / 5000) as u8);
        socket.bind((source, 0).into())?;
        let client = socket.connect(address).await?.into_std()?;
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        clients.push(client);
    }
    for client in &mut clients {
        if !asked(client)? {
            return Err("a connection was closed before the restart".into());
        }
    }
    Ok(clients)
}

/// Whether the server answers on this connection; it must not leave the client waiting.
fn asked(client: &mut TcpStream) -> Result<bool> {
    let mut answer = [0; 512];
    let sent = client.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n");
    match sent.and_then(|()| client.read(&mut answer)) {
        Ok(length) => Ok(answer[..length].starts_with(b"HTTP/1.1 200")),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err("a client was left waiting".into())
        }
        Err(_) => Ok(false),
    }
}

fn memory(machine: &Machine, pid: &str) -> Result<f64> {
    let path = machine.host_path(&format!("/proc/{pid}/status"));
    let status = fs::read_to_string(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kibibytes.parse::<f64>()? / 1024.0)
}

fn name(number: usize) -> String {
    format!("growth-{number}")
}

fn address(number: usize, listener: usize) -> SocketAddr {
    let port = 10_000 + number * 200 + listener;
    SocketAddr::from(([127, 0, 0, 1], port as u16))
}
