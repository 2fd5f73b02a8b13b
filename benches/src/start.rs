//! From the start of a process to its first answer. A client already waits in the queue of the socket that the process
//! is given, so nothing is asked in vain and nothing is polled.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Instant;

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::Result;
use crate::server::Which;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Starts of each program.
    #[arg(long, default_value_t = 60)]
    pub(crate) starts: usize,
}

pub(crate) struct Measured {
    pub(crate) starts: usize,
    /// The program, and the time of each of its starts in milliseconds.
    pub(crate) rows: Vec<(Which, Vec<f64>)>,
}

const PROGRAMS: [Which; 4] = [Which::Floor, Which::Tokio, Which::Stock, Which::Zdt];

pub(crate) fn measure(args: &Args) -> Result<Measured> {
    let mut rows: Vec<(Which, Vec<f64>)> = PROGRAMS.map(|which| (which, Vec::new())).into();
    tokio::runtime::Runtime::new()?.block_on(async {
        for start in 0..args.starts {
            for turn in 0..rows.len() {
                // Who goes first changes, so that a drift of the machine cancels.
                let (which, times) = &mut rows[(start + turn) % PROGRAMS.len()];
                times.push(first_answer(*which).await?);
            }
        }
        Ok(Measured {
            starts: args.starts,
            rows,
        })
    })
}

async fn first_answer(which: Which) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        .await?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["server", which.name()])
        .env("LISTEN_FDS", "1")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .fd_mappings(vec![FdMapping {
            parent_fd: listener.into(),
            child_fd: 3,
        }])?;
    let began = Instant::now();
    let mut child = command.spawn()?;
    let mut answer = [0; 512];
    let length = client.read(&mut answer).await?;
    let time = began.elapsed();
    child.kill().await?;
    match answer[..length].starts_with(b"HTTP/1.1 200") {
        true => Ok(time.as_secs_f64() * 1000.0),
        false => Err(format!("`{}` gave no answer", which.name()).into()),
    }
}
