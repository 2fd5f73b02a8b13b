//! Where events go: files that several processes write to at once, and a web server.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "starts processes, looks at files, and prints what it measured"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::time::{sleep, timeout};
use zdt_units::event::{Event, EventKind, Outcome, Record, Records};
use zdt_units::host::sinks::{EventLog, EventReader, Place, Sinks};
use zdt_units::model::{EventFile, Events, Format, Hook, Model, Url, Wanted, Webhook};

const LINES: usize = 2000;
const MAX_BYTES: u64 = 16 * 1024;

/// Longer than anything takes, even on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, command, path, writer] = words.as_slice()
        && command == "write"
    {
        write(Path::new(path), writer);
        return ExitCode::SUCCESS;
    }
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    let tests = vec![
        test(
            "writers_at_once_lose_and_tear_nothing",
            writers_at_once_lose_and_tear_nothing,
        ),
        test("only_so_many_files_are_kept", only_so_many_files_are_kept),
        test(
            "a_half_written_line_harms_no_other",
            a_half_written_line_harms_no_other,
        ),
        test(
            "a_server_that_fails_first_is_told_again",
            a_server_that_fails_first_is_told_again,
        ),
        test(
            "one_that_never_answers_is_named_and_delays_nothing",
            one_that_never_answers_is_named_and_delays_nothing,
        ),
        test(
            "a_line_that_comes_late_is_read",
            a_line_that_comes_late_is_read,
        ),
        test("a_full_disk_is_told_once", a_full_disk_is_told_once),
        test("sentry_gets_an_envelope", sentry_gets_an_envelope),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// What each of the writers does.
fn write(path: &Path, writer: &str) {
    let mut log = EventLog::new(path.to_owned(), MAX_BYTES, 1000);
    for number in 0..LINES {
        log.append(&format!("{writer} {number} {}\n", "x".repeat(number % 90)))
            .unwrap();
    }
}

/// Two processes write over many rotations while a third party reads.
fn writers_at_once_lose_and_tear_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log/events.jsonl");
    let own = std::env::current_exe().unwrap();
    let mut writers = ["a", "b"].map(|writer| {
        let mut command = Command::new(&own);
        command.arg("write").arg(&path).arg(writer).spawn().unwrap()
    });
    let mut reader = EventReader::new(path.clone());
    let mut lines = Vec::new();
    let mut reads = 0;
    loop {
        let ended = writers.iter_mut().all(|writer| {
            let status = writer.try_wait().unwrap();
            status.inspect(|status| assert!(status.success())).is_some()
        });
        lines.extend(reader.read().unwrap());
        reads += 1;
        if ended {
            break;
        }
    }
    let mut next = BTreeMap::from([("a", 0), ("b", 0)]);
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        let [writer, number, rest] = words[..] else {
            panic!("torn: {line}");
        };
        let expected = next.get_mut(writer).expect("a writer");
        assert_eq!(number, expected.to_string(), "after {expected} of {writer}");
        assert_eq!(rest, "x".repeat(*expected % 90));
        *expected += 1;
    }
    assert_eq!(next, BTreeMap::from([("a", LINES), ("b", LINES)]));
    let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
    println!(
        "{} lines of 2 writers in {files} files, read in {reads} goes",
        lines.len()
    );
    assert!(files > 5, "{files} files");
}

fn only_so_many_files_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    let mut log = EventLog::new(path, 4096, 2);
    for number in 0..1000 {
        log.append(&format!("{number} {}\n", "x".repeat(90)))
            .unwrap();
    }
    let mut sizes: Vec<(String, u64)> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().len())
        })
        .collect();
    sizes.sort();
    let names: Vec<&str> = sizes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]);
    assert!(sizes.iter().all(|(_, size)| *size <= 4096), "{sizes:?}");
}

fn a_half_written_line_harms_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    fs::write(&path, "first\nsec").unwrap();
    let mut log = EventLog::new(path.clone(), 4096, 2);
    log.append("third\n").unwrap();
    let lines = EventReader::new(path).read().unwrap();
    assert_eq!(lines, ["first", "sec", "third"]);
}

