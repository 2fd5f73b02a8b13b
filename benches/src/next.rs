//! How soon the next process answers a new client.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::Result;

/// From one new client to the one after it.
const EVERY: Duration = Duration::from_millis(5);

const LIMIT: Duration = Duration::from_secs(60);

/// The process that answers now, by what it says.
pub(crate) async fn who_answers(address: SocketAddr) -> io::Result<String> {
    let mut client = TcpStream::connect(address).await?;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The time until another process than `old` has answered a client that came after the call.
pub(crate) async fn first_answer(address: SocketAddr, old: &str) -> Result<Duration> {
    let called = Instant::now();
    let another = async {
        let mut clients = interval(EVERY);
        clients.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clients.tick().await;
            // One that is refused or cut off is not answered, and the next one is soon there.
            if who_answers(address).await.is_ok_and(|who| who != old) {
                return called.elapsed();
            }
        }
    };
    let limit = humantime::format_duration(LIMIT);
    let waited = timeout(LIMIT, another).await;
    waited.map_err(|_| format!("no other process answered within {limit}").into())
}
