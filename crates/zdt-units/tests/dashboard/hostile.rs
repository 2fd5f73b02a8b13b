//! Those who mean no good: other names, other methods, half requests, a thousand at once, and one that reads nothing.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::place::{LIMIT, Place, Stream, address, descriptors, until};

pub(super) fn others_are_refused() {
    let place = Place::start(Duration::ZERO, "");
    let own = place.dashboard_at;
    let ask = |line: &str, host: &str| {
        place.ask(&format!(
            "{line} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
        ))
    };
    let host = format!("Host: {own}\r\n");
    let answers = [
        (ask("GET /", &host), 200),
        (ask("HEAD /", &host), 200),
        (ask("GET /status.json", &host), 200),
        (ask("GET /dashboard.css", &host), 200),
        (ask("GET /dashboard.js", &host), 200),
        (ask("GET /icon.svg", &host), 200),
        (ask("GET /", "Host: localhost:7077\r\n"), 200),
        (ask("GET /", "Host: evil.example\r\n"), 421),
        (ask("GET /events", "Host: evil.example:7077\r\n"), 421),
        (
            ask(
                "GET /status.json",
                &format!("Host: {}.evil.example\r\n", own.ip()),
            ),
            421,
        ),
        (ask("GET http://evil.example/", &host), 421),
        (ask("GET /", &format!("{host}Host: evil.example\r\n")), 400),
        (ask("GET /", ""), 400),
        (ask("POST /", &format!("{host}Content-Length: 2\r\n")), 405),
        (ask("DELETE /status.json", &host), 405),
        (
            ask("PUT /events", &format!("{host}Content-Length: 0\r\n")),
            405,
        ),
        (ask("OPTIONS /", &host), 405),
        (ask("GET /../../etc/passwd", &host), 404),
        (ask("GET /zdt.toml", &host), 404),
    ];
    for (answer, status) in &answers {
        assert_eq!(answer.status, *status, "{answer:?}");
        assert!(!answer.head.contains("access-control"), "{answer:?}");
        if !answer.body.is_empty() || *status != 400 {
            assert!(
                answer
                    .head
                    .contains("content-security-policy: default-src 'none';"),
                "{answer:?}"
            );
        }
        let is_meant = *status == 200 || !answer.body.contains("shop");
        assert!(is_meant, "{answer:?}");
    }
    assert_eq!(answers[1].0.body, "");
    assert!(
        answers[13].0.head.contains("allow: GET, HEAD"),
        "{:?}",
        answers[13].0
    );
    for path in ["/livez", "/readyz"] {
        assert_eq!(place.get(path).status, 200);
    }
    // The same value, but for what has gone on.
    let value = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let (page, command) = (
        value(&answers[2].0.body),
        value(&place.said(&["status", "--json"])),
    );
    assert_eq!(page["services"][0]["pid"], command["services"][0]["pid"]);
    assert_eq!(page["manager"], command["manager"]);
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value["services"][0]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(keys(&page), keys(&command));
}

pub(super) fn it_is_for_this_machine() {
    let place = Place::launch(Duration::ZERO, "", address());
    for listen in ["0.0.0.0:7077", "[::]:7077", "192.0.2.1:7077", ":7077"] {
        let output = place
            .command(&["dashboard", "--listen", listen])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_refused = output.status.code() == Some(4) && said.contains("--allow-remote");
        // It is no address that anything here listens on.
        let is_no_address = output.status.code() == Some(5) && listen == ":7077";
        assert!(is_refused || is_no_address, "{listen}: {said}");
    }
}

pub(super) fn a_thousand_clients_leave_nothing_behind() {
    let place = Place::start(Duration::ZERO, "");
    place.get("/");
    let before = until("rest", || at_rest(place.pid()));
    let mut watching: Vec<Stream> = (0..1000)
        .map(|_| Stream::open(place.dashboard_at).unwrap())
        .collect();
    let mut halves: Vec<TcpStream> = (0..1000)
        .map(|_| TcpStream::connect(place.dashboard_at).unwrap())
        .collect();
    for half in &mut halves {
        half.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    }
    let statuses: Vec<u16> = watching.iter_mut().map(Stream::status).collect();
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((of(200), of(503)), (256, 744));
    let began = Instant::now();
    assert_eq!(place.get("/").status, 200);
    let (took, held) = (began.elapsed(), descriptors(place.pid()));
    drop((watching, halves));
    // Their places are free at once.
    until("free place", || {
        (Stream::open(place.dashboard_at).unwrap().status() == 200).then_some(())
    });
    let after = until("end of all", || {
        (descriptors(place.pid()) <= before).then(|| descriptors(place.pid()))
    });
    println!("with {held} descriptors a page took {took:?}; before and after {before} and {after}");
}

/// Descriptors, once what was asked before is closed.
fn at_rest(pid: u32) -> Option<usize> {
    let before = descriptors(pid);
    std::thread::sleep(Duration::from_millis(200));
    (descriptors(pid) == before).then_some(before)
}

/// The others get what is new meanwhile, and it is gone in the end.
pub(super) fn who_reads_nothing_is_given_up() {
    let place = Place::start(Duration::ZERO, "");
    let mut silent = TcpStream::connect(place.dashboard_at).unwrap();
    setsockopt(&silent.as_fd(), sockopt::RcvBuf, &4096).unwrap();
    write!(
        silent,
        "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n",
        place.dashboard_at
    )
    .unwrap();
    let mut reads = Stream::open(place.dashboard_at).unwrap();
    std::fs::create_dir_all(place.events().parent().unwrap()).unwrap();
    let mut events = File::options()
        .create(true)
        .append(true)
        .open(place.events())
        .unwrap();
    let local = silent.local_addr().unwrap();
    let began = Instant::now();
    let mut n = 0u32;
    // By the kernel's list of those that the dashboard has.
    while is_connected(local) {
        assert!(
            began.elapsed() < LIMIT,
            "it is still there after {n} changes"
        );
        for _ in 0..20 {
            n += 1;
            let text = format!("{n} {}", "x".repeat(280));
            writeln!(
                events,
                r#"{{"time":"2026-11-22T00:00:00.000Z","v":1,"restart_id":"a","service":"shop","elapsed_ms":1.0,"kind":"status","unit":"shop.service","text":"{text}"}}"#
            )
            .unwrap();
        }
        let newest = format!("{n} x");
        while !reads.next("events").unwrap().contains(&newest) {}
    }
    println!("given up after {:?} and {n} events", began.elapsed());
    silent.set_read_timeout(Some(LIMIT)).unwrap();
    let mut rest = Vec::new();
    let end = silent.read_to_end(&mut rest);
    assert_eq!(
        end.map_err(|error| error.kind()),
        Err(ErrorKind::ConnectionReset),
        "{}",
        rest.len()
    );
}

/// Whether the other side of a client's socket is there.
fn is_connected(client: std::net::SocketAddr) -> bool {
    let std::net::SocketAddr::V4(client) = client else {
        return false;
    };
    let ip = u32::from_le_bytes(client.ip().octets());
    let remote = format!("{ip:08X}:{:04X}", client.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_it = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(2) == Some(&remote.as_str()) && fields.get(3) == Some(&"01")
    };
    table.lines().any(is_it)
}