/// Another program puts the file aside between somebody's look at it and the write.
fn a_line_that_comes_late_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    fs::write(&path, "first\n").unwrap();
    let mut reader = EventReader::new(path.clone());
    assert_eq!(reader.read().unwrap(), ["first"]);
    let mut slow = fs::OpenOptions::new().append(true).open(&path).unwrap();
    fs::rename(&path, directory.path().join("events.jsonl.1")).unwrap();
    fs::write(&path, "third\n").unwrap();
    assert_eq!(reader.read().unwrap(), ["third"]);
    slow.write_all(b"second\n").unwrap();
    assert_eq!(reader.read().unwrap(), ["second"]);
    assert_eq!(reader.read().unwrap(), [""; 0]);
}

fn finished(outcome: Outcome) -> Record {
    let kind = EventKind::Finished { outcome };
    let event = Event::new("5f0c", "shop", Duration::from_millis(1250), kind);
    Records::default().take(event, SystemTime::now())
}

fn place(directory: &Path) -> Place {
    Place {
        log: directory.join("log"),
        state: directory.join("state"),
        user: false,
    }
}

fn told_by(webhook: Webhook) -> Events {
    Events {
        file: EventFile::Nowhere,
        journal: false,
        webhooks: vec![webhook],
        ..Events::default()
    }
}

fn webhook(url: Url, format: Format) -> Webhook {
    Webhook {
        url,
        format,
        on: vec![Wanted::Finished],
        timeout: Duration::from_secs(1),
        retries: 3,
        headers_file: None,
    }
}

fn within_runtime<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(work)
}

/// Looks again and again, but not for ever.
async fn until(what: &str, mut found: impl FnMut() -> bool) {
    let began = Instant::now();
    while !found() {
        assert!(began.elapsed() < LIMIT, "no {what} within {LIMIT:?}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// The processes that this thread has started and not collected.
fn children() -> String {
    fs::read_to_string("/proc/thread-self/children").unwrap()
}

/// One request: its head and its body.
fn request(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).unwrap();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn answer(mut stream: &TcpStream, status: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
}

/// It answers 500, then not at all, then 200.
fn a_server_that_fails_first_is_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = directory.path().join("url");
    let headers = directory.path().join("headers");
    fs::write(&url, format!("http://{address}/T0/secret\n")).unwrap();
    fs::write(&headers, "# ours\nX-Token: 1234\n").unwrap();
    let path = |path: &PathBuf| {
        let text = format!(
            "[service.a]\nexec = [\"/bin/true\"]\nlisten = \":80\"\n\
             [[events.webhook]]\nurl_file = {path:?}\nheaders_file = {headers:?}\n\
             format = \"slack\"\ntimeout = \"1s\""
        );
        Model::read("zdt.toml", &text).unwrap().events
    };
    let events = Events {
        file: EventFile::Nowhere,
        journal: false,
        ..path(&url)
    };
    let (answered, answers) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut hanging = Vec::new();
        for status in ["500 Oh", "", "200 OK"] {
            let (stream, _) = listener.accept().unwrap();
            seen.push(request(&stream));
            match status {
                "" => hanging.push(stream),
                status => answer(&stream, status),
            }
        }
        answered.send(seen).unwrap();
    });
    let (seen, missing) = within_runtime(async {
        let mut sinks = Sinks::open(&events, &place(directory.path()));
        assert_eq!(sinks.troubles(), [""; 0]);
        sinks.take(&finished(Outcome::RolledBack));
        // Whoever closes gives up after a while, however many attempts are left.
        let seen = timeout(LIMIT, answers).await.expect("a third attempt");
        (seen.unwrap(), sinks.close().await)
    });
    assert_eq!(missing, [""; 0]);
    let expected = r#"{"text":"🟠 restart of `shop`: rolled back, the release of before serves, after 1.2 s\nid `5f0c`"}"#;
    for (head, body) in seen {
        assert!(head.starts_with("POST /T0/secret HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("x-token: 1234\r\n"), "{head}");
        assert_eq!(body, expected);
    }
}

fn one_that_never_answers_is_named_and_delays_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A web server, and a program, which is killed at its limit.
    let open = move |directory: &Path, limit: Duration| {
        let url = Url::Written(format!("http://{address}/secret"));
        let mut events = told_by(webhook(url, Format::Json));
        events.webhooks[0].timeout = limit;
        events.hooks.push(Hook {
            command: ["sleep", "1000"].map(str::to_owned).to_vec(),
            on: vec![Wanted::All],
            timeout: limit,
        });
        Sinks::open(&events, &place(directory))
    };
    // Neither of them is waited for: that would take an hour.
    let (taken, told) = std::sync::mpsc::channel();
    let own = directory.path().to_owned();
    std::thread::spawn(move || {
        within_runtime(async {
            let mut sinks = open(&own, Duration::from_secs(3600));
            sinks.take(&finished(Outcome::Completed));
            taken.send(()).unwrap();
        });
    });
    told.recv_timeout(LIMIT).expect("an end of `take`");

    let missing = within_runtime(async {
        let mut sinks = open(directory.path(), Duration::from_millis(300));
        sinks.take(&finished(Outcome::Completed));
        // Whoever closes gives up after a while, so that the program has to have ended before. It is this thread that
        // starts it, and that collects it.
        until("a program", || !children().is_empty()).await;
        until("its end", || children().is_empty()).await;
        sinks.close().await
    });
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(
        missing[0].starts_with("1 of 1 events did not reach the webhook at `127.0.0.1`: "),
        "{missing:?}"
    );
    assert_eq!(
        missing[1],
        "1 of 1 events did not reach `sleep`: it took longer than 300ms"
    );
}

/// `/dev/full` takes nothing, as a disk without room.
fn a_full_disk_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("events.jsonl");
    std::os::unix::fs::symlink("/dev/full", link).unwrap();
    let events = Events {
        journal: false,
        ..Events::default()
    };
    let place = Place {
        log: directory.path().to_owned(),
        ..place(directory.path())
    };
    within_runtime(async {
        let mut sinks = Sinks::open(&events, &place);
        let mut troubles = Vec::new();
        for _ in 0..3 {
            sinks.take(&finished(Outcome::Completed));
            troubles.extend(sinks.troubles());
        }
        let path = directory.path().join("events.jsonl");
        let expected = format!(
            "events are not written to `{}`: No space left on device (os error 28)",
            path.display()
        );
        assert_eq!(troubles, [expected]);
        assert_eq!(sinks.close().await, [""; 0]);
    });
}

