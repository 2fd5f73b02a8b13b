//! `zdt::serve` against `axum::serve` on the same router, and zdt behind nginx: in turn, each round a process of its own,
//! and the ratio of each round.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::server::Which;
use crate::{Result, process, reason};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds.
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,
    /// Seconds that each server is loaded in a round.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Connections that are kept busy.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// A new connection for each request instead of kept ones.
    #[arg(long)]
    pub(crate) new: bool,
}

pub(crate) struct Measured {
    pub(crate) args: Args,
    /// One value for each round.
    pub(crate) axum: Vec<Rate>,
    pub(crate) zdt: Vec<Rate>,
    /// zdt behind nginx, or why not.
    pub(crate) nginx: std::result::Result<Vec<Rate>, String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// User and system time of the server, and of the proxy if there is one, for each request, in microseconds.
    pub(crate) cpu: f64,
}

pub(crate) fn measure(args: &Args) -> Result<Measured> {
    tokio::runtime::Runtime::new()?.block_on(rounds(args))
}

async fn rounds(args: &Args) -> Result<Measured> {
    let mut measured = Measured {
        args: args.clone(),
        axum: Vec::new(),
        zdt: Vec::new(),
        nginx: Ok(Vec::new()),
    };
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        // Who goes first alternates, so that a drift of the machine cancels.
        for first in [round % 2 == 0, round % 2 != 0] {
            match first {
                true => measured.zdt.push(direct(Which::Zdt, args).await?),
                false => measured.axum.push(direct(Which::Axum, args).await?),
            }
        }
        if let Ok(rates) = &mut measured.nginx {
            match proxied(args).await {
                Ok(rate) => rates.push(rate),
                Err(error) => measured.nginx = Err(reason(error.as_ref())),
            }
        }
    }
    Ok(measured)
}

async fn direct(which: Which, args: &Args) -> Result<Rate> {
    let (mut child, address) = start(which).await?;
    let pid = child.id().ok_or("the server has ended")?;
    let rate = rate_of(address, &[pid], args).await;
    child.kill().await?;
    rate
}

async fn proxied(args: &Args) -> Result<Rate> {
    let (mut child, backend) = start(Which::Zdt).await?;
    let mut nginx = Nginx::start(backend, args).await?;
    let address = nginx.address;
    let server = child.id().ok_or("the server has ended")?;
    let master = nginx.process.id().ok_or("nginx has ended")?;
    let mut pids = process::children(master)?;
    pids.push(server);
    let rate = rate_of(address, &pids, args).await;
    nginx.stop().await?;
    child.kill().await?;
    rate
}

/// Requests per second, and what they cost these processes.
async fn rate_of(address: SocketAddr, pids: &[u32], args: &Args) -> Result<Rate> {
    let used = || -> Result<Duration> { pids.iter().map(|&pid| process::cpu_time(pid)).sum() };
    load(address, args, Duration::from_millis(300)).await?;
    let before = used()?;
    let (requests, elapsed) = load(address, args, Duration::from_secs_f64(args.seconds)).await?;
    let cpu = used()?.saturating_sub(before);
    Ok(Rate {
        per_second: requests as f64 / elapsed.as_secs_f64(),
        cpu: cpu.as_secs_f64() * 1e6 / requests as f64,
    })
}

async fn start(which: Which) -> Result<(Child, SocketAddr)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["server", which.name()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the server has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    Ok((child, line.trim().parse()?))
}

struct Nginx {
    process: Child,
    address: SocketAddr,
    _files: TempDir,
}

impl Nginx {
    /// With kept connections to the backend, as its documentation advises.
    async fn start(backend: SocketAddr, args: &Args) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let place = files.path().display();
        // Free until now; nginx cannot choose one itself.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = format!(
            "daemon off;\nworker_processes auto;\npid {place}/pid;\nerror_log {place}/log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\naccess_log off;\nkeepalive_requests 1000000000;\n\
             upstream app {{ server {backend}; keepalive {connections}; keepalive_requests 1000000000; }}\n\
             server {{ listen {address}; location / {{ proxy_pass http://app; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; }} }}\n}}\n",
            connections = args.connections,
        );
        let path = files.path().join("nginx.conf");
        std::fs::write(&path, config)?;
        let process = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .arg("-p")
            .arg(files.path())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start `nginx`: {error}"))?;
        let mut nginx = Self {
            process,
            address,
            _files: files,
        };
        let limit = tokio::time::Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).await.is_err() {
            if nginx.process.try_wait()?.is_some() || tokio::time::Instant::now() > limit {
                return Err("nginx does not listen".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(nginx)
    }

    /// Its workers end with it only if it is asked to.
    async fn stop(&mut self) -> Result<()> {
        let pid = self.process.id().ok_or("nginx has ended")?;
        let pid = nix::unistd::Pid::from_raw(pid.try_into()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        self.process.wait().await?;
        Ok(())
    }
}

/// How many requests were answered in which time.
async fn load(address: SocketAddr, args: &Args, length: Duration) -> Result<(u64, Duration)> {
    let started = Instant::now();
    let end = started + length;
    let mut clients = JoinSet::new();
    for _ in 0..args.connections {
        let new = args.new;
        clients.spawn(async move { client(address, new, end).await });
    }
    let mut requests = 0;
    while let Some(done) = clients.join_next().await {
        requests += done??;
    }
    Ok((requests, started.elapsed()))
}

async fn client(address: SocketAddr, new: bool, end: Instant) -> std::io::Result<u64> {
    let close = if new { "Connection: close\r\n" } else { "" };
    let request = format!("GET / HTTP/1.1\r\nHost: bench\r\n{close}\r\n");
    let mut buffer = vec![0; 4096];
    let mut requests = 0;
    let mut stream = connect(address).await?;
    let mut expected = None;
    while Instant::now() < end {
        stream.write_all(request.as_bytes()).await?;
        if new {
            while stream.read(&mut buffer).await? > 0 {}
            stream = connect(address).await?;
        } else {
            // Every answer is as long as the first.
            let mut read = 0;
            while read == 0 || expected.is_some_and(|expected| read < expected) {
                match stream.read(&mut buffer).await? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    more => read += more,
                }
            }
            expected.get_or_insert(read);
        }
        requests += 1;
    }
    Ok(requests)
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
