//! A stream of requests over a restart at any moment gets the answers of one
//! without: the same bytes, in order, and each request reaches the app once.
//!
//! Real processes: this program starts itself as the service, and stands in for
//! the manager with its descriptor store.
#![cfg(feature = "axum")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that starts processes and is one of them"
)]

#[path = "handover/manager.rs"]
mod manager;
#[path = "handover/requests.rs"]
mod requests;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::routing::{get, post};
use futures_util::stream;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde::Deserialize;

use self::manager::{LOG, Service};
use self::requests::{Connection, connection};

/// Far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test of its own: the service that the test starts.
#[test]
fn service_process() {
    let Ok(log) = std::env::var(LOG) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let app = app(Path::new(&log));
        zdt::serve(zdt::listener().unwrap(), app).await.unwrap();
    });
}

/// Writes down each request that reaches it.
fn app(log: &Path) -> Router {
    let log = std::fs::File::options().append(true).open(log).unwrap();
    let log = std::sync::Arc::new(log);
    let seen = move |Query(asked): Query<Asked>| {
        let log = std::sync::Arc::clone(&log);
        async move {
            // One write, so that two processes do not mix.
            (&*log)
                .write_all(format!("{}\n", asked.id).as_bytes())
                .unwrap();
            tokio::time::sleep(Duration::from_millis(asked.ms)).await;
            asked
        }
    };
    let (seen_sized, seen_pieces, seen_echo) = (seen.clone(), seen.clone(), seen);
    Router::new()
        .route(
            "/sized",
            get(|asked| async move {
                let asked = seen_sized(asked).await;
                "s".repeat(asked.len)
            }),
        )
        .route(
            "/pieces",
            get(|asked| async move {
                let asked = seen_pieces(asked).await;
                let pieces =
                    (0..asked.len).map(|n| Ok::<_, std::io::Error>(format!("piece {n}\n")));
                Body::from_stream(stream::iter(pieces))
            }),
        )
        .route(
            "/echo",
            post(|asked, body: Bytes| async move {
                seen_echo(asked).await;
                body
            }),
        )
}

#[derive(Deserialize)]
struct Asked {
    id: u64,
    ms: u64,
    #[serde(default)]
    len: usize,
}

/// What a client got on one connection, from its first answer to the close that it
/// asked for.
fn talk(address: SocketAddr, connection: &Connection, pauses: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (piece, pause) in connection.pieces() {
                // A connection that broke is seen by its reader.
                if writer.write_all(piece).is_err() {
                    return;
                }
                if pauses {
                    thread::sleep(pause);
                }
            }
        });
        let mut got = Vec::new();
        if let Err(error) = stream.read_to_end(&mut got) {
            got.extend(format!("<{error}>").bytes());
        }
        without_dates(&got)
    })
}

/// All connections at once, with their pauses or without; meanwhile `meanwhile`.
fn talk_all(
    address: SocketAddr,
    connections: &[Connection],
    pauses: bool,
    meanwhile: impl FnOnce(),
) -> Vec<Vec<u8>> {
    thread::scope(|scope| {
        let talking: Vec<_> = connections
            .iter()
            .map(|connection| scope.spawn(move || talk(address, connection, pauses)))
            .collect();
        meanwhile();
        let ended = talking.into_iter();
        ended.map(|talking| talking.join().unwrap()).collect()
    })
}

/// The clock is the one thing in which two runs may differ.
fn without_dates(answers: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answers);
    let lines: Vec<&str> = text
        .split("\r\n")
        .filter(|line| !line.starts_with("date: "))
        .collect();
    lines.join("\r\n").into_bytes()
}

fn readable(answers: &[Vec<u8>]) -> Vec<String> {
    let text = |answers: &Vec<u8>| {
        let text = String::from_utf8_lossy(answers);
        // A body of a kilobyte says no more than its length does.
        let short = |line: &str| match line.len() {
            0..100 => line.to_owned(),
            length => format!("<{length} bytes>"),
        };
        text.split("\r\n").map(short).collect::<Vec<_>>().join("|")
    };
    answers.iter().map(text).collect()
}

#[test]
fn a_restart_at_any_moment_changes_no_answer() {
    let reference = Service::start();
    let service = Mutex::new(Some(Service::start()));
    let cases = std::env::var("PROPTEST_CASES").ok();
    let config = Config {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(200),
        max_shrink_iters: 100,
        failure_persistence: None,
        ..Config::default()
    };
    let handed_over = std::cell::Cell::new(0);
    let case = (
        prop::collection::vec(connection(), 1..6),
        (0_u64..30_000).prop_map(Duration::from_micros),
    );
    proptest!(config, |((mut connections, stop_after) in case)| {
        requests::number(&mut connections);
        let expected = talk_all(reference.address(), &connections, false, || ());

        let mut slot = service.lock().unwrap();
        // One that a failed case may have spoilt is not used again.
        let mut service = slot.take().unwrap_or_else(Service::start);
        service.forget();
        let address = service.address();
        let got = talk_all(address, &connections, true, || {
            thread::sleep(stop_after);
            service.restart();
        });
        prop_assert_eq!(readable(&got), readable(&expected));
        prop_assert!(got == expected, "the bodies differ");

        let mut times = BTreeMap::new();
        for id in service.seen() {
            *times.entry(id).or_insert(0) += 1;
        }
        let once: BTreeMap<u64, i32> = requests::ids(&connections).map(|id| (id, 1)).collect();
        prop_assert_eq!(times, once);
        handed_over.set(handed_over.get() + service.took_over());
        *slot = Some(service);
    });
    // A test in which nothing was handed over would have shown nothing.
    assert!(handed_over.get() > 0);
    println!("{} connections were handed over", handed_over.get());
}