/// As Sentry documents it: the address and the key of a DSN, and three lines of JSON with their length.
fn sentry_gets_an_envelope() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dsn = Url::Written(format!("http://d3adb33f:old@{address}/prefix/4505"));
    let mut events = told_by(webhook(dsn, Format::Sentry));
    events.webhooks[0].on = vec![Wanted::Failed];
    let server = std::thread::spawn(move || {
        let mut seen = Vec::new();
        // The first attempt fails, so the same event comes again.
        for status in ["503 Later", "200 OK", "200 OK"] {
            let (stream, _) = listener.accept().unwrap();
            seen.push(request(&stream));
            answer(&stream, status);
        }
        seen
    });
    let missing = within_runtime(async {
        let mut sinks = Sinks::open(&events, &place(directory.path()));
        assert_eq!(sinks.troubles(), [""; 0]);
        sinks.take(&finished(Outcome::RolledBack));
        sinks.take(&finished(Outcome::LookNow));
        sinks.close().await
    });
    assert_eq!(missing, [""; 0]);
    let seen = server.join().unwrap();
    let mut ids = Vec::new();
    for ((head, body), (level, outcome)) in seen.iter().zip([
        ("warning", "rolled_back"),
        ("warning", "rolled_back"),
        ("fatal", "look_now"),
    ]) {
        assert!(
            head.starts_with("POST /prefix/api/4505/envelope/ HTTP/1.1\r\n"),
            "{head}"
        );
        let head = head.to_lowercase();
        assert!(
            head.contains("content-type: application/x-sentry-envelope\r\n"),
            "{head}"
        );
        let key =
            "x-sentry-auth: sentry sentry_version=7, sentry_key=d3adb33f, sentry_client=zdt-units/";
        assert!(head.contains(key), "{head}");
        let lines: Vec<&str> = body.split('\n').collect();
        let [header, item, event, ""] = lines[..] else {
            panic!("{body}");
        };
        let read = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let (header, item, told) = (read(header), read(item), read(event));
        assert_eq!(item["type"], "event");
        assert_eq!(item["length"], event.len());
        let id = told["event_id"].as_str().unwrap();
        assert_eq!(header["event_id"], id);
        assert_eq!(id.len(), 32);
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(told["platform"], "other");
        assert_eq!(told["level"], level);
        assert_eq!(told["tags"]["service"], "shop");
        assert_eq!(told["tags"]["outcome"], outcome);
        assert_eq!(told["extra"]["event"]["outcome"], outcome);
        let time = told["timestamp"].as_str().unwrap();
        humantime::parse_rfc3339(time).unwrap();
        ids.push(id.to_owned());
    }
    // Sentry has what was sent twice once, and the other one beside it.
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
}
