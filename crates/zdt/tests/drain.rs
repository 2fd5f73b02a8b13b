//! What a stop does to each kind of connection, over real sockets.
#![cfg(feature = "axum")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests")]

use std::net::TcpListener as StdListener;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use zdt::{Drain, Serve, ServeError, Served};

/// A server whose `/wait` says when it has begun, and answers when told to.
struct Server {
    socket: StdListener,
    drain: Drain,
    begun: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
    running: JoinHandle<Result<Served, ServeError>>,
}

impl Server {
    fn start(set_up: impl FnOnce(Serve) -> Serve) -> Self {
        Self::on(StdListener::bind("127.0.0.1:0").unwrap(), set_up)
    }

    fn on(socket: StdListener, set_up: impl FnOnce(Serve) -> Serve) -> Self {
        let (begin, begun) = mpsc::channel(1);
        let (release, released) = mpsc::channel(1);
        let drain = Drain::new();
        let app = app(&drain, begin, released);
        let serve = zdt::serve(socket.try_clone().unwrap(), app)
            .ignore_signals()
            .ignore_environment()
            .drain(&drain);
        Self {
            socket,
            drain,
            begun,
            release,
            running: tokio::spawn(set_up(serve).into_future()),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.socket.local_addr().unwrap())
            .await
            .unwrap()
    }

    /// A connection that the server has accepted: those before it in the queue
    /// were, once a later one is answered.
    async fn accepted(&self) -> TcpStream {
        let stream = self.connect().await;
        assert_eq!(self.get("/").await.status, 200);
        stream
    }

    async fn get(&self, path: &str) -> Answer {
        get_on(&mut self.connect().await, path).await
    }

    /// A request that is being answered when this returns.
    async fn waiting(&mut self) -> TcpStream {
        let mut stream = self.connect().await;
        send(&mut stream, &request("GET", "/wait")).await;
        self.begun.recv().await.unwrap();
        stream
    }

    async fn served(self) -> Served {
        let ended = timeout(Duration::from_secs(20), self.running).await;
        ended.expect("the server ends").unwrap().unwrap()
    }
}

fn app(drain: &Drain, begin: mpsc::Sender<()>, released: mpsc::Receiver<()>) -> Router {
    let released = std::sync::Arc::new(tokio::sync::Mutex::new(released));
    let watch = drain.watch();
    Router::new()
        .route("/", get(|| async { "ok" }))
        .route(
            "/wait",
            get(move || async move {
                begin.send(()).await.unwrap();
                released.lock().await.recv().await;
                "waited"
            }),
        )
        .route("/never", get(std::future::pending::<&'static str>))
        .route(
            "/until-drain",
            get(move || async move {
                watch.draining().await;
                "goodbye"
            }),
        )
        .route("/unread", post(|| async { "unread" }))
        .route("/upgrade", get(upgrade))
}

/// Leaves HTTP, and then stays until the client goes.
async fn upgrade(request: axum::extract::Request) -> axum::response::Response {
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let mut io = TokioIo::new(upgraded);
            let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
        }
    });
    axum::response::Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "raw")
        .body(axum::body::Body::empty())
        .unwrap()
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    closes: bool,
    body: String,
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn get_on(stream: &mut TcpStream, path: &str) -> Answer {
    send(stream, &request("GET", path)).await;
    answer(stream).await
}

/// Reads one answer with a `Content-Length`.
async fn answer(stream: &mut TcpStream) -> Answer {
    let mut text = Vec::new();
    let head = loop {
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let read = timeout(Duration::from_secs(20), stream.read_buf(&mut text)).await;
        assert_ne!(
            read.expect("an answer").unwrap(),
            0,
            "closed before the answer"
        );
    };
    let shown = String::from_utf8_lossy(&text[..head]).to_lowercase();
    let length = shown
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
        .unwrap_or(0);
    while text.len() < head + length {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "truncated");
    }
    Answer {
        status: shown[9..12].parse().unwrap(),
        closes: shown.contains("connection: close\r\n"),
        body: String::from_utf8_lossy(&text[head..]).into_owned(),
    }
}

