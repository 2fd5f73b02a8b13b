//! Open WebSockets, each held until its end. An end that was told by a close frame is well;
//! one without is a loss.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::probe::{Address, Connection, Done, End, Outcome, Seen, Target, Trace};

/// So long a socket has to stay open where there is no restart.
const TRIAL: Duration = Duration::from_millis(300);
/// From the end of one to the next on its place.
const REST: Duration = Duration::from_millis(100);
/// How long a server may take for the end of TCP after its close frame.
const CLOSING: Duration = Duration::from_secs(5);

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

type Socket = WebSocketStream<Box<dyn Bytes>>;

/// One WebSocket from its opening to its end.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) began: Duration,
    /// When it was open; `None` if it never was.
    pub(super) opened: Option<Duration>,
    pub(super) ended: Duration,
    pub(super) outcome: Outcome,
    pub(super) detail: Option<String>,
}

/// What goes where.
#[derive(Clone, Debug)]
pub(super) struct Sockets<'a> {
    pub(super) target: &'a Target,
    pub(super) path: &'a str,
    pub(super) timeout: Duration,
}

/// Opens one and watches it for a moment; says how long the opening took, or why it does not do.
pub(super) async fn try_once(
    target: &Target,
    path: &str,
    timeout: Duration,
) -> Result<Duration, String> {
    let sockets = Sockets {
        target,
        path,
        timeout,
    };
    let began = Instant::now();
    let mut socket = sockets.open().await.map_err(|(outcome, why)| {
        let why = why.unwrap_or_else(|| outcome.name().to_owned());
        format!("`{path}` opens no WebSocket: {why}")
    })?;
    let took = began.elapsed();
    let trial = tokio::time::timeout(TRIAL, until_end(&mut socket)).await;
    match trial {
        Err(_) => {
            let _ = tokio::time::timeout(CLOSING, socket.close(None)).await;
            Ok(took)
        }
        Ok(_) => Err(format!("`{path}` closes a WebSocket that says nothing")),
    }
}

impl Sockets<'_> {
    /// Holds `count` of them open until `stop` turns true, and says what became of each.
    pub(super) async fn hold(
        &self,
        count: usize,
        clock: Instant,
        stop: &watch::Receiver<bool>,
    ) -> Vec<Held> {
        let places = (0..count).map(|_| self.place(clock, stop.clone()));
        join_all(places).await.concat()
    }

    /// One after the other, as long as it goes on.
    async fn place(&self, clock: Instant, mut stop: watch::Receiver<bool>) -> Vec<Held> {
        let mut all = Vec::new();
        while !*stop.borrow() {
            all.push(self.one(clock, &mut stop).await);
            tokio::select! {
                () = sleep(REST) => {}
                _ = stop.wait_for(|&stop| stop) => {}
            }
        }
        all
    }

    async fn one(&self, clock: Instant, stop: &mut watch::Receiver<bool>) -> Held {
        let began = clock.elapsed();
        let held = |opened, outcome, detail| Held {
            began,
            opened,
            ended: clock.elapsed(),
            outcome,
            detail,
        };
        let mut socket = match self.open().await {
            Ok(socket) => socket,
            Err((outcome, detail)) => return held(None, outcome, detail),
        };
        let opened = Some(clock.elapsed());
        tokio::select! {
            biased;
            (outcome, detail) = until_end(&mut socket) => held(opened, outcome, detail),
            _ = stop.wait_for(|&stop| stop) => {
                let _ = timeout(CLOSING, socket.close(None)).await;
                held(opened, Outcome::Ok, None)
            }
        }
    }

    async fn open(&self) -> Result<Socket, (Outcome, Option<String>)> {
        let opening = async {
            let stream: Box<dyn Bytes> = match &self.target.address {
                Address::Tcp(address) => TcpStream::connect(address)
                    .await
                    .map(|stream| Box::new(stream) as Box<dyn Bytes>),
                Address::Unix(path) => UnixStream::connect(path)
                    .await
                    .map(|stream| Box::new(stream) as Box<dyn Bytes>),
            }
            .map_err(|error| (Outcome::of_connect_error(&error), Some(error.to_string())))?;
            let url = format!("ws://{}{}", self.target.host, self.path);
            match client_async(url, stream).await {
                Ok((socket, _)) => Ok(socket),
                Err(error) => Err((classify(&error), Some(error.to_string()))),
            }
        };
        let late = || {
            (
                Outcome::Timeout,
                Some("no answer to the upgrade".to_owned()),
            )
        };
        timeout(self.timeout, opening)
            .await
            .unwrap_or_else(|_| Err(late()))
    }
}

/// Reads until the end, whatever is said meanwhile.
async fn until_end(socket: &mut Socket) -> (Outcome, Option<String>) {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map(|frame| frame.code);
                // The answer to it leaves with the next read.
                let _ = timeout(CLOSING, socket.next()).await;
                return told(code);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return (classify(&error), Some(error.to_string())),
            None => return (Outcome::Eof, None),
        }
    }
}

/// What a close frame says: a goodbye, or that something is wrong.
fn told(code: Option<CloseCode>) -> (Outcome, Option<String>) {
    match code {
        None | Some(CloseCode::Normal | CloseCode::Away | CloseCode::Restart) => {
            (Outcome::Ok, None)
        }
        Some(code) => (Outcome::Garbled, Some(format!("closed with {code}"))),
    }
}

fn classify(error: &Error) -> Outcome {
    let ended = |end| Outcome::of_end(end, Seen::Nothing, Connection::Fresh);
    match error {
        Error::Io(error) => ended(match error.kind() {
            io::ErrorKind::UnexpectedEof => End::Eof,
            _ => End::of_error(error),
        }),
        Error::Http(response) => Outcome::WrongStatus(response.status().as_u16()),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete,
        )
        | Error::ConnectionClosed
        | Error::AlreadyClosed => ended(End::Eof),
        _ => Outcome::Garbled,
    }
}

impl Held {
    /// As a request to sum up: an opening that took its time, or a loss when it struck.
    pub(super) fn done(&self) -> Done {
        let (due, ended) = match (self.outcome, self.opened) {
            (Outcome::Ok, Some(opened)) => (self.began, opened),
            _ => (self.ended, self.ended),
        };
        Done {
            due,
            began: due,
            ended,
            outcome: self.outcome,
            trace: Trace {
                opened: u64::from(self.opened.is_some()),
                detail: self.detail.clone(),
                ..Trace::default()
            },
        }
    }
}
