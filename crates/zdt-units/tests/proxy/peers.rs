//! What goes through a proxy, byte by byte, and what is sent twice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;
use zdt_units::model::Model;
use zdt_units::render::proxy_file;

use super::running::{Proxy, READY, Running};

/// A request that a server got: its first line, and its headers in lower case.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: Vec<String>,
}

impl Seen {
    fn all(&self, name: &str) -> Vec<&str> {
        let headers = self.headers.iter().filter_map(|line| line.split_once(": "));
        let of_it = headers.filter(|(known, _)| *known == name);
        of_it.map(|(_, value)| value).collect()
    }
}

/// A server by hand, one thread for each connection.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn start(answer: fn(&Seen, &mut TcpStream)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let noted = noted.clone();
                thread::spawn(move || {
                    let mut connection = connection;
                    // Nothing: a check.
                    let Some(request) = head(&mut connection) else {
                        return;
                    };
                    noted.lock().unwrap().push(request.clone());
                    answer(&request, &mut connection);
                });
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        let is_test = |seen: &&Seen| !seen.line.contains(READY);
        seen.iter().filter(is_test).cloned().collect()
    }
}

fn head(connection: &mut TcpStream) -> Option<Seen> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        match connection.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return None,
        }
    }
    let text = String::from_utf8(text).unwrap();
    let mut lines = text.trim_end().lines();
    let line = lines.next().unwrap().to_owned();
    let headers = lines.map(str::to_ascii_lowercase).collect();
    Some(Seen { line, headers })
}

fn hello(_: &Seen, connection: &mut TcpStream) {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n";
    let _ = connection.write_all(answer.as_bytes());
}

fn nothing(_: &Seen, _: &mut TcpStream) {}

fn run(proxy: Proxy, servers: &[(&str, SocketAddr)]) -> Running {
    let pairs: Vec<String> = servers
        .iter()
        .map(|(name, address)| format!("{name} = \"{address}\""))
        .collect();
    let text = format!(
        // Restarts as short as may be: Caddy goes on trying for the length of one.
        "[service.shop]\nexec = [\"/bin/shop\"]\nlisten = \":80\"\nstart_timeout = \"1s\"\n\
         drain = {{ limit = \"1s\" }}\nproxy = {{ servers = {{ {} }} }}\n",
        pairs.join(", ")
    );
    let model = Model::read("zdt.toml", &text).unwrap();
    let file = proxy_file(&model, "zdt.toml", proxy.kind(), &[]).unwrap();
    proxy.run(&file.text)
}

/// Sends `text`, and reads until `wanted` has come, or the end.
fn ask(proxy: &Running, text: &str, wanted: &str) -> String {
    let mut connection = connect(proxy);
    connection.write_all(text.as_bytes()).unwrap();
    read(&mut connection, wanted)
}

fn connect(proxy: &Running) -> TcpStream {
    let connection = TcpStream::connect(proxy.address).unwrap();
    let limit = Some(Duration::from_secs(20));
    connection.set_read_timeout(limit).unwrap();
    connection
}

fn read(connection: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains(wanted) {
        match connection.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => text.push_str(&String::from_utf8_lossy(&bytes[..n])),
            Err(error) => panic!("no `{wanted}` after {text:?}: {error}"),
        }
    }
    text
}

fn request(method: &str) -> String {
    format!(
        "{method} / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

pub(super) fn what_was_sent_is_not_sent_again(proxy: Proxy) {
    let sent = |method: &str| {
        let servers = [(); 2].map(|()| Server::start(nothing));
        let named = [("one", servers[0].address), ("two", servers[1].address)];
        let running = run(proxy, &named);
        let answer = ask(&running, &request(method), "\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 50"), "{method}: {answer}");
        servers
            .iter()
            .map(|server| server.seen().len())
            .sum::<usize>()
    };
    let again = sent("GET");
    println!("{}: GET {again} times, POST {}", proxy.program(), 1);
    assert_eq!(sent("POST"), 1);
    match proxy {
        Proxy::Traefik => assert_eq!(again, 1),
        _ => assert!(again > 1, "a safe request was sent once"),
    }

    // Nothing was sent to a server that is not there.
    let gone = TcpSocket::new_v4().unwrap();
    // It never listens, and nobody else can have its port.
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = gone.local_addr().unwrap();
    let server = Server::start(hello);
    let running = run(proxy, &[("gone", nobody), ("there", server.address)]);
    for _ in 0..20 {
        let answer = ask(&running, &request("POST"), "hi\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(server.seen().len(), 20);
}

/// A WebSocket, a stream of events, and who asked.
pub(super) fn passes_on_what_it_should(proxy: Proxy) {
    let server = Server::start(|request, connection| match request.line.as_str() {
        "GET /ws HTTP/1.1" => {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            connection.write_all(answer.as_bytes()).unwrap();
            let mut bytes = [0; 4];
            connection.read_exact(&mut bytes).unwrap();
            connection.write_all(&bytes).unwrap();
            let _ = connection.read(&mut bytes);
        }
        "GET /events HTTP/1.1" => {
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n\
                          Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
            connection.write_all(answer.as_bytes()).unwrap();
            // It goes on, until the client has had enough.
            let _ = connection.read(&mut [0]);
        }
        _ => hello(request, connection),
    });
    let running = run(proxy, &[("shop", server.address)]);

    let mut socket = connect(&running);
    let upgrade = "GET /ws HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).unwrap();
    let answer = read(&mut socket, "\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    socket.write_all(b"ping").unwrap();
    assert_eq!(read(&mut socket, "ping"), "ping");

    let events = "GET /events HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    assert!(ask(&running, events, "data: 1\n").contains("data: 1\n"));

    let claims = "GET /who HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 192.0.2.1\r\n\
                  X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let answer = ask(&running, claims, "hi\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = server.seen();
    let who = seen
        .iter()
        .find(|seen| seen.line == "GET /who HTTP/1.1")
        .unwrap();
    let forwarded = [
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(
        forwarded.map(|name| who.all(name)),
        [
            vec!["shop.example"],
            vec!["127.0.0.1"],
            vec!["shop.example"],
            vec!["http"]
        ]
    );
}