fn ok(body: &str, closes: bool) -> Answer {
    Answer {
        status: 200,
        closes,
        body: body.into(),
    }
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = timeout(Duration::from_secs(20), stream.read(&mut byte)).await;
    matches!(read.expect("closed in time"), Ok(0))
}

#[tokio::test]
async fn a_connection_that_was_accepted_and_silent_gets_its_answer() {
    let server = Server::start(|serve| serve);
    let mut silent = server.accepted().await;
    server.drain.start();
    // The stop waits for it, so the time at which it speaks does not matter.
    assert_eq!(get_on(&mut silent, "/").await, ok("ok", true));
    assert!(is_closed(&mut silent).await);
    let served = server.served().await;
    assert!(served.cut.is_nothing(), "{served}");
    assert_eq!(served.during_drain, 1);
}

#[tokio::test]
async fn an_idle_connection_is_told_of_the_close_with_its_next_answer() {
    let server = Server::start(|serve| serve);
    let mut kept = server.connect().await;
    assert_eq!(get_on(&mut kept, "/").await, ok("ok", false));
    server.drain.start();
    assert_eq!(get_on(&mut kept, "/").await, ok("ok", true));
    assert!(is_closed(&mut kept).await);
    assert_eq!(server.served().await.quiet_closed, 0);
}

#[tokio::test]
async fn one_that_stays_idle_is_closed_after_the_linger_time() {
    let linger = Duration::from_millis(200);
    let server = Server::start(|serve| serve.linger(linger));
    let mut kept = server.connect().await;
    get_on(&mut kept, "/").await;
    let mut silent = server.accepted().await;
    let began = Instant::now();
    server.drain.start();
    assert!(is_closed(&mut kept).await);
    assert!(is_closed(&mut silent).await);
    assert!(began.elapsed() >= linger);
    let served = server.served().await;
    assert_eq!(served.quiet_closed, 2);
    assert!(served.cut.is_nothing(), "{served}");
}

#[tokio::test]
async fn the_app_is_gone_when_serve_returns() {
    let socket = StdListener::bind("127.0.0.1:0").unwrap();
    let drain = Drain::new();
    let database = std::sync::Arc::new(());
    let held = database.clone();
    let app = Router::new().route(
        "/",
        get(move || {
            let _ = &held;
            async { "ok" }
        }),
    );
    let serve = zdt::serve(socket.try_clone().unwrap(), app)
        .ignore_signals()
        .ignore_environment()
        .linger(Duration::from_millis(10))
        .drain(&drain);
    let running = tokio::spawn(serve.into_future());
    let mut idle = TcpStream::connect(socket.local_addr().unwrap())
        .await
        .unwrap();
    assert_eq!(get_on(&mut idle, "/").await.status, 200);
    assert!(std::sync::Arc::strong_count(&database) > 1);
    drain.start();
    running.await.unwrap().unwrap();
    assert_eq!(std::sync::Arc::strong_count(&database), 1);
}

#[tokio::test]
async fn while_a_slow_request_runs_others_are_accepted_and_answered() {
    let mut server = Server::start(|serve| serve);
    let mut slow = server.waiting().await;
    server.drain.start();
    for _ in 0..3 {
        assert_eq!(server.get("/").await, ok("ok", true));
    }
    server.release.send(()).await.unwrap();
    assert_eq!(answer(&mut slow).await, ok("waited", true));
    drop(slow);
    let served = server.served().await;
    assert!(served.cut.is_nothing(), "{served}");
    assert_eq!(served.during_drain, 4);
}

