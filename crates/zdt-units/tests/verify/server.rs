//! A small server that stops as it should, but for one flaw. It is this test's own binary
//! that plays it.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

pub(super) const VARIABLE: &str = "ZDT_TEST_FLAW";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    ExitsAtOnce,
    ClosesIdle,
    DropsHalfSent,
    CutsSlow,
    MuteWebSocket,
    NoGoAway,
    ShutsListener,
    /// Does nothing at `SIGTERM`.
    Deaf,
    BindsByItself,
    NeverReady,
    OneAtATime,
}

const FLAWS: [Flaw; 11] = [
    Flaw::ExitsAtOnce,
    Flaw::ClosesIdle,
    Flaw::DropsHalfSent,
    Flaw::CutsSlow,
    Flaw::MuteWebSocket,
    Flaw::NoGoAway,
    Flaw::ShutsListener,
    Flaw::Deaf,
    Flaw::BindsByItself,
    Flaw::NeverReady,
    Flaw::OneAtATime,
];

const SLOW: Duration = Duration::from_millis(800);
/// Longer than the requests of any client are apart, so that one is always in flight.
const QUICK: Duration = Duration::from_millis(60);

/// No test, but what runs in the processes that are verified.
#[test]
fn play() {
    let Ok(flaw) = std::env::var(VARIABLE) else {
        return;
    };
    let flaw = FLAWS
        .into_iter()
        .find(|known| format!("{:?}", Some(known)) == flaw);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(serve(flaw));
}

/// What every connection knows.
#[derive(Clone)]
struct Server {
    flaw: Option<Flaw>,
    draining: watch::Receiver<bool>,
    turn: Arc<Mutex<()>>,
}

async fn serve(flaw: Option<Flaw>) {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let listener = match flaw {
        Some(Flaw::BindsByItself) => TcpListener::bind("127.0.0.1:0").await.unwrap(),
        _ => {
            let passed = listenfd::ListenFd::from_env()
                .take_tcp_listener(0)
                .unwrap()
                .unwrap();
            passed.set_nonblocking(true).unwrap();
            TcpListener::from_std(passed).unwrap()
        }
    };
    if flaw != Some(Flaw::NeverReady) {
        zdt::notify::ready().unwrap();
    }
    let (drain, draining) = watch::channel(false);
    let server = Server {
        flaw,
        draining,
        turn: Arc::default(),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let server = server.clone();
                connections.spawn(async move { server.connection(stream).await });
            }
            _ = terminate.recv(), if flaw != Some(Flaw::Deaf) => break,
        }
    }
    match flaw {
        Some(Flaw::ExitsAtOnce) => return,
        Some(Flaw::ShutsListener) => {
            let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
        }
        _ => {}
    }
    drop(listener);
    drain.send_replace(true);
    while connections.join_next().await.is_some() {}
}

impl Server {
    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut read = Vec::with_capacity(16 * 1024);
        let mut served = 0;
        while let Some(head) = self.head(&mut stream, &mut read, served).await? {
            if head.starts_with("PRI ") {
                return self.http2(stream, &head, &read).await;
            }
            if head.starts_with("GET /ws ") {
                return self.websocket(stream, &head).await;
            }
            let length: usize =
                header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            while read.len() < length {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            }
            read.drain(..length);
            if !self.work(&head).await {
                return Ok(());
            }
            let close = *self.draining.borrow() || header(&head, "connection") == Some("close");
            let connection = if close { "close" } else { "keep-alive" };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: {connection}\r\ncontent-length: 2\r\n\r\nok"
            );
            stream.write_all(answer.as_bytes()).await?;
            if close {
                return stream.shutdown().await;
            }
            served += 1;
        }
        Ok(())
    }

    /// The next head; what follows it stays in `read`. `None`: there is none any more.
    async fn head(
        &self,
        stream: &mut TcpStream,
        read: &mut Vec<u8>,
        served: u32,
    ) -> io::Result<Option<String>> {
        let mut draining = self.draining.clone();
        loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = read.split_off(at + 4);
                let head = String::from_utf8(std::mem::replace(read, rest)).unwrap();
                return Ok(Some(head));
            }
            let is_draining = *draining.borrow();
            if is_draining {
                let closes = match self.flaw {
                    Some(Flaw::ClosesIdle) => served > 0 && read.is_empty(),
                    Some(Flaw::DropsHalfSent) => !read.is_empty(),
                    _ => false,
                };
                if closes {
                    return Ok(None);
                }
                // However long its client rests, it asks again or closes.
                match stream.read_buf(read).await {
                    Ok(1..) => continue,
                    _ => return Ok(None),
                }
            }
            tokio::select! {
                got = stream.read_buf(read) => if got? == 0 {
                    return Ok(None);
                },
                _ = draining.wait_for(|&draining| draining) => {}
            }
        }
    }

    /// Takes its time; false: the connection ends without an answer.
    async fn work(&self, head: &str) -> bool {
        let _turn = match self.flaw {
            Some(Flaw::OneAtATime) => Some(self.turn.lock().await),
            _ => None,
        };
        if !head.starts_with("GET /slow ") {
            sleep(QUICK).await;
            return true;
        }
        let mut draining = self.draining.clone();
        tokio::select! {
            () = sleep(SLOW) => true,
            _ = draining.wait_for(|&draining| draining), if self.flaw == Some(Flaw::CutsSlow) => false,
        }
    }

    async fn websocket(&self, mut stream: TcpStream, head: &str) -> io::Result<()> {
        let key = header(head, "sec-websocket-key").unwrap();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let mut draining = self.draining.clone();
        let said = tokio::select! {
            _ = futures_util::StreamExt::next(&mut socket) => return Ok(()),
            _ = draining.wait_for(|&draining| draining) => self.flaw != Some(Flaw::MuteWebSocket),
        };
        if said {
            let goodbye = CloseFrame {
                code: tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode::Restart,
                reason: "".into(),
            };
            let _ = socket.close(Some(goodbye)).await;
            let _ = futures_util::StreamExt::next(&mut socket).await;
        }
        Ok(())
    }

    /// Of the preface, `head` was read already.
    async fn http2(&self, stream: TcpStream, head: &str, read: &[u8]) -> io::Result<()> {
        let seen = [head.as_bytes(), read].concat();
        let (reader, writer) = stream.into_split();
        let stream = tokio::io::join(io::Cursor::new(seen).chain(reader), writer);
        let mut connection = h2::server::handshake(stream)
            .await
            .map_err(io::Error::other)?;
        let mut draining = self.draining.clone();
        let mut told = false;
        loop {
            tokio::select! {
                request = connection.accept() => {
                    let Some(Ok((_, mut respond))) = request else {
                        return Ok(());
                    };
                    tokio::spawn(async move {
                        sleep(QUICK).await;
                        let _ = respond.send_response(http::Response::new(()), true);
                    });
                }
                _ = draining.wait_for(|&draining| draining), if !told => {
                    if self.flaw == Some(Flaw::NoGoAway) {
                        return Ok(());
                    }
                    told = true;
                    connection.graceful_shutdown();
                }
            }
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
