//! Clients that mean no good, and what they cost.

use std::time::Instant;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

/// Of those who do not read.
fn short_stall() -> Limits {
    Limits {
        stall: SHORT,
        ..Limits::default()
    }
}

fn failed(reason: &str) -> String {
    format!(r#"{{"answer":"failed","reason":"{reason}","#)
}

#[tokio::test]
async fn nonsense_is_answered_with_a_sentence() {
    let (_directory, path) = place();
    let limits = Limits {
        question: 1000,
        ..Limits::default()
    };
    tokio::spawn(serve(Control::bind_within(&path, &OWN, limits).unwrap()));
    let not_understood = "the launcher does not understand the question: ";
    let long = vec![b'x'; 2000];
    let cases: [(&[u8], &str); 8] = [
        (b"hello\n", "expected value at line 1 column 1"),
        (b"\n", "EOF while parsing a value at line 1 column 0"),
        (b"\xff\xfe\0\n", "expected value at line 1 column 1"),
        (
            br#"{"ask":"st"#,
            "EOF while parsing a string at line 1 column 10",
        ),
        (b"{\"ask\":\"stop\"}\n", "missing field `units`"),
        (b"[]\n", "missing field `ask` at line 1 column 2"),
        (
            b"{\"ask\":\"hello\"}\n{\"ask\":\"hello\"}\n",
            "it is followed by more; ask one question a connection",
        ),
        (&long, ""),
    ];
    for (bytes, why) in cases {
        let answer = answer_to(&path, bytes).await;
        let wanted = match why {
            "" => failed("the question is longer than 1000 bytes"),
            why => failed(&format!("{not_understood}{why}")),
        };
        assert!(answer.starts_with(&wanted), "{answer}\nnot {wanted}");
        assert!(answer.contains(r#""untouched":true"#), "{answer}");
    }
    let unknown = answer_to(&path, b"{\"ask\":\"dance\"}\n").await;
    assert!(
        unknown.contains("unknown variant `dance`, expected one of `hello`"),
        "{unknown}"
    );
    assert_eq!(answer_to(&path, b"").await, "");
    // One that says no more after its question, such as `socat`, reads all the same.
    assert_eq!(
        answer_to(&path, b"{\"ask\":\"hello\"}\n").await,
        "{\"answer\":\"done\"}\n"
    );
    assert_eq!(
        answer_to(&path, b"{\"ask\":\"hello\"}").await,
        "{\"answer\":\"done\"}\n"
    );
}

#[tokio::test]
async fn a_byte_now_and_then_is_too_slow() {
    let (_directory, path) = place();
    let limits = Limits {
        asking: SHORT,
        ..Limits::default()
    };
    tokio::spawn(serve(Control::bind_within(&path, &OWN, limits).unwrap()));
    let answer = tokio::task::spawn_blocking(move || {
        let mut client = UnixStream::connect(path).unwrap();
        let mut slow = client.try_clone().unwrap();
        let writes = std::thread::spawn(move || {
            let long = "x".repeat(500);
            // As long as it is read, and no longer.
            long.bytes().all(|byte| {
                std::thread::sleep(Duration::from_millis(20));
                slow.write_all(&[byte]).is_ok()
            })
        });
        let mut answer = vec![0; 4096];
        let length = client.read(&mut answer).unwrap();
        drop(client);
        assert!(!writes.join().unwrap(), "all of it was read");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    });
    let answer = answer.await.unwrap();
    let wanted = failed("the question was not whole within 300ms");
    assert!(answer.starts_with(&wanted), "{answer}");
}

#[tokio::test]
async fn who_does_not_read_is_dropped_and_holds_up_nobody() {
    let (_directory, path) = place();
    let mut control = Control::bind_within(&path, &OWN, short_stall()).unwrap();
    let mut lazy = UnixStream::connect(&path).unwrap();
    serde_json::to_writer(&lazy, &logs(100_000, false)).unwrap();
    lazy.write_all(b"\n").unwrap();
    let Asked { answers, .. } = control.next().await;

    // Nothing is waited for here: so much fits, and what is more is refused.
    let sent = (0..100_000).take_while(|number| answers.send(numbered(*number)));
    let sent = sent.count();
    let bytes = serde_json::to_vec(&numbered(0)).unwrap().len() + 1;
    eprintln!("{sent} of 100000 lines fit ({} bytes)", sent * bytes);
    assert_eq!(sent, (1 << 20) / bytes);
    assert!(!answers.send(Answer::Done), "a gap would follow");

    let others = tokio::spawn({
        let path = path.clone();
        async move { ask(&path, &stop()).await }
    });
    let asked = control.next().await;
    assert!(asked.answers.send(Answer::Done));
    others.await.unwrap().unwrap();
    // It is closed once it has read nothing for a while.
    answers.gone().await;
    let mut read = Vec::new();
    let _ = lazy.read_to_end(&mut read);
    assert!(
        !read.ends_with(b"\"done\"}\n"),
        "nothing tells that lines are missing"
    );
}

#[tokio::test]
async fn who_reads_gets_all_lines_and_who_stops_reading_is_dropped() {
    let (_directory, path) = place();
    let mut control = Control::bind_within(&path, &OWN, short_stall()).unwrap();
    let lazy = UnixStream::connect(&path).unwrap();
    serde_json::to_writer(&lazy, &logs(100_000, false)).unwrap();
    (&lazy).write_all(b"\n").unwrap();
    let Asked { answers, .. } = control.next().await;
    let mut fed = 0;
    while answers.feed(numbered(fed)).await {
        fed += 1;
    }
    eprintln!("{fed} of 100000 lines were waited for");
    assert!(
        fed < 50_000,
        "{fed} lines are kept for somebody who does not read"
    );

    drop(control);
    let (_directory, path) = place();
    tokio::spawn(serve(Control::bind(&path, &OWN).unwrap()));
    let lines = ask(&path, &logs(100_000, false)).await.unwrap();
    assert!(
        lines
            .iter()
            .eq((0..100_000).map(numbered).collect::<Vec<_>>().iter())
    );
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed_without_a_word() {
    let (_directory, path) = place();
    let mut control = Control::bind(&path, &OWN).unwrap();
    for says_no_more in [false, true] {
        let mut client = UnixStream::connect(&path).unwrap();
        serde_json::to_writer(&client, &logs(0, true)).unwrap();
        client.write_all(b"\n").unwrap();
        if says_no_more {
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let Asked { answers, .. } = control.next().await;
        let still_there = timeout(Duration::from_millis(50), answers.gone()).await;
        assert!(still_there.is_err());
        drop(client);
        answers.gone().await;
    }
}

#[tokio::test]
async fn those_who_follow_leave_place_for_others() {
    let (_directory, path) = place();
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    tokio::spawn(serve(Control::bind_within(&path, &OWN, limits).unwrap()));
    let mut following = Vec::new();
    for _ in 0..2 {
        let mut answers = Connection::to(&path).ask(&logs(1, true)).await.unwrap();
        assert_eq!(answers.next().await, Some(numbered(0)));
        following.push(answers);
    }
    let failure = ask(&path, &logs(1, true)).await.unwrap_err();
    assert_eq!(
        failure.reason,
        "2 connections are open already that only look"
    );
    assert_eq!(ask(&path, &stop()).await.unwrap(), []);
    assert_eq!(ask(&path, &logs(1, false)).await.unwrap(), [numbered(0)]);
}

#[tokio::test]
async fn of_a_thousand_clients_at_once_the_good_ones_are_answered() {
    let launcher = Launcher::start(64, 200, 100, 4096).await;
    let before = (launcher.open_files(), launcher.peak());
    let began = tokio::time::Instant::now();
    // All of them have said what they say before they come in.
    let clients = (0..1000).map(|number| {
        let says: &[u8] = match number % 4 {
            0 => b"{\"ask\":\"logs\",\"lines\":2,\"follow\":false}\n",
            1 => b"",
            2 => b"{\"ask\":\"log",
            _ => b"{\"ask\":\"logs\",\"lines\":100000,\"follow\":false}\n",
        };
        let mut client = UnixStream::connect(&launcher.path).unwrap();
        client.write_all(says).unwrap();
        client
    });
    let clients: Vec<UnixStream> = clients.collect();
    let wanted = [numbered(0), numbered(1), Answer::Done];
    let wanted = wanted.map(|answer| serde_json::to_string(&answer).unwrap() + "\n");
    let mut most = 0;
    for mut good in clients.iter().step_by(4) {
        most = most.max(launcher.open_files());
        let mut answer = String::new();
        good.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, wanted.concat());
    }
    let (grew, took) = ((launcher.peak() - before.1) >> 20, began.elapsed());
    eprintln!(
        "of 1000 clients 250 were answered: {} files before, {most} at most, {grew} MiB more, {took:?}",
        before.0
    );
    // One more while it looks up who somebody is.
    assert!(most <= before.0 + 64 + 1, "{most} files");
}

/// The most files that a launcher had open for 300 clients that say nothing, of which `until` get in at once.
async fn with_silent(connections: usize, until: usize) -> usize {
    let launcher = Launcher::start(connections, 600_000, 100, 4096).await;
    let before = launcher.open_files();
    let silent = (0..300).map(|_| UnixStream::connect(&launcher.path).unwrap());
    let silent: Vec<_> = silent.collect();
    while launcher.open_files() < before + until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut most = launcher.open_files();
    // Others come in where these leave.
    for gone in silent {
        drop(gone);
        most = most.max(launcher.open_files());
    }
    most - before
}

#[tokio::test]
async fn clients_that_say_nothing_have_no_more_than_their_places() {
    let with_limit = with_silent(64, 64).await;
    let without = with_silent(100_000, 300).await;
    eprintln!("300 silent clients: {with_limit} files with a limit of 64, {without} without");
    assert_eq!((with_limit, without), (64, 300));
}

/// How long and how often a launcher worked while it had no descriptor for clients who wait, and for how long that was.
async fn work_without_descriptors(pause: u64) -> (Duration, u64, Duration) {
    let launcher = Launcher::start(1000, 200, pause, 20).await;
    let silent: Vec<_> = (0..100)
        .map(|_| UnixStream::connect(&launcher.path).unwrap())
        .collect();
    let (before, began) = (launcher.worked(), Instant::now());
    assert_eq!(ask(&launcher.path, &stop()).await.unwrap(), []);
    drop(silent);
    let (time, turns) = launcher.worked();
    (time - before.0, turns - before.1, began.elapsed())
}

#[tokio::test]
async fn without_descriptors_it_waits_and_does_not_spin() {
    let (time, turns, all) = work_without_descriptors(100).await;
    // The shortest pause that the runtime knows is a millisecond.
    let (_, spins, _) = work_without_descriptors(0).await;
    eprintln!("{time:?} of {all:?} in {turns} turns, {spins} with the shortest pause");
    assert!(time * 5 < all, "{time:?} of {all:?}");
    assert!(
        turns * 5 < spins,
        "{turns}, and {spins} with the shortest pause"
    );
}