#[tokio::test]
async fn what_is_not_accepted_waits_for_the_next_process() {
    let server = Server::start(|serve| serve);
    let socket = server.socket.try_clone().unwrap();
    server.drain.start();
    server.running.await.unwrap().unwrap();
    // Nobody accepts now; the kernel does.
    let mut queued = TcpStream::connect(socket.local_addr().unwrap())
        .await
        .unwrap();
    send(&mut queued, &request("GET", "/")).await;
    let next = Server::on(socket, |serve| serve);
    assert_eq!(answer(&mut queued).await, ok("ok", false));
    drop(queued);
    next.drain.start();
    next.served().await;
}

#[tokio::test]
async fn what_is_not_done_at_the_limit_is_cut_and_counted() {
    let limit = Duration::from_millis(500);
    let server = Server::start(|serve| serve.limit(limit).linger(Duration::from_millis(100)));
    let mut stuck = server.connect().await;
    send(&mut stuck, &request("GET", "/never")).await;
    let mut half = server.connect().await;
    send(&mut half, "GET / HTTP/1.1\r\nHost: half\r\n").await;
    let mut left = server.connect().await;
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";
    send(&mut left, upgrade).await;
    assert_eq!(answer(&mut left).await.status, 101);
    let held = server.drain.watch().hold();
    server.accepted().await;
    let began = Instant::now();
    server.drain.start();
    let served = server.served().await;
    drop(held);
    assert!(began.elapsed() >= limit);
    assert_eq!(
        (
            served.cut.requests,
            served.cut.half_read,
            served.cut.upgraded,
            served.cut.held
        ),
        (1, 1, 1, 1),
        "{served}"
    );
    assert!(is_closed(&mut stuck).await);
}

#[tokio::test]
async fn a_watch_lets_endless_handlers_say_goodbye() {
    let server = Server::start(|serve| serve);
    let mut client = server.connect().await;
    send(&mut client, &request("GET", "/until-drain")).await;
    server.accepted().await;
    server.drain.start();
    assert_eq!(answer(&mut client).await, ok("goodbye", true));
    drop(client);
    assert!(server.served().await.cut.is_nothing());
}

#[tokio::test]
async fn an_upgraded_connection_is_waited_for() {
    let server = Server::start(|serve| serve);
    let mut client = server.connect().await;
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";
    send(&mut client, upgrade).await;
    assert_eq!(answer(&mut client).await.status, 101);
    server.drain.start();
    // It is still served, and so are others.
    send(&mut client, "anything").await;
    assert_eq!(server.get("/").await, ok("ok", true));
    drop(client);
    assert!(server.served().await.cut.is_nothing());
}

/// Closing with unread bytes would make the kernel reset the connection, and
/// the reset can overtake the answer.
#[tokio::test]
async fn an_answer_survives_a_body_that_nobody_reads() {
    let server = Server::start(|serve| serve);
    let mut client = server.connect().await;
    let length = 8 << 20;
    send(
        &mut client,
        &format!("POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"),
    )
    .await;
    let (mut read, mut write) = client.into_split();
    let sending = tokio::spawn(async move {
        // As much as the server takes; it need not take all.
        let _ = write.write_all(&vec![0; length]).await;
    });
    let mut text = String::new();
    read.read_to_string(&mut text).await.expect("no reset");
    assert!(text.ends_with("unread"), "{text}");
    sending.await.unwrap();
    server.drain.start();
    server.served().await;
}

#[tokio::test]
async fn http2_streams_in_flight_are_answered_and_the_client_is_told() {
    let mut server = Server::start(|serve| serve);
    let stream = TokioIo::new(server.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let get = |path: &str| {
        http::Request::get(format!("http://test{path}"))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap()
    };
    let slow = tokio::spawn(sender.send_request(get("/wait")));
    server.begun.recv().await.unwrap();
    assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 200);
    server.drain.start();
    // Still open to new streams while the old one runs.
    assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 200);
    server.release.send(()).await.unwrap();
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "waited");
    // GOAWAY with no error, and then the end.
    connection.await.unwrap().unwrap();
    let served = server.served().await;
    assert!(served.cut.is_nothing(), "{served}");
}

