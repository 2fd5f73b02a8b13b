//! `zdt::serve` against `axum::serve` on the same router: A B A B, each round
//! a process of its own, and the ratio of each pair.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pairs of rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds a round lasts.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections that are kept busy.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// A new connection for each request instead of kept ones.
    #[arg(long)]
    new: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    Zdt,
    Axum,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) async fn run(args: &Args) -> Result<()> {
    let length = Duration::from_secs_f64(args.seconds);
    let mut ratios = Vec::new();
    println!("round      zdt/s     axum/s   ratio");
    for round in 1..=args.rounds {
        // Who goes first alternates, so that a drift of the machine cancels.
        let order = match round % 2 {
            0 => [Server::Zdt, Server::Axum],
            _ => [Server::Axum, Server::Zdt],
        };
        let mut rates = [0.0, 0.0];
        for server in order {
            let rate = round_of(server, args, length).await?;
            rates[usize::from(server == Server::Axum)] = rate;
        }
        let ratio = rates[0] / rates[1];
        println!(
            "{round:>5} {:>10.0} {:>10.0} {ratio:>7.3}",
            rates[0], rates[1]
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "ratio zdt/axum: median {:.3} (min {:.3}, max {:.3}), {} pairs, {} {} connections",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
        ratios.len(),
        args.connections,
        if args.new { "new" } else { "kept" },
    );
    Ok(())
}

/// Requests per second of one server process.
async fn round_of(server: Server, args: &Args, length: Duration) -> Result<f64> {
    let (mut child, address) = start(server).await?;
    let warm_up = Duration::from_millis(300);
    load(address, args, warm_up).await?;
    let rate = load(address, args, length).await?;
    child.kill().await?;
    Ok(rate)
}

async fn start(server: Server) -> Result<(Child, SocketAddr)> {
    let which = server
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    let mut child = Command::new(std::env::current_exe()?)
        .args(["server".to_owned(), which.unwrap_or_default()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the server has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    Ok((child, line.trim().parse()?))
}

async fn load(address: SocketAddr, args: &Args, length: Duration) -> Result<f64> {
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
    Ok(requests as f64 / started.elapsed().as_secs_f64())
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

pub(crate) async fn serve(which: Server) -> Result<()> {
    let app = Router::new().route("/", get(|| async { "hello\n" }));
    let listener = zdt::Listener::bind("127.0.0.1:0")?;
    println!("{listener}");
    match which {
        Server::Zdt => {
            zdt::serve(listener, app).await?;
        }
        Server::Axum => {
            // The very same socket, with the same backlog and TCP_NODELAY.
            let Some(zdt::Socket::Tcp(tcp)) = listener.into_sockets().pop() else {
                return Err("not a TCP socket".into());
            };
            tcp.set_nonblocking(true)?;
            axum::serve(tokio::net::TcpListener::from_std(tcp)?, app).await?;
        }
    }
    Ok(())
}