#[tokio::test]
async fn half_a_preface_is_not_waited_for() {
    let server = Server::start(|serve| serve.linger(Duration::from_millis(50)));
    let mut client = server.connect().await;
    send(&mut client, "PRI * HT").await;
    server.accepted().await;
    server.drain.start();
    let served = server.served().await;
    assert!(served.took < Duration::from_secs(5), "{served}");
    assert!(is_closed(&mut client).await);
}

#[tokio::test]
async fn slow_heads_and_idle_connections_time_out() {
    let brief = Duration::from_millis(100);
    let server = Server::start(|serve| serve.idle_timeout(brief).header_read_timeout(brief));
    let mut idle = server.connect().await;
    get_on(&mut idle, "/").await;
    let mut half = server.connect().await;
    send(&mut half, "GET / HTTP/1.1\r\n").await;
    let mut silent = server.connect().await;
    for stream in [&mut idle, &mut half, &mut silent] {
        assert!(is_closed(stream).await);
    }
    server.drain.start();
    server.served().await;
}

#[tokio::test]
async fn probes_are_answered_from_the_first_to_the_last_moment() {
    let probes = StdListener::bind("127.0.0.1:0").unwrap();
    let address = probes.local_addr().unwrap();
    let probe = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        get_on(&mut stream, path).await.status
    };
    let health = zdt::Health::new().listen(probes);
    let told = health.clone();
    let linger = Duration::from_secs(5);
    let mut server = Server::start(|serve| serve.health(health).linger(linger));
    assert_eq!((probe("/livez").await, probe("/readyz").await), (200, 503));

    // A client that comes before the app is ready waits, and is answered.
    let mut early = server.connect().await;
    send(&mut early, &request("GET", "/")).await;
    told.ready();
    assert_eq!(answer(&mut early).await, ok("ok", false));
    drop(early);
    assert_eq!((probe("/livez").await, probe("/readyz").await), (200, 200));

    let slow = server.waiting().await;
    server.drain.start();
    while probe("/readyz").await != 503 {}
    assert_eq!(probe("/livez").await, 200);
    // A probe that is accepted and silent while the process ends.
    let mut late = TcpStream::connect(address).await.unwrap();
    assert_eq!(probe("/livez").await, 200);
    server.release.send(()).await.unwrap();
    drop(slow);
    let ended = tokio::spawn(server.served());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(get_on(&mut late, "/livez").await.status, 200);
    ended.await.unwrap();
}

/// For those who keep `axum::serve`: the same connection, the same answer.
#[tokio::test]
async fn behind_a_gate_axum_serve_answers_silent_connections_too() {
    let gate = zdt::Gate::new().unwrap();
    let listener = zdt::Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.to_string();
    let (begin, _begun) = mpsc::channel(1);
    let (release, released) = mpsc::channel(1);
    let app = app(gate.drain(), begin, released).layer(gate.layer());
    let drain = gate.drain().clone();
    let gated = gate.listener(listener.into_incoming().unwrap());
    let running = tokio::spawn(
        axum::serve(gated, app)
            .with_graceful_shutdown(gate.drained())
            .into_future(),
    );
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut kept = TcpStream::connect(&address).await.unwrap();
    assert_eq!(get_on(&mut kept, "/").await, ok("ok", false));
    drain.start();
    assert_eq!(get_on(&mut kept, "/").await, ok("ok", true));
    assert_eq!(get_on(&mut silent, "/").await, ok("ok", true));
    drop((silent, kept, release));
    let ended = timeout(Duration::from_secs(20), running).await;
    ended.expect("ends").unwrap().unwrap();
}

/// What systemd does to a socket whenever it passes it to one more process.
/// On the one thread of this test an accept that blocks would hold up everything.
#[tokio::test]
async fn a_socket_that_was_made_blocking_blocks_nobody() {
    let server = Server::start(|serve| serve);
    for _ in 0..3 {
        server.socket.set_nonblocking(false).unwrap();
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.drain.start();
    server.running.await.unwrap().unwrap();
}
